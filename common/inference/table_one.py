"""Table One of a run from its released sums: who the patients of all hospitals are, with intervals that hold the noise.

Everything is computed from `RunCounts`, so it costs no epsilon. Percentages are of the patients with a known value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from common.arrays import Integers
from common.columns.base import Column
from common.errors import StudyError
from common.inference.counts import RunCounts, Table
from common.inference.noisy import UNKNOWN, Interval, NoisyCounts
from common.inference.numbers import NumberFigures, Numbers
from common.study.study import Study

QUARTILES = (0.25, 0.5, 0.75)

THRESHOLD = 10
"""Patients. A cell of fewer, by its noisy count, is not shown: noise would be most of it."""

MOST_GROUPS = 12
"""Most groups side by side."""

OVERALL = "all"

NUMBER_STATISTICS = ("mean", "sd", "q25", "median", "q75")


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of one group.

    Attributes:
        patients: how many the figure is about or, of a category, how many have it; rounded.
        interval: of the figure; unknown where noise hides it. A standard deviation has no interval of its own: both
            limits are NaN.
        is_suppressed: whether there are fewer than the threshold: the rest is then not shown.
        is_counted: whether the run counted the column by the labels of the groups, not only by merged ones.
    """

    patients: int
    interval: Interval
    is_suppressed: bool = False
    is_counted: bool = True


NOT_COUNTED = Figure(0, UNKNOWN, is_counted=False)


@dataclass(frozen=True, slots=True)
class TableLine:
    """One line of the table.

    Attributes:
        variable: column.
        statistic: "percent", "mean", "sd", "q25", "median", "q75" or "missing".
        level: category; "" for numbers.
        decimals: digits of the figures.
        cells: of all patients, then of each group.
    """

    variable: str
    statistic: str
    level: str
    decimals: int
    cells: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class TableOne:
    """Table One.

    Attributes:
        by: column of the groups; None for all patients only.
        groups: names of the groups, all patients first.
        sizes: patients of each group, with the interval of the noise alone.
        rows: by variable, in schema order.
        threshold: patients below which a cell is not shown.
        notes: what a reader has to know about this run.
    """

    by: str | None
    groups: tuple[str, ...]
    sizes: tuple[Interval, ...]
    rows: tuple[TableLine, ...]
    threshold: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """One column in one group of patients.

    Attributes:
        counts: patients per cell.
        units: which unit of the column each cell is of: codes, or groups of codes where tables hold no finer ones.
        mine: whether a cell is of the group.
    """

    counts: NoisyCounts
    units: Integers
    mine: npt.NDArray[np.bool_]

    def percent(self, part: npt.NDArray[np.bool_], whole: npt.NDArray[np.bool_]) -> Figure:
        """Return the percentage of some units among others.

        Args:
            part, whole: whether each unit is meant, shape (units,).
        """
        chosen, among = ((units[self.units] & self.mine).astype(np.float64) for units in (part, whole))
        proportion = self.counts.proportion(chosen, among)
        of_hundred = Interval(100 * proportion.value, 100 * proportion.low, 100 * proportion.high)
        return Figure(max(0, round(float(chosen @ self.counts.counts))), of_hundred)


def table_one(run: RunCounts, study: Study, by: str | None = None, threshold: int = THRESHOLD) -> TableOne:
    """Return Table One of all patients, and of those with each label of a column.

    Args:
        run: released sums of a run.
        study: its study.
        by: column of labels whose groups are shown side by side.
        threshold: patients below which a cell is not shown.

    Raises:
        StudyError: `by` is no column of labels, or was not counted with another column.
    """
    labels = () if by is None else group_labels(run, study, by)
    sizes = [run.patients.size(np.ones(1))]
    if by is not None:
        of_by = run.column(by)
        sizes += [of_by.size(np.eye(len(of_by.counts))[number]) for number in range(len(labels))]
    columns = [column for column in study.table.each() if column.name != by]
    rows = [row for column in columns for row in _rows(run, column, by, len(labels))]
    notes = run.notes
    merged = dict.fromkeys(row.variable for row in rows if not row.cells[-1].is_counted)
    if merged:
        notes += (f"the run counted {', '.join(merged)} with labels of '{by}' in merged groups only",)
    shown = tuple(_suppressed(row, threshold) for row in rows)
    return TableOne(by, (OVERALL, *labels), tuple(sizes), shown, threshold, notes)


