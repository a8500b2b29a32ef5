"""The distances of longitudinal fidelity: transitions, visits per patient, gaps, and what the first visit says.

All are between real and synthetic patients; 0 is best. Chance makes them positive: read them beside what as many real
patients reach.
"""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np

from common.arrays import Floats, Integers
from common.evaluation.fidelity.marginals import COLUMN_SETS_SEED, MOST_COLUMN_SETS
from common.evaluation.statistics.codes import QUANTILE_BINS
from common.evaluation.statistics.intervals import Estimate
from common.evaluation.visits.coding import CodedHistories, Units
from common.evaluation.visits.tables import CellsOf, estimate_of, mean_distance, transition_error, weights_of

Pair = tuple[int, int]


def chosen_pairs(pairs: list[Pair]) -> list[Pair]:
    """Return the pairs of columns that are compared: all, or `MOST_COLUMN_SETS` of them with a fixed seed."""
    if len(pairs) <= MOST_COLUMN_SETS:
        return pairs
    drawn = np.random.default_rng(COLUMN_SETS_SEED).choice(len(pairs), MOST_COLUMN_SETS, replace=False)
    return [pairs[index] for index in sorted(drawn)]


def _step_cells(side: CodedHistories, rows: Integers, *, pair: Pair) -> Integers:
    """Return the cell of (one column at a visit, another at the next visit)."""
    now, following = pair
    return np.asarray(side.visit[rows, now] * side.visit_sizes[following] + side.visit[rows + 1, following])


def _ends_cells(side: CodedHistories, rows: Integers, *, column: int) -> Integers:
    """Return the cell of (a column at the first visit, the same at the last visit)."""
    return np.asarray(side.visit[rows, column] * side.visit_sizes[column] + side.visit[side.last_of(rows), column])


def _static_cells(side: CodedHistories, rows: Integers, *, pair: Pair) -> Integers:
    """Return the cell of (a static column, a visit column)."""
    static, visit = pair
    return np.asarray(side.static[rows, static] * side.visit_sizes[visit] + side.visit[rows, visit])


def _length_cells(side: CodedHistories, rows: Integers) -> Integers:
    return side.histories.lengths[side.histories.patient_of_visit[rows]]


def _by_visit(side: CodedHistories) -> Units:
    return side.by_visit


def _by_transition(side: CodedHistories) -> Units:
    return side.by_transition


def _by_patient(side: CodedHistories) -> Units:
    return side.by_patient


def _by_returning_patient(side: CodedHistories) -> Units:
    return side.by_returning_patient


def state_transition_error(real: CodedHistories, synthetic: CodedHistories) -> Estimate | None:
    """Return the mean `transition_error` over visit columns; None if no real patient has two visits."""
    units = real.by_transition, synthetic.by_transition
    if not len(units[0].rows):
        return None
    errors = []
    for column, size in enumerate(real.visit_sizes):
        cells = [
            _step_cells(side, own.rows, pair=(column, column))
            for side, own in zip((real, synthetic), units, strict=True)
        ]
        occupied, tables = weights_of(cells, [own.draws for own in units])
        errors.append(transition_error(occupied, size, *tables))
    return estimate_of(errors, real, synthetic)


def transition_distance(real: CodedHistories, synthetic: CodedHistories) -> Estimate | None:
    """Return the mean TVD of (a column at a visit, the same at the next visit) over visit columns."""
    cells = [partial(_step_cells, pair=(column, column)) for column in range(len(real.visit_sizes))]
    return mean_distance(real, synthetic, _by_transition, cells)


def cross_transition_distance(real: CodedHistories, synthetic: CodedHistories) -> Estimate | None:
    """Return the mean TVD of (a column at a visit, another at the next visit) over ordered pairs of visit columns."""
    pairs = chosen_pairs(list(itertools.permutations(range(len(real.visit_sizes)), 2)))
    return mean_distance(real, synthetic, _by_transition, [partial(_step_cells, pair=pair) for pair in pairs])


def static_distance(real: CodedHistories, synthetic: CodedHistories) -> Estimate | None:
    """Return the mean TVD of (a static column, a visit column); None without static columns."""
    pairs = chosen_pairs(list(itertools.product(range(real.static.shape[1]), range(len(real.visit_sizes)))))
    return mean_distance(real, synthetic, _by_visit, [partial(_static_cells, pair=pair) for pair in pairs])


def ends_distance(real: CodedHistories, synthetic: CodedHistories) -> Estimate | None:
    """Return the mean TVD of (a column at the first visit, the same at the last) over patients who return."""
    cells = [partial(_ends_cells, column=column) for column in range(len(real.visit_sizes))]
    return mean_distance(real, synthetic, _by_returning_patient, cells)


def length_distance(real: CodedHistories, synthetic: CodedHistories) -> Estimate | None:
    """Return the TVD of the number of visits per patient."""
    cells: list[CellsOf] = [_length_cells]
    return mean_distance(real, synthetic, _by_patient, cells)


def gaps_of(side: CodedHistories) -> Floats:
    """Return the time from every visit to the next one of the same patient, shape (transitions,)."""
    return _gaps(side, side.histories.with_next)


def _gaps(side: CodedHistories, rows: Integers) -> Floats:
    return side.histories.times[rows + 1] - side.histories.times[rows]


def gap_distance(real: CodedHistories, synthetic: CodedHistories) -> Estimate | None:
    """Return the TVD of the time between two visits, in 16 quantile bins of the real patients."""
    if not len(real.by_transition.rows):
        return None
    edges = np.unique(np.quantile(gaps_of(real), np.linspace(0, 1, QUANTILE_BINS + 1)))

    def cells(side: CodedHistories, rows: Integers) -> Integers:
        gaps = _gaps(side, rows)
        below, above = np.searchsorted(edges, gaps, side="left"), np.searchsorted(edges, gaps, side="right")
        return np.asarray(below + above, dtype=np.int64)  # odd on an edge, so that a regular clock is a cell of its own

    return mean_distance(real, synthetic, _by_transition, [cells])
