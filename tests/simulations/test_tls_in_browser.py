"""A console on every address of the machine, over TLS, in a real browser: certificate, names, cookie."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from common.web.serve import Console, Listen
from server.console.app import CoordinatorPages
from server.deploy.certificates import make_authority, make_server, read_certificate
from tests.testbeds.browser import NO_CHROMIUM, Browser, chromium
from tests.testbeds.browsing import LOADED, TEXT
from tests.testbeds.consoles import coordinator_runs

pytestmark = [pytest.mark.slow, pytest.mark.skipif(chromium() is None, reason=NO_CHROMIUM)]

NAME = "synth.hospital.test"

RESOLVED = f"--host-resolver-rules=MAP {NAME} 127.0.0.1"


@pytest.fixture
def secured(tmp_path: Path) -> Listen:
    authority = tmp_path / "ca.crt", tmp_path / "ca.key"
    make_authority(*authority)
    make_server(authority, tmp_path / "tls.crt", tmp_path / "tls.key", [NAME], 30)
    return Listen("0.0.0.0", certificate=tmp_path / "tls.crt", key=tmp_path / "tls.key", names=(NAME,))


def trusting(certificate: Path) -> str:
    """The flag with which a browser accepts this key, as one with the authority's certificate does."""
    key = read_certificate(certificate).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"--ignore-certificate-errors-spki-list={base64.b64encode(hashlib.sha256(key).digest()).decode()}"


def test_a_console_for_other_machines_speaks_tls(tmp_path: Path, secured: Listen) -> None:
    runs = coordinator_runs(tmp_path, "run-1")
    console = Console(lambda serving: CoordinatorPages(runs, "Coordinator", serving).application(), secured)
    assert secured.certificate is not None
    assert console.opening.startswith(f"https://{NAME}:")
    port = console.address.port
    with console.beside():
        with Browser(flags=[RESOLVED]) as stranger:  # it does not know the authority
            answer = stranger.call("Page.navigate", url=f"https://{NAME}:{port}/")
            assert answer["errorText"] == "net::ERR_CERT_AUTHORITY_INVALID"
        with Browser(flags=[RESOLVED, trusting(secured.certificate)]) as browser:
            browser.open(console.opening, LOADED)
            browser.wait("document.getElementById('connection').textContent === 'live'")
            assert "run-1" in browser.evaluate(TEXT)
            assert browser.complaints == []
            (cookie,) = browser.call("Network.getCookies")["cookies"]
            assert cookie["name"] == f"__Secure-fedsynth-{port}"
            assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Strict")
            browser.open(f"https://127.0.0.1:{port}/", f"{TEXT}.includes('answers only under the address')")
            answer = browser.call("Page.navigate", url=f"http://{NAME}:{port}/")
            assert answer["errorText"] == "net::ERR_EMPTY_RESPONSE"
