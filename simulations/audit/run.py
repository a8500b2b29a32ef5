"""The whole audit of a study: attack after attack, then one verdict."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch

from common.errors import StudyError
from common.planning.planner import make_plan
from common.run_events.events import Emit, ignore
from common.study.study import Study
from simulations.audit.attacks import Attacks, Effort
from simulations.audit.trials import BOUNDS_EACH, Finding, judge

SIGNIFICANCE = 1e-3
"""Probability that any bound of the audit is wrong, divided evenly among all of them (Bonferroni)."""


@dataclass(frozen=True, slots=True)
class Report:
    """All findings; `confidence` holds for all bounds together.

    Attributes:
        seconds: duration of the audit.
        cpu_seconds: processor time of the audit, of which each finding has a part.
    """

    study: str
    fingerprint: str
    hospital: str
    seed: int
    confidence: float
    seconds: float
    cpu_seconds: float
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
                "ratio_direct": finding.ratio_direct,
                "ratio_family": finding.ratio_family,
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

    Args:
        study: the study.
        seed: seed of noise and coins.
        effort: number of trials of each attack; None for those of the command.
        emit: takes the progress.

    Returns:
        What every attack found, beside the claims.

    Raises:
        StudyError: the study lists no hospitals or adds no noise.
    """
    if study.privacy.noise == "none":
        raise StudyError("[privacy] noise = 'none' makes no claim to audit; use 'distributed' or 'local'")
    started, cpu_started = time.monotonic(), time.process_time()
    torch.set_num_threads(1)
    plan = make_plan(study)
    audits = Attacks(study, plan, seed, effort or Effort(), emit)
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
        cpu_seconds=round(time.process_time() - cpu_started, 1),
        findings=tuple(findings),
    )
