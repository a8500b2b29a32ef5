"""The attack on opened sums of synchronous steps: a coordinator and colluders that send weights of their choice.

The attack calls `Hospital.handle` only, through the masked protocol, with noise and batches from the secure source. The
canaries are those of `simulations.audit.rounds`, all at one hospital.
"""

from __future__ import annotations

import math

import numpy as np

from common.planning.planner import make_plan
from common.privacy.events import Event
from common.privacy.mechanisms import NoiseSource
from common.privacy.quantization import layer_shapes
from common.protocol.messages import GradientRequest
from common.study.study import Study
from simulations.audit.bounds import Scores
from simulations.audit.gradients import log_ratio
from simulations.audit.opened import opened
from simulations.audit.rounds import (
    CANARIES,
    COLUMNS,
    DECOYS,
    HOSPITAL,
    STEEPNESS,
    canary_records,
    round_study,
    run_without_counts,
)
from simulations.audit.site import RUN

HOSPITALS = 4
"""Hospitals of the study: the attacked one, two more that are honest, one that colludes."""

OWN = math.sqrt(len(COLUMNS) / (len(COLUMNS) + 1))
"""Part of a canary's gradient that is in its own weights; the rest is in the bias, which all share."""


def step_study(epsilon: float, rounds: int, canaries: int = CANARIES) -> Study:
    """Return a study of synchronous steps only, whose schema has a category for every canary.

    Args:
        epsilon: epsilon of the study.
        rounds: number of steps.
        canaries: number of canaries.
    """
    return round_study(epsilon, rounds, 1, canaries, HOSPITALS)


def attack_steps(
    study: Study, noise: NoiseSource, coins: np.random.Generator, canaries: int = CANARIES
) -> tuple[Scores, tuple[Event, ...]]:
    """Attack all synchronous steps of a study; each canary is a trial. Return scores and the events in the ledger.

    The sum of a canary's own weights is `OWN` clip norms times the square root of the columns, under the noise of the
    honest hospitals in as many coordinates. The score is the log-likelihood ratio of the sampled Gaussian.

    Args:
        study: the study, from `step_study`.
        noise: noise of the honest hospitals.
        coins: decide which canaries are in the table.
        canaries: number of canaries.
    """
    plan = make_plan(study)
    grid, hospital_plan = plan.quantization, plan.of(HOSPITAL)
    assert grid is not None, "a study of synchronous steps"
    assert hospital_plan is not None, "a study that lists the hospital"
    is_member = coins.random(canaries) < 0.5
    records, public = canary_records(study, is_member), run_without_counts(study, plan)
    shapes = layer_shapes(sum(public.encoder.sizes), study.adversarial.hidden)
    weights = {name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()}
    for layer in (1, 2):
        weights[f"disc.layers.{layer}.weight"][:] = STEEPNESS
    own, width = OWN * math.sqrt(len(COLUMNS)) * grid.units, math.prod(shapes["disc.layers.0.weight"])
    total = np.zeros(canaries)
    with opened(study, HOSPITAL, records, lambda name: noise.named(name)) as run:
        multiplier = grid.share_sigma * math.sqrt(len(COLUMNS) * (1 + len(run.parties.honest))) / own
        for number in range(1, plan.rounds + 1):
            request = GradientRequest(RUN, number, public.released.arrays(), weights)
            gradient = run.answer(request, sum(map(math.prod, shapes.values())))
            sums = -gradient[:width].reshape(len(COLUMNS), -1).sum(0) / own
            x = sums[:canaries] - sums[canaries + 1 : canaries + DECOYS].mean()
            total += log_ratio(x, multiplier, hospital_plan.sample_rate)
        events = run.events
    return Scores(total[is_member], total[~is_member]), events
