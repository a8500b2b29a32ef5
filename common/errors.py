"""Every expected error, its exit code, and the only texts that may leave a hospital.

    FedSynthError                 1
    ├── StudyError                2   the study file, the command line or the output folder is wrong
    ├── SiteError                 2   site.toml, the mapping or the state folder is wrong
    ├── PolicyRefusal             3   a hospital's policy refuses
    ├── LedgerError               3   a ledger was altered
    │   └── LedgerHeldError       3   another process holds it
    ├── FederationError           4   too few hospitals are left, or a message is malformed
    │   ├── WireError             4
    │   └── MaskingError          4   a party violated the protocol of secure aggregation
    ├── DataError                 5   a table cannot be read or does not fit the schema
    ├── SelftestError             6   a site's installation failed a check
    └── UndecidedError            7   hospitals describe their columns differently, and people have to decide

A message names the column, the limit and the remedy, never a cell value. Inside a hospital it stays
there: what travels is a `Reason`, which is an enumeration and therefore cannot carry a record.
"""

from __future__ import annotations

from enum import StrEnum
from json import JSONDecodeError
from typing import ClassVar


class FedSynthError(Exception):
    """Base of every error that fedsynth raises on purpose."""

    exit_code: ClassVar[int] = 1


class StudyError(FedSynthError):
    """The study, the command line or the output folder cannot be used as given."""

    exit_code = 2


class SiteError(FedSynthError):
    """The hospital's site.toml, mapping or state folder cannot be used as it is."""

    exit_code = 2


class PolicyRefusal(FedSynthError):
    """A hospital's policy refuses the study, the run or the request."""

    exit_code = 3

    def __init__(self, reason: Reason, message: str | None = None) -> None:
        super().__init__(message or REASON_TEXTS[reason])
        self.reason = reason


class LedgerError(FedSynthError):
    """A cohort's ledger was altered, or another process holds it; nothing is released about the cohort."""

    exit_code = 3


class LedgerHeldError(LedgerError):
    """Another process holds the cohort's ledger, usually the running agent."""


class FederationError(FedSynthError):
    """The run cannot continue with the hospitals that are left."""

    exit_code = 4


class WireError(FederationError):
    """A message does not have the fields, types or shapes of its kind."""


class MaskingError(FederationError):
    """A masked phase failed: a message, key, share or signature violates the protocol, or too few hospitals stayed.

    Nothing is unmasked.
    """


class DataError(FedSynthError):
    """A table cannot be read, or does not fit the schema."""

    exit_code = 5


class SelftestError(FedSynthError):
    """A check of a site's installation failed; nothing should be released from it."""

    exit_code = 6


class UndecidedError(FedSynthError):
    """Hospitals describe their columns differently, and people have to decide before there is a study."""

    exit_code = 7


def cause_of(problem: Exception) -> str:
    """Return the cause in words: the operating system's own for an `OSError`, such as "No space left on device".

    A `FedSynthError` has a text of its own. For an unknown exception, the name of its class: its text might quote a
    cell.
    """
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    if isinstance(problem, FedSynthError):
        return str(problem)
    if isinstance(problem, UnicodeError):
        return "it is not UTF-8 text"
    if isinstance(problem, JSONDecodeError):
        return "it is not JSON"
    return type(problem).__name__


