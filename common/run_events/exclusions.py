"""Why a hospital is left out, and what is wrong with a reply: enumerated, so no text of a hospital gets in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Exclusion(StrEnum):
    """Why a hospital is left out of an exchange or of a run."""

    UNREACHABLE = "unreachable"
    DISCONNECTED = "disconnected"
    NO_REPLY = "no-reply"
    APP_FAILED = "app-failed"
    MALFORMED = "malformed"
    AGENT_SILENT = "agent-silent"
    AGENT_VERSION = "agent-version"
    SIGNATURE_WRONG = "signature-wrong"
    NAME_TAKEN = "name-taken"
    NOT_ENROLLED = "not-enrolled"
    LEDGER_SET_BACK = "ledger-set-back"
    RECEIPT_MALFORMED = "receipt-malformed"
    RECEIPT_NOT_LATER = "receipt-not-later"
    NO_ANSWER = "no-answer"
    COUNTS_SHAPE = "counts-shape"
    COUNTS_IMPOSSIBLE = "counts-impossible"
    OUTSIDE_STUDY = "outside-study"
    WEIGHTS_NAMES = "weights-names"
    WEIGHTS_SHAPE = "weights-shape"
    WEIGHTS_NOT_FINITE = "weights-not-finite"
    KEYS_NOT_SIGNED = "keys-not-signed"
    KEYS_WEAK = "keys-weak"
    VECTOR_LENGTH = "vector-length"
    VECTOR_WRONG = "vector-wrong"


EXCLUSION_TEXTS: dict[Exclusion, str] = {
    Exclusion.UNREACHABLE: "cannot be reached",
    Exclusion.DISCONNECTED: "its SuperNode is not connected",
    Exclusion.NO_REPLY: "no reply before the deadline",
    Exclusion.APP_FAILED: "its app failed",
    Exclusion.MALFORMED: "sent a malformed reply",
    Exclusion.AGENT_SILENT: "its SuperNode answered without an agent",
    Exclusion.AGENT_VERSION: "its agent runs another version of fedsynth than its SuperNode",
    Exclusion.SIGNATURE_WRONG: "its reply is not signed by the identity that the study lists",
    Exclusion.NAME_TAKEN: "a second node claims this name",
    Exclusion.NOT_ENROLLED: "was not enrolled when the run began",
    Exclusion.LEDGER_SET_BACK: "its ledger ends before the receipt that the coordinator keeps",
    Exclusion.RECEIPT_MALFORMED: "sent a malformed receipt",
    Exclusion.RECEIPT_NOT_LATER: "sent a receipt that is not later than its last one",
    Exclusion.NO_ANSWER: "gave no answer",
    Exclusion.COUNTS_SHAPE: "sent counts of another shape or type",
    Exclusion.COUNTS_IMPOSSIBLE: "sent impossible counts",
    Exclusion.OUTSIDE_STUDY: "the study does not list it",
    Exclusion.WEIGHTS_NAMES: "sent weights of other names",
    Exclusion.WEIGHTS_SHAPE: "sent weights of another shape or type",
    Exclusion.WEIGHTS_NOT_FINITE: "sent weights that are not finite",
    Exclusion.KEYS_NOT_SIGNED: "sent keys that it did not sign for this phase",
    Exclusion.KEYS_WEAK: "sent a key that agrees on nothing secret",
    Exclusion.VECTOR_LENGTH: "sent a masked part of another length",
    Exclusion.VECTOR_WRONG: "sent a masked part that is wrong",
}
"""Each reason in a sentence whose subject is the hospital or its software."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a reply: `detail` is a limit, a code or the name of a field, in the coordinator's words."""

    reason: Exclusion
    detail: str = ""
