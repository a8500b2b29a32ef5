"""The kinds of phases that a run can have: histograms, tables of columns, and rounds of training.

A vector phase is a vector of integers that every hospital releases once. A training phase is rounds of DP-SGD: weights
after each hospital's own steps, or gradient sums under masks (`Plan.quantization`).
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from common.arrays import Integers
from common.columns.base import Codes
from common.encoding import histogram_length, histogram_max_changed_cells, histogram_sizes
from common.errors import WireError
from common.marginals.queries import Query, chosen_tables, count
from common.marginals.released import NOTHING_ASKED, Asked
from common.planning.plan import HospitalPlan, Plan, PlannedVector
from common.planning.public_run import HISTOGRAMS, PublicRun
from common.planning.sizing import LargestTable, Outlook, TableCount, largest_tables
from common.planning.weights import (
    USUAL_WEIGHT,
    declared_domain,
    usual_weight,
    with_asked_weights,
    with_weights,
)
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
        squared_sensitivity: largest square of the L2 norm of what one patient adds.
        largest_weight: no cell changes by more.
    """

    length: int
    squared_sensitivity: int
    largest_weight: int = 1


@dataclass(frozen=True, kw_only=True)
class Phase(ABC):
    """What every phase has.

    Args:
        name: in plans, policies, ledgers and messages; lower-case letters and hyphens.
        title: for people, in logs and in the list of a ledger.
        budget_key: the key in `[budget]` that sets its weight.
        usual_weight: its weight where `[budget]` does not set one, relative to those of the other phases of the run,
            from the study and the signal-to-noise ratio.
    """

    name: str
    title: str
    budget_key: str
    usual_weight: Callable[[Study, float], float]

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
    runs at a hospital.

    Args:
        counted: what is counted, for the person who consents; `{tables}` and `{groups}` are the plan's.
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

    def weighted(self, study: Study, outlook: Outlook, planned: PlannedVector, least_noise: float) -> PlannedVector:
        """Return the vector with weights, where its noise allows them.

        Args:
            study: with its columns.
            outlook: the public figures.
            planned: the vector without weights.
            least_noise: of a single count under this vector's part of the budget, in patients: the standard deviation
                of the noise at the hospital that adds least, or under shared noise of that of all honest ones.
        """
        return planned

    def ask(self, public: PublicRun) -> Asked:
        """Return the tables to count, chosen by what was released."""
        return NOTHING_ASKED

    @abstractmethod
    def shape(self, public: PublicRun, asked: Asked) -> Shape:
        """Return length and sensitivity of the vector.

        Raises:
            WireError: these are no tables of this phase, or the plan does not have it.
        """

    @abstractmethod
    def answer(self, public: PublicRun, asked: Asked, records: Records) -> Integers:
        """Return exact counts, int64, each table's times its weight. They must not leave without noise."""

    def queries(self, public: PublicRun, asked: Asked) -> tuple[Query, ...]:
        """Return the tables that the vector consists of, for the measurements; none for a vector of another kind."""
        return ()

    def sentences(self, study: Study, plan: Plan, hospital: HospitalPlan) -> list[str]:
        """Return what is counted and how much noise each count gets."""
        planned = plan.vector(self.name)
        assert planned is not None, "a phase of the plan"
        groups = f"{planned.groups} groups each" if planned.groups else "full"
        unit = study.privacy.unit
        counted = self.counted.format(tables=planned.tables, groups=groups, unit=unit)
        scale = math.sqrt(planned.squared_sensitivity / planned.tables)
        if plan.honest_hospitals:
            total = plan.total_deviation(self.name) / scale
            lines = [f"- under masks, {counted}; each count of the sum is off by about {total:.3g} {unit}s"]
        else:
            own = plan.sigma(hospital, self.name) / scale
            lines = [f"- {counted}; each count is off by about {own:.3g} {unit}s"]
        if planned.has_weights:
            lines[0] += " if all tables weigh the same; the coordinator may ask for some more precisely and others less"
            lines[0] += f", and for the number of {unit}s"
        return lines


@dataclass(frozen=True, kw_only=True)
class HistogramsPhase(VectorPhase):
    """Histograms of all columns, which define how these are encoded in all later phases."""

    needs: tuple[str, ...] = ()

    def planned(self, study: Study, outlook: Outlook) -> PlannedVector | None:
        return PlannedVector.unweighted(self.name, histogram_max_changed_cells(study.table, outlook.cells))

    def largest(self, study: Study, outlook: Outlook, planned: PlannedVector) -> list[LargestTable]:
        return [(size, (name,)) for name, size in histogram_sizes(study.table, outlook.cells).items()]

    def shape(self, public: PublicRun, asked: Asked) -> Shape:
        public.planned(self.name)
        _require_nothing(asked)
        table, cells = public.study.table, public.plan.cells
        return Shape(histogram_length(table, cells), histogram_max_changed_cells(table, cells))

    def answer(self, public: PublicRun, asked: Asked, records: Records) -> Integers:
        return records.histograms(public.plan.cells)

    def sentences(self, study: Study, plan: Plan, hospital: HospitalPlan) -> list[str]:
        """Return what is counted, and what the counts hold besides ranges, column by column."""
        columns = ((column.name, column.consent_sentence(plan.cells)) for column in study.table.each())
        details = [
            f"    among them, of {json.dumps(name, ensure_ascii=False)}: {sentence}"
            for name, sentence in columns
            if sentence
        ]
        return [*VectorPhase.sentences(self, study, plan, hospital), *details]


