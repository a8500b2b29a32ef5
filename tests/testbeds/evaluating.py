"""A clinic that evaluates privately: its study, a run that has released everything, and a classifier."""

from __future__ import annotations

import numpy as np

from common.marginals.classifier import class_count, feature_count
from common.marginals.released import NOTHING_ASKED, Asked
from common.planning.evaluation import target_of
from common.planning.phases import HISTOGRAMS, PublicRun, vector_phase
from common.planning.planner import make_plan
from common.study.sections import HospitalFacts
from common.study.study import Study
from tests.testbeds.clinic import clinic_study

FACTS = (HospitalFacts(name="north", declared_rows=3000), HospitalFacts(name="south", declared_rows=2000))

"""Large enough that noise hides neither single columns nor pairs."""

SETTINGS: dict[str, object] = {"pairs": 1, "triples": 0, "fit_steps": 20}


def evaluating_study(**sections: dict[str, object]) -> Study:
    """Return the study of a clinic with a private evaluation, without rounds unless the sections say otherwise."""
    usual: dict[str, dict[str, object]] = {"synthesizer": SETTINGS, "training": {"rounds": 0}}
    more: dict[str, dict[str, object]] = {"privacy": {"delta": 1e-5}, "evaluation": {"private": True}}
    study = clinic_study(**{**usual, **more, **sections})
    return study.with_hospitals(FACTS)


def released_histograms(study: Study) -> PublicRun:
    """Return a run that has released made-up histograms."""
    public = PublicRun(study, make_plan(study))
    length = vector_phase(HISTOGRAMS).shape(public, NOTHING_ASKED).length
    return public.after(HISTOGRAMS, np.arange(1, length + 1, dtype=np.int64))


def a_classifier(public: PublicRun, seed: int = 0, largest: int = 9) -> Asked:
    """Return the question of a coordinator with a random classifier; of zeros, where `largest` is 0."""
    target = target_of(public.study)
    size = class_count(public.domain, target) * feature_count(public.domain, target)
    weights = np.random.default_rng(seed).integers(-largest, largest + 1, size)
    return Asked(weights=weights)
