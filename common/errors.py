"""Every deliberate error, its exit code, and the only texts that may leave a hospital.

    FedSynthError                 1
    ├── StudyError                2   the study file, the command line or the output folder is wrong
    ├── SiteError                 2   site.toml or the state folder is wrong
    ├── PolicyRefusal             3   a hospital's policy said no
    ├── LedgerError               3   a ledger was altered, or another process holds it
    ├── FederationError           4   too few hospitals left, or a message nobody can read
    │   ├── WireError             4
    │   └── MaskingError          4   somebody did not keep to the protocol of secure aggregation
    └── DataError                 5   a table cannot be read or does not fit the schema

A message names the column, the limit and the remedy, never a cell value. Inside a hospital it stays
there: what travels is a `Reason`, which is an enumeration and therefore cannot carry a record.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class FedSynthError(Exception):
    """Base of every error that fedsynth raises on purpose."""

    exit_code: ClassVar[int] = 1


class StudyError(FedSynthError):
    """The study, the command line or the output folder cannot be used as given."""

    exit_code = 2


class SiteError(FedSynthError):
    """The hospital's site.toml or state folder cannot be used as it is."""

    exit_code = 2


class PolicyRefusal(FedSynthError):
    """A hospital's policy refuses the study, the run or the request."""

    exit_code = 3

    def __init__(self, reason: Reason, message: str | None = None) -> None:
        super().__init__(message or REASON_TEXTS[reason])
        self.reason = reason


class LedgerError(FedSynthError):
    """A cohort's ledger cannot be trusted, or is not this process's to use; nothing is released about the cohort."""

    exit_code = 3


class FederationError(FedSynthError):
    """The run cannot go on with the hospitals that are left."""

    exit_code = 4


class WireError(FederationError):
    """A message does not have the fields, types or shapes that its kind prescribes."""


class MaskingError(FederationError):
    """A masked phase ended: a message, key, share or signature is not what the protocol prescribes, or too few stayed.

    Nothing is unmasked by it.
    """


class DataError(FedSynthError):
    """A table cannot be read, or does not fit the schema."""

    exit_code = 5


def cause_of(problem: Exception) -> str:
    """Return the operating system's own words for an `OSError`, such as "No space left on device".

    For every other exception the name of its class: its text might quote a cell.
    """
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    return type(problem).__name__


class Reason(StrEnum):
    """Everything a hospital may say instead of an answer. None of it depends on a record."""

    ACCEPTED = "accepted"
    UNKNOWN_HOSPITAL = "unknown-hospital"
    STUDY_ALTERED = "study-altered"
    STUDY_NOT_APPROVED = "study-not-approved"
    STUDY_DRAFTED = "study-drafted"
    PHASE_NOT_ALLOWED = "phase-not-allowed"
    PLAN_MISMATCH = "plan-mismatch"
    NOISE_REFUSED = "noise-refused"
    IDENTITY_MISSING = "identity-missing"
    IDENTITY_DIFFERS = "identity-differs"
    DECLARED_ROWS_DIFFER = "declared-rows-differ"
    TOO_FEW_ROWS = "too-few-rows"
    EPSILON_ABOVE_CAP = "epsilon-above-cap"
    DELTA_TOO_LARGE = "delta-too-large"
    BUDGET_EXHAUSTED = "budget-exhausted"
    LEDGER_BEHIND = "ledger-behind"
    RUN_CLOSED = "run-closed"
    STUDY_REHEARSAL = "study-rehearsal"
    SIGNATURE_REFUSED = "signature-refused"
    VERSION_DIFFERS = "version-differs"
    UNAVAILABLE = "unavailable"


REASON_TEXTS: dict[Reason, str] = {
    Reason.ACCEPTED: "accepted",
    Reason.UNKNOWN_HOSPITAL: "the study does not list this hospital",
    Reason.STUDY_ALTERED: "the study text does not match its fingerprint",
    Reason.STUDY_NOT_APPROVED: "the hospital has approved neither this study nor this run of it",
    Reason.STUDY_DRAFTED: "the schema was drafted from records; write it from the data dictionary",
    Reason.PHASE_NOT_ALLOWED: "the plan has a phase that the hospital does not take part in",
    Reason.PLAN_MISMATCH: "the plan is not the one this study leads to",
    Reason.NOISE_REFUSED: "the hospital does not release anything under this noise mode",
    Reason.IDENTITY_MISSING: "distributed noise needs an identity of every hospital in the study; add them",
    Reason.IDENTITY_DIFFERS: "the study lists another identity key for the hospital than the one it signs with",
    Reason.DECLARED_ROWS_DIFFER: "the study declares another number of rows than the hospital does",
    Reason.TOO_FEW_ROWS: "the declared rows are fewer than the hospital's minimum",
    Reason.EPSILON_ABOVE_CAP: "the plan costs more epsilon than the hospital allows",
    Reason.DELTA_TOO_LARGE: "delta exceeds the hospital's limit, or 1 / declared rows",
    Reason.BUDGET_EXHAUSTED: "the cohort's lifetime budget cannot pay for this run",
    Reason.LEDGER_BEHIND: "the hospital's ledger is older than the coordinator's last receipt for it",
    Reason.RUN_CLOSED: "the hospital has closed this run",
    Reason.STUDY_REHEARSAL: "the study is a rehearsal and the hospital is not rehearsing, or the other way round",
    Reason.SIGNATURE_REFUSED: "the request is not signed by the coordinator that the study names",
    Reason.VERSION_DIFFERS: "the hospital runs another version of fedsynth than the coordinator",
    Reason.UNAVAILABLE: "the hospital gave no answer",
}
