"""Parts: what released counts say about the smallest parts of a column's values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from common.columns.base import Column
from common.columns.binning import Binning
from common.columns.categorical import Categorical
from common.columns.code import Code
from common.columns.grid_code import GridCode
from common.columns.numeric import Numeric

BINNING = Binning(cells=200, bins=8)

COLUMNS: list[tuple[Column, list[str]]] = [
    (Categorical(name="x", categories=("a", "b"), missing=True), ["a", "b", "b", ""]),
    (Numeric(name="x", lower=0, upper=9, missing=True), ["3", "3", "9", "", "0"]),
    (Numeric(name="x", lower=0, upper=999, multiples=(10,)), [*map(str, range(0, 900, 7)), "500", "990"]),
    (Numeric(name="x", lower=0, upper=9, missing_codes=("99",), missing=True), ["3", "99", "", "99"]),
    (
        Code(name="x", codes=("A10", "A11", "B20"), prefixes=(1,)),
        ["A10"] * 30 + ["A11"] * 20 + ["B20"] * 40 + ["Z"] * 9,
    ),
]


@pytest.mark.parametrize(("column", "cells"), COLUMNS, ids=lambda value: getattr(value, "kind", None))
def test_parts_agree_with_exact_counts(column: Column, cells: list[str]) -> None:
    values = pd.Series(column.conform(cells))
    counts = column.histogram(BINNING.cells).count(values)
    code = column.code(counts, BINNING)
    parts = code.parts
    solved = np.linalg.lstsq(parts.sums, parts.collected @ counts, rcond=None)[0]
    assert parts.sums @ solved == pytest.approx(parts.collected @ counts)
    by_code = np.bincount(parts.codes, solved, code.size)
    assert by_code == pytest.approx(np.bincount(code.encode(values), minlength=code.size), abs=1e-6)
    assert parts.weights.shape == parts.codes.shape == (len(parts.labels),)
    assert bool(parts.is_missing.any()) == column.missing or bool(getattr(column, "missing_codes", ()))


def test_redrawn_cells_keep_bins_and_spread() -> None:
    column = Numeric(name="x", lower=0, upper=99)
    counts = column.histogram(BINNING.cells).count(pd.Series(np.tile(np.arange(100.0), 40)))
    code = column.code(counts, BINNING)
    assert isinstance(code, GridCode)
    again = code.redrawn(5.0, np.random.default_rng(1))
    assert (again.cuts == code.cuts).all()
    # 4000 patients: a Poisson number of them, with noise of 5 in each of a few nodes.
    assert again.cell_weights.sum() == pytest.approx(4000, abs=300)
    assert not np.allclose(again.cell_weights, code.cell_weights)
