"""Keys and signatures: Ed25519 identities, the EC keys by which Flower knows a site, signed replies.

Private keys are files that only their owner can read; only the public text or the `.pub` file is sent. People
compare fingerprints over another channel (telephone, a signed contract) before they trust a key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from common.errors import StudyError, cause_of
from common.system.files import write_new, writing

PREFIX = "ed25519:"
PUBLIC_KEY = r"^ed25519:[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$"
"""Form of a public key in a study: 32 bytes in base64, whose last two bits are zero.

Other last characters decode to the same bytes: one key could be listed under four texts and look like four keys.
"""

IDENTITY = "identity.key"
"""File name of a site's key, in its state folder."""

REPLY_PURPOSE = "fedsynth reply"
"""Part of what is signed, so that a signature made for another purpose is invalid for a reply."""


class Identity:
    """A private Ed25519 key (RFC 8032).

    Attributes:
        public: text of the public key, `ed25519:<base64>`.
    """

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.public = PREFIX + base64.b64encode(raw).decode()

    @classmethod
    def create(cls, path: Path) -> Self:
        """Create a key: `path`, readable only by its owner, and `<path>.pub`.

        Raises:
            StudyError: one of the files exists, or cannot be written.
        """
        identity = cls(Ed25519PrivateKey.generate())
        pem = identity._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _write_pair(path, pem, f"{identity.public}\n".encode())
        return identity

    @classmethod
    def load(cls, path: Path) -> Self:
        """Load the key that `create` wrote.

        Raises:
            StudyError: the file is missing, not an Ed25519 key, or readable by others.
        """
        require_private(path)
        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except OSError as problem:
            raise StudyError(f"cannot read the key '{path}' ({cause_of(problem)}); check its owner") from None
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise StudyError(
                f"'{path}' is not a PEM private key; generate a new one or restore it from a backup"
            ) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise StudyError(f"'{path}' is not an Ed25519 key; point to the identity key")
        return cls(key)

    @classmethod
    def simulated(cls, seed: int, name: str) -> Self:
        """Return a predictable key, for a hospital that exists only in a simulation."""
        secret = hashlib.sha256(json.dumps(["simulated identity", seed, name]).encode()).digest()
        return cls(Ed25519PrivateKey.from_private_bytes(secret))

    def sign(self, data: bytes) -> bytes:
        """Return the 64 bytes of this key's signature."""
        return self._key.sign(data)


def is_signature(data: bytes, signature: bytes, public: str) -> bool:
    """Return whether the private key of `public` signed these bytes; False for a malformed public key.

    Args:
        data: the signed bytes.
        signature: 64 bytes.
        public: text of the public key.
    """
    if not public.startswith(PREFIX):
        return False
    try:
        raw = base64.b64decode(public.removeprefix(PREFIX), validate=True)
        Ed25519PublicKey.from_public_bytes(raw).verify(signature, data)
    except (InvalidSignature, ValueError):  # a text that is not base64 is a ValueError as well
        return False
    return True


def fingerprint(public: str) -> str:
    """Return the first 128 bits of the SHA-256 of a public key, in eight groups of four digits that people compare."""
    half = hashlib.sha256(public.strip().encode()).hexdigest()[:32]
    return " ".join(half[start : start + 4] for start in range(0, len(half), 4))


def shared_key(identities: Mapping[str, str], coordinator: str | None) -> str | None:
    """Return which hospitals do not have a key of their own, with the remedy; None if all do.

    Args:
        identities: every listed hospital's public key, by name.
        coordinator: the coordinator's public key, if the study names one.
    """
    holders: dict[str, list[str]] = {}
    for name, public in identities.items():
        holders.setdefault(public, []).append(f"'{name}'")
    problems = [
        f"{' and '.join(names)} list the same identity, so one party could answer for all of them"
        for names in holders.values()
        if len(names) > 1
    ]
    if coordinator in holders:
        names = " and ".join(holders[coordinator])
        problems.append(
            f"the coordinator's key is the identity of {names}, so the coordinator could answer as a hospital"
        )
    if not problems:
        return None
    remedy = "list the identity that `fedsynth site init` printed at each hospital"
    return f"[[hospitals]] {'; '.join(problems)}: {remedy}"


def sign_reply(identity: Identity, asked: str, reply: bytes) -> bytes:
    """Return a hospital's signature on a reply and on the sending of the request that it answers.

    Ed25519 is deterministic: a repeated reply has the same signature.

    Args:
        identity: key of the hospital.
        asked: digest of the sending, see `seals.asked_by`.
        reply: bytes of the reply.
    """
    return identity.sign(reply_text(asked, reply))


def is_signed_reply(asked: str, reply: bytes, signature: bytes, public: str) -> bool:
    """Return whether the hospital with this public key signed exactly this reply to exactly this sending.

    Args:
        asked: digest of the sending, see `seals.asked_by`.
        reply: bytes of the reply.
        signature: the received signature.
        public: text of the hospital's public key.
    """
    return is_signature(reply_text(asked, reply), signature, public)


def reply_text(asked: str, reply: bytes) -> bytes:
    """Return the text to sign: the digests of the sending and of the reply, as canonical JSON."""
    return signed_text(REPLY_PURPOSE, request=asked, reply=hashlib.sha256(reply).hexdigest())


def signed_text(purpose: str, **facts: str | int) -> bytes:
    """Return the canonical JSON of a purpose and facts, which a key signs."""
    return json.dumps({"purpose": purpose, **facts}, sort_keys=True, separators=(",", ":")).encode()


def create_node_key(path: Path) -> None:
    """Create the key by which a SuperLink knows a site's SuperNode: EC P-384 in OpenSSH form, `path` and `<path>.pub`.

    Raises:
        StudyError: one of the files exists, or cannot be written.
    """
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    _write_pair(path, private, public + b"\n")


def node_fingerprint(public: Path) -> str:
    """Return the fingerprint of a `.pub` file in OpenSSH form, as `ssh-keygen -l` prints it: `SHA256:<base64>`.

    Raises:
        StudyError: the file cannot be read or is not an OpenSSH public key.
    """
    try:
        blob = base64.b64decode(public.read_text(encoding="ascii").split()[1], validate=True)
    except OSError as problem:
        raise StudyError(f"cannot read '{public}' ({cause_of(problem)}); check the path") from None
    except (UnicodeDecodeError, IndexError, binascii.Error):
        raise StudyError(
            f"'{public}' is not an OpenSSH public key; ask the site for its node key's .pub file"
        ) from None
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def require_private(path: Path) -> None:
    """Raise `StudyError` for a secret that other accounts can read.

    Raises:
        StudyError: the file is missing, or its group or others have any permission on it.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as problem:
        raise StudyError(f"cannot find the key '{path}' ({cause_of(problem)}); check the path") from None
    if mode & 0o077:
        raise StudyError(f"the key '{path}' is open to others (mode {mode:04o}); run chmod 600 on it")


def _write_pair(path: Path, private: bytes, public: bytes) -> None:
    """Write and sync both files; never overwrite one."""
    for target, content, mode in ((path, private, 0o600), (path.with_name(f"{path.name}.pub"), public, 0o644)):
        with writing(target, remedy="check its folder"):
            try:
                write_new(target, content, mode=mode)
            except FileExistsError:
                raise StudyError(f"'{target}' exists; a key is never overwritten, so move it away first") from None
