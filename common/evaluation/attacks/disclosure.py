"""Attacks that succeed or fail: attribute inference, linkability, singling out.

Each follows the idea of Giomi et al. (2023, "A Unified Framework for Quantifying Privacy Risk in Synthetic Data",
PoPETs; the library anonymeter): the same attack on training rows and on held-out rows, so that what holds for the whole
population is not counted as a leak. Every target is attacked once, so trials are as independent as patients are.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from common.arrays import Floats, Integers
from common.evaluation.attacks.embedding import Flags, NumericCells, ranks
from common.evaluation.attacks.outcome import Outcome, TargetScores
from common.evaluation.attacks.setup import AttackerTable, AttackSetup
from common.evaluation.statistics.codes import QUANTILE_BINS

TOLERANCE = 0.05
"""A guessed number counts as right if its rank differs by at most this fraction of the real rows."""

SPLITS = 4
"""Ways to divide the columns between the two data holders whose rows are linked."""

RARE = 3
"""Values that at most this many rows of the attacker's table have are tried: a patient may have been copied twice."""

COLUMN_SETS = 8
"""Random sets of columns for predicates on several columns."""

LARGEST = 1 << 62
"""Numbers of rows stay below this; 64-bit integers end at twice as much."""

SPECIFIC = 0.90
"""Predicates use as many columns as it takes to make this fraction of the attacker's rows unique."""

Hits = Callable[[AttackSetup, AttackerTable, NumericCells], Flags]


def _in_arms(setup: AttackSetup, attack: Hits) -> Outcome:
    """Attack training and held-out targets with the synthetic table, and training targets with the baseline."""
    train, control = setup.train.rows(setup.train_targets), setup.control.rows(setup.control_targets)
    arms = [
        TargetScores(np.arange(len(targets)), attack(setup, attacker, targets).astype(np.float64))
        for attacker, targets in ((setup.synthetic, train), (setup.synthetic, control), (setup.baseline, train))
    ]
    nothing = TargetScores(np.empty(0, dtype=np.int64), np.empty(0))
    return Outcome(arms[0], arms[1], arms[2], nothing)


def infer_attribute(setup: AttackSetup) -> Outcome:
    """Infer one column of a patient, whose other columns are known, from the closest row. Columns take turns."""
    return _in_arms(setup, _infer)


def _infer(setup: AttackSetup, attacker: AttackerTable, targets: NumericCells) -> Flags:
    columns = len(setup.schema.modeled)
    secrets = setup.rng("secrets", str(len(targets))).permutation(np.arange(len(targets)) % columns)
    points = attacker.embedding.points(targets)
    hits = np.zeros(len(targets), dtype=bool)
    for secret in range(columns):
        tried = np.flatnonzero(secrets == secret)
        if not len(tried):
            continue
        closest = attacker.closest_in(np.delete(np.arange(columns), secret), points[tried])
        hits[tried] = _is_right(setup, secret, attacker.cells.values[closest, secret], targets.values[tried, secret])
    return hits


def _is_right(setup: AttackSetup, column: int, guessed: Floats, truth: Floats) -> Flags:
    """Return which guesses are right: equal, both missing, or within `TOLERANCE` in rank among the real rows."""
    if setup.schema.modeled[column].grid is None:
        return np.asarray(guessed == truth)
    real = np.concatenate([setup.train.values[:, column], setup.control.values[:, column]])
    real = np.sort(real[~np.isnan(real)])
    apart = np.abs(ranks(guessed, real) - ranks(truth, real))
    both = ~np.isnan(guessed) & ~np.isnan(truth)
    is_close = both & ((guessed == truth) | (apart <= TOLERANCE))
    return np.asarray(is_close | (np.isnan(guessed) & np.isnan(truth)))


def link(setup: AttackSetup) -> Outcome:
    """Link two data sets with half of the columns each: rows are linked if their closest synthetic row is the same."""
    return _in_arms(setup, _link)


