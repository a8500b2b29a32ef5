"""The attack on a hospital's training replies: a server that sends weights of its choice and reads the replies.

The attack calls `Hospital.handle` only. Canaries are separate categories in a schema made for the purpose. The
clip, which epsilon does not depend on, is so small that Adam's division by sqrt(v) + 1e-8 is a division by 1e-8: the
reply is then a linear function of the noisy gradients of its round.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import tomli_w

from client.selftest.reader import PATIENT
from client.shard import StreamedShard
from common.arrays import Weights
from common.encoding import histogram_length
from common.planning.plan import Plan
from common.planning.planner import make_plan
from common.planning.public_run import HISTOGRAMS, PublicRun
from common.privacy.events import Event
from common.privacy.mechanisms import NoiseSource
from common.protocol.messages import RoundReply, RoundRequest
from common.study.limits import rounded
from common.study.study import Study, parse_study
from common.synthesizers.registry import make_adversarial
from simulations.audit.bounds import Scores
from simulations.audit.site import RUN, imported, throwaway_hospital

HOSPITAL = "audited"
CANARIES, DECOYS = 900, 100
COLUMNS = ("first", "second", "third")
"""Every column holds the canary's category, so that most of its gradient is its own."""

CLIP = 1e-10
"""Clip norm, on which epsilon does not depend."""

STEEPNESS = 100.0
SURE = 30.0
"""A logit with which the generator draws only its decoy category."""


def round_study(epsilon: float, rounds: int, steps: int, canaries: int = CANARIES, hospitals: int = 1) -> Study:
    """Return a study with rounds only, whose schema has a category for every canary and every decoy.

    Args:
        epsilon: epsilon of the study.
        rounds: number of rounds.
        steps: DP-SGD steps per round.
        canaries: number of canaries.
        hospitals: number of hospitals; several share their noise, and steps are synchronous.
    """
    names = (HOSPITAL, *(f"other-{number}" for number in range(1, hospitals)))
    labels = [f"canary {number}" for number in range(canaries)] + [f"decoy {number}" for number in range(DECOYS)]
    columns = [{"name": name, "kind": "categorical", "categories": labels} for name in COLUMNS]
    document = {
        "study": {"name": "audit"},
        "schema": {"columns": columns},
        "hospitals": [{"name": name, "declared_rows": rounded(canaries // 2)} for name in names],
        "synthesizer": {"kind": "marginal-gan", "marginal_weight": 0.0, "prototypes": 1, "hidden": 1},
        "training": {"rounds": rounds, "steps": steps, "batch": canaries * hospitals},
        "budget": {"histograms": 1e-3, "adversary": 1.0},  # nobody asks for the histograms
        "privacy": {
            "epsilon": epsilon,
            "delta": 1e-5,
            "clip": CLIP,
            "noise": "distributed" if hospitals > 1 else "local",
        },
        "federation": {"min_hospitals": hospitals},
        "evaluation": {"target": COLUMNS[0], "holdout_fraction": 0.0},
    }
    return parse_study(tomli_w.dumps(document))


def attack_rounds(
    study: Study, noise: NoiseSource, coins: np.random.Generator, canaries: int = CANARIES
) -> tuple[Scores, tuple[Event, ...]]:
    """Attack a whole run of one hospital; each canary is a trial. Return scores and the events in the ledger.

    A canary moves one weight for each column, its own, and a bias that all share, all alike: the score, the sum of its
    own weights' changes over the rounds, sees sqrt(3 / 4) of its gradient's norm.

    Args:
        study: the study of one hospital, from `round_study`.
        noise: the hospital's noise.
        coins: decides which canaries are in the table.
        canaries: number of canaries.

    Returns:
        Scores of the canaries in the table and of the others, and the events that the ledger charged.
    """
    plan = make_plan(study)
    is_member = coins.random(canaries) < 0.5
    records, public = canary_records(study, is_member), run_without_counts(study, plan)
    weights = steep_weights(make_adversarial(study.synthesizer, public.encoder).initial_weights(0), canaries)
    total = np.zeros(canaries)
    with throwaway_hospital(study, HOSPITAL, records, noise) as hospital:
        for number in range(1, plan.rounds + 1):
            reply = hospital.handle(RoundRequest(RUN, number, public.released.arrays(), weights))
            assert isinstance(reply, RoundReply), "an accepted run is answered"
            changes = reply.weights["disc.layers.0.weight"].astype(np.float64)
            seen = changes.reshape(len(COLUMNS), -1).sum(0)
            total += seen[:canaries] - seen[canaries + 1 : canaries + DECOYS].mean()
        events = hospital.ledger.events()
    return Scores(total[is_member], total[~is_member]), events


def canary_records(study: Study, is_member: npt.NDArray[np.bool_]) -> StreamedShard:
    """Return the imported records of a hospital with these canaries."""
    names = [f"canary {number}" for number in np.flatnonzero(is_member)]
    return imported(pd.DataFrame({PATIENT: names} | dict.fromkeys(COLUMNS, names), dtype=object), study, HOSPITAL)


def run_without_counts(study: Study, plan: Plan) -> PublicRun:
    """Return a run whose histograms are empty: nothing else is counted, and the encoder needs no more."""
    return PublicRun(study, plan).after(HISTOGRAMS, np.zeros(histogram_length(study.table, plan.cells), np.int64))


def steep_weights(initial: Weights, canaries: int) -> Weights:
    """Return weights with zero logits for every row, steep later layers, and a generator that draws the first decoy."""
    weights = {name: np.zeros_like(value) for name, value in initial.items()}
    weights["disc.layers.1.weight"][:] = STEEPNESS
    weights["disc.layers.2.weight"][:] = STEEPNESS
    weights["gen.table"].reshape(len(COLUMNS), -1)[:, canaries] = SURE
    return weights
