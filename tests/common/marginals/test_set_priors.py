from __future__ import annotations

import numpy as np
import pytest

from common.marginals.queries import centered
from common.marginals.set_priors import (
    LEAST_SET_PRIOR,
    interaction,
    pooled,
    set_prior,
    set_priors,
    without_interaction,
)

PARITY = np.array([[[0.25, 0], [0, 0.25]], [[0, 0.25], [0.25, 0]]])
UNIFORM = np.full((2, 2, 2), 0.125)


class TestWithoutInteraction:
    def test_product_gives_its_pairs_back(self) -> None:
        first, second, third = np.array([0.2, 0.8]), np.array([0.5, 0.3, 0.2]), np.array([0.6, 0.4])
        table = without_interaction([np.outer(first, second), np.outer(first, third), np.outer(second, third)])
        assert table == pytest.approx(np.einsum("a,b,c->abc", first, second, third))

    def test_markov_chain_is_found_from_its_pairs(self) -> None:
        """a - b - c without interaction: p(a, b) p(c | b)."""
        pair, follows = np.array([[0.4, 0.1], [0.2, 0.3]]), np.array([[0.9, 0.1], [0.3, 0.7]])
        table = pair[:, :, None] * follows[None]
        found = without_interaction([table.sum(2), table.sum(1), table.sum(0)])
        assert found == pytest.approx(table, abs=1e-6)

    def test_parity_looks_independent(self) -> None:
        assert without_interaction([np.full((2, 2), 0.25)] * 3) == pytest.approx(UNIFORM)


class TestInteraction:
    def test_margins_are_zero(self) -> None:
        rng = np.random.default_rng(0)
        singles = [rng.dirichlet(np.ones(size)) for size in (2, 3, 4)]
        left = interaction(rng.normal(size=(2, 3, 4)), np.einsum("a,b,c->abc", *singles), [0])
        for axis in range(3):
            assert left.sum(axis) == pytest.approx(0, abs=1e-12)

    def test_what_centering_takes_off_does_not_matter(self) -> None:
        table = np.random.default_rng(1).normal(size=(2, 3, 4))
        shifted = table + np.random.default_rng(2).normal(size=(1, 3, 4))
        independent = np.full((2, 3, 4), 1 / 24)
        assert interaction(table, independent, [0]) == pytest.approx(interaction(shifted, independent, [0]))
        assert centered(table, [0]) == pytest.approx(centered(shifted, [0]))


class TestTriplePrior:
    COINS = (np.array([0.5, 0.5]),) * 3

    def test_parity_deviates_by_all_of_independence(self) -> None:
        """Every cell is off by P: squared, that is 1 of P^2; one of eight degrees of freedom is left."""
        assert set_prior(PARITY, UNIFORM, self.COINS, 0.0, ())[0] == pytest.approx(8.0)

    def test_noise_is_taken_off(self) -> None:
        table = UNIFORM + np.random.default_rng(3).normal(0, 0.01, (2, 2, 2))
        assert set_prior(table, UNIFORM, self.COINS, 1.0, ())[0] < 0

    @pytest.mark.parametrize("centered_axes", [(), (0,)])
    def test_mean_over_noise_is_the_truth(self, centered_axes: tuple[int, ...]) -> None:
        rng = np.random.default_rng(4)
        singles = [rng.dirichlet(np.ones(size)) for size in (2, 5, 6)]
        independent = np.einsum("a,b,c->abc", *singles)
        found = []
        for _ in range(1000):
            deviations = rng.normal(0, 0.5, independent.shape)
            table = independent * (1 + deviations) + rng.normal(0, 0.002, independent.shape)
            found.append(set_prior(table, independent, singles, 0.002, centered_axes)[0])
        assert np.mean(found) == pytest.approx(0.25, rel=0.15)

    def test_column_of_one_group_has_no_interaction(self) -> None:
        table = np.full((2, 2, 1), 0.25)
        singles = (*self.COINS[:2], np.ones(1))
        assert set_prior(table, table, singles, 0.0, ()) == (0.0, 0.0)

    def test_error_is_the_spread_of_estimates_from_noise(self) -> None:
        rng = np.random.default_rng(5)
        singles = [np.full(size, 1 / size) for size in (2, 5, 6)]
        independent = np.einsum("a,b,c->abc", *singles)
        tables = [independent + rng.normal(0, 0.01, independent.shape) for _ in range(2000)]
        found, errors = np.array([set_prior(table, independent, singles, 0.01, ()) for table in tables]).T
        assert found.std() == pytest.approx(errors[0], rel=0.1)

    def test_one_triple_among_noise_is_drawn_to_the_others(self) -> None:
        priors = set_priors([(0.02, 0.02), (-0.01, 0.02), (0.03, 0.02), (0.0, 0.02)])
        assert priors == pytest.approx(0.01)
        assert set_priors([(-0.5, 0.1)]).tolist() == [LEAST_SET_PRIOR]


class TestPooled:
    def test_estimates_within_their_errors_become_their_mean(self) -> None:
        found = np.array([1.0, 1.2, 0.8, 1.1, 0.9])
        assert pooled(found, np.full(5, 1.0), np.full(5, True)) == pytest.approx(1.0)

    def test_estimates_without_errors_stay(self) -> None:
        found = np.array([0.0, 5.0, 1.0, 9.0])
        assert pooled(found, np.full(4, 1e-6), np.full(4, True)) == pytest.approx(found, abs=1e-9)

    def test_few_estimates_stay(self) -> None:
        found = np.array([1.0, 1.1, 0.9])
        assert pooled(found, np.ones(3), np.full(3, True)) is found
