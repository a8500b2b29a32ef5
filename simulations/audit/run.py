"""The whole audit of a study: attack after attack, then one verdict."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from common.errors import StudyError
from common.planning.plan import VOTES, Plan
from common.planning.planner import make_plan
from common.privacy.events import DiscreteGaussianVector, Event, least_noise
from common.privacy.mechanisms import NoiseSource, SecureNoise, SeededNoise
from common.run_events.events import Emit, ignore, progress_to
from common.seeds import seed_for
from common.study.study import Study
from simulations.audit.bounds import Scores
from simulations.audit.counts import Vector, exact_vectors, repeat_release, voting_study
from simulations.audit.gradients import Steps, attack_run
from simulations.audit.released_tables import attack_tables, table_study
from simulations.audit.rounds import attack_rounds, round_study
from simulations.audit.site import shards_with_and_without
from simulations.audit.trials import BOUNDS_EACH, Attack, Finding, composed, judge, together

SIGNIFICANCE = 1e-3
"""Probability that any bound of the audit is wrong, divided evenly among all of them (Bonferroni)."""

QUIET = Steps(noise_multiplier=0.5, sample_rate=0.25, steps=4, clip=0.5, batch=100)
"""DP-SGD with little noise, which shows errors in the sampling of batches that more noise would hide."""


QUIET_SIGMA = 2.0
"""Noise of the counts that the secure source is tested with. It is slow, and with little noise few trials suffice.
With weights it is the least that they may have."""


@dataclass(frozen=True, slots=True)
class Effort:
    """Numbers of trials. The defaults take a few minutes."""

    runs: int = 200
    quiet_runs: int = 40
    round_runs: int = 20
    releases: int = 60_000
    secure_releases: int = 3_000
    tables: int = 200


@dataclass(frozen=True, slots=True)
class Report:
    """All findings; `confidence` holds for all bounds together."""

    study: str
    fingerprint: str
    hospital: str
    seed: int
    confidence: float
    seconds: float
    findings: tuple[Finding, ...]

    @property
    def is_refuted(self) -> bool:
        return any(finding.is_refuted for finding in self.findings)

    @property
    def verdict(self) -> str:
        refuted = [finding.name for finding in self.findings if finding.is_refuted]
        if refuted:
            return f"REFUTED: the attack proves more epsilon than is claimed for {', '.join(refuted)}"
        return "not refuted: no attack proves more epsilon than is claimed"

    def as_document(self) -> dict[str, Any]:
        """The content of audit.json; infinite figures become null."""
        findings = []
        for finding in self.findings:
            cells = asdict(finding) | {
                "epsilon_lower": finding.epsilon_lower,
                "ratio": finding.ratio,
                "is_refuted": finding.is_refuted,
            }
            is_number = {name: not isinstance(cell, float) or math.isfinite(cell) for name, cell in cells.items()}
            findings.append({name: cell if is_number[name] else None for name, cell in cells.items()})
        facts = {name: value for name, value in asdict(self).items() if name != "findings"}
        return facts | {"is_refuted": self.is_refuted, "verdict": self.verdict, "findings": findings}


def audit(study: Study, *, seed: int = 0, effort: Effort | None = None, emit: Emit = ignore) -> Report:
    """Attack what the first hospital of the study would release.

    The records are public or invented and the ledgers are thrown away. The seed fixes everything but the attacks on
    the secure source.

    Raises:
        StudyError: the study lists no hospitals or adds no noise.
    """
    if study.privacy.noise == "none":
        raise StudyError("[privacy] noise = 'none' makes no claim to audit; use 'local'")
    started = time.monotonic()
    torch.set_num_threads(1)
    plan = make_plan(study)
    audits = _Audits(study, plan, seed, effort or Effort(), emit)
    attacks = audits.run()
    significance = SIGNIFICANCE / (BOUNDS_EACH * len(attacks))
    findings = []
    for index, (attack, seconds) in enumerate(attacks):
        audits.progress("bounds", index, len(attacks))
        findings.append(judge(attack, study.privacy.delta, significance, seconds))
    audits.progress("bounds", len(attacks), len(attacks))
    return Report(
        study=study.name,
        fingerprint=study.fingerprint,
        hospital=audits.hospital_plan.hospital,
        seed=seed,
        confidence=1 - SIGNIFICANCE,
        seconds=round(time.monotonic() - started, 1),
        findings=tuple(findings),
    )


class _Audits:
    """The attacks on one study, one method each."""

    def __init__(self, study: Study, plan: Plan, seed: int, effort: Effort, emit: Emit) -> None:
        self.study, self.plan, self.seed, self.effort = study, plan, seed, effort
        self.progress = progress_to(emit)
        self.hospital_plan = plan.hospitals[0]
        facts = study.hospital(self.hospital_plan.hospital)
        assert facts is not None, "the plan is made from the study's hospitals"
        self._rows = facts.declared_rows

    def run(self) -> list[tuple[Attack, float]]:
        """Run every attack; return each with its duration in seconds."""
        done: list[tuple[Attack, float]] = []

        def attack(make: Callable[[], Attack]) -> Attack:
            started = time.monotonic()
            done.append((make(), time.monotonic() - started))
            return done[-1][0]

        parts = []
        if self.plan.rounds:
            parts.append(attack(self._gradients))
            attack(self._quiet_gradients)
            attack(self._secure_gradients)
            attack(self._replies)
        if self.plan.vectors:
            present, absent = shards_with_and_without(self.study, self.hospital_plan.hospital, self._rows)
            vectors = exact_vectors(self.study, self.hospital_plan.hospital, present, absent)
            parts += [attack(lambda vector=vector: self._counts(vector)) for vector in vectors]  # type: ignore[misc]
            attack(lambda: self._secure_counts(vectors[0]))
        if len(parts) > 1:
            attack(lambda: composed("whole run", "every count and every noisy gradient about one patient", parts))
        voting = voting_study(self.study, self.hospital_plan.hospital)
        if VOTES not in self.plan.phases and VOTES in make_plan(voting).phases:
            attack(lambda: self._votes(voting))
        if self.study.synthesizer.counts_marginals:
            attack(self._tables)
        return done

    def _coins(self, name: str) -> np.random.Generator:
        return np.random.default_rng(seed_for(self.seed, "audit", name))

    def _noise(self, name: str) -> SeededNoise:
        return SeededNoise(seed_for(self.seed, "audit", name, "noise"))

    def _steps(self, name: str, target: str, steps: Steps, runs: int, source: NoiseSource) -> Attack:
        coins, scores = self._coins(name), []
        for number in range(runs):
            self.progress(name, number, runs)
            scores.append(attack_run(steps, source.named("run", number), coins))
        self.progress(name, runs, runs)
        return Attack(name, target, (steps.event,), together(scores), is_coin=True)

    def _gradients(self) -> Attack:
        plan = self.hospital_plan
        steps = Steps(plan.noise_multiplier, plan.sample_rate, plan.steps * self.plan.rounds, plan.clip, plan.batch)
        name = "dp-sgd"
        return self._steps(
            name, "DP-SGD of the study, every noisy gradient seen", steps, self.effort.runs, self._noise(name)
        )

    def _secure_gradients(self) -> Attack:
        target = "the same, noise and batches from the secure source"
        return self._steps("little noise, secure", target, QUIET, self.effort.quiet_runs, SecureNoise())

    def _quiet_gradients(self) -> Attack:
        name = "little noise"
        target = f"{QUIET.steps} steps at multiplier {QUIET.noise_multiplier:g}, every noisy gradient seen"
        return self._steps(name, target, QUIET, self.effort.quiet_runs, self._noise(name))

    def _replies(self) -> Attack:
        name, runs = "replies", self.effort.round_runs
        study, coins = round_study(epsilon=2.0, rounds=10, steps=4), self._coins(name)
        scores: list[Scores] = []
        events: tuple[Event, ...] = ()
        for number in range(runs):
            self.progress(name, number, runs)
            run_scores, events = attack_rounds(study, self._noise(name).named("run", number), coins)
            scores.append(run_scores)
        self.progress(name, runs, runs)
        target = "weights that a hospital returns to a hostile server, 10 rounds of 4 steps"
        return Attack(name, target, events, together(scores), is_coin=True)

    def _counts(self, vector: Vector) -> Attack:
        self.progress(vector.phase, 0, 1)
        scores = repeat_release(vector, self._noise(vector.phase), self._coins(vector.phase), self.effort.releases)
        self.progress(vector.phase, 1, 1)
        return Attack(vector.phase, f"the vector '{vector.phase}' of the study", (vector.event,), scores)

    def _votes(self, voting: Study) -> Attack:
        present, absent = shards_with_and_without(voting, self.hospital_plan.hospital, self._rows)
        vectors = exact_vectors(voting, self.hospital_plan.hospital, present, absent)
        attack = self._counts(next(vector for vector in vectors if vector.phase == VOTES))
        return replace(attack, target="the vector 'votes' of the study, if its patients vote")

    def _secure_counts(self, vector: Vector) -> Attack:
        name = f"{vector.phase}, secure"
        self.progress(name, 0, 1)
        assert isinstance(vector.event, DiscreteGaussianVector), "a study with noise"
        bounds = vector.event.squared_sensitivity, vector.event.largest_change
        sigma = max(QUIET_SIGMA, least_noise(vector.event.largest_change))
        quiet = replace(vector, sigma=sigma, event=DiscreteGaussianVector(sigma, *bounds))
        scores = repeat_release(quiet, SecureNoise(), self._coins(name), self.effort.secure_releases)
        self.progress(name, 1, 1)
        target = f"the vector '{vector.phase}' at sigma {sigma:g}, noise from the secure source"
        return Attack(name, target, (quiet.event,), scores)

    def _tables(self) -> Attack:
        name, trials = "synthetic tables", self.effort.tables
        study = table_study(self.study, self.hospital_plan.hospital)
        present, absent = shards_with_and_without(study, self.hospital_plan.hospital, self._rows)
        scores, events = attack_tables(
            study, present, absent, seed=self.seed, trials=trials, step=lambda done: self.progress(name, done, trials)
        )
        return Attack(name, "published tables of small runs without rounds, black box", events, scores)
