"""A clinic whose patients are put in latent classes, and a decoder that says what the classes are like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.arrays import Integers
from common.columns.base import Codes
from common.marginals.latent_classes import UNIT, width_of
from common.marginals.queries import Domain
from common.planning.phases import CLASSES, PublicRun, vector_phase
from common.planning.plan import Plan
from common.planning.planner import make_plan
from common.study.sections import HospitalFacts
from common.study.study import Study
from tests.testbeds.clinic import clinic_study

FACTS = (HospitalFacts(name="north", declared_rows=100), HospitalFacts(name="south", declared_rows=80))

VAE: dict[str, object] = {
    "kind": "marginal-vae", "classes": 3, "prototypes": 12, "fit_steps": 10, "pairs": 2, "triples": 0
}  # fmt: skip


def vae_study(rounds: int = 2, **sections: dict[str, object]) -> Study:
    """Return the study of a clinic that trains a VAE in that many rounds."""
    synthesizer = VAE | sections.pop("synthesizer", {})
    return clinic_study(synthesizer=synthesizer, training={"rounds": rounds}, **sections).with_hospitals(FACTS)


def random_decoder(domain: Domain, classes: int, seed: int = 0) -> Integers:
    """Return random logarithms, (classes, 1 + width): no probabilities, and no encoder needs them to be."""
    rng = np.random.default_rng(seed)
    return rng.integers(-4 * UNIT, 0, (classes, 1 + width_of(domain)), dtype=np.int64)


def run_before(study: Study, plan: Plan | None = None) -> PublicRun:
    """Return a run of the study that has released its histograms alone, each count a hundred."""
    plan = plan or make_plan(study)
    public = PublicRun(study, plan)
    histograms = vector_phase("histograms")
    length = histograms.shape(public, histograms.ask(public, never)).length
    return public.after("histograms", np.full(length, 100, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class CodedRecords:
    """Records that are codes already."""

    codes: Codes

    def histograms(self, cells: int) -> Integers:
        raise AssertionError("histograms were read")

    def encoded(self, public: PublicRun) -> Codes:
        return self.codes

    def held_out(self, public: PublicRun) -> Codes:
        raise AssertionError("held-out rows were read")


def never(public: PublicRun, rows: int) -> Codes:
    raise AssertionError("rows were drawn")


def with_a_round(public: PublicRun, counts: Integers | None = None) -> PublicRun:
    """Return the run with one more round, of the decoder that is asked for; its counts are these, or 0, 1, 2, ..."""
    phase = vector_phase(CLASSES)
    asked = phase.ask(public, never)
    made_up = np.arange(phase.shape(public, asked).length, dtype=np.int64)
    return public.after(CLASSES, made_up if counts is None else counts, asked)
