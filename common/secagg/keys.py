"""Keys of one masked phase: agreed between every two hospitals, and signed so that no coordinator can put in its own.

Everything that is signed, sealed or derived names the place: study, run, phase, round, attempt and question. What was
made for one place is of no use in another.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from common.errors import MaskingError
from common.protocol.signing import Identity, is_signature
from common.secagg import shamir
from common.secagg.masks import KEY_BYTES

KEYS_BYTES, SIGNATURE_BYTES = 3 * KEY_BYTES, 64
SEALED_BYTES = 2 * shamir.SHARE_BYTES + 16
"""Two shares and the tag."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a run one masked vector belongs.

    Attributes:
        fingerprint: of the study.
        question: SHA-256 (hex) of the request that the vector answers.
    """

    fingerprint: str
    run_id: str
    phase: str
    round: int
    attempt: int
    question: str

    def text(self, purpose: str, **facts: str) -> bytes:
        """What is signed, sealed with or derived from, as canonical JSON."""
        return json.dumps({"purpose": f"fedsynth {purpose}", **asdict(self), **facts}, sort_keys=True).encode()


@dataclass(frozen=True, slots=True)
class Advertisement:
    """One hospital's public keys for one place.

    Attributes:
        keys: 96 bytes: the X25519 key that shares are sealed for, the one that masks are agreed with, and the SHA-256
            of the seed of the hospital's own mask, by which a rebuilt seed is checked.
        signature: by the hospital's identity.
    """

    hospital: str
    keys: bytes
    signature: bytes

    @property
    def box(self) -> bytes:
        return self.keys[:KEY_BYTES]

    @property
    def mask(self) -> bytes:
        return self.keys[KEY_BYTES : 2 * KEY_BYTES]

    @property
    def seed_digest(self) -> bytes:
        return self.keys[2 * KEY_BYTES :]

    def is_signed(self, place: Place, identity: str) -> bool:
        """Whether the hospital with that identity signed these keys for that place."""
        if len(self.keys) != KEYS_BYTES:
            return False
        return is_signature(_advertised(place, self.hospital, self.keys), self.signature, identity)

    @property
    def agrees(self) -> bool:
        """Whether both keys agree on something secret. Those few that do not, do not with anybody (RFC 7748, 6.1)."""
        try:
            _agree(PROBE, self.box), _agree(PROBE, self.mask)
        except MaskingError:
            return False
        return True


def _advertised(place: Place, hospital: str, keys: bytes) -> bytes:
    return place.text("masking keys", hospital=hospital, keys=keys.hex())


@dataclass(frozen=True, slots=True)
class Secrets:
    """What a hospital knows of its own keys, for one place and in memory only.

    Attributes:
        box, mask: X25519 private keys as integers, clamped (RFC 7748), so below 2^255 and elements of the field.
        seed: of the hospital's own mask, an element of the field.
    """

    box: int
    mask: int
    seed: int

    @classmethod
    def draw(cls) -> Self:
        """Fresh ones from the operating system, in simulations too: masks cancel, so results do not depend on them."""
        return cls(_private_key(), _private_key(), secrets.randbelow(shamir.PRIME))

    def advertise(self, place: Place, hospital: str, identity: Identity) -> Advertisement:
        """The public part, signed."""
        keys = public_of(self.box) + public_of(self.mask) + digest_of(self.seed)
        return Advertisement(hospital, keys, identity.sign(_advertised(place, hospital, keys)))


PROBE = 2**254
"""A private key that is nobody's, to try public keys with."""


def _private_key() -> int:
    return clamped(int.from_bytes(secrets.token_bytes(KEY_BYTES), "little"))


def clamped(value: int) -> int:
    """The private key that X25519 makes of 256 bits before it uses them (RFC 7748, section 5)."""
    return value & ~7 & (2**255 - 1) | 2**254


def public_of(private: int) -> bytes:
    """The public key of a private one."""
    key = X25519PrivateKey.from_private_bytes(private.to_bytes(KEY_BYTES, "little"))
    return key.public_key().public_bytes_raw()


def digest_of(seed: int) -> bytes:
    """What a seed is known by before it is opened. A seed has 256 random bits, so it cannot be guessed from this."""
    return hashlib.sha256(b"fedsynth seed" + shamir.to_bytes(seed)).digest()


def roster_digest(place: Place, roster: Iterable[Advertisement]) -> str:
    """SHA-256 (hex) of all keys of a place, in the order of the names: hospitals that were shown others get another."""
    ordered = sorted(roster, key=lambda one: one.hospital)
    text = json.dumps([[one.hospital, one.keys.hex()] for one in ordered])
    return hashlib.sha256(place.text("roster", roster=text)).hexdigest()


def own_mask_key(seed: int, place: Place, roster: str) -> bytes:
    """The key of a hospital's own stream."""
    return _derive(shamir.to_bytes(seed), place.text("own mask", roster=roster))


def pair_mask_key(mine: int, theirs: bytes, names: tuple[str, str], place: Place, roster: str) -> bytes:
    """The key of the stream that two hospitals share, from one's private and the other's public key.

    Their names are part of it: X25519 has several public keys for one secret, so that a colluder can advertise the key
    of another in other bytes; were its stream the same, the two would cancel in the vector of a hospital between them.

    Args:
        names: of both, in any order.

    Raises:
        MaskingError: the public key is one of the few that agree on the same secret with everybody.
    """
    first, second = sorted(names)
    return _derive(_agree(mine, theirs), place.text("pair mask", roster=roster, first=first, second=second))


def seal(content: bytes, mine: int, to: Advertisement, sender: str, place: Place, roster: str) -> bytes:
    """`content` for the eyes of one hospital. The key is of this sender, receiver and place, and seals once.

    Raises:
        MaskingError: as `pair_mask_key`.
    """
    text = place.text("sealed shares", sender=sender, receiver=to.hospital, roster=roster)
    return ChaCha20Poly1305(_derive(_agree(mine, to.box), text)).encrypt(bytes(12), content, text)


def unseal(sealed: bytes, mine: int, sender: Advertisement, receiver: str, place: Place, roster: str) -> bytes:
    """What `seal` sealed.

    Raises:
        MaskingError: it was altered, or made for another place, roster or receiver.
    """
    text = place.text("sealed shares", sender=sender.hospital, receiver=receiver, roster=roster)
    try:
        return ChaCha20Poly1305(_derive(_agree(mine, sender.box), text)).decrypt(bytes(12), sealed, text)
    except InvalidTag:
        raise MaskingError(f"the shares that came from '{sender.hospital}' were not sealed for this exchange") from None


def _agree(mine: int, theirs: bytes) -> bytes:
    private = X25519PrivateKey.from_private_bytes(mine.to_bytes(KEY_BYTES, "little"))
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(theirs))
    except ValueError:  # RFC 7748, section 6.1: the secret would be all zeros, whatever the private key
        raise MaskingError("a key was advertised that agrees on nothing secret") from None


def _derive(secret: bytes, text: bytes) -> bytes:
    """HKDF-SHA256 (RFC 5869)."""
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=text).derive(secret)
