"""Missing values: how often a cell is missing, and which columns are missing together."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.arrays import Floats
from common.evaluation.statistics.data import EvaluationData
from common.evaluation.statistics.intervals import Estimate
from common.evaluation.statistics.resampling import MOST_ROWS, RESAMPLES, measured, narrowing, resamples, sampled_rows
from common.evaluation.statistics.values import MISSING, labels, numbers

LISTED_PAIRS = 8
"""Pairs that a report lists, those that changed most."""


@dataclass(frozen=True, slots=True)
class MissingPair:
    """Two columns, and the fraction of patients for whom both are missing."""

    first: str
    second: str
    real: float
    synthetic: float
    change: Estimate


@dataclass(frozen=True, slots=True)
class Missingness:
    """How well missing values are imitated; 0.0 is best.

    Attributes:
        columns: how many have missing values in either table.
        rate_change: absolute change of the missing rate, mean over these columns.
        pair_change: absolute change of the fraction of patients for whom both columns are missing, mean over pairs.
        pairs: the pairs of columns that changed most.
    """

    columns: int
    rate_change: Estimate
    pair_change: Estimate | None
    pairs: tuple[MissingPair, ...]


def measure_missingness(data: EvaluationData) -> Missingness | None:
    """Compare missing rates and pairs of columns missing together; None if nothing is missing in either table."""
    missing = [_missing(table, data) for table in (data.train, data.synthetic)]
    kept = np.flatnonzero(missing[0].any(axis=0) | missing[1].any(axis=0))
    if not len(kept):
        return None
    names, size = [data.schema.names[column] for column in kept], min(len(data.train), len(data.synthetic))
    cells = [side[:, kept].astype(np.float64) for side in missing]
    chosen = [sampled_rows(len(side), MOST_ROWS, "missing", str(number)) for number, side in enumerate(cells)]
    weights = [resamples(len(rows), RESAMPLES, "missing", str(number)) for number, rows in enumerate(chosen)]
    narrowed = narrowing(*((len(rows), len(side)) for rows, side in zip(chosen, cells, strict=True)))
    rates = [
        np.vstack([side.mean(axis=0), drawn @ side[rows] / len(rows)])
        for side, rows, drawn in zip(cells, chosen, weights, strict=True)
    ]
    changes = np.abs(rates[1] - rates[0]).mean(axis=1)
    columns = list(itertools.combinations(range(len(names)), 2))
    real, synthetic = (
        np.vstack([_together(side, np.ones((1, len(side))), columns), _together(side[rows], drawn, columns)])
        for side, rows, drawn in zip(cells, chosen, weights, strict=True)
    )
    overall = np.abs(synthetic - real).mean(axis=1) if columns else None
    return Missingness(
        columns=len(names),
        rate_change=measured(float(changes[0]), changes[1:], size, within=(0, 1), narrowed=narrowed),
        pair_change=None
        if overall is None
        else measured(float(overall[0]), overall[1:], size, within=(0, 1), narrowed=narrowed),
        pairs=_most_changed(
            [(names[first], names[second]) for first, second in columns], real, synthetic, size, narrowed
        ),
    )


def _missing(table: pd.DataFrame, data: EvaluationData) -> npt.NDArray[np.bool_]:
    """Return which cells are missing, shape (rows, columns)."""
    cells = [
        np.isnan(numbers(table[name])) if name in data.numeric else labels(table[name]) == MISSING
        for name in data.schema.names
    ]
    return np.column_stack(cells)


def _together(missing: Floats, weights: Floats, columns: list[tuple[int, int]]) -> Floats:
    """Return the fraction of patients for whom both columns of a pair are missing, shape (resamples, pairs)."""
    if not columns:
        return np.zeros((0, 0))
    pairs = tuple(zip(*columns, strict=True))
    return np.stack([_both(missing, row)[pairs] for row in weights])


def _most_changed(
    names: list[tuple[str, str]], real: Floats, synthetic: Floats, size: int, narrowed: float
) -> tuple[MissingPair, ...]:
    """Return the `LISTED_PAIRS` pairs that changed most.

    Args:
        names: of every pair.
        real, synthetic: fraction of patients for whom both are missing, in the tables as they are (first) and in
            resamples; shape (1 + resamples, pairs).
        size: patients that a change rests on.
        narrowed: factor of the intervals.
    """
    if not names:
        return ()
    changes = synthetic - real
    listed = np.argsort(-np.abs(changes[0]), kind="stable")[:LISTED_PAIRS]
    return tuple(
        MissingPair(
            names[index][0],
            names[index][1],
            round(float(real[0, index]), 4),
            round(float(synthetic[0, index]), 4),
            measured(float(changes[0, index]), changes[1:, index], size, within=(-1, 1), narrowed=narrowed),
        )
        for index in listed
    )


def _both(missing: Floats, weights: Floats) -> Floats:
    """Return the weighted fraction of rows for which both of two columns are missing, shape (columns, columns)."""
    return np.asarray(missing.T @ (missing * weights[:, None]) / len(missing))
