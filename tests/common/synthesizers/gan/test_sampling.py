from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from common.arrays import Floats
from common.columns.base import Codes
from common.errors import StudyError
from common.synthesizers.gan.generator import MlpGenerator, PrototypeGenerator
from common.synthesizers.gan.sampling import draw


def mixture(*prototypes: list[list[float]]) -> PrototypeGenerator:
    """A generator with these column probabilities, prototype by prototype."""
    sizes = [len(column) for column in prototypes[0]]
    generator = PrototypeGenerator(sizes, len(prototypes), torch.Generator().manual_seed(0))
    flat = [[share for column in prototype for share in column] for prototype in prototypes]
    with torch.no_grad():
        generator.table.copy_(torch.tensor(flat).clamp_min(1e-80).log().clamp_min(-300.0))
    return generator


# x and y depend on each other through the prototype.
TWO = mixture([[0.9, 0.1], [0.8, 0.2]], [[0.1, 0.9], [0.3, 0.7]])
CERTAIN = mixture(*[[[float(code == place) for code in range(5)]] for place in range(5)])


def random_mixture(seed: int) -> PrototypeGenerator:
    rng = np.random.default_rng(seed)
    return mixture(*[[list(rng.dirichlet(np.ones(size))) for size in (2, 3, 4, 5)] for _ in range(50)])


def table_of(generator: PrototypeGenerator) -> Floats:
    return np.asarray(generator.probabilities(torch.Generator()).detach().double().numpy())


def margins(codes: Codes) -> Floats:
    """All one- and two-way tables of four columns of 2, 3, 4 and 5 codes, as shares."""
    one_hot = np.concatenate([np.eye(size)[codes[:, place]] for place, size in enumerate((2, 3, 4, 5))], axis=1)
    return np.asarray(one_hot.T @ one_hot / len(codes))


def expected_margins(generator: PrototypeGenerator) -> Floats:
    table = table_of(generator)
    expected = table.T @ table / len(table)
    starts = np.cumsum([0, 2, 3, 4, 5])
    for first, last in pairwise(starts):  # a column with itself
        expected[first:last, first:last] = np.diag(table[:, first:last].mean(0))
    return np.asarray(expected)


def independent(generator: PrototypeGenerator, rows: int, rng: np.random.Generator) -> Codes:
    table = table_of(generator)[rng.integers(0, len(generator.table), rows)]
    starts = np.cumsum([0, 2, 3, 4, 5])
    parts = [
        (table[:, first:last].cumsum(1) <= rng.random((rows, 1)) * table[:, first:last].sum(1, keepdims=True)).sum(1)
        for first, last in pairwise(starts)
    ]
    return np.stack(parts, axis=1).astype(np.int16)


class TestDraw:
    def test_the_seed_decides_the_rows(self) -> None:
        generator = random_mixture(0)
        first = draw(generator, 300, 1, {})
        torch.manual_seed(5)
        assert (first == draw(generator, 300, 1, {})).all()
        assert (first != draw(generator, 300, 2, {})).any()
        assert (draw(generator, 300, 1, {1: 2}) == draw(generator, 300, 1, {1: 2})).all()

    @pytest.mark.parametrize("rows", [0, 1, 2, 3, 500, 9000])
    def test_any_number_of_rows_can_be_drawn(self, rows: int) -> None:
        codes = draw(random_mixture(0), rows, 0, {})
        assert codes.shape == (rows, 4)
        assert codes.dtype == np.int16
        assert (codes >= 0).all()
        assert (codes < np.array([2, 3, 4, 5])).all()

    @pytest.mark.parametrize("rows", [512, 1000])
    def test_every_prototype_is_drawn_equally_often(self, rows: int) -> None:
        # Five prototypes, one code each. Independent draws would have chi-square 4 on average.
        found = np.bincount(draw(CERTAIN, rows, 3, {})[:, 0], minlength=5)
        assert ((found - rows / 5) ** 2 / (rows / 5)).sum() < 1

    def test_rows_come_in_random_order(self) -> None:
        codes = draw(CERTAIN, 1000, 3, {})[:, 0].astype(float)
        # Five standard errors of a correlation are 5 / sqrt(1000) = 0.16.
        assert abs(np.corrcoef(codes[:-1], codes[1:])[0, 1]) < 0.16

    def test_codes_follow_the_probabilities(self) -> None:
        codes = draw(TWO, 4096, 0, {})
        # x = 0: (0.9 + 0.1) / 2; x = y = 0: (0.9 x 0.8 + 0.1 x 0.3) / 2 = 0.375.
        assert (codes[:, 0] == 0).mean() == pytest.approx(0.5, abs=0.01)
        assert (codes == 0).all(axis=1).mean() == pytest.approx(0.375, abs=0.01)

    def test_margins_are_closer_than_by_independent_draws(self) -> None:
        rng = np.random.default_rng(0)
        even, plain = [], []
        for seed in range(20):
            generator = random_mixture(seed)
            expected = expected_margins(generator)
            even.append(((margins(draw(generator, 1000, seed, {})) - expected) ** 2).mean())
            plain.append(((margins(independent(generator, 1000, rng)) - expected) ** 2).mean())
        assert np.mean(even) < 0.6 * np.mean(plain)


class TestCondition:
    def test_a_condition_is_met_and_the_rest_follows_bayes(self) -> None:
        codes = draw(TWO, 4096, 0, {0: 0})
        assert (codes[:, 0] == 0).all()
        # Given x = 0 the prototypes weigh 0.9 and 0.1: y = 0 has 0.9 x 0.8 + 0.1 x 0.3 = 0.75, not 0.55 as without.
        assert (codes[:, 1] == 0).mean() == pytest.approx(0.75, abs=0.01)
        assert (draw(TWO, 4096, 0, {})[:, 1] == 0).mean() == pytest.approx(0.55, abs=0.01)

    def test_conditions_on_several_columns_hold_together(self) -> None:
        codes = draw(random_mixture(0), 200, 0, {0: 1, 3: 4})
        assert (codes[:, [0, 3]] == [1, 4]).all()

    def test_prototypes_that_exclude_the_condition_are_not_drawn(self) -> None:
        generator = mixture([[1.0, 0.0], [1.0, 0.0]], [[0.5, 0.5], [0.0, 1.0]])
        assert (draw(generator, 100, 0, {0: 1}) == [1, 1]).all()

    def test_a_condition_without_weight_is_refused(self) -> None:
        generator = mixture([[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]])
        with pytest.raises(StudyError, match="no weight"):
            draw(generator, 10, 0, {0: 1})

    def test_without_prototypes_there_are_no_conditions(self) -> None:
        generator = MlpGenerator((2, 3), 8, torch.Generator().manual_seed(0))
        assert draw(generator, 10, 0, {}).shape == (10, 2)
        with pytest.raises(StudyError, match="only a generator with prototypes"):
            draw(generator, 10, 0, {0: 1})
