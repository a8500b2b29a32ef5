from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_ssh_private_key,
    load_ssh_public_key,
)
from hypothesis import given
from hypothesis import strategies as st

from common.errors import StudyError
from common.protocol.byte_form import digest, to_bytes
from common.protocol.messages import CountsRequest, EnrollRequest, Request, RoundRequest, Unavailable
from common.protocol.signing import (
    Identity,
    create_node_key,
    fingerprint,
    is_signature,
    is_signed_reply,
    node_fingerprint,
    sign_reply,
)
from tests.testbeds.clinic import STUDY, clinic_study

NOTHING = np.empty(0, dtype=np.int64)
WEIGHTS = {"gen.table": np.zeros((2, 2), dtype=np.float32)}
REQUESTS: list[Request] = [
    EnrollRequest("run-1", "study", "fingerprint", "plan", "{}"),
    CountsRequest("run-1", "histograms"),
    CountsRequest("run-1", "coarse", {"histograms": NOTHING}, NOTHING),
    RoundRequest("run-1", 1, {"histograms": NOTHING}, WEIGHTS),
]


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return Identity.create(tmp_path / "a.key")


def test_key_file_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    made = Identity.create(tmp_path / "site.key")
    assert Identity.load(tmp_path / "site.key").public == made.public
    assert (tmp_path / "site.key.pub").read_text(encoding="utf-8") == f"{made.public}\n"
    assert stat.S_IMODE((tmp_path / "site.key").stat().st_mode) == 0o600


def test_a_key_is_never_overwritten(tmp_path: Path, identity: Identity) -> None:
    # A lost identity cannot be restored, and a study names the old one.
    with pytest.raises(StudyError, match="never overwritten"):
        Identity.create(tmp_path / "a.key")
    assert Identity.load(tmp_path / "a.key").public == identity.public


def test_a_key_that_others_can_read_is_refused(tmp_path: Path, identity: Identity) -> None:
    (tmp_path / "a.key").chmod(0o640)
    with pytest.raises(StudyError, match="chmod 600"):
        Identity.load(tmp_path / "a.key")


@pytest.mark.parametrize(
    "content", [b"", b"not a key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_file_that_is_no_key_is_refused_without_being_quoted(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "b.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(StudyError, match="not a PEM private key"):
        Identity.load(path)


def test_a_pem_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    path = tmp_path / "other.key"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    with pytest.raises(StudyError, match="is not an Ed25519 key"):
        Identity.load(path)


def test_a_node_key_in_the_place_of_an_identity_is_refused(tmp_path: Path) -> None:
    create_node_key(tmp_path / "node.key")
    with pytest.raises(StudyError, match="not a PEM private key"):
        Identity.load(tmp_path / "node.key")


@given(data=st.binary(max_size=64), other=st.binary(max_size=64))
def test_a_signature_holds_for_its_own_bytes_and_key_only(data: bytes, other: bytes) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    one, two = Identity(Ed25519PrivateKey.generate()), Identity(Ed25519PrivateKey.generate())
    signature = one.sign(data)
    assert is_signature(data, signature, one.public)
    assert not is_signature(data, signature, two.public)
    assert is_signature(other, signature, one.public) == (other == data)


@given(public=st.text(max_size=80), signature=st.binary(max_size=80))
def test_malformed_keys_and_signatures_are_refused(public: str, signature: bytes) -> None:
    # Both come from outside: an exception here would stop an agent's answer.
    assert not is_signature(b"text", signature, public)
    assert not is_signature(b"text", signature, f"ed25519:{public}")


def test_a_public_key_without_its_prefix_is_refused(identity: Identity) -> None:
    # One key has one text: a study lists no hospital's key twice, and what is compared are texts.
    assert is_signature(b"text", identity.sign(b"text"), identity.public)
    assert not is_signature(b"text", identity.sign(b"text"), identity.public.removeprefix("ed25519:"))


def test_reply_signature_covers_request_bytes_and_key(identity: Identity) -> None:
    asked, reply = digest(REQUESTS[1]), to_bytes(Unavailable("north"))
    signature = sign_reply(identity, asked, reply)
    assert is_signed_reply(asked, reply, signature, identity.public)
    assert sign_reply(identity, asked, reply) == signature  # a repeated reply is the same in every byte
    assert not is_signed_reply(asked, reply, signature, Identity.simulated(1, "south").public)
    assert not any(is_signed_reply(digest(other), reply, signature, identity.public) for other in REQUESTS[2:])
    others = (to_bytes(Unavailable("south")), reply[:-1], reply + b" ", b"")
    assert not any(is_signed_reply(asked, other, signature, identity.public) for other in others)
    assert not any(is_signed_reply(asked, reply, other, identity.public) for other in (b"", bytes(64), signature[:-1]))


def test_fingerprint_is_short_and_ignores_the_line_end(identity: Identity) -> None:
    shown = fingerprint(identity.public)
    assert [len(group) for group in shown.split(" ")] == [4] * 8
    assert fingerprint(f"{identity.public}\n") == shown


def test_node_key_is_readable_by_flower_and_ssh(tmp_path: Path) -> None:
    create_node_key(tmp_path / "node.key")
    private = load_ssh_private_key((tmp_path / "node.key").read_bytes(), None)
    public = load_ssh_public_key((tmp_path / "node.key.pub").read_bytes())
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert private.public_key().public_numbers() == public.public_numbers()
    assert private.curve.name == "secp384r1"
    assert stat.S_IMODE((tmp_path / "node.key").stat().st_mode) == 0o600
    # SHA-256 in base64 has 43 characters without padding.
    assert len(node_fingerprint(tmp_path / "node.key.pub")) == len("SHA256:") + 43


def test_a_file_that_is_no_public_node_key_is_refused(tmp_path: Path, identity: Identity) -> None:
    with pytest.raises(StudyError, match="not an OpenSSH public key"):
        node_fingerprint(tmp_path / "a.key.pub")
    with pytest.raises(StudyError, match="check the path"):
        node_fingerprint(tmp_path / "no-such.pub")


@pytest.mark.parametrize("key", ["", "ed25519:", "ed25519:AAAA", "ssh-ed25519 AAAA", "ed25519:" + "A" * 44])
def test_a_study_with_a_coordinator_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(StudyError, match="coordinator"):
        clinic_study(federation={"coordinator": key})


def test_a_study_carries_the_coordinator_key_in_its_fingerprint(identity: Identity) -> None:
    # Whoever exchanges the key makes another study, which no hospital has approved.
    study = clinic_study(federation={"coordinator": identity.public})
    assert study.federation.coordinator == identity.public
    assert study.fingerprint != clinic_study().fingerprint
    assert "coordinator" not in STUDY
