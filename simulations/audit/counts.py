"""Repeated releases of counts with and without one patient.

The exact counts, the noise and the charged event come from the hospital's own answers, once with the patient and once
without. The release is then repeated with fresh noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from client.hospital import Hospital
from client.shard import Shard
from common.arrays import Floats, Integers
from common.planning.plan import Plan
from common.planning.planner import make_plan
from common.privacy.events import Event
from common.privacy.mechanisms import NoiseSource, release_counts
from common.protocol.messages import CountsReply, CountsRequest
from common.study.study import Study
from server.run.agreement import Agreement
from server.run.counting import collect_marginals
from simulations.audit.bounds import Scores
from simulations.audit.site import RUN, throwaway_hospital

DECOYS = 128
"""Unchanged counts in a repeated release. They show noise that is common to all counts; there should be none."""


class MuteNoise(NoiseSource):
    """Adds no noise and records the requested sigmas: shows the counts to which a hospital would add noise."""

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


def voting_study(study: Study, hospital: str) -> Study:
    """Return the study for one hospital, without rounds, with patients who vote for rows of a quickly fitted model.

    Its plan has no votes where there are too few or too many columns.
    """
    facts = study.hospital(hospital)
    assert facts is not None, "a hospital outside the study"
    settings = {"kind": "maximum-entropy", "votes": True, "triples": 1, "chains": 128, "fit_steps": 10}
    budget = {"votes": 0.1, "coarse_triples": 0.1}
    voting = study.amended(synthesizer=settings, training={"rounds": 0}, privacy={"noise": "local"}, budget=budget)
    return voting.with_hospitals((facts,), cap_minimum=True)


def exact_vectors(study: Study, name: str, present: Shard, absent: Shard) -> tuple[Vector, ...]:
    """Return every vector of a run as the hospital answers it, with and without the patient, to the same requests.

    Args:
        name: name of the hospital.
        present, absent: its records with the patient and without.
    """
    plan = make_plan(study)
    mute = MuteNoise()
    with throwaway_hospital(study, name, lambda _: absent, mute) as hospital:
        requests, without = _counted(study, plan, hospital)
        events = hospital.ledger.events()
    with throwaway_hospital(study, name, lambda _: present, MuteNoise()) as hospital:
        with_patient = [_answer(hospital, request) for request in requests]
    vectors = zip(requests, with_patient, without, mute.sigmas, events, strict=True)
    return tuple(
        Vector(request.phase, present, absent, sigma, event) for request, present, absent, sigma, event in vectors
    )


def _counted(study: Study, plan: Plan, hospital: Hospital) -> tuple[list[CountsRequest], list[Integers]]:
    """Run the counted phases of a run against one hospital; return what was asked and what was answered."""
    requests: list[CountsRequest] = []
    answers: list[Integers] = []

    def answer(request: CountsRequest, length: int) -> Integers:
        requests.append(request)
        answers.append(_answer(hospital, request))
        return answers[-1]

    collect_marginals(Agreement(RUN, study, plan), answer, lambda step, compute: compute())
    return requests, answers


def _answer(hospital: Hospital, request: CountsRequest) -> Integers:
    reply = hospital.handle(request)
    assert isinstance(reply, CountsReply), "an accepted run is answered"
    return reply.counts


def repeat_release(vector: Vector, noise: NoiseSource, coins: np.random.Generator, trials: int) -> Scores:
    """Repeat a release with fresh noise, with or without the patient by a coin; return log-likelihood ratios.

    Only the counts that the patient changes, and `DECOYS` that the patient does not, are released: the noise of every
    count is independent, and a vector of a hundred thousand counts would take hours. With S the part of the noise along
    the change, less what the decoys have in common, the ratio is (2 S - |change|^2) / (2 sigma^2).

    Args:
        vector: what is released, in both worlds.
        noise: source of the noise.
        coins: decide which world a trial is in.
        trials: number of releases.
    """
    if vector.present.shape != vector.absent.shape:  # the patient shows in the shape of the reply
        return Scores(np.ones(trials // 2), np.zeros(trials // 2))
    difference = vector.present - vector.absent
    changed, decoys = np.flatnonzero(difference), np.flatnonzero(difference == 0)[:DECOYS]
    seen = np.concatenate([changed, decoys])
    change, present, absent = difference[changed], vector.present[seen], vector.absent[seen]
    scores = np.empty(trials)
    is_present = coins.random(trials) < 0.5
    for trial in range(trials):
        counts = present if is_present[trial] else absent
        moved = release_counts(counts, vector.sigma, noise.named(vector.phase, trial)) - absent
        common = float(moved[len(changed) :].mean()) if len(decoys) else 0.0
        scores[trial] = float(change @ moved[: len(changed)]) - change.sum() * common
    ratios = (2 * scores - float(change @ change)) / (2 * vector.sigma**2)
    return Scores(ratios[is_present], ratios[~is_present])
