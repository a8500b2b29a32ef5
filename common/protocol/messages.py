"""Every message of a run as a frozen value; their byte form is in `common.protocol.byte_form`.

A hospital's outgoing fields are all here: its name, an enumerated `Reason`, noisy counts, weights trained by DP-SGD,
and a receipt (`counter`, `head`) with the head of its ledger, see `common.ledger.receipts`. Where hospitals
mask their vectors against each other, there are also the masked vector, and keys, encrypted shares and signatures,
which are independent of any record.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, get_args

import numpy as np

from common.arrays import Array, Bytes, Integers, Weights, Words

Scalar = str | int | float | bool

Sums = dict[str, Integers]
"""Released sums by name, as `common.marginals.released` writes them."""

VECTORS: dict[Any, type[np.generic]] = {Array: np.int64, Bytes: np.uint8, Words: np.uint32}
"""Element type of each type of vector field."""

DICTIONARIES: dict[Any, type[np.generic]] = {Weights: np.float32, Sums: np.int64}
"""Element type of each type of field that holds arrays by name."""


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """Base of all messages: scalar fields, array fields and dictionaries of arrays."""

    kind: ClassVar[str]


@dataclass(frozen=True, slots=True, eq=False)
class EnrollRequest(Message):
    """Asks a hospital to take part in one run of one study under one plan (JSON of `Plan`).

    `receipts` is JSON of the latest receipt that the coordinator holds of each hospital.
    """

    kind = "query.enroll"
    run_id: str
    study: str
    fingerprint: str
    plan: str
    receipts: str


@dataclass(frozen=True, slots=True, eq=False)
class EnrollReply(Message):
    """The policy's answer. Nothing in it depends on a record."""

    kind = "query.enroll.reply"
    hospital: str
    reason: str
    counter: int
    head: str


@dataclass(frozen=True, slots=True, eq=False)
class CountsRequest(Message):
    """Asks for the noisy vector of one phase; its noise and its upper bounds are those of the approved plan.

    Args:
        phase: the name of the phase, of `common.planning.phases`.
        released: sums of earlier phases that the hospital needs to answer.
        columns: columns of the tables that the coordinator chose, one table after the other; empty where the tables
            follow from study and plan.
        weights: of these tables; empty where tables have none.
        candidates: rows of groups that patients vote for, one after the other; empty where they do not vote.
        decoder: logarithms of the decoder by which patients are put in classes; empty where they are not.
        round: number of the round, from 1; 0 for a phase that is answered once.
    """

    kind = "query.counts"
    run_id: str
    phase: str
    released: Sums = field(default_factory=dict)
    columns: Array = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    weights: Array = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    candidates: Array = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    decoder: Array = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    round: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class CountsReply(Message):
    """Noisy counts, int64 of shape (cells of the vector,)."""

    kind = "query.counts.reply"
    hospital: str
    counts: Array
    counter: int
    head: str


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRequest(Message):
    """Base of the requests of training.

    Args:
        run_id: identifier of the run.
        round: number of the round, from 1.
        released: sums that the answer needs: in a round all those of the run, for a gradient those that define the
            encoding.
        weights: weights to start from: in a round those of both networks, for a gradient the discriminator's.
    """

    run_id: str
    round: int
    released: Sums
    weights: Weights


@dataclass(frozen=True, slots=True, eq=False)
class RoundRequest(TrainingRequest):
    """Asks for one round of training."""

    kind = "train.round"


@dataclass(frozen=True, slots=True, eq=False)
class RoundReply(Message):
    """Both networks' weights after a round's DP-SGD steps."""

    kind = "train.round.reply"
    hospital: str
    weights: Weights
    counter: int
    head: str


@dataclass(frozen=True, slots=True, eq=False)
class GradientRequest(TrainingRequest):
    """Asks for the discriminator's gradient sum of one synchronous step.

    It is sent only as the question of a `MaskedRequest`, so the answer leaves the hospital under a mask.
    """

    kind = "train.gradient"


@dataclass(frozen=True, slots=True, eq=False)
class MaskedStep(Message):
    """Base of the requests of one masked phase, see `common.secagg`; `round` is 0 outside training.

    Hospitals are named in the order of their names, with commas; arrays that belong to them follow that order.
    """

    run_id: str
    phase: str
    round: int
    attempt: int


