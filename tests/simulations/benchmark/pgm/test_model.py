"""Graphical models against exact enumeration of a small table."""

from __future__ import annotations

import itertools
from functools import reduce

import numpy as np
import pytest

from common.arrays import Floats
from simulations.benchmark.pgm.estimation import Measurement, Stop, averaged, calibrated, fit, supersets
from simulations.benchmark.pgm.junction_tree import Clique, JunctionTree, maximal_cliques, model_megabytes
from simulations.benchmark.pgm.model import GraphicalModel, count, spread, sum_to

SIZES = (2, 3, 4, 2, 3, 2)
ALL = tuple(range(len(SIZES)))
CYCLE: tuple[Clique, ...] = ((0, 1), (1, 2), (2, 3), (0, 3), (3, 4))
"""Four columns in a cycle, a fifth that hangs on it, and a sixth alone."""


def random_potentials(seed: int) -> dict[Clique, Floats]:
    rng = np.random.default_rng(seed)
    return {columns: rng.normal(size=[SIZES[column] for column in columns]) for columns in CYCLE}


def enumerated(potentials: dict[Clique, Floats], total: float) -> Floats:
    """The whole table that the potentials define, by their product."""
    factors = [np.exp(spread(potential, columns, ALL)) for columns, potential in potentials.items()]
    joint: Floats = reduce(np.multiply, factors, np.ones(SIZES))
    return np.asarray(total * joint / joint.sum())


def modelled(potentials: dict[Clique, Floats], total: float) -> GraphicalModel:
    tree = JunctionTree.of(SIZES, potentials)
    hosts = {columns: host for columns in potentials if (host := tree.host(columns)) is not None}
    return calibrated(tree, potentials, hosts, total)


class TestTree:
    def test_a_cycle_is_triangulated(self) -> None:
        assert sorted(map(len, maximal_cliques(SIZES, CYCLE))) == [1, 2, 3, 3]
        assert model_megabytes((2, 3), [(0, 1)]) == 6 * 8 / 2**20

    def test_a_clique_meets_all_earlier_ones_in_its_separator(self) -> None:
        tree = JunctionTree.of(SIZES, CYCLE)
        earlier: set[int] = set()
        for clique, separator in zip(tree.cliques, tree.separators, strict=True):
            assert earlier & set(clique) == set(separator)
            earlier |= set(clique)
        assert earlier == set(ALL)


class TestMarginals:
    @pytest.mark.parametrize("seed", [1, 2])
    def test_every_marginal_is_that_of_the_enumerated_table(self, seed: int) -> None:
        potentials = random_potentials(seed)
        joint, model = enumerated(potentials, 100.0), modelled(potentials, 100.0)
        for length in (1, 2, 3, 4):
            for columns in itertools.combinations(ALL, length):
                np.testing.assert_allclose(model.marginal(columns), sum_to(joint, ALL, columns), atol=1e-9)


class TestSample:
    def test_rows_follow_every_pair_of_the_model(self) -> None:
        model = modelled(random_potentials(3), 1.0)
        rows = model.sample(50_000, np.random.default_rng(0))
        for pair in itertools.combinations(ALL, 2):
            drawn = count(rows, pair, SIZES) / len(rows)
            np.testing.assert_allclose(drawn, model.marginal(pair), atol=0.01)

    def test_siblings_under_a_parent_do_not_rise_together(self) -> None:
        """The fault of mbi 1.1.0, which filled the rows of each parent code in the order of the child's codes."""
        even: dict[Clique, Floats] = {(0, 1): np.zeros((2, 3)), (0, 2): np.zeros((2, 4))}
        tree = JunctionTree.of((2, 3, 4), even)
        rows = calibrated(
            tree, even, {(0, 1): 0, (0, 2): 1} if tree.cliques[0] == (0, 1) else {(0, 2): 0, (0, 1): 1}, 1
        )
        drawn = count(rows.sample(24_000, np.random.default_rng(0)), (1, 2), (2, 3, 4))
        np.testing.assert_allclose(drawn, np.full((3, 4), 2000), atol=200)

    def test_counts_of_a_clique_are_rounded_not_drawn(self) -> None:
        belief: dict[Clique, Floats] = {(0,): np.log([0.25, 0.75])}
        model = calibrated(JunctionTree.of((2,), belief), belief, {(0,): 0}, 1)
        rows = model.sample(1000, np.random.default_rng(0))
        assert np.bincount(rows[:, 0]).tolist() == [250, 750]


class TestFit:
    def test_consistent_marginals_are_met_with_highest_entropy(self) -> None:
        joint = enumerated(random_potentials(4), 500.0)
        measurements = [Measurement(columns, sum_to(joint, ALL, columns), 1.0) for columns in CYCLE]
        model = fit(SIZES, measurements, 500.0, Stop(3000)).model
        for columns in itertools.combinations(ALL, 3):
            # Potentials on the same marginals: the table of highest entropy is the one that they came from.
            np.testing.assert_allclose(model.marginal(columns), sum_to(joint, ALL, columns), atol=0.5)

    def test_inconsistent_marginals_are_compromised_by_variance(self) -> None:
        measurements = [Measurement((0,), np.array([40.0, 60.0]), 1.0), Measurement((0, 1), np.full((2, 2), 25.0), 2.0)]
        found = fit((2, 2), measurements, 100.0, Stop(2000)).model.marginal((0,))
        # Minimize 2 (x - 40)^2 + 2 * 2 ((x - 50) / 2)^2 / 4: x = (2 * 40 + 0.25 * 50) / 2.25.
        np.testing.assert_allclose(found, [41.111, 58.889], atol=0.01)

    def test_a_warm_start_reaches_the_same_model(self) -> None:
        joint = enumerated(random_potentials(5), 500.0)
        measurements = [Measurement(columns, sum_to(joint, ALL, columns), 1.0) for columns in CYCLE]
        cold = fit(SIZES, measurements, 500.0, Stop(3000))
        warm = fit(SIZES, measurements, 500.0, Stop(20), start=cold.potentials)
        np.testing.assert_allclose(warm.model.marginal((0, 1)), cold.model.marginal((0, 1)), atol=0.1)

    def test_repeated_measurements_are_averaged_by_precision(self) -> None:
        twice = [Measurement((0,), np.array([10.0]), 1.0), Measurement((0,), np.array([20.0]), 2.0)]
        combined = averaged(twice)[(0,)]
        assert combined.counts.tolist() == [12.0]
        assert combined.deviation == pytest.approx(np.sqrt(4 / 5))

    def test_smallest_supersets_come_first(self) -> None:
        assert supersets((2, 2, 2), [(0,), (0, 1), (0, 1, 2), (2,)]) == {
            (0, 1, 2): None,
            (0, 1): (0, 1, 2),
            (0,): (0, 1),
            (2,): (0, 1, 2),
        }
