"""Vector phases that the table of phases does not have: each is one entry more, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.arrays import Integers
from common.marginals.released import Asked
from common.planning.phase_types import Records, Shape
from common.planning.phases import TablesPhase, VectorPhase
from common.planning.plan import Plan, PlannedVector
from common.planning.public_run import PublicRun
from common.planning.sizing import LargestTable, Outlook, TableCount
from common.study.study import Study

NEIGHBORS = TablesPhase(
    name="neighbors",
    title="neighboring columns",
    budget_key="neighbors",
    usual_weight=lambda study, ratio: 0.2,
    counted="noisy counts of patients by columns that stand side by side, {tables} tables",
    sizing=lambda study, outlook: TableCount(len(study.table.names) - 1, len(study.table.names) - 1),
    groups=lambda study, outlook: 3,
    arity=2,
    fixed=lambda study, tables: tuple((column, column + 1) for column in range(tables)),
)
"""Tables that the measurements take in, by one entry."""


@dataclass(frozen=True, kw_only=True)
class VotesPhase(VectorPhase):
    """Every patient votes once, for the code of the last column: a vector that is no table of the measurements."""

    def planned(self, study: Study, outlook: Outlook) -> PlannedVector | None:
        return PlannedVector.unweighted(self.name, 1)

    def largest(self, study: Study, plan: Plan, planned: PlannedVector) -> list[LargestTable]:
        column = list(study.table.each())[-1]
        return [(column.max_codes(plan.bins), (column.name,))]

    def shape(self, public: PublicRun, asked: Asked) -> Shape:
        public.planned(self.name)
        return Shape(public.domain.sizes[-1], 1)

    def answer(self, public: PublicRun, asked: Asked, records: Records) -> Integers:
        return np.bincount(records.encoded(public)[:, -1], minlength=public.domain.sizes[-1]).astype(np.int64)


VOTES = VotesPhase(
    name="votes",
    title="votes",
    budget_key="votes",
    usual_weight=lambda study, ratio: 0.1,
    counted="noisy counts of votes, one of every patient",
)

SIXTH: tuple[VectorPhase, ...] = (NEIGHBORS, VOTES)
