"""Repeated releases of counts with and without one patient.

What the hospital adds noise to, how much it asks for and what it charges comes from its own answers, once with the
patient and once without; the release is then repeated with fresh noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from client.hospital import Hospital
from client.shard import Shard
from common.arrays import Array, Floats, Integers
from common.marginals.queries import Domain
from common.marginals.released import ReleasedMarginals
from common.planning.plan import COARSE, HISTOGRAMS, PAIRS, TRIPLES, Plan
from common.planning.planner import make_plan
from common.privacy.events import Event
from common.privacy.mechanisms import NoiseSource, release_counts
from common.protocol.messages import HistogramsReply, HistogramsRequest, MarginalsReply, MarginalsRequest
from common.study.study import Study
from simulations.audit.bounds import Scores
from simulations.audit.site import RUN, throwaway_hospital

CountsRequest = HistogramsRequest | MarginalsRequest


class MuteNoise(NoiseSource):
    """No noise at all, and a record of how much was asked for: shows what a hospital would add noise to."""

    is_secure = False

    def __init__(self) -> None:
        self.sigmas: list[float] = []

    def named(self, *names: str | int) -> MuteNoise:
        return self

    def uniform(self, count: int) -> Floats:
        raise NotImplementedError("counts need integer noise only")

    def discrete_gaussian(self, count: int, sigma: float) -> Integers:
        self.sigmas.append(sigma)
        return np.zeros(count, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    """One vector of counts before noise, in both worlds, with the noise it gets and the event it is charged as."""

    phase: str
    present: Integers
    absent: Integers
    sigma: float
    event: Event


def exact_vectors(study: Study, name: str, present: Shard, absent: Shard) -> tuple[Vector, ...]:
    """Every vector of a run as the hospital answers it, with and without the patient, to the same requests."""
    plan = make_plan(study)
    mute = MuteNoise()
    with throwaway_hospital(study, name, lambda _: absent, mute) as hospital:
        script, without = _exchange(study, plan, hospital, ())
        events = hospital.ledger.events()
    with throwaway_hospital(study, name, lambda _: present, MuteNoise()) as hospital:
        _, with_patient = _exchange(study, plan, hospital, script)
    parts = zip(plan.vectors, with_patient, without, mute.sigmas, events, strict=True)
    return tuple(Vector(phase.name, one, other, sigma, event) for phase, one, other, sigma, event in parts)


def _exchange(
    study: Study, plan: Plan, hospital: Hospital, script: tuple[CountsRequest, ...]
) -> tuple[tuple[CountsRequest, ...], list[Integers]]:
    """What was asked and answered, phase by phase; the script says what to ask, else the answers lead to it."""
    nothing = np.empty(0, dtype=np.int64)
    released, asked, answers = ReleasedMarginals(nothing), list(script), []
    for place, phase in enumerate(plan.vectors):
        if not script:
            asked.append(_next_request(study, plan, place, released))
        request = asked[place]
        reply = hospital.handle(request)
        assert isinstance(reply, HistogramsReply | MarginalsReply), "an accepted run is answered"
        answers.append(reply.counts)
        if isinstance(request, HistogramsRequest):
            released = ReleasedMarginals(reply.counts)
        else:
            released = released.with_phase(phase.name, request.columns, reply.counts)
    return tuple(asked), answers


def _next_request(study: Study, plan: Plan, place: int, released: ReleasedMarginals) -> CountsRequest:
    phase = plan.vectors[place]
    if phase.name == HISTOGRAMS:
        return HistogramsRequest(RUN)
    columns: Array = np.empty(0, dtype=np.int64)
    if phase.name in (PAIRS, TRIPLES):
        assert plan.vector(COARSE) is not None, "pairs and triples are chosen by coarse tables"
        queries = released.choose(phase, study, plan, Domain.of(released.encoder(study, plan)))
        columns = np.array([column for query in queries for column in query.columns], dtype=np.int64)
    return MarginalsRequest(RUN, phase.name, released.histograms, columns)


def repeat_release(vector: Vector, noise: NoiseSource, coins: np.random.Generator, trials: int) -> Scores:
    """Fresh noise on the same counts, with or without the patient by a coin; scores are log-likelihood ratios.

    With S the part of the noise along the change, less what the coordinates that do not change have in common, the
    ratio is (2 S - |change|^2) / (2 sigma^2).
    """
    if vector.present.shape != vector.absent.shape:  # the patient shows in the shape of the reply
        return Scores(np.ones(trials // 2), np.zeros(trials // 2))
    change = vector.present - vector.absent
    rest = np.flatnonzero(change == 0)
    square = float(change @ change)
    scores = np.empty(trials)
    is_present = coins.random(trials) < 0.5
    for trial in range(trials):
        counts = vector.present if is_present[trial] else vector.absent
        moved = release_counts(counts, vector.sigma, noise.named(vector.phase, trial)) - vector.absent
        common = float(moved[rest].mean()) if len(rest) else 0.0
        scores[trial] = float(change @ moved) - change.sum() * common
    ratios = (2 * scores - square) / (2 * vector.sigma**2)
    return Scores(ratios[is_present], ratios[~is_present])
