"""The kinds of phases that a run can have: histograms, tables of columns, and rounds of training.

A vector phase is a vector of integers that every hospital releases once. A training phase is rounds of DP-SGD: weights
after each hospital's own steps, or gradient sums under masks (`Plan.quantization`).
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from common.arrays import Floats, Integers
from common.columns.base import Codes
from common.encoding import histogram_length, histogram_max_changed_cells, histogram_sizes
from common.errors import WireError
from common.marginals.queries import Query
from common.marginals.released import NOTHING_ASKED, Asked
from common.planning.plan import EVALUATION, IMAGE_MEANS, IMAGE_MOMENTS, VOTES, HospitalPlan, Plan, PlannedVector
from common.planning.public_run import HISTOGRAMS, PublicRun
from common.planning.sizing import LargestTable, Outlook, TableCount
from common.study.study import Study

NOT_FITTED = (VOTES, EVALUATION, IMAGE_MEANS, IMAGE_MOMENTS)
"""Vectors that hold no tables for a synthesizer to fit."""


class Records(Protocol):
    """What a phase may read of a hospital's records: one row per patient, of training or of held-out patients."""

    def histograms(self, cells: int) -> Integers:
        """Return exact training patients per histogram cell of the numeric columns, at most `cells` cells each."""
        ...

    def encoded(self, public: PublicRun) -> Codes:
        """Return the training rows as codes of shape (patients, columns) under the encoder of the run."""
        ...

    def held_out(self, public: PublicRun) -> Codes:
        """Return the held-out rows as codes, likewise. Only a study with `[evaluation] private` asks for them."""
        ...


@runtime_checkable
class ImageRecords(Protocol):
    """What the phases of images read besides: those of the training patients."""

    def images(self) -> Floats:
        """Return the descriptions of the training patients' images (`Image.describe`)."""
        ...


Draw = Callable[[PublicRun, int], Codes]
"""Draws that many rows of codes from the model fitted to all tables released so far: post-processing."""


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

    def title_in(self, plan: Plan | None) -> str:
        """Return the title in a run of this plan; None for a plan that cannot be read."""
        return self.title

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
        counted: what is counted, for the person who consents; `{tables}` and `{groups}` are the plan's, `{unit}` is
            the study's.
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
    def largest(self, study: Study, plan: Plan, planned: PlannedVector) -> list[LargestTable]:
        """Return the largest tables that the vector could hold, whichever the coordinator asks for.

        Args:
            study: study of the run.
            plan: plan of the run, which says what may be counted.
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

    def ask(self, public: PublicRun, draw: Draw) -> Asked:
        """Return what to count, chosen by what was released.

        Args:
            public: the run so far.
            draw: draws rows of the model that is fitted to it.
        """
        return NOTHING_ASKED

    @abstractmethod
    def shape(self, public: PublicRun, asked: Asked) -> Shape:
        """Return length and sensitivity of the vector.

        Raises:
            WireError: these are no tables of this phase, or the plan does not have it.
        """

    @abstractmethod
    def answer(self, public: PublicRun, asked: Asked, records: Records) -> Integers:
        """Return exact counts in parts of patients, int64, each table's times its weight. They need noise to leave."""

    def queries(self, public: PublicRun, asked: Asked) -> tuple[Query, ...]:
        """Return the tables that the vector consists of, for the measurements; none for a vector of another kind."""
        return ()

    def sentences(self, study: Study, plan: Plan, hospital: HospitalPlan) -> list[str]:
        """Return what is counted and how much noise each count gets."""
        planned = plan.vector(self.name)
        assert planned is not None, "a phase of the plan"
        unit = study.privacy.unit
        counted = self.counted_in(study, plan).format(
            tables=planned.tables, groups=in_groups(planned.groups), unit=unit
        )
        masks = "under masks, " if plan.honest_hospitals else ""
        return [f"- {masks}{counted}; {self.noise_words(planned, plan, hospital)} {unit}s"]

    def noise_words(self, planned: PlannedVector, plan: Plan, hospital: HospitalPlan) -> str:
        """Return how much noise each count of a table of usual weight gets, as the start of a sentence.

        Args:
            planned: the vector of this phase.
            plan: plan of the run.
            hospital: the part of the plan that has the hospital's noise.
        """
        scale = math.sqrt(planned.squared_sensitivity / planned.tables)
        if plan.honest_hospitals:
            return f"each count of the sum is off by about {plan.total_deviation(self.name) / scale:.3g}"
        return f"each count is off by about {plan.sigma(hospital, self.name) / plan.parts / scale:.3g}"

    def counted_in(self, study: Study, plan: Plan) -> str:
        """Return `counted` as it holds under this plan of the study."""
        return self.counted