class Reason(StrEnum):
    """Every reason that a hospital may send instead of an answer. None of them depends on a record."""

    ACCEPTED = "accepted"
    UNKNOWN_HOSPITAL = "unknown-hospital"
    STUDY_ALTERED = "study-altered"
    STUDY_NOT_APPROVED = "study-not-approved"
    APPROVAL_INCOMPLETE = "approval-incomplete"
    APPROVAL_EXPIRED = "approval-expired"
    APPROVAL_WITHDRAWN = "approval-withdrawn"
    STUDY_DRAFTED = "study-drafted"
    PHASE_NOT_ALLOWED = "phase-not-allowed"
    PLAN_MISMATCH = "plan-mismatch"
    NOISE_REFUSED = "noise-refused"
    IDENTITY_MISSING = "identity-missing"
    IDENTITY_DIFFERS = "identity-differs"
    PARTNER_NOT_PINNED = "partner-not-pinned"
    PARTNER_CHANGED = "partner-changed"
    DECLARED_ROWS_DIFFER = "declared-rows-differ"
    UNIT_DIFFERS = "unit-differs"
    VISITS_DIFFER = "visits-differ"
    TOO_FEW_ROWS = "too-few-rows"
    EPSILON_ABOVE_CAP = "epsilon-above-cap"
    DELTA_TOO_LARGE = "delta-too-large"
    BUDGET_EXHAUSTED = "budget-exhausted"
    LEDGER_BEHIND = "ledger-behind"
    RUN_CLOSED = "run-closed"
    STUDY_REHEARSAL = "study-rehearsal"
    SIGNATURE_REFUSED = "signature-refused"
    REQUEST_EXPIRED = "request-expired"
    RECEIPT_MISSING = "receipt-missing"
    VERSION_DIFFERS = "version-differs"
    UNAVAILABLE = "unavailable"


REASON_TEXTS: dict[Reason, str] = {
    Reason.ACCEPTED: "accepted",
    Reason.UNKNOWN_HOSPITAL: "the study does not list this hospital",
    Reason.STUDY_ALTERED: "the study text does not match its fingerprint",
    Reason.STUDY_NOT_APPROVED: "the hospital has not approved this run under this plan",
    Reason.APPROVAL_INCOMPLETE: "a second person at the hospital has not approved this run yet",
    Reason.APPROVAL_EXPIRED: "the hospital's approval of this run has expired",
    Reason.APPROVAL_WITHDRAWN: "the hospital has denied this run, or withdrawn its approval",
    Reason.STUDY_DRAFTED: "the schema was drafted from records; write it from the data dictionary",
    Reason.PHASE_NOT_ALLOWED: "the plan has a phase that the hospital does not take part in",
    Reason.PLAN_MISMATCH: "the plan differs from the one that the study leads to",
    Reason.NOISE_REFUSED: "the hospital releases nothing under this noise mode",
    Reason.IDENTITY_MISSING: "distributed noise needs the identity of every hospital; add them to the study",
    Reason.IDENTITY_DIFFERS: "the study lists another identity key for the hospital than the one it signs with",
    Reason.PARTNER_NOT_PINNED: "noise is shared, and the hospital has not compared the key of every partner itself",
    Reason.PARTNER_CHANGED: "the study lists another key for a partner than the one that the hospital compared",
    Reason.DECLARED_ROWS_DIFFER: "the study and the hospital declare different numbers of rows",
    Reason.UNIT_DIFFERS: "the study's unit is the patient, and the hospital knows records only: set patient_column or "
    "one_row_per_patient in site.toml, or agree on [privacy] unit = 'record'",
    Reason.VISITS_DIFFER: "the study is of visits, and the hospital keeps one row of each patient or knows patients by "
    "another column: set visits = true and patient_column in site.toml and import again",
    Reason.TOO_FEW_ROWS: "the declared rows are fewer than the hospital's minimum",
    Reason.EPSILON_ABOVE_CAP: "the plan costs more epsilon than the hospital allows",
    Reason.DELTA_TOO_LARGE: "delta exceeds the hospital's limit, or 1 / (10 x declared rows)",
    Reason.BUDGET_EXHAUSTED: "the cohort's lifetime budget cannot pay for this run",
    Reason.LEDGER_BEHIND: "the hospital's ledger is older than the coordinator's last receipt for it",
    Reason.RUN_CLOSED: "the hospital has closed this run",
    Reason.STUDY_REHEARSAL: "only one of study and hospital is a rehearsal; both must be, or neither",
    Reason.SIGNATURE_REFUSED: "the request is not signed by the coordinator that the study names",
    Reason.REQUEST_EXPIRED: "the request expired, or the clocks of coordinator and hospital differ; set both by NTP",
    Reason.RECEIPT_MISSING: "the coordinator shows no receipt, or an older one than it showed before; restore its file",
    Reason.VERSION_DIFFERS: "the hospital and the coordinator run different versions of fedsynth",
    Reason.UNAVAILABLE: "the hospital gave no answer",
}
