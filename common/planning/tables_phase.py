"""The phases that count patients by the codes of a few columns at once, table after table."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from heapq import nlargest

import numpy as np

from common.arrays import Integers
from common.errors import WireError
from common.marginals.histories import count_parts, weighted_rows
from common.marginals.queries import WIDEST, Domain, Query, chosen_tables, groups_of_set, padded
from common.marginals.released import NOTHING_ASKED, Asked
from common.planning.phase_types import (
    Draw,
    Records,
    Shape,
    VectorPhase,
    in_groups,
    require_no_candidates,
    require_nothing,
)
from common.planning.plan import VOTES, HospitalPlan, Plan, PlannedVector
from common.planning.public_run import PublicRun
from common.planning.sizing import LargestTable, Outlook, TableCount, largest_tables
from common.planning.weights import USUAL_WEIGHT, declared_domain, usual_weight, with_asked_weights, with_weights
from common.study.study import Study

FixedTables = Callable[[Study, int], tuple[tuple[int, ...], ...]]
"""Column indices of each table of a phase, from the study and the number of tables in the plan."""

Choice = Callable[[PublicRun, PlannedVector, Draw], tuple[Query, ...]]
"""The tables that the coordinator chooses, from what was released and how many the plan allows."""

TOTAL = Query(())
"""All patients."""


@lru_cache(maxsize=4)
def _usual_queries(tables: tuple[tuple[int, ...], ...], groups: int, domain: Domain) -> tuple[Query, ...]:
    """Return queries with their usual weights. Every step of a phase needs them, and a wide table has thousands."""
    return tuple(usual_weight(Query(table, groups_of_set(len(table), groups)), domain) for table in tables)


@dataclass(frozen=True, kw_only=True)
class TablesPhase(VectorPhase):
    """Counts of patients by the codes of a few columns at once, table after table.

    Where the noise allows it, tables have weights (`common.marginals.queries`), and the number of all patients is
    counted before them.

    Args:
        sizing: how many tables the study leads to, or None for a study without this phase.
        groups: groups that the codes of each column are merged into, by the signal-to-noise ratio.
        arity: columns of a table. After votes, a phase of triples also counts sets of four; `{sets}` in its title and
            in `counted` says so.
        fixed: the tables that follow from the study and the plan; None where the coordinator chooses.
        choose: the tables that the coordinator chooses; None where they are fixed.
    """

    sizing: Callable[[Study, Outlook], TableCount | None]
    arity: int
    groups: Callable[[Study, Outlook], int]
    fixed: FixedTables | None = None
    choose: Choice | None = None

    def planned(self, study: Study, outlook: Outlook) -> PlannedVector | None:
        tables = self.sizing(study, outlook)
        if not tables or not tables.counted:
            return None
        return PlannedVector.unweighted(self.name, tables.counted, self.groups(study, outlook))

    def weighted(self, study: Study, outlook: Outlook, planned: PlannedVector, least_noise: float) -> PlannedVector:
        domain = declared_domain(study, outlook.bins)
        tables = self.fixed(study, planned.tables) if self.fixed else ()
        queries = [usual_weight(Query(table, planned.groups), domain) for table in tables]
        needed = domain.squared_sensitivity(queries) if self.fixed else planned.tables * USUAL_WEIGHT**2
        return with_weights(study, planned, needed, least_noise)

    def choice(self, study: Study, outlook: Outlook) -> TableCount | None:
        tables = self.sizing(study, outlook)
        leaves_out = tables is not None and (self.choose is not None or tables.counted < tables.possible)
        return tables if leaves_out else None

    def largest(self, study: Study, plan: Plan, planned: PlannedVector) -> list[LargestTable]:
        widths = range(self.arity, self._most_columns(plan) + 1)
        tables = [table for width in widths for table in largest_tables(study, plan.bins, planned, arity=width)]
        return nlargest(planned.tables, tables)

    def title_in(self, plan: Plan | None) -> str:
        return self.title.format(sets="sets of columns" if plan is None else self._sets(plan))

    def counted_in(self, study: Study, plan: Plan) -> str:
        planned = plan.vector(self.name)
        assert planned is not None, "a phase of the plan"
        groups = in_groups(planned.groups)
        if self._most_columns(plan) > self.arity:
            groups += f", of four columns in {in_groups(groups_of_set(WIDEST, planned.groups))}"
        is_all = planned.tables == math.comb(len(study.table.names), 2)
        pairs = "every two columns" if is_all else "the target and each other column"
        return self.counted.format(sets=self._sets(plan), groups=groups, pairs=pairs, tables="{tables}", unit="{unit}")

    def sentences(self, study: Study, plan: Plan, hospital: HospitalPlan) -> list[str]:
        """Return what is counted, how much noise each count gets, and who decides about the weights."""
        lines, planned = VectorPhase.sentences(self, study, plan, hospital), plan.vector(self.name)
        if planned is not None and planned.has_weights:
            number = f"the number of {study.privacy.unit}s"
            lines[0] += " if all tables weigh the same; "
            lines[0] += (
                f"the columns decide how much each weighs, and {number} is counted too"
                if self.fixed
                else f"the coordinator may ask for some more precisely and others less, and for {number}"
            )
        return lines

    def _sets(self, plan: Plan) -> str:
        """Return what the tables of a phase of triples are of."""
        return "sets of three and four columns" if self._most_columns(plan) == WIDEST else "triples of columns"

    def _most_columns(self, plan: Plan) -> int:
        """Return how many columns a table of this phase has at most."""
        return WIDEST if self.arity == WIDEST - 1 and plan.vector(VOTES) else self.arity

    def ask(self, public: PublicRun, draw: Draw) -> Asked:
        if self.choose is None:
            return NOTHING_ASKED
        planned, most = public.planned(self.name), self._most_columns(public.plan)
        chosen = self.choose(public, planned, draw)
        columns = np.array([column for query in chosen for column in padded(query.columns, most)], dtype=np.int64)
        weights = [query.weight for query in chosen] if planned.has_weights else []
        return Asked(columns, np.array(weights, dtype=np.int64))

    def queries(self, public: PublicRun, asked: Asked) -> tuple[Query, ...]:
        planned, width = public.planned(self.name), len(public.study.table.names)
        if self.fixed is None:
            require_no_candidates(asked)
            most = self._most_columns(public.plan)
            tables = chosen_tables(asked.columns, arity=self.arity, width=width, most=most)
        else:
            require_nothing(asked)
            tables = self.fixed(public.study, planned.tables)
        if not planned.has_weights:
            if len(asked.weights):
                raise WireError("the tables of this phase have no weights")
            return tuple(Query(table, groups_of_set(len(table), planned.groups)) for table in tables)
        total = replace(TOTAL, weight=max(1, planned.total_weight))
        if self.fixed is not None:
            return total, *_usual_queries(tables, planned.groups, public.domain)
        queries = [Query(table, groups_of_set(len(table), planned.groups), is_centered=True) for table in tables]
        return total, *with_asked_weights(queries, asked.weights, public.domain)

    def shape(self, public: PublicRun, asked: Asked) -> Shape:
        queries = self.queries(public, asked)
        if len(queries) > public.planned(self.name).tables + public.planned(self.name).has_weights:
            raise WireError("the request names more tables than planned")
        largest = max((query.weight for query in queries), default=1)
        return Shape(public.domain.cells(queries), public.domain.squared_sensitivity(queries), largest)

    def answer(self, public: PublicRun, asked: Asked, records: Records) -> Integers:
        rows = weighted_rows(records.encoded(public), public.study.table)
        return count_parts(rows, self.queries(public, asked), public.domain)
