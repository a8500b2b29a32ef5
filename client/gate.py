"""The one way out of a hospital: a reply leaves if every field of it is declared here and is what the site expects.

| declared | may leave because |
|---|---|
| public | it says nothing about a record: names, and the ledger head |
| enumerated | it is one of a fixed list of words |
| accounted | the ledger holds the entry that pays for it, and exactly these bytes as its answer |
| keyed | keys, encrypted shares and signatures: independent of any record, of exactly the prescribed length |

Everything else is replaced by the constant `Unavailable`: an undeclared message or field, a word outside its list, an
array whose type, shape or length differs from what the site computes itself, a weight that is not finite.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, cast

import numpy as np

from common.errors import Reason
from common.ledger.ledger import Answer
from common.ledger.receipts import Receipt
from common.protocol.byte_form import from_bytes, to_bytes
from common.protocol.messages import (
    CountsReply,
    EnrollReply,
    KeysReply,
    MaskedReply,
    Message,
    OpenReply,
    Reply,
    RoundReply,
    SharesReply,
    SurvivorsReply,
    Unavailable,
)

log = logging.getLogger(__name__)

Shape = tuple[int, ...]

NO_RECEIPT = (0, "")
"""Counter and head of a reply before it is stored: only storing it yields its receipt."""


@dataclass(frozen=True, slots=True)
class Permit:
    """What the site itself knows about the reply that is about to leave.

    Attributes:
        receipt: the ledger head; None if the reply does not contain it.
        answer: the answer that the ledger stores for the request; None if nothing was charged.
        counts: required length of the vector of counts; None if it must not leave without a mask.
        masked: required length of the masked vector.
        weights: required names and shapes of the weights.
        sizes: required bytes of each keyed field.
        ledger: required bytes of the ledger's head in an advertisement of keys; None for another reply.
    """

    hospital: str
    receipt: Receipt | None = None
    answer: Answer | None = None
    counts: int | None = None
    masked: int | None = None
    weights: Mapping[str, Shape] | None = None
    sizes: Mapping[str, int] | None = None
    ledger: bytes | None = None


class Declared(StrEnum):
    """Why a field may leave."""

    PUBLIC = "public"
    ENUMERATED = "enumerated"
    ACCOUNTED = "accounted"
    KEYED = "keyed"


@dataclass(frozen=True, slots=True)
class Field:
    """How a field is declared, and a test whether a value is what the permit says."""

    declared: Declared
    fits: Callable[[Any, Permit], bool]


def _is_own_name(value: Any, permit: Permit) -> bool:
    return type(value) is str and value == permit.hospital


def _is_own_counter(value: Any, permit: Permit) -> bool:
    return permit.receipt is not None and type(value) is int and value == permit.receipt.counter


def _is_own_head(value: Any, permit: Permit) -> bool:
    return permit.receipt is not None and type(value) is str and value == permit.receipt.head


def _is_reason(value: Any, permit: Permit) -> bool:
    return type(value) is str and value in set(Reason)


def _are_counts(value: Any, permit: Permit) -> bool:
    return type(value) is np.ndarray and value.dtype == np.int64 and value.shape == (permit.counts,)


def _is_masked(value: Any, permit: Permit) -> bool:
    return type(value) is np.ndarray and value.dtype == np.uint32 and value.shape == (permit.masked,)


def _is_advertised_head(value: Any, permit: Permit) -> bool:
    return type(value) is np.ndarray and value.dtype == np.uint8 and value.tobytes() == permit.ledger


def _keyed(name: str) -> Field:
    def fits(value: Any, permit: Permit) -> bool:
        is_bytes = type(value) is np.ndarray and value.dtype == np.uint8
        return is_bytes and permit.sizes is not None and value.shape == (permit.sizes[name],)

    return Field(Declared.KEYED, fits)


def _are_weights(value: Any, permit: Permit) -> bool:
    return (
        permit.weights is not None
        and type(value) is dict
        and value.keys() == permit.weights.keys()
        and all(
            type(array) is np.ndarray
            and array.dtype == np.float32
            and array.shape == permit.weights[name]
            and bool(np.isfinite(array).all())
            for name, array in value.items()
        )
    )


_NAME = Field(Declared.PUBLIC, _is_own_name)
_RECEIPT = {"counter": Field(Declared.PUBLIC, _is_own_counter), "head": Field(Declared.PUBLIC, _is_own_head)}

GATE: dict[str, dict[str, Field]] = {
    EnrollReply.kind: {"hospital": _NAME, "reason": Field(Declared.ENUMERATED, _is_reason), **_RECEIPT},
    CountsReply.kind: {"hospital": _NAME, "counts": Field(Declared.ACCOUNTED, _are_counts), **_RECEIPT},
    RoundReply.kind: {"hospital": _NAME, "weights": Field(Declared.ACCOUNTED, _are_weights), **_RECEIPT},
    KeysReply.kind: {
        "hospital": _NAME,
        "keys": _keyed("keys"),
        "ledger": Field(Declared.PUBLIC, _is_advertised_head),
        "signature": _keyed("signature"),
    },
    SharesReply.kind: {"hospital": _NAME, "encrypted": _keyed("encrypted")},
    MaskedReply.kind: {"hospital": _NAME, "masked": Field(Declared.ACCOUNTED, _is_masked), **_RECEIPT},
    SurvivorsReply.kind: {"hospital": _NAME, "signature": _keyed("signature")},
    OpenReply.kind: {"hospital": _NAME, "shares": _keyed("shares")},
    Unavailable.kind: {"hospital": _NAME},
}
"""Every field that may ever leave a hospital, by message kind."""


def stamped(answer: Answer) -> Message:
    """Return the reply that the ledger stored, with the ledger's receipt for it where it holds one."""
    reply, receipt = from_bytes(answer.reply), answer.receipt
    fields_of_receipt: dict[str, Any] = {"counter": receipt.counter, "head": receipt.head}
    return reply if isinstance(reply, Unavailable) else replace(reply, **fields_of_receipt)


def checked_reply(reply: Message, permit: Permit) -> Reply:
    """Return the reply, or the constant `Unavailable` if anything in it is not as declared. Never raises."""
    try:
        problem = fault(reply, permit)
    except Exception as failure:
        problem = f"{type(failure).__name__} while it was checked"
    if problem is None:
        return cast("Reply", reply)
    log.error("%s: a reply was held back: %s", permit.hospital, problem)
    return Unavailable(permit.hospital)


def fault(reply: Message, permit: Permit) -> str | None:
    """Return why the reply must not leave, naming the field but no value; None if it may leave."""
    declared = GATE.get(reply.kind)
    if declared is None:
        return "its kind is not declared"
    if {field.name for field in fields(reply)} != declared.keys():
        return f"the fields of '{reply.kind}' are not those declared"
    for name, field in declared.items():
        if not field.fits(getattr(reply, name), permit):
            return f"field '{name}' of '{reply.kind}' is not what the site expects"
    if any(field.declared == Declared.ACCOUNTED for field in declared.values()):
        if permit.answer is None:
            return f"no ledger entry pays for '{reply.kind}'"
        if to_bytes(reply) != to_bytes(stamped(permit.answer)):
            return f"'{reply.kind}' is not the answer that the ledger stored"
    return None
