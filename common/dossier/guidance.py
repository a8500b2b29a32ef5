"""Questions about a claim of differential privacy, with answers and the code that makes each true.

Source: NIST SP 800-226, Guidelines for Evaluating Differential Privacy Guarantees (2025): what a claim must state, and
the hazards it lists. The questions are in our words.
"""

from __future__ import annotations

from common.dossier.card import epsilon_of, trust
from common.dossier.facts import RunFacts
from common.dossier.parts import Grid, Item, Section

MECHANISM = (
    Item(
        "Is everything that leaves covered?",
        "Every reply passes a gate that compares it with the event charged for it",
        "client/gate.py",
    ),
    Item(
        "Is spending added up over time?",
        "A ledger outlasts runs and refuses what exceeds the cohort's limit",
        "common/ledger/ledger.py",
    ),
    Item(
        "How is composition computed?",
        "Privacy loss distributions for a run, Renyi bounds over the cohort's life",
        "common/privacy/accountant.py",
    ),
    Item(
        "How is sensitivity bounded?",
        "Each vector's squared sensitivity is added up at the hospital, which refuses more than the plan says",
        "common/privacy/events.py",
    ),
)
"""Answers that hold for every run: what is counted, and how."""

LIMITS = (
    Item(
        "Side channels",
        "Reduced, not excluded: clipping without branches, replies on a grid of one second, one word for every failure",
        "docs/privacy.md",
    ),
    Item(
        "Is the claim tested?",
        "An audit attacks what ships with canaries, and mutations break each guard in turn",
        "docs/audit.md",
    ),
    Item(
        "Does the noise treat groups alike?",
        "Not in general. Where a study names sensitive columns, the report of patients compares their groups",
        "docs/report.md",
    ),
)
"""Answers that hold for every run: what the guarantee does not say by itself."""


def nist(facts: RunFacts) -> Section:
    """Return the questions, answered for this run."""
    study = facts.study
    spent = ", ".join(f"{h.name} {epsilon_of(facts, h.name):.3f}" for h in study.hospitals)
    noise = (
        "This run is a simulation: its noise comes from the study's seed and can be predicted"
        if facts.is_simulation
        else "vectors of counts are integers with noise from an exact sampler; gradients are rounded to a public grid "
        "after noise from a cryptographic generator"
    )
    return Section(
        "nist-sp-800-226",
        "NIST SP 800-226",
        "What a claim of differential privacy has to state, and what makes such claims false in practice.",
        (
            Item(
                "What is the privacy parameter?",
                f"epsilon by hospital: {spent}, at delta {study.privacy.delta:g}",
                "run.json",
            ),
            Item(
                "What is the unit of privacy?",
                f"one {study.privacy.unit}, with all that one hospital holds of it",
                "model/study.toml",
            ),
            Item(
                "Which data sets are neighbors?",
                f"two that differ by one {study.privacy.unit} of one hospital",
                "common/privacy/events.py",
            ),
            Item("Who is trusted?", trust(study), "model/study.toml"),
            *MECHANISM,
            Item("Floating point and noise", noise, "common/privacy/mechanisms.py"),
            Item(
                "Is the schema free of the data?",
                "The study declares that people wrote bounds and labels, and did not take them from records"
                if study.about.origin == "written"
                else "No: the schema was drafted from records, which a deployment refuses",
                "model/study.toml",
            ),
            *LIMITS,
            Item("What did the audit of this study find?", *_audit_answer(facts)),
        ),
        _audit_grids(facts),
    )


def _audit_answer(facts: RunFacts) -> tuple[str, str]:
    """Return the audit's verdict and its source; without one, that nobody handed it in."""
    if facts.audit is None:
        return (
            "No audit of this study was given. `fedsynth audit --study` makes audit.json, which `fedsynth dossier "
            "--audit` adds.",
            "docs/audit.md",
        )
    confidence = 100 * float(facts.audit["confidence"])
    return (
        f"{facts.audit['verdict']} (at {confidence:.4g} % confidence over all attacks together). The audit attacks the "
        "mechanisms of the study on records of its own, not this run. What it does not refute is not thereby proven.",
        "audit.json",
    )


def _audit_grids(facts: RunFacts) -> tuple[Grid, ...]:
    if facts.audit is None:
        return ()
    rows = tuple(
        (
            str(finding["name"]),
            str(finding["target"]),
            _figure(finding["claimed"]),
            _figure(finding["epsilon_lower"]),
            "yes" if finding["is_refuted"] else "no",
        )
        for finding in facts.audit["findings"]
    )
    head = ("attack", "mechanism", "epsilon claimed", "epsilon that the attack proves", "claim refuted")
    return (Grid("Audit of the study's mechanisms", head, rows, "audit.json"),)


def _figure(value: float | None) -> str:
    return "infinite" if value is None else f"{value:.3f}"
