"""Keys of one masked phase: agreed between every two hospitals, and signed so that no coordinator can insert its own.

Everything that is signed, encrypted or derived is bound to its context: study, run, phase, round, attempt and question.
What was made for one context is invalid in any other.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from common.errors import MaskingError
from common.protocol.signing import Identity, is_signature
from common.secagg import shamir
from common.secagg.words import KEY_BYTES

KEYS_BYTES, LEDGER_BYTES, SIGNATURE_BYTES = 3 * KEY_BYTES, 40, 64
"""Length of an advertisement's keys, of a ledger's head in it, and of an Ed25519 signature."""

ENCRYPTED_BYTES = 2 * shamir.SHARE_BYTES + 16
"""Length of two encrypted shares with the tag of ChaCha20-Poly1305."""


@dataclass(frozen=True, slots=True)
class Context:
    """The masked vector of a run that keys, shares and signatures belong to.

    Attributes:
        fingerprint: fingerprint of the study.
        question: SHA-256 (hex) of the request that the vector answers.
    """

    fingerprint: str
    run_id: str
    phase: str
    round: int
    attempt: int
    question: str

    def text(self, purpose: str, **facts: str) -> bytes:
        """Return the canonical JSON that is signed, authenticated or derived from.

        Args:
            purpose: what the text is used for; a signature made for one purpose is invalid for another.
            facts: further values that the text is bound to.
        """
        return json.dumps({"purpose": f"fedsynth {purpose}", **asdict(self), **facts}, sort_keys=True).encode()


@dataclass(frozen=True, slots=True)
class Advertisement:
    """One hospital's public keys for one context, and the head of its ledger, which the others remember.

    Attributes:
        keys: 96 bytes: the X25519 key that shares are encrypted for, the one that masks are agreed with, and the
            SHA-256 of the seed of the hospital's own mask, against which a rebuilt seed is checked.
        ledger: 40 bytes: number (8, big-endian) and hash (32) of the last entry of the hospital's ledger.
        signature: signature by the hospital's identity on all of it.
    """

    hospital: str
    keys: bytes
    ledger: bytes
    signature: bytes

    @property
    def box(self) -> bytes:
        """Return the X25519 public key that shares are encrypted for."""
        return self.keys[:KEY_BYTES]

    @property
    def mask(self) -> bytes:
        """Return the X25519 public key that masks are agreed with."""
        return self.keys[KEY_BYTES : 2 * KEY_BYTES]

    @property
    def seed_digest(self) -> bytes:
        """Return the SHA-256 of the seed of the hospital's own mask."""
        return self.keys[2 * KEY_BYTES :]

    def is_signed(self, context: Context, identity: str) -> bool:
        """Return whether the hospital with that identity signed these keys and this head for that context."""
        if (len(self.keys), len(self.ledger)) != (KEYS_BYTES, LEDGER_BYTES):
            return False
        return is_signature(_advertised(context, self), self.signature, identity)

    @property
    def agrees(self) -> bool:
        """Whether both keys agree on something secret. A few keys agree on zeros with every other (RFC 7748, 6.1)."""
        try:
            _agree(PROBE, self.box), _agree(PROBE, self.mask)
        except MaskingError:
            return False
        return True


def _advertised(context: Context, advertised: Advertisement) -> bytes:
    keys, ledger = advertised.keys.hex(), advertised.ledger.hex()
    return context.text("masking keys", hospital=advertised.hospital, keys=keys, ledger=ledger)


@dataclass(frozen=True, slots=True)
class Secrets:
    """The private part of a hospital's keys, for one context and in memory only.

    Attributes:
        box: X25519 private key that shares are encrypted with, as an integer. It is clamped (RFC 7748), so below 2^255
            and an element of the field.
        mask: X25519 private key that masks are agreed with, in the same form.
        seed: seed of the hospital's own mask, an element of the field.
    """

    box: int
    mask: int
    seed: int

    @classmethod
    def draw(cls) -> Self:
        """Draw fresh secrets from the operating system, in simulations too: masks cancel, so results do not change."""
        return cls(_private_key(), _private_key(), secrets.randbelow(shamir.PRIME))

    def advertise(self, context: Context, hospital: str, identity: Identity, ledger: bytes) -> Advertisement:
        """Return the public part, signed by the hospital's identity.

        Args:
            context: context of the masked vector.
            hospital: name of the hospital.
            identity: its signing key.
            ledger: head of its ledger, 40 bytes.
        """
        keys = public_of(self.box) + public_of(self.mask) + digest_of(self.seed)
        unsigned = Advertisement(hospital, keys, ledger, b"")
        return replace(unsigned, signature=identity.sign(_advertised(context, unsigned)))


PROBE = 2**254
"""A private key that belongs to no hospital, to try public keys with."""


