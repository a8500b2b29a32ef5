"""What trials at one hospital share: its noisy marginals, counted from a table in memory, and their arms."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd

from common.arrays import Integers
from common.columns.base import Codes
from common.encoding import Encoder, count_cells
from common.marginals.measurements import Measurements
from common.planning.phases import Draw, PublicRun, Records, measurements_of, vector_phase
from common.planning.plan import HospitalPlan, Plan
from common.privacy.mechanisms import SeededNoise, release_counts
from common.seeds import seed_for
from common.study.limits import rounded
from common.study.schema import Schema
from common.study.sections import HospitalFacts
from common.study.study import Study
from common.synthesizers.model_rows import ModelRows


@dataclass(frozen=True, slots=True)
class FrameRecords:
    """A conformed table as the phases read it."""

    frame: pd.DataFrame
    schema: Schema

    def histograms(self, cells: int) -> Integers:
        return count_cells(self.frame, self.schema, cells)

    def encoded(self, public: PublicRun) -> Codes:
        return public.encoder.encode(self.frame)

    def held_out(self, public: PublicRun) -> Codes:
        return public.encoder.encode(self.frame.iloc[:0])


@dataclass(frozen=True, slots=True)
class AdversaryArm:
    """Whether an arm of a trial trains a discriminator, and on what.

    Attributes:
        plans_rounds: whether the plan sets budget aside for rounds; if not, the counts have it.
        trains: whether there are rounds, with a discriminator.
        sees_patients: whether the discriminator sees patients; a placebo's sees synthetic rows only.
        has_noise: whether the discriminator is trained by DP-SGD.
    """

    plans_rounds: bool = True
    trains: bool = True
    sees_patients: bool = True
    has_noise: bool = True

    def training(self, plan: HospitalPlan) -> HospitalPlan:
        """Return how the discriminator is trained: as planned, or so without noise."""
        return plan if self.has_noise else replace(plan, noise_multiplier=0.0)


def alone(study: Study, rows: int) -> Study:
    """Return the study of one hospital with all rows, which declares them rounded."""
    return study.with_hospitals((HospitalFacts(name="north", declared_rows=rounded(rows)),), cap_minimum=True)


def count_marginals(frame: pd.DataFrame, study: Study, plan: Plan, seed: int) -> tuple[Encoder, Measurements]:
    """Count every vector phase of a plan for its first hospital, with the plan's noise.

    Args:
        frame: conformed rows of the hospital, one per patient.
        study: study of this hospital alone.
        plan: plan of the study.
        seed: seed of the noise.

    Returns:
        The encoder and the noisy marginals that these counts define.
    """
    public = count_vectors(FrameRecords(frame, study.table), study, plan, seed, ModelRows())
    measurements = measurements_of(public)
    assert measurements is not None, "the plan counts tables"
    return public.encoder, measurements


def count_vectors(records: Records, study: Study, plan: Plan, seed: int, draw: Draw) -> PublicRun:
    """Return the run of a plan's first hospital alone, with the plan's noise.

    Args:
        records: of the hospital.
        study: study of this hospital alone.
        plan: plan of the study.
        seed: seed of the noise.
        draw: draws rows of the model fitted so far.
    """
    hospital, noise, public = plan.hospitals[0], SeededNoise(seed_for(seed, "counts")), PublicRun(study, plan)
    for planned in plan.vectors:
        phase = vector_phase(planned.name)
        for number in planned.round_numbers():
            asked = phase.ask(public, draw)
            exact = phase.answer(public, asked, records)
            named = noise.named(phase.name, number) if number else noise.named(phase.name)
            counts = release_counts(exact, plan.sigma(hospital, phase.name), named)
            public = public.after(phase.name, counts, asked)
    return public
