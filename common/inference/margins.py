"""Released tables of several columns, and their margins. Post-processing of released sums."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from common.arrays import Floats
from common.inference.noisy import NoisyCounts
from common.marginals.queries import Domain, Query, split
from common.planning.phases import COARSE, COARSE_TRIPLES, PAIRS, TRIPLES, PublicRun, vector_phase

COUNTED = (COARSE, PAIRS, COARSE_TRIPLES, TRIPLES)
"""Phases that count patients by the codes of some columns."""

LEAST_DEVIATION = 1e-3
"""Patients. Stands for the noise of a run without noise, so that precisions stay finite."""

AS_MANY = 5.0
"""Standard deviations by which a phase's number of patients may differ from that of the histograms. Beyond, other
hospitals took part in it."""


@dataclass(frozen=True, slots=True, eq=False)
class ReleasedTable:
    """One released table.

    Attributes:
        phase: that released it.
        query: its columns and their groups.
        values: patients, one axis for each column.
        deviation: standard deviation of the noise in each cell, in patients.
    """

    phase: str
    query: Query
    values: Floats
    deviation: float


@dataclass(frozen=True, slots=True, eq=False)
class Margin:
    """A released table's sums over all columns but some.

    Attributes:
        kept: the columns that it still has, in the order of its axes.
        groups: as in `Query`, of each column.
        centered: along which of its axes it was counted less its mean.
        values: patients, one axis for each kept column.
        variance: of the noise in each of its cells.
    """

    kept: tuple[int, ...]
    groups: int
    centered: frozenset[int]
    values: Floats
    variance: float


def noise_deviation(public: PublicRun, phase: str) -> float:
    """Return the standard deviation of the noise in a count of a phase, in patients times weight.

    It is that of all hospitals' noise. Where hospitals dropped out of a masked sum there is less: intervals are then
    wider than they need to be.
    """
    return max(public.plan.total_deviation(phase), LEAST_DEVIATION)


def released_tables(public: PublicRun) -> tuple[ReleasedTable, ...]:
    """Return all released tables of columns, in patients."""
    tables = []
    for name in COUNTED:
        vector = public.released.vectors.get(name)
        if vector is None:
            continue
        queries, deviation = vector_phase(name).queries(public, vector.asked), noise_deviation(public, name)
        for query, values in zip(queries, split(vector.counts, queries, public.domain), strict=True):
            tables.append(ReleasedTable(name, query, values / query.weight, deviation / query.weight))
    return tuple(tables)


class Margins:
    """The tables of a run that counted the same patients as its histograms.

    Args:
        tables: all released tables.
        domain: codes of the columns.
        patients: all patients, by the histograms.

    Attributes:
        left_out: phases that counted other patients, because hospitals had come or gone.
    """

    def __init__(self, tables: Sequence[ReleasedTable], domain: Domain, patients: NoisyCounts) -> None:
        self._domain = domain
        phases = dict.fromkeys(table.phase for table in tables)
        self.left_out = tuple(name for name in phases if not _counts_the_same(name, tables, domain, patients))
        self._tables = tuple(table for table in tables if table.phase not in self.left_out)

    def of(self, columns: tuple[int, ...]) -> Iterator[Margin]:
        """Yield every table's sums over all other columns, axes in the order of `columns`.

        A table that is centered along another column sums to zero over it and says nothing.
        """
        for table in self._tables:
            query, centered = table.query, set(self._domain.centered_axes(table.query))
            others = tuple(axis for axis, column in enumerate(query.columns) if column not in columns)
            if centered & set(others):
                continue
            axes = [query.columns.index(column) for column in columns if column in query.columns]
            remaining = sorted(axes)
            values = np.asarray(table.values.sum(axis=others)).transpose([remaining.index(axis) for axis in axes])
            yield Margin(
                kept=tuple(query.columns[axis] for axis in axes),
                groups=query.groups,
                centered=frozenset(position for position, axis in enumerate(axes) if axis in centered),
                values=values,
                variance=table.deviation**2 * table.values.size / values.size,
            )

    def has(self, columns: tuple[int, ...], groups: int) -> bool:
        """Return whether one table holds all of these columns, in as many groups or more."""
        wanted = [self._groups(column, groups) for column in columns]
        return any(
            all(self._groups(column, query.groups) >= least for column, least in zip(columns, wanted, strict=True))
            for query in (table.query for table in self._tables)
            if set(columns) <= set(query.columns)
        )

    def _groups(self, column: int, groups: int) -> int:
        return int(self._domain.groups(column, groups)[-1]) + 1


def _counts_the_same(phase: str, tables: Sequence[ReleasedTable], domain: Domain, patients: NoisyCounts) -> bool:
    """Return whether a phase counted as many patients as the histograms did, as far as the noise tells.

    Args:
        phase: name of the phase.
        tables: all released tables.
        domain: codes of the columns.
        patients: all patients, by the histograms.
    """
    whole = [table for table in tables if table.phase == phase and not domain.centered_axes(table.query)]
    if not whole:
        return True
    weights = np.array([1 / (table.deviation**2 * table.values.size) for table in whole])
    total = float(weights @ [table.values.sum() for table in whole]) / weights.sum()
    deviation = float(patients.noise[0, 0] + 1 / weights.sum()) ** 0.5
    return bool(abs(total - patients.counts[0]) <= AS_MANY * deviation + 0.5)
