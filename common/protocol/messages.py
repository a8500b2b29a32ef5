"""Every message of a run as a frozen value, and the one byte form that is digested, stored and replayed.

A hospital's outgoing fields are all here: its name, an enumerated `Reason`, noisy counts, weights trained by DP-SGD,
a receipt (`counter`, `head`): how far its ledger had come, see `common.ledger.receipts`; and where hospitals mask
their vectors against each other, the masked vector, and keys, sealed shares and signatures, which no record is near.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, get_args, get_type_hints

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from common.arrays import Array, Bytes, Weights, Words
from common.errors import WireError

Scalar = str | int | float | bool

VECTORS: dict[Any, type[np.generic]] = {Array: np.int64, Bytes: np.uint8, Words: np.uint32}
"""The type of a field that is a vector, and that of its elements."""


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """Base of all messages: scalar fields, array fields and at most one dictionary of weights."""

    kind: ClassVar[str]


@dataclass(frozen=True, slots=True, eq=False)
class EnrolRequest(Message):
    """Asks a hospital to take part in one run of one study under one plan (JSON of `Plan`).

    `receipts` is JSON of the latest receipt that the coordinator holds of each hospital.
    """

    kind = "query.enrol"
    run_id: str
    study: str
    fingerprint: str
    plan: str
    receipts: str


@dataclass(frozen=True, slots=True, eq=False)
class EnrolReply(Message):
    """The policy's answer. Nothing in it depends on a record."""

    kind = "query.enrol.reply"
    hospital: str
    reason: str
    counter: int
    head: str


@dataclass(frozen=True, slots=True, eq=False)
class HistogramsRequest(Message):
    """Asks for noisy fine-cell counts; their noise stands in the approved plan."""

    kind = "query.histograms"
    run_id: str


@dataclass(frozen=True, slots=True, eq=False)
class HistogramsReply(Message):
    """Noisy counts, int64 of shape (cells of all numeric columns,)."""

    kind = "query.histograms.reply"
    hospital: str
    counts: Array
    counter: int
    head: str


@dataclass(frozen=True, slots=True, eq=False)
class MarginalsRequest(Message):
    """Asks for one noisy vector of tables, `phase` of the approved plan.

    `columns` are the tables' columns one after the other, two or three each as the phase prescribes; empty for the
    coarse phase, whose tables follow from the schema. `histograms` define the encoding.
    """

    kind = "query.marginals"
    run_id: str
    phase: str
    histograms: Array
    columns: Array


@dataclass(frozen=True, slots=True, eq=False)
class MarginalsReply(Message):
    """Noisy counts, int64, the tables flattened one after the other."""

    kind = "query.marginals.reply"
    hospital: str
    counts: Array
    counter: int
    head: str


@dataclass(frozen=True, slots=True, eq=False)
class RoundRequest(Message):
    """The current weights and all released sums; `round` counts from 1.

    `pairs` and `triples` are the columns of the tables in `measurements`, after those of the coarse phase.
    """

    kind = "train.round"
    run_id: str
    round: int
    histograms: Array
    pairs: Array
    triples: Array
    measurements: Array
    weights: Weights


@dataclass(frozen=True, slots=True, eq=False)
class RoundReply(Message):
    """Both networks' weights after a round's DP-SGD steps."""

    kind = "train.round.reply"
    hospital: str
    weights: Weights
    counter: int
    head: str


@dataclass(frozen=True, slots=True, eq=False)
class GradientRequest(Message):
    """Asks for one synchronous step's gradient sum, of the discriminator with these weights; `round` counts from 1.

    It is only ever a question inside a `MaskedRequest`: what answers it leaves under a mask.
    """

    kind = "train.gradient"
    run_id: str
    round: int
    histograms: Array
    weights: Weights


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
    """Public keys (96 bytes) and the identity's signature on them (64)."""

    kind = "query.keys.reply"
    hospital: str
    keys: Bytes
    signature: Bytes


@dataclass(frozen=True, slots=True, eq=False)
class SharesRequest(MaskedStep):
    """Everybody's signed keys; asks for shares of this hospital's secrets, sealed for the others."""

    kind = "query.shares"
    hospitals: str
    keys: Bytes
    signatures: Bytes


@dataclass(frozen=True, slots=True, eq=False)
class SharesReply(Message):
    """80 bytes for every other hospital, which nobody else can read."""

    kind = "query.shares.reply"
    hospital: str
    sealed: Bytes


@dataclass(frozen=True, slots=True, eq=False)
class MaskedRequest(MaskedStep):
    """What the others (`hospitals`) sealed for this one, and the bytes of the request to answer under a mask."""

    kind = "query.masked"
    hospitals: str
    sealed: Bytes
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
    """Names the hospitals whose masked vectors arrived; asks for a signature on that."""

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
    """The signatures of `hospitals` on the survivors; asks to open."""

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
    """What travels when a hospital does not answer, whatever went wrong: a constant."""

    kind = "unavailable"
    hospital: str


