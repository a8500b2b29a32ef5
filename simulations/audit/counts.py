"""Repeated releases of counts with and without one patient.

The exact counts, the noise and the charged event come from the hospitals' own answers, once with the patient and once
without: the reply of one hospital, or the opened sum of several under shared noise. The release is then repeated with
fresh noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from common.arrays import Floats, Integers
from common.planning.phases import EVALUATION, Records
from common.planning.planner import make_plan
from common.privacy.events import DiscreteGaussianVector, DistributedGaussianVector, Event
from common.privacy.mechanisms import NoiseSource, release_counts
from common.protocol.messages import CountsRequest
from common.study.study import Study
from common.synthesizers.model_rows import ModelRows
from server.run.agreed_run import AgreedRun
from server.run.counting import Collecting, collect_marginals
from simulations.audit.bounds import Scores
from simulations.audit.opened import MuteNoise, Opened, opened
from simulations.audit.site import RUN, alone_under_local_noise

DECOYS = 128
"""Fewest unchanged counts of a repeated release, where the vector has that many; a release that changes more counts has
as many unchanged ones. They show noise that all counts share; there should be none."""

BLOCK = 250
"""Releases that are drawn as one vector: noise is independent in every count, and one long vector is drawn faster."""


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    """One vector of counts before noise, in both worlds, with the noise it gets and the event it is charged as.

    Args:
        phase: name of the phase.
        round: number of its round; 0 where it is released once.
        present, absent: the counts with and without the patient.
        sigmas: parameter of the noise that each honest hospital adds; one where it is a single hospital's reply.
        event: the event as charged.
    """

    phase: str
    present: Integers
    absent: Integers
    sigmas: tuple[float, ...]
    event: Event
    round: int = 0

    @property
    def name(self) -> str:
        """The phase, with the round where there are several."""
        return f"{self.phase}, round {self.round}" if self.round else self.phase

    @property
    def sigma(self) -> float:
        """The standard deviation of all noise together, about."""
        return math.sqrt(sum(sigma**2 for sigma in self.sigmas))


def voting_study(study: Study, hospital: str) -> Study:
    """Return the study without rounds, with patients who vote for rows of a quickly fitted model.

    Under local noise it is the study of one hospital. There are no votes where there are too few or too many columns.
    """
    settings = {"kind": "maximum-entropy", "votes": True, "triples": 1, "chains": 128, "fit_steps": 10}
    voting = study.amended(synthesizer=settings, training={"rounds": 0}, budget={"votes": 0.1, "coarse_triples": 0.1})
    return alone_under_local_noise(voting, hospital)


def encoding_study(study: Study, hospital: str) -> Study:
    """Return the study with patients who are put in latent classes in two rounds, as a VAE's.

    Under local noise it is the study of one hospital.
    """
    settings = {"kind": "marginal-vae", "classes": 8, "prototypes": 8, "triples": 0}
    encoding = study.amended(synthesizer=settings, training={"rounds": 2}, budget={"classes": 0.4})
    return alone_under_local_noise(encoding, hospital)


def evaluating_study(study: Study, hospital: str) -> Study:
    """Return the study without rounds, with a private evaluation of a quickly fitted model.

    Under local noise it is the study of one hospital.
    """
    settings = {"kind": "maximum-entropy", "votes": False, "triples": 0, "chains": 128, "fit_steps": 10}
    evaluation = {"private": True, "holdout_fraction": study.evaluation.holdout_fraction or 0.2}
    evaluating = study.amended(synthesizer=settings, training={"rounds": 0}, evaluation=evaluation)
    return alone_under_local_noise(evaluating, hospital)


def exact_vectors(study: Study, name: str, present: Records, absent: Records) -> tuple[Vector, ...]:
    """Return every vector of a run as the coordinator gets it, with and without the patient, to the same requests.

    Args:
        study: the study.
        name: name of the hospital.
        present, absent: its records with the patient and without.
    """
    mute: dict[str, MuteNoise] = {}

    def noise(hospital: str) -> MuteNoise:
        return mute.setdefault(hospital, MuteNoise())

    with opened(study, name, absent, noise) as run:
        requests, without = _counted(study, run)
        events, honest = run.events, (name, *run.parties.honest)
    sigmas = list(zip(*(mute[hospital].sigmas for hospital in honest), strict=True))
    with opened(study, name, present, lambda _: MuteNoise()) as run:
        with_patient = [run.answer(request, len(counts)) for request, counts in zip(requests, without, strict=True)]
    vectors = zip(requests, with_patient, without, sigmas, events, strict=True)
    return tuple(
        Vector(request.phase, present, absent, tuple(noise), event, request.round)
        for request, present, absent, noise, event in vectors
    )


def _counted(study: Study, run: Opened) -> tuple[list[CountsRequest], list[Integers]]:
    """Run the counted phases of a run, without rounds; return what was asked and what was answered."""
    requests: list[CountsRequest] = []
    answers: list[Integers] = []

    def answer(request: CountsRequest, length: int) -> Integers:
        requests.append(request)
        answers.append(run.answer(request, length))
        return answers[-1]

    agreed, once = AgreedRun(RUN, study, make_plan(study)), lambda step, compute: compute()
    public = collect_marginals(agreed, answer, once)
    if public.plan.vector(EVALUATION) is not None:  # a run asks for it last, with rows of the same model
        Collecting(agreed, answer, once).vector(EVALUATION, public, ModelRows())
    return requests, answers


def with_noise(vector: Vector, sigma: float) -> Vector:
    """Return the vector under other noise, charged as such.

    Args:
        vector: the vector.
        sigma: parameter of each honest hospital's noise.
    """
    match vector.event:
        case DistributedGaussianVector(_, honest, squared_sensitivity, largest_change):
            event: Event = DistributedGaussianVector(sigma, honest, squared_sensitivity, largest_change)
        case DiscreteGaussianVector(_, squared_sensitivity, largest_change):
            event = DiscreteGaussianVector(sigma, squared_sensitivity, largest_change)
        case _:
            raise ValueError(f"{vector.event!r} has no noise to change")
    return Vector(vector.phase, vector.present, vector.absent, (sigma,) * len(vector.sigmas), event, vector.round)


def repeat_release(
    vector: Vector,
    noise: NoiseSource,
    coins: np.random.Generator,
    trials: int,
    step: Callable[[int], None] = lambda done: None,
) -> Scores:
    """Repeat a release with fresh noise, with or without the patient by a coin; return log-likelihood ratios.

    Only the counts that the patient changes, and as many that the patient does not (decoys; at least `DECOYS`, if the
    vector has them), are released: the noise of every count is independent, and a vector of a hundred thousand counts
    would take hours. With S the part of the noise along the change, less what the decoys have in common, the ratio is
    (2 S - |change|^2) / (2 sigma^2). The mean of d decoys adds noise of variance (sigma sum(change))^2 / d to S: if n
    counts change by 1 each, that is n / d times the variance of S without it.

    Args:
        vector: what is released, in both worlds.
        noise: source of the noise.
        coins: decide which world a trial is in.
        trials: number of releases.
        step: called with the number of finished trials.
    """
    if vector.present.shape != vector.absent.shape:  # the patient shows in the shape of the reply
        return Scores(np.ones(trials // 2), np.zeros(trials // 2))
    difference = vector.present - vector.absent
    changed = np.flatnonzero(difference)
    decoys = np.flatnonzero(difference == 0)[: max(DECOYS, len(changed))]
    cells = np.concatenate([changed, decoys])
    change, present, absent = difference[changed], vector.present[cells], vector.absent[cells]
    is_present = coins.random(trials) < 0.5
    scores = np.empty(trials)
    for first in range(0, trials, BLOCK):
        counts = np.where(is_present[first : first + BLOCK, None], present, absent)
        moved = _released(counts, vector, noise.named(vector.phase, first)) - absent
        common = moved[:, len(changed) :].mean(1) if len(decoys) else 0.0
        scores[first : first + BLOCK] = moved[:, : len(changed)] @ change - change.sum() * common
        step(min(first + BLOCK, trials))
    ratios = (2 * scores - float(change @ change)) / (2 * vector.sigma**2)
    return Scores(ratios[is_present], ratios[~is_present])


def _released(counts: Integers, vector: Vector, noise: NoiseSource) -> Floats:
    """Return releases of the counts, (trials, cells), with the noise of every honest hospital."""
    flat = counts.reshape(-1)
    released = release_counts(flat, vector.sigmas[0], noise.named(0))
    for number, sigma in enumerate(vector.sigmas[1:], start=1):
        released = released + release_counts(np.zeros_like(flat), sigma, noise.named(number))
    return released.reshape(counts.shape).astype(np.float64)
