"""Measurements: the noisy marginals that a synthesizer must meet. All of this is post-processing of released sums.

The number of patients is estimated from the noisy tables, never taken as known. The tables are used as they came: the
generator, a mixture that must meet all of them at once, is what takes the noise out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from common.arrays import Floats, Integers
from common.columns.histograms import project_to_simplex
from common.errors import WireError
from common.marginals.latent_classes import ClassTables
from common.marginals.queries import Domain, Query, centered, split

LEAST_DEVIATION = 1e-9
"""Standard deviation, in patients, that replaces zero in divisions: tables without noise then weigh the same."""


@dataclass(frozen=True, slots=True)
class PhaseTables:
    """The tables that one phase of a run released together.

    Args:
        phase: name of the phase.
        queries: what was counted, in the order of the released vector.
        deviations: of each query, standard deviation of the noise in a cell of the sum over hospitals, in patients:
            sigma over the query's weight, before centering, which takes a part of the noise out too.
    """

    phase: str
    queries: tuple[Query, ...]
    deviations: tuple[float, ...]

    @classmethod
    def counted(cls, phase: str, queries: tuple[Query, ...], sigma: float) -> PhaseTables:
        """Return the tables of a vector to every cell of which noise of that standard deviation was added.

        Args:
            phase: name of the phase.
            queries: what the vector's tables count, in order.
            sigma: standard deviation of the noise in each cell, in patients.
        """
        return cls(phase, queries, tuple(sigma / query.weight for query in queries))


@dataclass(frozen=True)
class Measurements:
    """Released noisy sums over hospitals.

    Args:
        domain: how many codes each column has.
        queries: what was counted; every single column comes first.
        sums: their tables, flattened one after the other, int64.
        deviations: the noise's standard deviation in each query's cells, in patients, as in `PhaseTables`.
        phases: which phase of the run each query came with. Hospitals may come and go between phases, so proportions
            are of each phase's own total. If not given, all queries came with one phase.
        classes: tables of latent classes, where hospitals put patients in classes.
        steps: of a table of visits, tables of the steps from a visit to the next (`common.marginals.histories`).
    """

    domain: Domain
    queries: tuple[Query, ...]
    sums: Integers
    deviations: tuple[float, ...]
    phases: tuple[str, ...] = ()
    steps: Measurements | None = None
    classes: ClassTables | None = None

    @classmethod
    def of_phases(cls, domain: Domain, phases: Sequence[PhaseTables], sums: Integers) -> Measurements:
        """Return the measurements of several phases.

        Args:
            domain: how many codes each column has.
            phases: tables of each phase, in the order in which they were released.
            sums: the tables of all phases, flattened one after the other, int64.

        Raises:
            WireError: the sums are not as long as the tables.
        """
        queries = tuple(query for tables in phases for query in tables.queries)
        if domain.cells(queries) != len(sums):
            raise WireError("the measurements are not as long as their tables")
        deviations = tuple(deviation for tables in phases for deviation in tables.deviations)
        return cls(domain, queries, sums, deviations, tuple(tables.phase for tables in phases for _ in tables.queries))

    @cached_property
    def totals(self) -> dict[str, float]:
        """Estimated patients by phase: the sums of its tables, averaged with the inverse of their noise variances.

        Centered tables sum to zero and say nothing.
        """
        estimates: dict[str, list[tuple[float, float]]] = {}
        rows = zip(self._phase_names, self.queries, self._tables, self.deviations, strict=True)
        for phase, query, table, deviation in rows:
            if not self.domain.centered_axes(query):
                variance = table.size * max(deviation, LEAST_DEVIATION) ** 2
                estimates.setdefault(phase, []).append((float(table.sum()), 1 / variance))
        return {
            phase: max(1.0, sum(total * weight for total, weight in pairs) / sum(weight for _, weight in pairs))
            for phase, pairs in estimates.items()
        }

    @cached_property
    def total(self) -> float:
        """Estimated patients in the first phase."""
        return self.totals[self._phase_names[0]]

    @cached_property
    def _reference(self) -> int:
        """Index of the first table of several columns, or else of the first table."""
        return next((number for number, query in enumerate(self.queries) if len(query.columns) > 1), 0)

    @property
    def noise(self) -> float:
        """Standard deviation of a proportion in the first table of several columns, if there is one."""
        return self.deviations[self._reference] / self.totals[self._phase_names[self._reference]]

    @cached_property
    def precisions(self) -> list[float]:
        """Inverse noise variance of each column's tables together, as `precision` measures it."""
        precisions = [0.0] * len(self.domain.sizes)
        for query, deviation in zip(self.queries, self.deviations, strict=True):
            if len(query.columns) == 1:
                precisions[query.columns[0]] += self.precision(deviation)
        return precisions

    def precision(self, deviation: float) -> float:
        """Return the inverse noise variance, relative to that of the table whose noise is `noise`."""
        return (max(self.deviations[self._reference], LEAST_DEVIATION) / max(deviation, LEAST_DEVIATION)) ** 2

    @cached_property
    def singles(self) -> list[Floats]:
        """Each column's proportions: the mean of its tables by inverse variance, projected to the simplex."""
        means = [np.zeros(size) for size in self.domain.sizes]
        for query, proportions, deviation in zip(self.queries, self._raw_proportions, self.deviations, strict=True):
            if len(query.columns) == 1:
                (column,) = query.columns
                means[column] += proportions * (self.precision(deviation) / self.precisions[column])
        return [project_to_simplex(mean, 1.0) for mean in means]

    def proportions(self) -> list[Floats]:
        """Return every query's table as proportions of the patients.

        The first table of each column is on the simplex; all others are as they came.
        """
        return [*self.singles, *self._raw_proportions[len(self.domain.sizes) :]]

    def tables(self) -> Iterator[tuple[Query, Floats, float]]:
        """Yield every query with its noisy proportions and the standard deviation of their noise.

        What centering took out of a pair is put back from the single columns. A centered triple stays centered.
        """
        rows = zip(self.queries, self._raw_proportions, self.deviations, self._phase_names, strict=True)
        for query, proportions, deviation, phase in rows:
            axes = self.domain.centered_axes(query)
            if axes and len(query.columns) == 2:
                independent = np.multiply.outer(*self._grouped_singles(query))
                proportions = proportions + independent - centered(independent, axes)
            yield query, proportions, deviation / self.totals[phase]

    @property
    def _phase_names(self) -> tuple[str, ...]:
        return self.phases or ("",) * len(self.queries)

    @cached_property
    def _tables(self) -> list[Floats]:
        """Each query's table in patients, without its weight; noise may be anything, so centered ones are made so."""
        tables = zip(self.queries, split(self.sums, self.queries, self.domain), strict=True)
        return [centered(table / query.weight, self.domain.centered_axes(query)) for query, table in tables]

    @cached_property
    def _raw_proportions(self) -> list[Floats]:
        return [table / self.totals[phase] for phase, table in zip(self._phase_names, self._tables, strict=True)]

    def _grouped_singles(self, query: Query) -> list[Floats]:
        maps = [(self.singles[column], self.domain.groups(column, query.groups)) for column in query.columns]
        return [np.bincount(groups, weights=single).astype(np.float64) for single, groups in maps]
