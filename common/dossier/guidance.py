"""Questions about a claim of differential privacy, with answers and the code that makes each true.

Source: NIST SP 800-226, Guidelines for Evaluating Differential Privacy Guarantees (2025): what a claim must state, and
the hazards it lists. The questions are in our words.
"""

from __future__ import annotations

from common.dossier.card import epsilon_of, trust
from common.dossier.facts import RunFacts
from common.dossier.parts import Item, Section

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
        "Clipping without branches, replies on a grid of one second, one word for every failure",
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
                "Bounds and labels were written by people"
                if study.about.origin == "written"
                else "No: the schema was drafted from records, which a deployment refuses",
                "model/study.toml",
            ),
            *LIMITS,
        ),
    )
