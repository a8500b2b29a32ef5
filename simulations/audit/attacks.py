"""The attacks of an audit on what the first hospital of a study would release."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from common.planning.phases import HISTOGRAMS, Records
from common.planning.plan import CLASSES, EVALUATION, VOTES, Plan
from common.planning.planner import make_plan
from common.privacy.events import LEAST_SHARE, DiscreteGaussianVector, DistributedGaussianVector, Event, least_noise
from common.privacy.mechanisms import NoiseSource, SecureNoise, SeededNoise
from common.run_events.events import Emit, progress_to
from common.seeds import seed_for
from common.study.study import Study
from simulations.audit.bounds import Scores
from simulations.audit.counts import (
    Vector,
    encoding_study,
    evaluating_study,
    exact_vectors,
    repeat_release,
    voting_study,
    with_noise,
)
from simulations.audit.gradients import Steps, attack_run
from simulations.audit.histories import histories_with_and_without
from simulations.audit.opened import Parties
from simulations.audit.released_tables import attack_tables, table_study
from simulations.audit.rounds import attack_rounds, round_study
from simulations.audit.site import shards_with_and_without
from simulations.audit.synchronous import attack_steps, step_study
from simulations.audit.trials import Trials, composed, together

QUIET = Steps(noise_multiplier=0.5, sample_rate=0.25, steps=4, clip=0.5, batch=100)
"""DP-SGD with little noise, which shows errors in the sampling of batches that more noise would hide."""

QUIET_SIGMA = 2.0
"""Noise of the counts that the secure source is tested with. It is slow, and with little noise few trials suffice.
With weights, or in shares, it is the least that they may have."""

AttackOneRun = Callable[[NoiseSource, np.random.Generator], tuple[Scores, tuple[Event, ...]]]
"""Attacks one run under this noise, with these coins; returns scores and the events in the ledger."""


@dataclass(frozen=True, slots=True)
class Effort:
    """Numbers of trials. The defaults take a few minutes of processor time."""

    runs: int = 130
    quiet_runs: int = 40
    round_runs: int = 100
    step_runs: int = 40
    releases: int = 150_000
    secure_releases: int = 4_000
    tables: int = 150


class Attacks:
    """The attacks on one study, one method each.

    Args:
        study: the study.
        plan: its plan.
        seed: seed of coins and of noise that is not secure.
        effort: numbers of trials.
        emit: takes the progress.
    """

    def __init__(self, study: Study, plan: Plan, seed: int, effort: Effort, emit: Emit) -> None:
        self.study, self.plan, self.seed, self.effort = study, plan, seed, effort
        self.progress = progress_to(emit)
        self.hospital_plan = plan.hospitals[0]

    def run(self) -> list[tuple[Trials, float]]:
        """Run every attack; return each with its seconds of processor time."""
        done: list[tuple[Trials, float]] = []

        def attack(make: Callable[[], Trials]) -> Trials:
            started = time.process_time()
            done.append((make(), time.process_time() - started))
            return done[-1][0]

        parts = [attack(self._gradients)] if self.plan.rounds and self.plan.quantization is None else []
        if parts:
            attack(self._quiet_gradients)
            attack(self._secure_gradients)
            attack(self._replies)
        if self.plan.rounds:
            attack(self._synchronous)
        if self.plan.vectors:
            vectors = self._vectors(self.study)
            training = [vector for vector in vectors if vector.phase != EVALUATION]  # the patient is not held out
            parts += [attack(lambda vector=vector: self._counts(vector)) for vector in training]  # type: ignore[misc]
            attack(lambda: self._secure_counts(vectors[0]))
            if (dropping := with_dropout(self.study)) is not None:
                attack(lambda: self._dropout(dropping))
        if len(parts) > 1:
            attack(lambda: self._together(parts))
        if not self.study.has_visits:
            self._run_on_variants(attack)
        return done

    def _run_on_variants(self, attack: Callable[[Callable[[], Trials]], Trials]) -> None:
        """Attack what the study would release with other settings; those are for tables with one row per patient."""
        voting = voting_study(self.study, self.hospital_plan.hospital)
        if VOTES not in self.plan.phases and VOTES in make_plan(voting).phases:
            attack(lambda: self._votes(voting))
        if CLASSES not in self.plan.phases:
            attack(self._classes)
        if self.study.synthesizer.counts_marginals:
            attack(self._evaluation)
            attack(self._tables)

    def _coins(self, name: str) -> np.random.Generator:
        return np.random.default_rng(seed_for(self.seed, "audit", name))

    def _noise(self, name: str) -> SeededNoise:
        return SeededNoise(seed_for(self.seed, "audit", name, "noise"))

    def _runs(
        self, name: str, target: str, attack_one: AttackOneRun, runs: int, source: NoiseSource | None = None
    ) -> Trials:
        """Return an attack on several runs, each with canaries of its own.

        Args:
            name: name of the audit.
            target: what was attacked and what the attacker sees, for people.
            attack_one: attacks one run.
            runs: number of runs.
            source: source of the noise; None for seeded noise.
        """
        coins, scores = self._coins(name), []
        noise = self._noise(name) if source is None else source
        events: tuple[Event, ...] = ()
        for number in range(runs):
            self.progress(name, number, runs)
            run_scores, events = attack_one(noise.named("run", number), coins)
            scores.append(run_scores)
        self.progress(name, runs, runs)
        return Trials(name, target, events, together(scores), is_coin=True)

    def _gradients(self) -> Trials:
        plan = self.hospital_plan
        steps = Steps(plan.noise_multiplier, plan.sample_rate, plan.steps * self.plan.rounds, plan.clip, plan.batch)
        return self._runs(
            "dp-sgd", "DP-SGD of the study, every noisy gradient seen", steps_attack(steps), self.effort.runs
        )

    def _quiet_gradients(self) -> Trials:
        target = f"{QUIET.steps} steps at multiplier {QUIET.noise_multiplier:g}, every noisy gradient seen"
        return self._runs("little noise", target, steps_attack(QUIET), self.effort.quiet_runs)

    def _secure_gradients(self) -> Trials:
        target = "the same, noise and batches from the secure source"
        return self._runs("little noise, secure", target, steps_attack(QUIET), self.effort.quiet_runs, SecureNoise())

    def _replies(self) -> Trials:
        study = round_study(epsilon=2.0, rounds=10, steps=4)
        target = "weights that a hospital returns to a hostile server, 10 rounds of 4 steps"
        return self._runs(
            "replies", target, lambda noise, coins: attack_rounds(study, noise, coins), self.effort.round_runs
        )

    def _synchronous(self) -> Trials:
        study = step_study(epsilon=8.0, rounds=8)
        parties = Parties.of(study, study.hospitals[0].name)
        target = f"8 synchronous steps, {parties.words}, noise and batches from the secure source"
        return self._runs(
            "synchronous, secure",
            target,
            lambda noise, coins: attack_steps(study, noise, coins),
            self.effort.step_runs,
            SecureNoise(),
        )

    def _vectors(self, study: Study) -> tuple[Vector, ...]:
        """Return every vector of a study with and without a patient of the hospital."""
        return exact_vectors(study, self.hospital_plan.hospital, *self._records(study))

    def _records(self, study: Study, *, is_held_out: bool = False) -> tuple[Records, Records]:
        hospital = self.hospital_plan.hospital
        facts = study.hospital(hospital)
        assert facts is not None, "the plan is made from the study's hospitals"
        if study.has_visits:
            return histories_with_and_without(study, hospital, facts.declared_rows)
        return shards_with_and_without(study, hospital, facts.declared_rows, is_held_out=is_held_out)

    def _counts(self, vector: Vector, study: Study | None = None, name: str = "") -> Trials:
        """Return the attack on one vector of counts.

        Args:
            vector: the vector.
            study: the study that it belongs to, if it is not the audited one.
            name: name of the audit; the vector's by default.
        """
        name, trials = name or vector.name, self.effort.releases
        scores = repeat_release(
            vector, self._noise(name), self._coins(name), trials, lambda done: self.progress(name, done, trials)
        )
        seen = Parties.of(study or self.study, self.hospital_plan.hospital).words
        return Trials(name, f"the vector '{vector.name}' of the study, {seen}", (vector.event,), scores)

    def _votes(self, voting: Study) -> Trials:
        votes = next(vector for vector in self._vectors(voting) if vector.phase == VOTES)
        attack = self._counts(votes, voting)
        return replace(attack, target=f"{attack.target}, if its patients vote")

    def _classes(self) -> Trials:
        encoding = encoding_study(self.study, self.hospital_plan.hospital)
        last = [vector for vector in self._vectors(encoding) if vector.phase == CLASSES][-1]
        attack = self._counts(last, encoding, CLASSES)
        return replace(attack, target=f"{attack.target}, if it trained a VAE")

    def _evaluation(self) -> Trials:
        """Return the attack on counts of held-out patients, with a patient who is held out."""
        is_planned = EVALUATION in self.plan.phases
        study = self.study if is_planned else evaluating_study(self.study, self.hospital_plan.hospital)
        vectors = exact_vectors(study, self.hospital_plan.hospital, *self._records(study, is_held_out=True))
        attack = self._counts(next(vector for vector in vectors if vector.phase == EVALUATION), study)
        return attack if is_planned else replace(attack, target=f"{attack.target}, if it had a private evaluation")

    def _dropout(self, dropping: Study) -> Trials:
        vector = next(vector for vector in self._vectors(dropping) if vector.phase == HISTOGRAMS)
        return self._counts(vector, dropping, f"{vector.phase}, dropout")

    def _secure_counts(self, vector: Vector) -> Trials:
        name, trials = f"{vector.phase}, secure", self.effort.secure_releases
        assert isinstance(vector.event, DiscreteGaussianVector | DistributedGaussianVector), "a study with noise"
        sigma = max(QUIET_SIGMA, least_noise(vector.event.largest_change))
        if isinstance(vector.event, DistributedGaussianVector):
            sigma = max(sigma, LEAST_SHARE)
        quiet = with_noise(vector, sigma)
        scores = repeat_release(
            quiet, SecureNoise(), self._coins(name), trials, lambda done: self.progress(name, done, trials)
        )
        target = f"the vector '{vector.phase}' at sigma {sigma:g}, noise from the secure source"
        return Trials(name, target, (quiet.event,), scores)

    def _together(self, parts: list[Trials]) -> Trials:
        if self.plan.quantization is None:
            return composed("whole run", "every count and every noisy gradient about one patient", parts)
        return composed("all counts", "every count about one patient", parts)

    def _tables(self) -> Trials:
        name, trials = "synthetic tables", self.effort.tables
        study = table_study(self.study, self.hospital_plan.hospital)
        scores, events = attack_tables(
            study,
            self._records(study),
            seed=self.seed,
            trials=trials,
            step=lambda done: self.progress(name, done, trials),
        )
        return Trials(name, "published tables of small runs without rounds, black box", events, scores)


def steps_attack(steps: Steps) -> AttackOneRun:
    """Return the attack on one run of DP-SGD."""
    return lambda noise, coins: (attack_run(steps, noise, coins), (steps.event,))


def with_dropout(study: Study) -> Study | None:
    """Return a study under shared noise with one dropout more than it allows; None where it cannot be."""
    hospitals, federation = len(study.hospitals), study.federation
    dropouts = federation.dropouts + 1
    if study.privacy.noise != "distributed" or 2 * (hospitals - dropouts) <= hospitals + federation.colluders:
        return None
    minimum = min(federation.min_hospitals, hospitals - dropouts)
    return study.amended(federation={"dropouts": dropouts, "min_hospitals": minimum})
