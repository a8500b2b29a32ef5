"""Missing values: how often a cell is missing, and which columns are missing together."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.evaluation.statistics.intervals import Estimate
from common.evaluation.statistics.resampling import RESAMPLES, measured, resamples
from common.evaluation.statistics.values import MISSING, Floats, labels, numbers
from common.study.schema import Schema

LISTED_PAIRS = 8


@dataclass(frozen=True, slots=True)
class MissingPair:
    """Two columns, and the share of patients for whom both are missing."""

    first: str
    second: str
    real: float
    synthetic: float
    change: Estimate


@dataclass(frozen=True, slots=True)
class Missingness:
    """How well missing values are imitated; 0.0 is best.

    `rate_change`: mean absolute change of the missing rate over the columns that may be missing. `pair_change`: the
    same over pairs of them, of the share of patients for whom both are missing. `pairs`: those that changed most.
    """

    columns: int
    rate_change: Estimate
    pair_change: Estimate | None
    pairs: tuple[MissingPair, ...]


def measure_missingness(train: pd.DataFrame, synthetic: pd.DataFrame, schema: Schema) -> Missingness | None:
    """None if nothing is missing in either table."""
    gone = [_missing(table, schema) for table in (train, synthetic)]
    kept = np.flatnonzero(gone[0].any(axis=0) | gone[1].any(axis=0))
    if not len(kept):
        return None
    names, size = [schema.names[place] for place in kept], min(len(train), len(synthetic))
    cells = [side[:, kept].astype(np.float64) for side in gone]
    weights = [
        np.vstack([np.ones(len(side)), resamples(len(side), RESAMPLES, "missing", str(place))])
        for place, side in enumerate(cells)
    ]
    places = list(itertools.combinations(range(len(names)), 2))
    rates = [row @ side / len(side) for row, side in zip(weights, cells, strict=True)]
    changes = np.abs(rates[1] - rates[0]).mean(axis=1)
    together = [
        np.stack([_both(side, row)[tuple(zip(*places, strict=True))] for row in rows]) if places else np.zeros((0, 0))
        for side, rows in zip(cells, weights, strict=True)
    ]
    by_pair = together[1] - together[0]
    pairs = [
        MissingPair(
            names[first],
            names[second],
            round(float(together[0][0, place]), 4),
            round(float(together[1][0, place]), 4),
            measured(float(by_pair[0, place]), by_pair[1:, place], size, least=-1, most=1),
        )
        for place, (first, second) in enumerate(places)
    ]
    pairs.sort(key=lambda pair: -abs(pair.change.value))
    overall = np.abs(by_pair).mean(axis=1) if places else None
    return Missingness(
        columns=len(names),
        rate_change=measured(float(changes[0]), changes[1:], size, least=0, most=1),
        pair_change=None if overall is None else measured(float(overall[0]), overall[1:], size, least=0, most=1),
        pairs=tuple(pairs[:LISTED_PAIRS]),
    )


def _missing(table: pd.DataFrame, schema: Schema) -> npt.NDArray[np.bool_]:
    cells = [
        labels(table[column.name]) == MISSING if column.grid is None else np.isnan(numbers(table[column.name]))
        for column in schema.each()
    ]
    return np.column_stack(cells)


def _both(gone: Floats, weights: Floats) -> Floats:
    return np.asarray(gone.T @ (gone * weights[:, None]) / len(gone))