def group_labels(run: RunCounts, study: Study, name: str) -> tuple[str, ...]:
    """Return the labels of a column that groups patients.

    Args:
        run: released sums of a run.
        study: its study.
        name: name of the column.

    Raises:
        StudyError: there is no such column, it has no labels, or more than can be shown side by side.
    """
    run.index(name)
    labels = study.table[name].labels
    if not labels or run.parts(name).labels[: len(labels)] != labels:
        raise StudyError(f"column '{name}' has no labels to group by; choose a categorical or boolean column")
    if len(labels) > MOST_GROUPS:
        raise StudyError(f"column '{name}' has {len(labels)} labels, more than {MOST_GROUPS}; choose another column")
    return labels


def _rows(run: RunCounts, column: Column, by: str | None, groups: int) -> Iterator[TableLine]:
    """Yield the lines of one column; `groups` is the number of groups besides all patients."""
    parts, overall = run.parts(column.name), run.column(column.name)
    table = None if by is None else run.table((column.name, by))
    if table is not None and not table.is_whole(1):  # its groups are not the labels of `by`
        overall_rows = _rows(run, column, None, 0)
        yield from (replace(row, cells=(*row.cells, *[NOT_COUNTED] * groups)) for row in overall_rows)
        return
    unit_of_code = np.arange(int(parts.codes.max()) + 1) if table is None else table.maps[0]
    units = unit_of_code[parts.codes]
    views = [_View(overall, units, np.ones(len(units), dtype=np.bool_))]
    if table is not None:
        rows, groups_of = np.divmod(np.arange(len(table.counts.counts)), table.shape[1])
        views += [_View(table.counts, rows, groups_of == number) for number in range(groups)]
    is_missing = np.array([parts.is_missing[units == unit].all() for unit in range(int(units.max()) + 1)])
    if len(parts.is_number):
        yield from _number_rows(column, Numbers(parts, overall), table, views)
    else:
        for unit in np.flatnonzero(~is_missing).tolist():
            label = " / ".join(parts.labels[part] for part in np.flatnonzero(units == unit))
            chosen = np.arange(len(is_missing)) == unit
            yield TableLine(
                column.name, "percent", label, 1, tuple(view.percent(chosen, ~is_missing) for view in views)
            )
    if is_missing.any():
        everyone = np.ones(len(is_missing), dtype=np.bool_)
        yield TableLine(column.name, "missing", "", 1, tuple(view.percent(is_missing, everyone) for view in views))


def _number_rows(column: Column, numbers: Numbers, table: Table | None, views: list[_View]) -> Iterator[TableLine]:
    """Yield mean, standard deviation and quartiles of a column of numbers."""
    figures = [numbers.overall(QUARTILES)]
    if table is not None:
        figures += [numbers.of_group(table, view.mine.astype(np.float64), QUARTILES) for view in views[1:]]
    assert column.grid is not None, "a column of numbers"
    digits = column.grid.decimals
    cells = [_number_cells(found) for found in figures]
    for number, statistic in enumerate(NUMBER_STATISTICS):
        decimals = digits + (statistic in ("mean", "sd"))
        yield TableLine(column.name, statistic, "", decimals, tuple(of_group[number] for of_group in cells))


def _number_cells(figures: NumberFigures) -> list[Figure]:
    """Return one cell for each of `NUMBER_STATISTICS`."""
    deviation = Interval(figures.deviation, math.nan, math.nan)
    patients = max(0, round(figures.patients))
    return [Figure(patients, interval) for interval in (figures.mean, deviation, *figures.quantiles)]


def _suppressed(row: TableLine, threshold: int) -> TableLine:
    """Return the row without the figures of cells of fewer patients than the threshold."""
    cells = (
        Figure(0, UNKNOWN, is_suppressed=True) if cell.is_counted and cell.patients < threshold else cell
        for cell in row.cells
    )
    return replace(row, cells=tuple(cells))