FixedTables = Callable[[int], tuple[tuple[int, ...], ...]]
"""The columns of the tables of a phase, from the number of columns of the schema."""

Choice = Callable[[PublicRun, PlannedVector], tuple[Query, ...]]
"""The tables that the coordinator chooses, from what was released and how many the plan allows."""

TOTAL = Query(())
"""All patients."""


@dataclass(frozen=True, kw_only=True)
class TablesPhase(VectorPhase):
    """Counts of patients by the codes of a few columns at once, table after table.

    Where the noise allows it, tables have weights (`common.marginals.queries`), and the number of all patients is
    counted before them.

    Args:
        sizing: how many tables the study leads to, or None for a study without this phase.
        groups: groups that the codes of each column are merged into, by the signal-to-noise ratio.
        arity: columns of a table.
        fixed: the tables that follow from the schema; None where the coordinator chooses.
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
        tables = self.fixed(len(domain.sizes)) if self.fixed else ()
        queries = [usual_weight(Query(table, planned.groups), domain) for table in tables]
        needed = domain.squared_sensitivity(queries) if self.fixed else planned.tables * USUAL_WEIGHT**2
        return with_weights(study, planned, needed, least_noise)

    def choice(self, study: Study, outlook: Outlook) -> TableCount | None:
        return self.sizing(study, outlook) if self.choose else None

    def largest(self, study: Study, outlook: Outlook, planned: PlannedVector) -> list[LargestTable]:
        return largest_tables(study, outlook.bins, planned, arity=self.arity)

    def ask(self, public: PublicRun) -> Asked:
        if self.choose is None:
            return NOTHING_ASKED
        planned = public.planned(self.name)
        chosen = self.choose(public, planned)
        columns = np.array([column for query in chosen for column in query.columns], dtype=np.int64)
        weights = [query.weight for query in chosen] if planned.has_weights else []
        return Asked(columns, np.array(weights, dtype=np.int64))

    def queries(self, public: PublicRun, asked: Asked) -> tuple[Query, ...]:
        planned, width = public.planned(self.name), len(public.study.table.columns)
        if self.fixed is None:
            tables = chosen_tables(asked.columns, arity=self.arity, width=width)
        else:
            _require_nothing(asked)
            tables = self.fixed(width)
        if not planned.has_weights:
            if len(asked.weights):
                raise WireError("the tables of this phase have no weights")
            return tuple(Query(table, planned.groups) for table in tables)
        total = replace(TOTAL, weight=max(1, planned.total_weight))
        queries = [Query(table, planned.groups, is_centered=True) for table in tables]
        if self.fixed is not None:
            return total, *(usual_weight(query, public.domain) for query in queries)
        return total, *with_asked_weights(queries, asked.weights, public.domain)

    def shape(self, public: PublicRun, asked: Asked) -> Shape:
        queries = self.queries(public, asked)
        if len(queries) > public.planned(self.name).tables + public.planned(self.name).has_weights:
            raise WireError("the request names more tables than planned")
        largest = max((query.weight for query in queries), default=1)
        return Shape(public.domain.cells(queries), public.domain.squared_sensitivity(queries), largest)

    def answer(self, public: PublicRun, asked: Asked, records: Records) -> Integers:
        return count(records.encoded(public), self.queries(public, asked), public.domain)


def _require_nothing(asked: Asked) -> None:
    if len(asked.columns) or len(asked.weights):
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
        unit = study.privacy.unit
        if plan.quantization:
            total = hospital.noise_multiplier * plan.honest_hospitals**0.5
            return [
                f"- under masks, {plan.rounds} times: the sum over about {hospital.batch} {unit}s of how the "
                f"discriminator should change; every {unit}'s influence on it is cut to {hospital.clip:g}, and the "
                f"noise that hides it in the sum over all hospitals is {total:.3g} times as large"
            ]
        return [
            f"- {plan.rounds} times: the weights of generator and discriminator after {hospital.steps} training steps "
            f"on about {hospital.batch} {unit}s each; every {unit}'s influence on a step is cut to "
            f"{hospital.clip:g} and hidden under noise {hospital.noise_multiplier:g} times as large"
        ]
