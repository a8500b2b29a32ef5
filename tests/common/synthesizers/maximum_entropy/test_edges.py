"""Small and odd tables: the model must fit and sample them too."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from common.columns.base import Codes
from common.marginals.evidence import Evidence
from common.marginals.queries import Domain, Query, single_queries
from common.synthesizers.maximum_entropy.fit import Fit, fit_model
from common.synthesizers.maximum_entropy.rows import draw_rows
from tests.testbeds.marginals import measured, random_codes


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def fitted(
    codes: Codes, sizes: tuple[int, ...], *tables: tuple[int, ...], deviation: float = 0.0, chains: int = 512
) -> Fit:
    domain = Domain(sizes, (False,) * len(sizes))
    queries = (*single_queries(len(sizes)), *map(Query, tables))
    evidence = Evidence.of(measured(codes, queries, domain, deviation=deviation))
    return fit_model(evidence, chains=chains, steps=60, seed=1)


def rows_of(codes: Codes, sizes: tuple[int, ...], *tables: tuple[int, ...], deviation: float = 0.0) -> Codes:
    rows = draw_rows(fitted(codes, sizes, *tables, deviation=deviation), 1000, 2, {}).numpy().astype(np.int16)
    assert rows.shape == (1000, len(sizes))
    assert ((rows >= 0) & (rows < np.array(sizes))).all()
    return rows


class TestEdges:
    def test_one_column_keeps_its_proportions(self) -> None:
        codes = np.repeat([0, 1, 2], [600, 300, 100]).astype(np.int16)[:, None]
        rows = rows_of(codes, (3,))
        assert np.bincount(rows[:, 0]) / 1000 == pytest.approx([0.6, 0.3, 0.1], abs=0.02)

    def test_column_of_one_code(self) -> None:
        codes = random_codes(1000, Domain((1, 3), (False, False)))
        assert (rows_of(codes, (1, 3), (0, 1))[:, 0] == 0).all()

    def test_two_equal_columns_without_noise(self) -> None:
        codes = np.repeat(random_codes(2000, Domain((6,), (False,))), 2, axis=1)
        rows = rows_of(codes, (6, 6), (0, 1))
        assert (rows[:, 0] == rows[:, 1]).mean() > 0.9  # after 60 steps; each lets impossible cells fade a little

    def test_pairs_that_were_not_counted_are_independent(self) -> None:
        codes = np.repeat(random_codes(2000, Domain((2,), (False,))), 2, axis=1)
        rows = rows_of(codes, (2, 2))
        assert (rows[:, 0] == rows[:, 1]).mean() == pytest.approx(0.5, abs=0.06)

    def test_noise_alone_gives_rows(self) -> None:
        codes = random_codes(20, Domain((4, 4, 4), (False,) * 3))
        rows_of(codes, (4, 4, 4), (0, 1), (0, 2), (1, 2), (0, 1, 2), deviation=1e4)

    def test_yes_no_columns_that_imply_each_other(self) -> None:
        """Thresholds of one number: column i + 1 is only 1 where column i is."""
        columns = 6
        level = np.random.default_rng(3).integers(0, columns + 1, 3000)
        codes = (level[:, None] > np.arange(columns)).astype(np.int16)
        pairs = list(itertools.combinations(range(columns), 2))
        rows = rows_of(codes, (2,) * columns, *pairs, deviation=2.0)
        broken = np.mean([(rows[:, later] > rows[:, first]).mean() for first, later in pairs])
        assert broken < 0.02
        assert np.abs(rows.mean(0) - codes.mean(0)).max() < 0.05


class TestConditions:
    def test_conditional_frequencies_are_those_of_all_rows(self) -> None:
        """Rows given a code have the frequencies that unconditional rows with that code have."""
        codes = random_codes(6000, Domain((4, 4, 3), (False,) * 3))
        codes[:3000, 1] = codes[:3000, 0]
        codes[:2000, 2] = np.minimum(codes[:2000, 1], 2)
        fit = fitted(codes, (4, 4, 3), (0, 1), (0, 2), (1, 2), deviation=5.0, chains=4096)
        free = draw_rows(fit, 60_000, 4, {}).numpy()
        given = draw_rows(fit, 20_000, 5, {2: 1}).numpy()
        assert (given[:, 2] == 1).all()
        wanted = free[free[:, 2] == 1]
        for column in (0, 1):
            expected, found = (np.bincount(rows[:, column], minlength=4) / len(rows) for rows in (wanted, given))
            assert np.abs(expected - found).sum() / 2 < 0.02