def _private_key() -> int:
    return clamped(int.from_bytes(secrets.token_bytes(KEY_BYTES), "little"))


def clamped(value: int) -> int:
    """Return the private key that X25519 makes of 256 bits before it uses them (RFC 7748, section 5)."""
    return value & ~7 & (2**255 - 1) | 2**254


def public_of(private: int) -> bytes:
    """Return the public key of a private one."""
    key = X25519PrivateKey.from_private_bytes(private.to_bytes(KEY_BYTES, "little"))
    return key.public_key().public_bytes_raw()


def digest_of(seed: int) -> bytes:
    """Return the digest by which a seed is checked; it does not reveal the seed, which has 256 random bits."""
    return hashlib.sha256(b"fedsynth seed" + shamir.to_bytes(seed)).digest()


def roster_digest(context: Context, roster: Iterable[Advertisement]) -> str:
    """Return the SHA-256 (hex) of all keys and heads of a context: who was shown others gets another digest."""
    ordered = sorted(roster, key=lambda advertisement: advertisement.hospital)
    text = json.dumps([[shown.hospital, shown.keys.hex(), shown.ledger.hex()] for shown in ordered])
    return hashlib.sha256(context.text("roster", roster=text)).hexdigest()


def own_mask_key(seed: int, context: Context, roster: str) -> bytes:
    """Return the key of a hospital's own stream.

    Args:
        seed: seed of the hospital's own mask.
        context: context of the masked vector.
        roster: digest of all advertised keys.
    """
    return _derive(shamir.to_bytes(seed), context.text("own mask", roster=roster))


def pair_mask_key(private_key: int, public_key: bytes, names: tuple[str, str], context: Context, roster: str) -> bytes:
    """Return the key of the stream that two hospitals share.

    Their names are part of it: X25519 has several public keys for one secret, so a colluder can advertise another
    hospital's key in other bytes. If its stream were the same, the two would cancel in the vector of a hospital between
    them.

    Args:
        private_key: private key of one of them.
        public_key: public key of the other.
        names: names of both hospitals, in any order.
        context: context of the masked vector.
        roster: digest of all advertised keys.

    Returns:
        32 bytes.

    Raises:
        MaskingError: the public key is one of the few that agree on zeros with every other.
    """
    first, second = sorted(names)
    return _derive(
        _agree(private_key, public_key), context.text("pair mask", roster=roster, first=first, second=second)
    )


@dataclass(frozen=True, slots=True)
class Envelope:
    """Whom encrypted shares are from and for: their key belongs to this envelope alone, and encrypts once.

    Attributes:
        sender, receiver: names of the two hospitals.
        context: context of the masked vector.
        roster: digest of all advertised keys.
    """

    sender: str
    receiver: str
    context: Context
    roster: str

    @property
    def text(self) -> bytes:
        """Canonical text of the envelope, which the key is derived from and the content bound to."""
        return self.context.text("encrypted shares", sender=self.sender, receiver=self.receiver, roster=self.roster)


def encrypt(content: bytes, private_key: int, public_key: bytes, envelope: Envelope) -> bytes:
    """Return the content, encrypted for one hospital.

    Args:
        content: plain bytes.
        private_key: private key of the sender.
        public_key: public key of the receiver.
        envelope: names both.

    Raises:
        MaskingError: as for `pair_mask_key`.
    """
    key = _derive(_agree(private_key, public_key), envelope.text)
    return ChaCha20Poly1305(key).encrypt(bytes(12), content, envelope.text)


def decrypt(encrypted: bytes, private_key: int, public_key: bytes, envelope: Envelope) -> bytes:
    """Return the content that `encrypt` was given.

    Args:
        encrypted: the encrypted bytes.
        private_key: private key of the receiver.
        public_key: public key of the sender.
        envelope: names both.

    Raises:
        MaskingError: it was altered, or made for another envelope.
    """
    key = _derive(_agree(private_key, public_key), envelope.text)
    try:
        return ChaCha20Poly1305(key).decrypt(bytes(12), encrypted, envelope.text)
    except InvalidTag:
        raise MaskingError(
            f"the shares that came from '{envelope.sender}' were not encrypted for this exchange"
        ) from None


def _agree(private_key: int, public_key: bytes) -> bytes:
    private = X25519PrivateKey.from_private_bytes(private_key.to_bytes(KEY_BYTES, "little"))
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public_key))
    except ValueError:  # RFC 7748, section 6.1: the secret would be all zeros, whatever the private key
        raise MaskingError("an advertised key agrees on nothing secret") from None


def _derive(secret: bytes, text: bytes) -> bytes:
    """Return 32 bytes by HKDF-SHA256 (RFC 5869)."""
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=text).derive(secret)
