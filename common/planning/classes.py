"""The phase of latent classes: in every round, patients are counted by class and code of each column."""

from __future__ import annotations

import math
from dataclasses import dataclass

from common.arrays import Integers
from common.errors import WireError
from common.marginals import latent_classes
from common.marginals.latent_classes import ClassTables
from common.marginals.released import Asked
from common.planning.class_rounds import choose_class_rounds
from common.planning.phase_types import Draw, Records, Shape, VectorPhase
from common.planning.plan import CLASSES, HospitalPlan, Plan, PlannedVector
from common.planning.public_run import PublicRun
from common.planning.sizing import LargestTable, Outlook
from common.seeds import seed_for
from common.study.study import Study


@dataclass(frozen=True, kw_only=True)
class ClassesPhase(VectorPhase):
    """In each round, one table for each column: class by code, of the classes that the round's decoder gives.

    Sensitivity of a round: a patient is in one class and adds one to one cell of each column's table
    (`common.marginals.latent_classes`), so the square of the L2 norm is the number of columns. Every round is a release
    of its own and is charged.
    """

    def planned(self, study: Study, outlook: Outlook) -> PlannedVector | None:
        rounds, columns = choose_class_rounds(study, outlook).rounds, len(study.table.names)
        return PlannedVector(self.name, columns, 0, columns, rounds=rounds) if rounds else None

    def largest(self, study: Study, plan: Plan, planned: PlannedVector) -> list[LargestTable]:
        classes = study.synthesizer.latent_classes
        return [(classes * column.max_codes(plan.bins), (column.name,)) for column in study.table.each()]

    def ask(self, public: PublicRun, draw: Draw) -> Asked:
        """Return the decoder of the next round: the M-step of the round before it, or the first one."""
        classes, tables = public.study.synthesizer.latent_classes, _tables_of_rounds(public)
        if tables is None:
            seed = seed_for(public.study.seed, "latent-classes")
            decoder = latent_classes.first_decoder(public.domain, classes, seed)
        else:
            deviation = public.plan.total_deviation(self.name)
            last = latent_classes.read_tables(tables[-1], deviation, public.domain)
            decoder = latent_classes.to_decoder(last.weights, last.probabilities)
        return Asked(decoder=decoder.ravel())

    def shape(self, public: PublicRun, asked: Asked) -> Shape:
        public.planned(self.name)
        if len(asked.columns) or len(asked.weights) or len(asked.candidates):
            raise WireError("patients are put in classes; the request must hold a decoder and nothing else")
        rounds, classes = len(_decoders(public, asked)), public.study.synthesizer.latent_classes
        width, columns = latent_classes.width_of(public.domain), len(public.domain.sizes)
        return Shape(rounds * classes * width, rounds * columns)

    def answer(self, public: PublicRun, asked: Asked, records: Records) -> Integers:
        (decoder,) = _decoders(public, asked)
        return latent_classes.count_classes(records.encoded(public), decoder, public.domain)

    def sentences(self, study: Study, plan: Plan, hospital: HospitalPlan) -> list[str]:
        """Return what is counted, in how many rounds, and how much noise each count gets."""
        planned = plan.vector(self.name)
        assert planned is not None, "a phase of the plan"
        classes, unit = study.synthesizer.latent_classes, study.privacy.unit
        masks = "under masks, " if plan.honest_hospitals else ""
        times = f"{planned.rounds} times" if planned.rounds > 1 else "once"
        return [
            f"- {masks}{times}: noisy counts of {unit}s by one of {classes} classes and every column: the coordinator "
            f"says what its model takes each class to be like, the hospital puts each {unit} in one of them, and the "
            f"{unit} adds one to each of {planned.tables} tables; {self.noise_words(planned, plan, hospital)} {unit}s"
        ]


def _decoders(public: PublicRun, asked: Asked) -> Integers:
    return latent_classes.read_decoders(asked.decoder, public.domain, public.study.synthesizer.latent_classes)


def _tables_of_rounds(public: PublicRun) -> Integers | None:
    """Return the noisy counts of every round so far, (rounds, classes, width); None before the first."""
    released = public.released.vectors.get(CLASSES)
    if released is None:
        return None
    shape = public.study.synthesizer.latent_classes, latent_classes.width_of(public.domain)
    return released.counts.reshape(-1, *shape)


def measured_classes(public: PublicRun) -> ClassTables | None:
    """Return the class tables of the last rounds; None for a run without."""
    tables = _tables_of_rounds(public)
    if tables is None or not math.prod(tables.shape):
        return None
    return latent_classes.averaged_tables(tables, public.plan.total_deviation(CLASSES), public.domain)