MaskingRequest = KeysRequest | SharesRequest | MaskedRequest | SurvivorsRequest | OpenRequest
MaskingReply = KeysReply | SharesReply | MaskedReply | SurvivorsReply | OpenReply

Request = EnrolRequest | HistogramsRequest | MarginalsRequest | RoundRequest | MaskingRequest
Reply = EnrolReply | HistogramsReply | MarginalsReply | RoundReply | MaskingReply | Unavailable

Question = HistogramsRequest | MarginalsRequest | GradientRequest
"""What may be answered under a mask: requests for one vector of integers."""

QUESTIONS: tuple[type[Question], ...] = get_args(Question)

REQUESTS: tuple[type[Message], ...] = get_args(Request)

MESSAGES: dict[str, type[Message]] = {message.kind: message for message in (*REQUESTS, *QUESTIONS, *get_args(Reply))}


def take_apart(message: Message) -> tuple[dict[str, Scalar], dict[str, Array]]:
    """Scalars and arrays by field name; weights become arrays named `weights.<name>`."""
    scalars: dict[str, Scalar] = {}
    arrays: dict[str, Array] = {}
    for field in fields(message):
        value = getattr(message, field.name)
        if isinstance(value, dict):
            arrays |= {f"{field.name}.{name}": array for name, array in value.items()}
        elif isinstance(value, np.ndarray):
            arrays[field.name] = value
        else:
            scalars[field.name] = value
    return scalars, arrays


def put_together(kind: str, scalars: Mapping[str, Scalar], arrays: Mapping[str, Array]) -> Message:
    """The message that `take_apart` took apart.

    Raises:
        WireError: the kind is unknown, or a field is missing, unexpected or of the wrong type.
    """
    if kind not in MESSAGES:
        raise WireError(f"message kind '{kind}' is not part of the protocol")
    message = MESSAGES[kind]
    values: dict[str, Any] = {}
    left = dict(arrays)
    for name, hint in get_type_hints(message).items():
        if name == "kind":
            continue
        if hint == Weights:
            prefix = f"{name}."
            values[name] = {key.removeprefix(prefix): left.pop(key) for key in list(left) if key.startswith(prefix)}
            if any(array.dtype != np.float32 for array in values[name].values()):
                raise WireError(f"'{kind}' holds '{name}' that are not float32")
        elif hint in VECTORS:
            if name not in left:
                raise WireError(f"'{kind}' lacks the array '{name}'")
            values[name] = left.pop(name)
            if values[name].dtype != VECTORS[hint] or values[name].ndim != 1:
                raise WireError(f"'{kind}' holds '{name}' that is no vector of {VECTORS[hint].__name__}")
        else:
            if type(scalars.get(name)) is not hint:
                raise WireError(f"'{kind}' lacks '{name}', or it is no {hint.__name__}")
            values[name] = scalars[name]
    unknown = sorted(set(left) | (set(scalars) - set(values)))
    if unknown:
        raise WireError(f"'{kind}' holds {len(unknown)} fields that are not part of the protocol")
    return message(**values)


def to_bytes(message: Message) -> bytes:
    """The message in safetensors form, scalars as JSON in its metadata: equal messages give equal bytes."""
    scalars, arrays = take_apart(message)
    header = json.dumps({"kind": message.kind, **scalars}, sort_keys=True)
    ordered = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
    return bytes(save(ordered, metadata={"message": header}))


MOST_HEADER, MOST_ARRAYS = 2 * 2**20, 256
"""Of a message: bytes before its arrays, texts included, and entries. It is read before its signature is checked."""


def from_bytes(data: bytes) -> Message:
    """The message that `to_bytes` wrote. Raises `WireError` for anything else."""
    try:
        length = int.from_bytes(data[:8], "little")
        if length > MOST_HEADER:
            raise ValueError("the header is too long")
        header = dict(json.loads(data[8 : 8 + length]))
        if len(header) > MOST_ARRAYS:
            raise ValueError("there are too many arrays")
        scalars = dict(json.loads(header["__metadata__"]["message"]))
        arrays = load(data)
        kind = str(scalars.pop("kind"))
    except (SafetensorError, ValueError, TypeError, LookupError, RecursionError) as problem:
        raise WireError("these bytes are not a message") from problem
    return put_together(kind, scalars, arrays)


def refusal(request: Request, hospital: str, reason: str) -> Reply:
    """What says no: the reason to a request to take part, the constant to all others."""
    return EnrolReply(hospital, reason, 0, "") if isinstance(request, EnrolRequest) else Unavailable(hospital)


def digest(message: Message) -> str:
    """SHA-256 (hex) of the message: what tells a repeated request from another one."""
    return hashlib.sha256(to_bytes(message)).hexdigest()
