from __future__ import annotations

import ipaddress
import stat
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Self

import pytest
from cryptography import x509

from common.errors import StudyError
from common.protocol.signing import Identity
from server.deploy.certificates import (
    certificate_fingerprint,
    check_hosts,
    check_server,
    make_authority,
    make_server,
    read_certificate,
)
from server.deploy.directory import CoordinatorDirectory
from server.deploy.setup import create_missing_keys


@pytest.fixture
def authority(tmp_path: Path) -> tuple[Path, Path]:
    pair = tmp_path / "ca.crt", tmp_path / "ca.key"
    make_authority(*pair)
    return pair


def test_a_server_certificate_is_for_its_names_and_this_machine(authority: tuple[Path, Path], tmp_path: Path) -> None:
    make_server(authority, tmp_path / "server.crt", tmp_path / "server.key", ["coord.example.org", "192.0.2.7"], 30)
    check_server(authority[0], tmp_path / "server.crt")
    made = read_certificate(tmp_path / "server.crt")
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["coord.example.org", "localhost"]
    addresses = [ipaddress.ip_address(address) for address in ("192.0.2.7", "127.0.0.1")]
    assert names.get_values_for_type(x509.IPAddress) == addresses
    assert (made.not_valid_after_utc - made.not_valid_before_utc).days == 30


def test_private_keys_are_their_owners_and_are_not_overwritten(authority: tuple[Path, Path]) -> None:
    assert stat.S_IMODE(authority[1].stat().st_mode) == 0o600
    before = authority[1].read_bytes(), certificate_fingerprint(authority[0])
    with pytest.raises(StudyError, match="never overwritten"):
        make_authority(*authority)
    assert (authority[1].read_bytes(), certificate_fingerprint(authority[0])) == before


def test_a_certificate_of_another_authority_is_refused(authority: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "other.crt", tmp_path / "other.key"
    make_authority(*other)
    make_server(other, tmp_path / "server.crt", tmp_path / "server.key", [], 30)
    with pytest.raises(StudyError, match="was not issued by"):
        check_server(authority[0], tmp_path / "server.crt")


@pytest.mark.parametrize(
    ("days", "words"), [(40, "expired on"), (-9, "is not valid before .* check this machine's clock")]
)
def test_a_certificate_is_refused_outside_its_days(
    authority: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, words: str
) -> None:
    make_server(authority, tmp_path / "server.crt", tmp_path / "server.key", [], 30)

    class Later(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(days=days)

    monkeypatch.setattr("server.deploy.certificates.datetime", Later)
    with pytest.raises(StudyError, match=words):
        check_server(authority[0], tmp_path / "server.crt")


def test_a_key_of_another_kind_is_not_the_authoritys(authority: tuple[Path, Path], tmp_path: Path) -> None:
    Identity.create(tmp_path / "identity.key")
    with pytest.raises(StudyError, match="is not the authority's key"):
        make_server((authority[0], tmp_path / "identity.key"), tmp_path / "a.crt", tmp_path / "a.key", [], 30)


def test_a_missing_certificate_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="fedsynth coordinator certs"):
        check_server(tmp_path / "ca.crt", tmp_path / "server.crt")


def test_a_host_that_is_none_is_refused(authority: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="not a host name or address"):
        make_server(authority, tmp_path / "server.crt", tmp_path / "server.key", ["kölner-klinik"], 30)


@pytest.mark.parametrize("host", ["https://x:8000", "", "x:8000", "-x", "a..b", "a b", "x" * 64, "a." * 130 + "a"])
def test_a_host_is_checked_before_anything_is_made(tmp_path: Path, host: str) -> None:
    with pytest.raises(StudyError, match="is not a host name or address"):
        create_missing_keys(CoordinatorDirectory(tmp_path / "home"), [host], 1)
    assert not (tmp_path / "home").exists()
    check_hosts(["coordinator.example.org", "10.0.0.1", "::1", "fedsynth-1"])
