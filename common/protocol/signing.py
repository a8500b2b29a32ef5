"""Who is who: Ed25519 keys that sign, the EC keys by which Flower knows a site, signed requests and signed replies.

Private keys are files that only their owner can read; what travels is the public text or the `.pub` file. People
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

from common.errors import StudyError
from common.protocol.byte_form import digest
from common.protocol.messages import Request
from common.system.files import write_new, writing

PREFIX = "ed25519:"
PUBLIC_KEY = r"^ed25519:[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$"
"""How a public key is written in a study: 32 bytes in base64, whose last two bits are zero.

Other last characters decode to the same bytes: one key could be listed under four texts and look like four keys.
"""

IDENTITY = "identity.key"
"""The file of a site's key, in its state folder."""

PURPOSE, REPLY_PURPOSE = "fedsynth request", "fedsynth reply"
"""Part of what is signed, so that a signature made for something else cannot pass for one of a request or a reply."""


class Identity:
    """A private Ed25519 key (RFC 8032).

    Attributes:
        public: the text that others know it by, `ed25519:<base64>`.
    """

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.public = PREFIX + base64.b64encode(raw).decode()

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make a key: `path` (readable by its owner alone) and `<path>.pub`.

        Raises:
            StudyError: one of the files exists, or cannot be written.
        """
        identity = cls(Ed25519PrivateKey.generate())
        pem = identity._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _write_pair(path, pem, f"{identity.public}\n".encode())
        return identity

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `create` wrote.

        Raises:
            StudyError: the file is missing, no Ed25519 key, or readable by others.
        """
        require_private(path)
        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except OSError as problem:
            raise StudyError(f"cannot read the key '{path}' ({type(problem).__name__}); check its owner") from None
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise StudyError(
                f"'{path}' is not a PEM private key; generate a new one or restore it from a backup"
            ) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise StudyError(f"'{path}' is not an Ed25519 key; point to the identity key")
        return cls(key)

    @classmethod
    def simulated(cls, seed: int, name: str) -> Self:
        """A key that anybody can work out, for a hospital that exists in a simulation only."""
        secret = hashlib.sha256(json.dumps(["simulated identity", seed, name]).encode()).digest()
        return cls(Ed25519PrivateKey.from_private_bytes(secret))

    def sign(self, data: bytes) -> bytes:
        """64 bytes that only this key can make."""
        return self._key.sign(data)


def is_signature(data: bytes, signature: bytes, public: str) -> bool:
    """Whether the key behind `public` signed these bytes; False for a text that is no key."""
    if not public.startswith(PREFIX):
        return False
    try:
        raw = base64.b64decode(public.removeprefix(PREFIX), validate=True)
        Ed25519PublicKey.from_public_bytes(raw).verify(signature, data)
    except (InvalidSignature, ValueError):  # a text that is not base64 is a ValueError as well
        return False
    return True


def fingerprint(public: str) -> str:
    """The first 128 bits of SHA-256 of a public text, in eight groups of four: for people to read out and compare."""
    half = hashlib.sha256(public.strip().encode()).hexdigest()[:32]
    return " ".join(half[start : start + 4] for start in range(0, len(half), 4))


def shared_key(identities: Mapping[str, str], coordinator: str | None) -> str | None:
    """Say which hospitals do not have a key of their own, and the remedy; None if all do.

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


def sign_request(identity: Identity, request: Request) -> bytes:
    """The coordinator's signature on a request."""
    return identity.sign(request_text(request))


def is_signed(request: Request, signature: bytes, public: str) -> bool:
    """Whether the coordinator behind `public` signed this very request."""
    return is_signature(request_text(request), signature, public)


def request_text(request: Request) -> bytes:
    """What is signed: run, kind, phase, round, and the digest of the whole request, as canonical JSON.

    The digest covers every field; the others are named so that a log of signed texts says what was asked.
    """
    return signed_text(
        PURPOSE,
        run_id=request.run_id,
        kind=request.kind,
        phase=getattr(request, "phase", ""),
        round=getattr(request, "round", 0),
        digest=digest(request),
    )


def sign_reply(identity: Identity, asked: str, reply: bytes) -> bytes:
    """A hospital's signature on a reply's bytes and on the digest of the request that they answer.

    Ed25519 draws nothing: a reply that is repeated has the signature that it had.
    """
    return identity.sign(reply_text(asked, reply))


def is_signed_reply(asked: str, reply: bytes, signature: bytes, public: str) -> bool:
    """Whether the hospital behind `public` gave these very bytes as its reply to that very request."""
    return is_signature(reply_text(asked, reply), signature, public)


def reply_text(asked: str, reply: bytes) -> bytes:
    """What is signed: the digest of the request, and that of the reply, as canonical JSON."""
    return signed_text(REPLY_PURPOSE, request=asked, reply=hashlib.sha256(reply).hexdigest())


def signed_text(purpose: str, **facts: str | int) -> bytes:
    """What a key signs, as canonical JSON: what it is for, and the facts."""
    return json.dumps({"purpose": purpose, **facts}, sort_keys=True, separators=(",", ":")).encode()


def create_node_key(path: Path) -> None:
    """The key by which a SuperLink knows a site's SuperNode: EC P-384 in OpenSSH form, `path` and `<path>.pub`.

    Raises:
        StudyError: one of the files exists, or cannot be written.
    """
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    _write_pair(path, private, public + b"\n")


def node_fingerprint(public: Path) -> str:
    """The fingerprint of a `.pub` file in OpenSSH form, as `ssh-keygen -l` prints it: `SHA256:<base64>`.

    Raises:
        StudyError: the file cannot be read or is no OpenSSH public key.
    """
    try:
        blob = base64.b64decode(public.read_text(encoding="ascii").split()[1], validate=True)
    except OSError as problem:
        raise StudyError(f"cannot read '{public}' ({type(problem).__name__}); check the path") from None
    except (UnicodeDecodeError, IndexError, binascii.Error):
        raise StudyError(
            f"'{public}' is not an OpenSSH public key; ask the site for its node key's .pub file"
        ) from None
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def require_private(path: Path) -> None:
    """Refuse a secret that others can read.

    Raises:
        StudyError: the file is missing, or its group or others have a permission on it.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as problem:
        raise StudyError(f"cannot find the key '{path}' ({type(problem).__name__}); check the path") from None
    if mode & 0o077:
        raise StudyError(f"the key '{path}' is open to others (mode {mode:04o}); run chmod 600 on it")


def _write_pair(path: Path, private: bytes, public: bytes) -> None:
    """Both files, synced; neither takes the place of another."""
    for target, content, mode in ((path, private, 0o600), (path.with_name(f"{path.name}.pub"), public, 0o644)):
        with writing(target, remedy="check its folder"):
            try:
                write_new(target, content, mode=mode)
            except FileExistsError:
                raise StudyError(f"'{target}' exists; a key is never overwritten, move it away first") from None
