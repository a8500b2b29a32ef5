"""A black-box attack on what is published: synthetic tables of runs with and without one unusual patient.

Runs have no rounds and a small generator, so that hundreds of them take a minute. The attacker counts how often the
patient's cells occur in the synthetic table. It proves far less than the claim, because fit and sampling
hide much of what the noisy counts show.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from common.marginals.queries import Domain, Query, count
from common.planning.phases import Records, measurements_of
from common.planning.planner import make_plan
from common.privacy.events import Event
from common.seeds import seed_for
from common.study.study import Study
from common.synthesizers.model_rows import ModelRows
from common.synthesizers.registry import make_synthesizer
from common.synthesizers.schedule import initial_weights
from common.tables.conforming import conform
from simulations.audit.bounds import Scores
from simulations.audit.site import alone_under_local_noise, outlier
from simulations.experiments.one_hospital import count_vectors

PROTOTYPES, FIT_STEPS = 50, 60


def table_study(study: Study, hospital: str) -> Study:
    """Return the study for one hospital with its own noise, without rounds, with a small generator."""
    alone = alone_under_local_noise(study.amended(privacy={"noise": "local"}), hospital)
    settings = {"kind": "marginal-gan", "prototypes": PROTOTYPES, "fit_steps": FIT_STEPS, "generator": "prototypes"}
    return alone.amended(synthesizer=settings, training={"rounds": 0})


def attack_tables(
    study: Study, neighbors: tuple[Records, Records], *, seed: int, trials: int, step: Callable[[int], None]
) -> tuple[Scores, tuple[Event, ...]]:
    """Return scores of synthetic tables with and without the patient, and the events of one run.

    Args:
        study: one hospital's study, as `table_study` returns it.
        neighbors: the records with and without the patient.
        seed: seed of noise and coins.
        trials: number of tables.
        step: called with the number of finished tables.
    """
    plan, (present, absent) = make_plan(study), neighbors
    coins = np.random.default_rng(seed_for(seed, "tables", "coins"))
    is_present = coins.random(trials) < 0.5
    scores = np.empty(trials)
    for trial in range(trials):
        records = present if is_present[trial] else absent
        public = count_vectors(records, study, plan, seed_for(seed, "tables", trial), ModelRows())
        encoder, measurements = public.encoder, measurements_of(public)
        assert measurements is not None, "the plan counts tables"
        synthesizer = make_synthesizer(study.synthesizer, encoder)
        weights = initial_weights(synthesizer, seed_for(seed, "tables", "initial"))
        weights = synthesizer.fit(weights, measurements, seed_for(seed, "tables", trial, "fit"), rounds=0)
        drawn = synthesizer.sample(
            weights, study.hospitals[0].declared_rows, seed_for(seed, "tables", trial, "sample"), {}
        )
        domain = Domain.of(encoder)
        queries = [Query((column,)) for column in range(len(domain.sizes))]
        patient = count(encoder.encode(conform(outlier(study.table), study.table)), queries, domain)
        scores[trial] = float(patient @ count(drawn, queries, domain))
        step(trial + 1)
    return Scores(scores[is_present], scores[~is_present]), plan.events(plan.hospitals[0])
