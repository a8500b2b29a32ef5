"""A black-box attack on what is published: synthetic tables of runs with and without one unusual patient.

Runs have no rounds and a small generator, so that hundreds of them take a minute. The attacker counts how often the
patient's cells occur in the synthetic table. It proves far less than the claim, because fit and sampling
hide much of what the noisy counts show.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from client.shard import Shard
from common.marginals.queries import Domain, Query, count
from common.planning.planner import make_plan
from common.privacy.events import Event
from common.seeds import seed_for
from common.study.study import Study
from common.synthesizers.registry import make_synthesizer
from common.synthesizers.schedule import initial_weights
from simulations.audit.bounds import Scores
from simulations.experiments.one_hospital import count_marginals

PROTOTYPES, FIT_STEPS = 50, 60


def table_study(study: Study, hospital: str) -> Study:
    """Return the study for one hospital, without rounds, with a small generator."""
    facts = study.hospital(hospital)
    assert facts is not None, "a hospital outside the study"
    alone = study.with_hospitals((facts,), cap_minimum=True)
    settings = {"kind": "marginal-gan", "prototypes": PROTOTYPES, "fit_steps": FIT_STEPS, "generator": "prototypes"}
    return alone.amended(synthesizer=settings, training={"rounds": 0})


def attack_tables(
    study: Study, present: Shard, absent: Shard, *, seed: int, trials: int, step: Callable[[int], None]
) -> tuple[Scores, tuple[Event, ...]]:
    """Return scores of synthetic tables with and without the patient, and the events of one run.

    Args:
        study: one hospital's study, as `table_study` returns it.
        present, absent: the records with and without the patient.
        seed: seed of noise and coins.
        trials: number of tables.
        step: called with the number of finished tables.
    """
    plan = make_plan(study)
    coins = np.random.default_rng(seed_for(seed, "tables", "coins"))
    is_present = coins.random(trials) < 0.5
    scores = np.empty(trials)
    for trial in range(trials):
        shard = present if is_present[trial] else absent
        encoder, measurements = count_marginals(shard.training, study, plan, seed_for(seed, "tables", trial))
        synthesizer = make_synthesizer(study.synthesizer, encoder)
        weights = initial_weights(synthesizer, seed_for(seed, "tables", "initial"))
        weights = synthesizer.fit(weights, measurements, seed_for(seed, "tables", trial, "fit"), rounds=0)
        drawn = synthesizer.sample(weights, len(absent.training), seed_for(seed, "tables", trial, "sample"), {})
        domain = Domain.of(encoder)
        queries = [Query((column,)) for column in range(len(domain.sizes))]
        patient = count(encoder.encode(present.training.iloc[[-1]]), queries, domain)
        scores[trial] = float(patient @ count(drawn, queries, domain))
        step(trial + 1)
    return Scores(scores[is_present], scores[~is_present]), plan.events(plan.hospitals[0])
