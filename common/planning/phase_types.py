"""The kinds of phases that a run can have: histograms, tables of columns, and rounds of training.

A vector phase is a vector of integers that every hospital releases once. A training phase is rounds of DP-SGD: weights
after each hospital's own steps, or gradient sums under masks (`Plan.quantization`).
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from common.arrays import Integers
from common.columns.base import Codes
from common.encoding import histogram_length, histogram_max_changed_cells, histogram_sizes
from common.errors import WireError
from common.marginals.queries import FULL, Query, chosen_queries, count
from common.marginals.released import NO_COLUMNS
from common.planning.plan import HospitalPlan, Plan, PlannedVector
from common.planning.public_run import HISTOGRAMS, PublicRun
from common.planning.sizing import LargestTable, Outlook, TableCount, largest_tables
from common.study.study import Study


class Records(Protocol):
    """What a phase may read of a hospital's records: one row per patient, held-out patients left aside."""

    def histograms(self, cells: int) -> Integers:
        """Return exact patients per histogram cell of the numeric columns, at most `cells` cells each."""
        ...

    def encoded(self, public: PublicRun) -> Codes:
        """Return the rows as codes of shape (patients, columns) under the encoder of the run."""
        ...


@dataclass(frozen=True, slots=True)
class Shape:
    """What is public about the vector that answers one request.

    Args:
        length: number of cells.
        max_changed_cells: how many of them one patient can change, each by one: the square of the L2 sensitivity.
    """

    length: int
    max_changed_cells: int


@dataclass(frozen=True, kw_only=True)
class Phase(ABC):
    """What every phase has.

    Args:
        name: name in plans, policies, ledgers and messages, in lower-case letters.
        title: name for people, in logs and in the list of a ledger.
        budget_key: the key in `[budget]` that sets its weight.
        usual_weight: budget weight where `[budget]` does not set one, relative to the weights of the run's other
            phases.
    """

    name: str
    title: str
    budget_key: str
    usual_weight: Callable[[Study], float]

    @abstractmethod
    def sentences(self, study: Study, plan: Plan, hospital: HospitalPlan) -> list[str]:
        """Return what leaves in this phase, in plain words, for the person who consents.

        Args:
            study: study of the run.
            plan: plan of the run.
            hospital: the part of the plan that has the hospital's noise.
        """


@dataclass(frozen=True, kw_only=True)
class VectorPhase(Phase):
    """One vector of counts, to which noise is added before it leaves.

    Both sides work out the shape by themselves. `ask` runs at the coordinator and sees released sums only; `answer`
    runs at a hospital. `columns` are those of the tables that the coordinator chose, one table after the other, int64;
    empty where the vector follows from study and plan.

    Args:
        counted: what is counted, for the person who consents; `{max_changed_cells}` and `{groups}` are the plan's.
        needs: the earlier phases whose sums a hospital needs to answer.
    """

    counted: str
    needs: tuple[str, ...] = (HISTOGRAMS,)

    @abstractmethod
    def planned(self, study: Study, outlook: Outlook) -> PlannedVector | None:
        """Return the vector that the study leads to, or None for a study without it."""

    def choice(self, study: Study, outlook: Outlook) -> TableCount | None:
        """Return how many of its possible tables the vector counts; None where it leaves none out."""
        return None

    @abstractmethod
    def largest(self, study: Study, outlook: Outlook, planned: PlannedVector) -> list[LargestTable]:
        """Return the largest tables that the vector could hold, whichever the coordinator asks for.

        Args:
            study: study of the run.
            outlook: the signal-to-noise ratio and the codes of a numeric column.
            planned: the vector in the plan.
        """

    def ask(self, public: PublicRun) -> Integers:
        """Return the columns of the tables to count, chosen by what was released."""
        return NO_COLUMNS

    @abstractmethod
    def shape(self, public: PublicRun, columns: Integers) -> Shape:
        """Return length and sensitivity of the vector.

        Raises:
            WireError: the columns make no tables of this phase, or the plan does not have it.
        """

    @abstractmethod
    def answer(self, public: PublicRun, columns: Integers, records: Records) -> Integers:
        """Return exact counts, int64. They must not leave without noise.

        Args:
            public: the run with the sums released so far.
            columns: columns of the tables that the coordinator chose.
            records: the hospital's records.
        """

    def queries(self, public: PublicRun, columns: Integers) -> tuple[Query, ...]:
        """Return the tables that the vector consists of, for the measurements; none for a vector of another kind."""
        return ()

    def sentences(self, study: Study, plan: Plan, hospital: HospitalPlan) -> list[str]:
        """Return what is counted and how much noise each count gets."""
        planned = plan.vector(self.name)
        assert planned is not None, "a phase of the plan"
        counted = self.counted.format(max_changed_cells=planned.max_changed_cells, groups=planned.groups)
        if plan.honest_hospitals:
            total = plan.total_deviation(self.name)
            return [f"- under masks, {counted}; each count of the sum is off by about {total:.3g} patients"]
        return [f"- {counted}; each count is off by about {plan.sigma(hospital, self.name):.3g} patients"]