def _link(setup: AttackSetup, attacker: AttackerTable, targets: NumericCells) -> Flags:
    columns = len(setup.schema.modeled)
    points = attacker.embedding.points(targets)
    hits = np.zeros(len(targets), dtype=bool)
    for split in range(SPLITS):
        tried = np.arange(split, len(targets), SPLITS)
        order = setup.rng("split", str(split)).permutation(columns)
        halves = order[: columns // 2], order[columns // 2 :]
        first, second = (attacker.closest_in(half, points[tried]) for half in halves)
        hits[tried] = first == second
    return hits


def single_out_by_value(setup: AttackSetup) -> Outcome:
    """Single out a patient by one column: a value that few synthetic rows have, or one beyond the extremes.

    A predicate singles out a target if it is true of the target and of no other real row, training or held-out. The
    pool is the same for both arms, so without a leak they succeed equally often, whatever the numbers of rows.
    """
    return _in_arms(setup, _single_out_by_value)


def _single_out_by_value(setup: AttackSetup, attacker: AttackerTable, targets: NumericCells) -> Flags:
    hits = np.zeros(len(targets), dtype=bool)
    for index, column in enumerate(setup.schema.each()):
        real = np.concatenate([setup.train.values[:, index], setup.control.values[:, index]])
        table, pool, targeted = (
            _no_missing(values) for values in (attacker.cells.values[:, index], real, targets.values[:, index])
        )
        hits |= _is_alone(targeted, _rare(table), pool)
        if column.grid is not None:
            present = table[table != MISSING_NUMBER]
            for sign in (1.0, -1.0):
                if len(present):
                    hits |= _is_extreme(sign, targeted, present, pool)
    return hits


MISSING_NUMBER = np.inf
"""Stands for a missing number, so that missing cells are equal to each other."""


def _no_missing(values: Floats) -> Floats:
    return np.where(np.isnan(values), MISSING_NUMBER, values)


def _rare(table: Floats) -> Floats:
    """Return the values that at most `RARE` rows have."""
    distinct, counts = np.unique(table, return_counts=True)
    return distinct[counts <= RARE]


def _is_alone(targeted: Floats, offered: Floats, pool: Floats) -> Flags:
    """Return which targets have an offered value that no other row of the pool has; the pool includes the targets."""
    distinct, counts = np.unique(pool, return_counts=True)
    return np.asarray(np.isin(targeted, offered) & (counts[np.searchsorted(distinct, targeted)] == 1))


def _is_extreme(sign: float, targeted: Floats, present: Floats, pool: Floats) -> Flags:
    """Return which targets are alone at or beyond the extreme of the attacker's table; `sign` is 1 for the largest."""
    limit = (sign * present).max()
    is_beyond = (targeted != MISSING_NUMBER) & (sign * targeted >= limit)
    return np.asarray(is_beyond & (((pool != MISSING_NUMBER) & (sign * pool >= limit)).sum() == 1))


def single_out_by_combination(setup: AttackSetup) -> Outcome:
    """Single out a patient by several columns: a combination that few rows of the attacker's table have.

    Numbers are given as one of 16 quantile ranges of that table. Each target is tried with one of eight random sets of
    columns, large enough to make nine in ten of the table's rows unique. The pool is all real rows.
    """
    return _in_arms(setup, _single_out_by_combination)


def _single_out_by_combination(setup: AttackSetup, attacker: AttackerTable, targets: NumericCells) -> Flags:
    real = NumericCells(np.concatenate([setup.train.values, setup.control.values]))
    table, pool, target_bins = (_binned(cells, attacker) for cells in (attacker.cells, real, targets))
    size = _columns_needed(table, setup)
    hits = np.zeros(len(targets), dtype=bool)
    for index in range(COLUMN_SETS):
        chosen = setup.rng("columns", str(index)).permutation(table.shape[1])[:size]
        tried = np.arange(index, len(targets), COLUMN_SETS)
        of_table, of_pool, targeted = _numbered(table[:, chosen], pool[:, chosen], target_bins[tried][:, chosen])
        hits[tried] = _is_alone(targeted, _rare(of_table), of_pool)
    return hits


def _binned(cells: NumericCells, attacker: AttackerTable) -> Integers:
    """Return categories unchanged and numbers as quantile ranges of the attacker's table; missing is its own range."""
    binned = []
    for index, sorted_values in enumerate(attacker.embedding.basis):
        values = cells.values[:, index]
        if sorted_values is None:
            binned.append(values.astype(np.int64))
            continue
        cuts = np.linspace(0, 1, QUANTILE_BINS + 1)[1:-1]
        edges = np.unique(np.quantile(sorted_values, cuts)) if len(sorted_values) else np.empty(0)
        binned.append(np.where(np.isnan(values), -1, np.searchsorted(edges, values, side="right")))
    return np.column_stack(binned).astype(np.int64)


def _columns_needed(table: Integers, setup: AttackSetup) -> int:
    """Return the number of columns that makes `SPECIFIC` of the rows unique, averaged over sets; else all columns."""
    columns = int(table.shape[1])
    order = [setup.rng("columns", str(index)).permutation(columns) for index in range(COLUMN_SETS)]
    numbers = [np.zeros(len(table), dtype=np.int64)] * COLUMN_SETS
    for size in range(1, columns):
        numbers = [_refined(rows, table[:, chosen[size - 1]]) for rows, chosen in zip(numbers, order, strict=True)]
        alone = [float((~pd.Series(rows).duplicated(keep=False)).sum() / len(table)) for rows in numbers]
        if size > 1 and sum(alone) >= SPECIFIC * len(alone):
            return size
    return columns


def _refined(rows: Integers, column: Integers) -> Integers:
    """Return one number from 0 up per row, equal where the earlier number and the column are equal."""
    cells = column - column.min()
    size = int(cells.max()) + 1
    if int(rows.max()) >= LARGEST // size:
        rows = pd.factorize(rows)[0].astype(np.int64)  # without gaps
    return np.asarray(rows * size + cells)


def _numbered(*tables: Integers) -> list[Floats]:
    """Return one number per row, equal exactly where rows are equal, over all tables."""
    together = np.concatenate(tables)
    rows = np.zeros(len(together), dtype=np.int64)
    for column in range(together.shape[1]):
        rows = _refined(rows, together[:, column])
    ends = np.cumsum([len(table) for table in tables])
    return [numbers.astype(np.float64) for numbers in np.split(pd.factorize(rows)[0], ends[:-1])]