@dataclass(frozen=True, slots=True, eq=False)
class KeysRequest(MaskedStep):
    """Asks for fresh keys to mask one vector with; `question` is the digest of the request that it will answer."""

    kind = "query.keys"
    question: str


@dataclass(frozen=True, slots=True, eq=False)
class KeysReply(Message):
    """Public keys (96 bytes), the head of the hospital's ledger (40) and the identity's signature on them (64)."""

    kind = "query.keys.reply"
    hospital: str
    keys: Bytes
    ledger: Bytes
    signature: Bytes


@dataclass(frozen=True, slots=True, eq=False)
class SharesRequest(MaskedStep):
    """The signed keys and heads of all hospitals; asks for shares of this one's secrets, encrypted for the others."""

    kind = "query.shares"
    hospitals: str
    keys: Bytes
    ledgers: Bytes
    signatures: Bytes


@dataclass(frozen=True, slots=True, eq=False)
class SharesReply(Message):
    """80 bytes for every other hospital, which only that hospital can decrypt."""

    kind = "query.shares.reply"
    hospital: str
    encrypted: Bytes


@dataclass(frozen=True, slots=True, eq=False)
class MaskedRequest(MaskedStep):
    """What the others (`hospitals`) encrypted for this one, and the bytes of the request to answer under a mask."""

    kind = "query.masked"
    hospitals: str
    encrypted: Bytes
    question: Bytes


@dataclass(frozen=True, slots=True, eq=False)
class MaskedReply(Message):
    """The noisy vector that the question asks for, under its masks."""

    kind = "query.masked.reply"
    hospital: str
    masked: Words
    counter: int
    head: str


@dataclass(frozen=True, slots=True, eq=False)
class SurvivorsRequest(MaskedStep):
    """Names the hospitals whose masked vectors arrived; asks for a signature on this set."""

    kind = "query.survivors"
    hospitals: str


@dataclass(frozen=True, slots=True, eq=False)
class SurvivorsReply(Message):
    """The identity's signature (64 bytes) on the one set of survivors that this hospital will open for."""

    kind = "query.survivors.reply"
    hospital: str
    signature: Bytes


@dataclass(frozen=True, slots=True, eq=False)
class OpenRequest(MaskedStep):
    """The signatures of `hospitals` on the set of survivors; asks for shares that unmask the sum."""

    kind = "query.open"
    hospitals: str
    signatures: Bytes


@dataclass(frozen=True, slots=True, eq=False)
class OpenReply(Message):
    """32 bytes for every hospital that shared: a share of its mask seed if it survived, else of its mask key."""

    kind = "query.open.reply"
    hospital: str
    shares: Bytes


@dataclass(frozen=True, slots=True, eq=False)
class Unavailable(Message):
    """The constant reply of a hospital that does not answer, for whatever reason."""

    kind = "unavailable"
    hospital: str


MaskingRequest = KeysRequest | SharesRequest | MaskedRequest | SurvivorsRequest | OpenRequest
MaskingReply = KeysReply | SharesReply | MaskedReply | SurvivorsReply | OpenReply

DataRequest = CountsRequest | RoundRequest
"""Requests that are answered from records, by a reply without a mask."""

Request = EnrollRequest | DataRequest | MaskingRequest
Reply = EnrollReply | CountsReply | RoundReply | MaskingReply | Unavailable

Question = CountsRequest | GradientRequest
"""Requests for one vector of integers, which may be answered under a mask."""

QUESTIONS: tuple[type[Question], ...] = get_args(Question)

REQUESTS: tuple[type[Message], ...] = get_args(Request)

MESSAGES: dict[str, type[Message]] = {message.kind: message for message in (*REQUESTS, *QUESTIONS, *get_args(Reply))}


def refusal(request: Request, hospital: str, reason: str) -> Reply:
    """Return the reply that refuses: the reason to a request to take part, the constant to all others.

    Args:
        request: the refused request.
        hospital: name of the hospital.
        reason: a word of `common.errors.Reason`.
    """
    return EnrollReply(hospital, reason, 0, "") if isinstance(request, EnrollRequest) else Unavailable(hospital)