@dataclass(frozen=True, kw_only=True)
class HistogramsPhase(VectorPhase):
    """Histograms of the numeric columns, which define how these are encoded in all later phases."""

    needs: tuple[str, ...] = ()

    def planned(self, study: Study, outlook: Outlook) -> PlannedVector | None:
        if not study.table.with_histogram:
            return None
        return PlannedVector(self.name, histogram_max_changed_cells(study.table, outlook.cells), 0)

    def largest(self, study: Study, outlook: Outlook, planned: PlannedVector) -> list[LargestTable]:
        return [(size, (name,)) for name, size in histogram_sizes(study.table, outlook.cells).items()]

    def shape(self, public: PublicRun, columns: Integers) -> Shape:
        public.planned(self.name)
        _require_no_columns(columns)
        table, cells = public.study.table, public.plan.cells
        return Shape(histogram_length(table, cells), histogram_max_changed_cells(table, cells))

    def answer(self, public: PublicRun, columns: Integers, records: Records) -> Integers:
        return records.histograms(public.plan.cells)

    def sentences(self, study: Study, plan: Plan, hospital: HospitalPlan) -> list[str]:
        """Return what is counted, and what the counts hold besides ranges, column by column."""
        columns = ((column.name, column.consent_sentence(plan.cells)) for column in study.table.with_histogram)
        details = [
            f"    among them, of {json.dumps(name, ensure_ascii=False)}: {sentence}"
            for name, sentence in columns
            if sentence
        ]
        return [*VectorPhase.sentences(self, study, plan, hospital), *details]


FixedTables = Callable[[int, int], tuple[Query, ...]]
"""The tables of a phase, from the number of columns of the schema and the number of groups."""

Choice = Callable[[PublicRun, PlannedVector], tuple[Query, ...]]
"""The tables that the coordinator chooses, from what was released and how many the plan allows."""


@dataclass(frozen=True, kw_only=True)
class TablesPhase(VectorPhase):
    """Counts of patients by the codes of a few columns at once, table after table.

    Args:
        sizing: how many tables the study leads to, or None for a study without this phase.
        groups: groups that the codes of each column are merged into; 0 keeps every code.
        arity: columns of a table, single columns aside.
        fixed: the tables that follow from the schema; None where the coordinator chooses.
        choose: the tables that the coordinator chooses; None where they are fixed.
        has_singles: whether every column by itself comes first.
    """

    sizing: Callable[[Study, Outlook], TableCount | None]
    arity: int
    groups: int = FULL
    fixed: FixedTables | None = None
    choose: Choice | None = None
    has_singles: bool = False

    def planned(self, study: Study, outlook: Outlook) -> PlannedVector | None:
        tables = self.sizing(study, outlook)
        return PlannedVector(self.name, tables.counted, self.groups) if tables and tables.counted else None

    def choice(self, study: Study, outlook: Outlook) -> TableCount | None:
        return self.sizing(study, outlook) if self.choose else None

    def largest(self, study: Study, outlook: Outlook, planned: PlannedVector) -> list[LargestTable]:
        return largest_tables(study, outlook.bins, planned, arity=self.arity, has_singles=self.has_singles)

    def ask(self, public: PublicRun) -> Integers:
        if self.choose is None:
            return NO_COLUMNS
        chosen = self.choose(public, public.planned(self.name))
        return np.array([column for query in chosen for column in query.columns], dtype=np.int64)

    def queries(self, public: PublicRun, columns: Integers) -> tuple[Query, ...]:
        width, groups = len(public.study.table.columns), public.planned(self.name).groups
        if self.fixed is None:
            return chosen_queries(columns, arity=self.arity, groups=groups, width=width)
        _require_no_columns(columns)
        return self.fixed(width, groups)

    def shape(self, public: PublicRun, columns: Integers) -> Shape:
        queries = self.queries(public, columns)
        return Shape(public.domain.cells(queries), len(queries))

    def answer(self, public: PublicRun, columns: Integers, records: Records) -> Integers:
        return count(records.encoded(public), self.queries(public, columns), public.domain)


def _require_no_columns(columns: Integers) -> None:
    if len(columns):
        raise WireError("the tables of this phase follow from the schema; the request must name no columns")


@dataclass(frozen=True, kw_only=True)
class TrainingPhase(Phase):
    """Rounds of DP-SGD."""

    def needs(self, plan: Plan) -> tuple[str, ...]:
        """Return the phases whose sums a hospital needs: all to train, the encoding to answer with gradients."""
        names = tuple(planned.name for planned in plan.vectors)
        return tuple(name for name in names if name == HISTOGRAMS) if plan.quantization else names

    def sentences(self, study: Study, plan: Plan, hospital: HospitalPlan) -> list[str]:
        """Return what leaves in every round."""
        if plan.quantization:
            total = hospital.noise_multiplier * plan.honest_hospitals**0.5
            return [
                f"- under masks, {plan.rounds} times: the sum over about {hospital.batch} patients of how the "
                f"discriminator should change; every patient's influence on it is cut to {hospital.clip:g}, and the "
                f"noise that hides it in the sum over all hospitals is {total:.3g} times as large"
            ]
        return [
            f"- {plan.rounds} times: the weights of generator and discriminator after {hospital.steps} training steps "
            f"on about {hospital.batch} patients each; every patient's influence on a step is cut to "
            f"{hospital.clip:g} and hidden under noise {hospital.noise_multiplier:g} times as large"
        ]
