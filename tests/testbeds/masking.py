"""Hospitals that mask small vectors against each other, and a coordinator that adds them up: the bare protocol."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.arrays import Integers, Words
from common.errors import MaskingError
from common.ledger.receipts import Receipt
from common.protocol.signing import Identity
from common.secagg.keys import Advertisement, Context
from common.secagg.session import Session, SessionStep
from common.secagg.terms import Terms
from server.secagg.unmasking import Transcript, unmask

LEDGER = Receipt(4, "ab" * 32).to_bytes()
CONTEXT = Context("f" * 64, "run-1", "coarse", 0, 1, "d" * 64)
NAMES = ("amber", "birch", "cedar", "delta", "elder")

VECTORS = {name: np.array([index, -index, 10**6 * index, 0]) for index, name in enumerate(NAMES, start=1)}
"""1 + 2 + 3 + 4 + 5 = 15."""


@dataclass
class MaskingTestbed:
    """Sessions of all hospitals and what they have said so far.

    Of five hospitals one may vanish and one may collude: 2 x 4 > 5 + 1.
    """

    names: tuple[str, ...] = NAMES
    dropouts: int = 1
    colluders: int = 1
    context: Context = CONTEXT
    identities: dict[str, Identity] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    roster: dict[str, Advertisement] = field(default_factory=dict)
    encrypted: dict[str, dict[str, bytes]] = field(default_factory=dict)
    masked: dict[str, Words] = field(default_factory=dict)
    signed: dict[str, bytes] = field(default_factory=dict)
    opened: dict[str, dict[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.identities = self.identities or {name: Identity(Ed25519PrivateKey.generate()) for name in self.names}
        stay = len(self.names) - self.dropouts
        self.terms = Terms({name: one.public for name, one in self.identities.items()}, stay, stay, self.colluders)
        self.sessions = {
            name: Session(self.context, self.terms, name, self.identities[name], LEDGER) for name in self.names
        }

    def advertise(self, missing: Collection[str] = ()) -> MaskingTestbed:
        self.roster = {name: one.advertisement for name, one in self.sessions.items() if name not in missing}
        return self

    def share(self, missing: Collection[str] = ()) -> MaskingTestbed:
        self.encrypted = {
            name: self.sessions[name].share(list(self.roster.values())) for name in self.roster if name not in missing
        }
        return self

    def for_whom(self, receiver: str) -> dict[str, bytes]:
        return {sender: parts[receiver] for sender, parts in self.encrypted.items() if sender != receiver}

    def mask(self, vectors: Mapping[str, Integers], missing: Collection[str] = ()) -> MaskingTestbed:
        for name in self.encrypted:
            if name not in missing:
                self.sessions[name].receive(self.for_whom(name))
                self.masked[name] = self.sessions[name].mask(vectors[name])
        return self

    def sign(self, missing: Collection[str] = ()) -> MaskingTestbed:
        self.signed = {name: self.sessions[name].sign(list(self.masked)) for name in self.masked if name not in missing}
        return self

    def open(self, missing: Collection[str] = ()) -> MaskingTestbed:
        self.opened = {name: self.sessions[name].open(self.signed) for name in self.signed if name not in missing}
        return self

    def sum(self) -> Integers:
        sharers = sorted(self.encrypted)
        return unmask(Transcript(self.context, self.terms, self.roster, sharers, self.masked, self.opened))


def signed(context: Context, hospital: str, keys: bytes, identity: Identity, ledger: bytes = LEDGER) -> Advertisement:
    """Any keys and head, as the hospital would sign its own."""
    text = context.text("masking keys", hospital=hospital, keys=keys.hex(), ledger=ledger.hex())
    return Advertisement(hospital, keys, ledger, identity.sign(text))


def in_other_bytes(key: bytes) -> list[bytes]:
    """Public keys with which everybody agrees on the same as with this one: its torsion is lost, as is bit 255."""
    point, prime = int.from_bytes(key, "little"), 2**255 - 19
    return [(point | 2**255).to_bytes(32, "little"), pow(point, -1, prime).to_bytes(32, "little")]


def masked(**settings: object) -> MaskingTestbed:
    return MaskingTestbed(**settings).advertise().share().mask(VECTORS)  # type: ignore[arg-type]


def assert_over(session: Session) -> None:
    """Nothing is left to give away, and no step is open any more."""
    assert session.step == SessionStep.ENDED
    assert session._secrets is None
    assert session._held == {}
    for ask in (
        lambda: session.share([]),
        lambda: session.receive({}),
        lambda: session.mask(np.zeros(1, dtype=np.int64)),
        lambda: session.sign([]),
        lambda: session.open({}),
    ):
        with pytest.raises(MaskingError, match="out of order"):
            ask()
