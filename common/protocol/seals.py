"""Seals on requests: the coordinator's signature, a nonce, and the time until which the request may be answered.

A recorded request is worth nothing after its expiry, also to whoever restores an old copy of a hospital's ledger or
takes over a relay. Until then a repeated request gets its stored reply. The seal is beside the request: a coordinator
that resumes a run seals the same request again, and the hospital knows it by its digest. The nonce tells the two
sendings apart: replies are signed for it, so a recorded reply answers no later sending.
"""

from __future__ import annotations

import hashlib
import secrets
import struct
import time
from dataclasses import dataclass

from common.errors import Reason
from common.protocol.byte_form import digest
from common.protocol.messages import Message, Request
from common.protocol.signing import Identity, is_signature, signed_text

PURPOSE = "fedsynth request"
"""Part of what is signed, so that a signature made for another purpose is invalid for a request."""

FORM = struct.Struct(">16sQ64s")
"""Bytes of a seal: nonce, expiry in seconds since 1970 (UTC), Ed25519 signature."""

CLOCK_TOLERANCE_S = 300
"""Largest difference between the clocks of a coordinator and a hospital, in seconds."""

LIFETIME_S = 660.0
"""Seconds for which a request may be answered: the usual `round_deadline_s` and a minute."""

MOST_LIFETIME_S = 7 * 24 * 3600
"""A seal that expires later than this many seconds from now is refused: it would be worth recording."""


@dataclass(frozen=True, slots=True)
class Seal:
    """A nonce, an expiry in seconds since 1970 (UTC), and the signature on both and on the request."""

    nonce: bytes
    expires: int
    signature: bytes

    def to_bytes(self) -> bytes:
        return FORM.pack(self.nonce, self.expires, self.signature)

    @classmethod
    def from_bytes(cls, data: bytes) -> Seal | None:
        """Return the seal that `to_bytes` wrote; None for bytes of another length."""
        return cls(*FORM.unpack(data)) if len(data) == FORM.size else None


def seal_request(identity: Identity, request: Request, *, lifetime_s: float = LIFETIME_S) -> bytes:
    """Return the bytes of the coordinator's seal on a request, which is answered for `lifetime_s` seconds from now.

    Args:
        identity: the coordinator's key.
        request: what is asked.
        lifetime_s: seconds after which no hospital answers it.
    """
    nonce, expires = secrets.token_bytes(16), int(time.time() + min(lifetime_s, MOST_LIFETIME_S))
    return Seal(nonce, expires, identity.sign(_text(request, nonce, expires))).to_bytes()


def fault_of_seal(request: Request, data: bytes, public: str) -> Reason | None:
    """Return why a request must not be answered, or None.

    Args:
        request: the request.
        data: the received seal.
        public: text of the coordinator's public key.
    """
    seal = Seal.from_bytes(data)
    if seal is None or not is_signature(_text(request, seal.nonce, seal.expires), seal.signature, public):
        return Reason.SIGNATURE_REFUSED
    remaining_s = seal.expires - time.time()
    if remaining_s < -CLOCK_TOLERANCE_S or remaining_s > MOST_LIFETIME_S + CLOCK_TOLERANCE_S:
        return Reason.REQUEST_EXPIRED
    return None


def asked_by(request: Message, data: bytes) -> str:
    """Return the SHA-256 (hex) of one sending of a request, which the reply's signature covers.

    Without a seal, as in a simulation, it is the request's digest.

    Args:
        request: the request.
        data: bytes of its seal, checked or one's own.
    """
    seal = Seal.from_bytes(data)
    asked = digest(request)
    return asked if seal is None else hashlib.sha256(f"{asked} {seal.nonce.hex()}".encode()).hexdigest()


def _text(request: Request, nonce: bytes, expires: int) -> bytes:
    """Return the text to sign, as canonical JSON: run, kind, phase, round, nonce, expiry, digest of the whole request.

    The digest covers every field; the other parts make a log of signed texts readable.
    """
    return signed_text(
        PURPOSE,
        run_id=request.run_id,
        kind=request.kind,
        phase=getattr(request, "phase", ""),
        round=getattr(request, "round", 0),
        nonce=nonce.hex(),
        expires=expires,
        digest=digest(request),
    )
