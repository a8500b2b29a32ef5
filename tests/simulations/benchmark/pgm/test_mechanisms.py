"""AIM and MST on a small table: what they spend, and that they find what depends."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from common.arrays import Integers
from simulations.benchmark.pgm.__main__ import Mechanism
from simulations.benchmark.pgm.aim import AimSettings, _Run, aim, workload
from simulations.benchmark.pgm.model import count
from simulations.benchmark.pgm.mst import _merge, _unmerge, mst

SIZES = (4, 4, 3, 2)


def table(rows: int = 4000) -> Integers:
    """Columns 0, 1 and 2 say the same up to noise; column 3 is independent."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, 4, rows)
    second = np.where(rng.random(rows) < 0.8, first, rng.integers(0, 4, rows))
    third = np.where(rng.random(rows) < 0.8, second % 3, rng.integers(0, 3, rows))
    return np.stack([first, second, third, rng.integers(0, 2, rows)], axis=1)


@pytest.mark.parametrize("mechanism", [aim, mst])
def test_pairs_are_close_to_the_real_ones(mechanism: Mechanism) -> None:
    real = table()
    made = mechanism(real, SIZES, 1.0, np.random.default_rng(0))
    assert made.shape == real.shape
    for pair in itertools.combinations(range(4), 2):
        miss = np.abs(count(made, pair, SIZES) - count(real, pair, SIZES)).sum() / 2 / len(real)
        assert miss < 0.05


def test_aim_spends_its_whole_budget_and_no_more() -> None:
    run = _Run(table(500), SIZES, 0.2, np.random.default_rng(0), AimSettings())
    run.measure_columns()
    while not run.is_finished:
        run.measure_next()
    assert run.spent == pytest.approx(0.2)
    priced = sum(measurement.deviation**-2 for measurement in run.measurements)
    assert priced < 0.2  # the rest chose


def test_a_workload_weighs_marginals_by_what_they_share_with_it() -> None:
    weights = workload((2, 2, 2), 2, 100)
    assert weights == {(0,): 2, (1,): 2, (2,): 2, (0, 1): 4, (0, 2): 4, (1, 2): 4}
    assert (0, 1) not in workload((20, 20, 2), 2, 100)


def test_rare_codes_are_merged_and_come_back() -> None:
    codes = np.array([[0], [2], [5], [2]])
    kept = [np.array([2])]
    assert _merge(codes, kept)[:, 0].tolist() == [1, 0, 1, 0]
    back = _unmerge(_merge(codes, kept), kept, (6,), np.random.default_rng(0))[:, 0]
    assert back[[1, 3]].tolist() == [2, 2]
    assert set(back[[0, 2]]) <= {0, 1, 3, 4, 5}
