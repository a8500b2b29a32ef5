"""The history of a ledger: every release as a sentence, and the whole ledger as JSON for an auditor."""

from __future__ import annotations

import json
import math
from typing import Any

from client.consent.decisions import Decision
from client.site.selftest_result import Selftest
from common.errors import StudyError
from common.ledger.files import COLUMNS
from common.ledger.ledger import FORMAT, Entry, History, Kind
from common.planning.plan import Plan
from common.privacy import accountant
from common.privacy.events import DistributedGaussianVector, SynchronousRun, event_from_json


def sentences(history: History, cap: float | None = None) -> list[tuple[Entry, str]]:
    """Return every entry that matters to people, each with a sentence.

    Args:
        history: a cohort's ledger.
        cap: lifetime epsilon of the cohort, where it is known.
    """
    studies = {run_id: _study_name(history, run_id) for run_id in history.runs()}
    plans = {run_id: _plan(history, run_id) for run_id in history.runs()}
    units = {run_id: history.unit(run_id) for run_id in history.runs()}
    spent = iter(_spent(history))
    answered = {line.receipt.counter for line in history.lines() if line.is_answered}
    limit = "" if cap is None else f" of {cap:.1f}"
    lines = []
    for entry in history.entries:
        day = entry.time[:10]
        heading = f"{day}, study {studies.get(entry.slot.run_id, 'unknown')}"
        match entry.kind:
            case Kind.OPEN:
                words = f"{day}: ledger created, at delta {history.delta:g}"
            case Kind.DECIDE:
                decision = Decision.model_validate_json(entry.content)
                words = f"{decision.time:%Y-%m-%d}, study {decision.study}: run {decision.words}"
            case Kind.ENROLL:
                table = history.table(entry.slot.run_id)
                accepted = f"run accepted over table {table[:12]}" if table else "run accepted"
                unit = units[entry.slot.run_id]
                words = f"{heading}: {accepted}, the budget of its whole plan is reserved for each {unit}"
            case Kind.CHARGE:
                no_reply = "" if entry.counter in answered else " (no reply was stored)"
                event = entry.slot.words(plans.get(entry.slot.run_id)) + _noise_sharers(entry)
                words = f"{heading}, {event}: epsilon so far {_short(next(spent))}{limit}{no_reply}"
            case Kind.CLOSE:
                is_charged = bool(history.charged(entry.slot.run_id))
                rest = ", the budget it did not use" if is_charged else " without a charge, its budget"
                words = f"{heading}: run closed{rest} is free again"
            case Kind.RESTORE:
                spent_now = f"epsilon so far {_short(entry.epsilon)}{limit}"
                words = f"{day}: old copy accepted, {_written_off(entry)}: {spent_now}"
            case Kind.WITNESS:
                is_kept = json.loads(entry.content)["kept"]
                witness = "a witness outside the state folder is" if is_kept else "NO witness is"
                words = f"{day}: from here on, {witness} kept"
            case Kind.SELFTEST:
                words = f"{day}: {_selftest_words(Selftest.from_json(entry.content))}"
            case _:
                continue
        lines.append((entry, words))
    return lines


def document(history: History) -> dict[str, Any]:
    """Return the ledger as a JSON document; an infinite epsilon becomes None."""

    def content(entry: Entry) -> Any:
        return entry.content if entry.kind in (Kind.ANSWER, Kind.CLOSE) else json.loads(entry.content)

    return {
        "format": FORMAT,
        "cohort": history.cohort,
        "delta": history.delta,
        "epsilon": _finite(history.epsilon),
        "entries": [
            dict(zip(COLUMNS["entries"], entry.row(), strict=True))
            | {"content": content(entry), "epsilon": _finite(entry.epsilon)}
            for entry in history.entries
        ],
    }


def _spent(history: History) -> list[float]:
    """Return epsilon up to each line. A single run is a plan fixed in advance, which PLD bounds more tightly."""
    lines = history.lines()
    spent = [line.epsilon for line in lines]
    if len({line.slot.run_id for line in lines}) == 1 and len(history.events()) == len(lines):
        tighter = accountant.epsilons(history.events(), history.delta)
        spent = [min(pair) for pair in zip(spent, tighter, strict=True)]
    return spent


def _study_name(history: History, run_id: str) -> str:
    return history.study_value(run_id, "study", "name") or "unknown"


def _plan(history: History, run_id: str) -> Plan | None:
    """Return a run's plan; None where another version wrote it in another form."""
    enrollment = history.enrollment(run_id)
    assert enrollment is not None, "a run without an enrollment"
    try:
        return Plan.from_json(enrollment.plan)
    except StudyError:
        return None


def _written_off(entry: Entry) -> str:
    """Return the clause about the runs that an accepted restore closed."""
    runs = json.loads(entry.content)
    charged = ", ".join(run_id for run_id, events in runs.items() if events) or "none"
    free = ", ".join(run_id for run_id, events in runs.items() if not events)
    return f"open runs charged in full ({charged})" + (f", closed without a charge: {free}" if free else "")


def _noise_sharers(entry: Entry) -> str:
    """Return the clause about shared noise for a charge whose noise comes from several hospitals, else nothing."""
    event = event_from_json(entry.content)
    if not isinstance(event, DistributedGaussianVector | SynchronousRun):
        return ""
    return f", under the noise of {event.honest_hospitals} honest hospitals"


def _selftest_words(result: Selftest) -> str:
    """Return the sentence about a check of the installation."""
    outcome = f"FAILED {', '.join(result.failed)}" if result.failed else f"passed all {len(result.outcomes)} checks"
    return f"selftest of fedsynth {result.versions['fedsynth']} {outcome}"


def _short(epsilon: float) -> str:
    return "without limit" if math.isinf(epsilon) else f"{epsilon:.1f}"


def _finite(epsilon: float) -> float | None:
    return None if math.isinf(epsilon) else epsilon