@dataclass(frozen=True, kw_only=True)
class HistogramsPhase(VectorPhase):
    """Histograms of all columns, which define how these are encoded in all later phases."""

    needs: tuple[str, ...] = ()

    def planned(self, study: Study, outlook: Outlook) -> PlannedVector | None:
        return PlannedVector.unweighted(self.name, histogram_max_changed_cells(study.table, outlook.cells))

    def largest(self, study: Study, plan: Plan, planned: PlannedVector) -> list[LargestTable]:
        return [(size, (name,)) for name, size in histogram_sizes(study.table, plan.cells).items()]

    def shape(self, public: PublicRun, asked: Asked) -> Shape:
        public.planned(self.name)
        require_nothing(asked)
        table, cells = public.study.table, public.plan.cells
        return Shape(histogram_length(table, cells), histogram_max_changed_cells(table, cells))

    def answer(self, public: PublicRun, asked: Asked, records: Records) -> Integers:
        return records.histograms(public.plan.cells)

    def sentences(self, study: Study, plan: Plan, hospital: HospitalPlan) -> list[str]:
        """Return what is counted, and what the counts hold besides ranges, column by column."""
        columns = ((column.name, column.consent_sentence(plan.cells)) for column in study.table.columns)
        details = [
            f"    among them, of {json.dumps(name, ensure_ascii=False)}: {sentence}"
            for name, sentence in columns
            if sentence
        ]
        return [*VectorPhase.sentences(self, study, plan, hospital), *details]


def in_groups(groups: int) -> str:
    """Return in plain words into how many groups the codes of a column are merged."""
    return f"{groups} groups each" if groups else "full"


def require_nothing(asked: Asked) -> None:
    """Raise `WireError` if a request names what follows from the schema."""
    if len(asked.columns) or len(asked.weights):
        raise WireError("the tables of this phase follow from the schema; the request must name no columns")
    require_no_candidates(asked)


def require_no_candidates(asked: Asked) -> None:
    """Raise `WireError` if a request holds candidates in a phase without votes, or a decoder in one without classes."""
    if len(asked.candidates):
        raise WireError("patients do not vote in this phase; the request must hold no candidates")
    require_no_decoder(asked)


def require_no_decoder(asked: Asked) -> None:
    """Raise `WireError` if a request holds a decoder in a phase that puts no patient in a class."""
    if len(asked.decoder):
        raise WireError("no patient is put in a class in this phase; the request must hold no decoder")


@dataclass(frozen=True, kw_only=True)
class TrainingPhase(Phase):
    """Rounds of DP-SGD."""

    def needs(self, plan: Plan) -> tuple[str, ...]:
        """Return the phases whose sums a hospital needs: all tables to train, the encoding to answer with gradients."""
        names = tuple(planned.name for planned in plan.vectors if planned.name not in NOT_FITTED)
        return tuple(name for name in names if name == HISTOGRAMS) if plan.quantization else names

    def sentences(self, study: Study, plan: Plan, hospital: HospitalPlan) -> list[str]:
        """Return what leaves in every round."""
        unit = study.privacy.unit
        visits = ", with all visits together," if study.has_visits else ""
        if plan.quantization:
            total = hospital.noise_multiplier * plan.honest_hospitals**0.5
            return [
                f"- under masks, {plan.rounds} times: the sum over about {hospital.batch} {unit}s of how the "
                f"discriminator should change; every {unit}'s influence on it{visits} is cut to {hospital.clip:g}, and "
                f"the noise that hides it in the sum over all hospitals is {total:.3g} times as large"
            ]
        return [
            f"- {plan.rounds} times: the weights of generator and discriminator after {hospital.steps} training steps "
            f"on about {hospital.batch} {unit}s each; every {unit}'s influence on a step{visits} is cut "
            f"to {hospital.clip:g} and hidden under noise {hospital.noise_multiplier:g} times as large"
        ]
