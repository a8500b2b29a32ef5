"""The phases that count patients by what a column holds at a visit and what it, or another one, holds at the next."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from common.arrays import Integers
from common.marginals.histories import count_parts, step_columns, steps_domain, weighted_steps
from common.marginals.measurements import Measurements, PhaseTables
from common.marginals.queries import Domain, Query, single_queries, split
from common.marginals.released import Asked
from common.planning.phase_types import Records, Shape, VectorPhase, require_nothing
from common.planning.plan import Plan, PlannedVector
from common.planning.public_run import PublicRun
from common.planning.sizing import LargestTable, Outlook, merged_codes
from common.study.study import Study

TRANSITIONS, CROSS_TRANSITIONS = "transitions", "cross-transitions"
"""The phases of visits; the sums of the first also say how often each code is at the start and the end of a step."""

StepPairs = Callable[[int], tuple[tuple[int, int], ...]]
"""From a number of columns to the pairs that are counted: a column at a visit, and a column at the next."""


def same_columns(columns: int) -> tuple[tuple[int, int], ...]:
    """Return every column with itself."""
    return tuple((column, column) for column in range(columns))


def cross_columns(columns: int) -> tuple[tuple[int, int], ...]:
    """Return every column with every other one, in both orders."""
    return tuple(permutations(range(columns), 2))


@dataclass(frozen=True, kw_only=True)
class TransitionsPhase(VectorPhase):
    """Counts of patients by two columns, the second of them one visit later. Only studies of visits have it.

    Sensitivity: see `common.marginals.histories`; a patient with one visit adds nothing.

    Args:
        pairs: which columns are counted together.
        groups: upper bound on the groups into which the codes of each column are merged.
    """

    pairs: StepPairs
    groups: int

    def planned(self, study: Study, outlook: Outlook) -> PlannedVector | None:
        if not study.has_visits:
            return None
        tables = len(self.pairs(len(step_columns(study.visits_table))))
        return PlannedVector.unweighted(self.name, tables, self.groups) if tables else None

    def largest(self, study: Study, plan: Plan, planned: PlannedVector) -> list[LargestTable]:
        schema = study.visits_table
        columns = [schema.modeled[number] for number in step_columns(schema)]
        sizes = [merged_codes(column.max_codes(plan.bins), column, self.groups) for column in columns]
        return [
            (sizes[now] * sizes[later], (columns[now].name, columns[later].name))
            for now, later in self.pairs(len(columns))
        ]

    def steps(self, public: PublicRun) -> tuple[Query, ...]:
        """Return the tables, over the columns of `steps_domain`."""
        columns = len(step_columns(public.study.visits_table))
        return tuple(Query((now, columns + later), self.groups) for now, later in self.pairs(columns))

    def shape(self, public: PublicRun, asked: Asked) -> Shape:
        public.planned(self.name)
        require_nothing(asked)
        queries, domain = self.steps(public), domain_of_steps(public)
        return Shape(domain.cells(queries), domain.squared_sensitivity(queries))

    def answer(self, public: PublicRun, asked: Asked, records: Records) -> Integers:
        steps = weighted_steps(records.encoded(public), public.study.visits_table)
        return count_parts(steps, self.steps(public), domain_of_steps(public))


def measured_steps(public: PublicRun, phases: Sequence[TransitionsPhase]) -> Measurements | None:
    """Return the noisy tables of steps from visit to visit released so far; None before there are any.

    Single columns come first: how often a group is at the start and the end of a step are the margins of the column's
    own table, which is divided among the group's codes as their masses say.

    Args:
        public: the run so far.
        phases: the phases of transitions.
    """
    released = [phase for phase in phases if phase.name in public.released.vectors]
    same = next((phase for phase in released if phase.name == TRANSITIONS), None)
    if same is None:
        return None
    domain, sigma, queries = domain_of_steps(public), public.plan.total_deviation(TRANSITIONS), same.steps(public)
    tables = split(public.released.counts(TRANSITIONS), queries, domain)
    sums, deviations = [], []
    for axis in (0, 1):
        for query, table in zip(queries, tables, strict=True):
            groups = domain.groups(query.columns[axis], query.groups)
            masses = np.asarray(domain.masses[query.columns[axis]])
            fractions = masses / np.bincount(groups, weights=masses)[groups]
            sums.append(np.rint(table.sum(1 - axis)[groups] * fractions).astype(np.int64))
            deviations.append(sigma * math.sqrt(table.shape[1 - axis]))
    counted = [PhaseTables("steps", single_queries(len(domain.sizes)), tuple(deviations))]
    for phase in released:
        counted.append(PhaseTables.counted(phase.name, phase.steps(public), public.plan.total_deviation(phase.name)))
        sums.append(public.released.counts(phase.name))
    return Measurements.of_phases(domain, counted, np.concatenate(sums))


def domain_of_steps(public: PublicRun) -> Domain:
    """Return the codes of a step under the encoder of a run of visits."""
    return steps_domain(public.domain, public.study.visits_table)
