"""What stands before every page: addresses, sessions, origins, tokens, and headers of every answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from common.errors import StudyError
from common.web import live
from common.web.guard import FORM_TOKEN, MAX_FORM_BYTES, Address, Guard
from common.web.serve import Console, Listen
from common.web.sessions import Sessions
from tests.testbeds.consoles import Visitor, coordinator_console, coordinator_runs, visiting


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Console:
    return coordinator_console(coordinator_runs(tmp_path_factory.mktemp("home"), "run-1"))


@pytest.fixture(scope="module")
def visitor(console: Console) -> Iterator[Visitor]:
    with visiting(console) as opened:
        yield opened


def stranger() -> httpx.Client:
    return httpx.Client(trust_env=False, timeout=30)


def test_the_opening_address_works_once(console: Console, visitor: Visitor) -> None:
    assert visitor.get("/").status_code == 200
    with stranger() as web:
        assert web.get(console.opening).status_code == 401
        assert web.get(f"{visitor.origin}/open?token=guess").status_code == 401


@pytest.mark.parametrize("path", ["/", "/events", "/runs/run-1", "/runs/run-1/events", "/runs/run-1/files/run.json"])
def test_a_page_needs_a_session(visitor: Visitor, path: str) -> None:
    with stranger() as web:
        answer = web.get(f"{visitor.origin}{path}")
    assert answer.status_code == 401
    assert "run-1" not in answer.text


def test_a_forged_cookie_opens_nothing(console: Console, visitor: Visitor) -> None:
    other = Sessions()
    cookie = other.open(other.token)
    assert cookie is not None
    with stranger() as web:
        web.cookies.set(console.address.cookie, cookie)
        assert web.get(visitor.origin).status_code == 401


def test_pages_are_below_a_path_that_nobody_guesses(console: Console, visitor: Visitor) -> None:
    """Browsers send cookies to every port of a host, but only below their path."""
    cookie = visitor.web.cookies.get(console.address.cookie, path=f"{visitor.base}/")
    assert len(visitor.base) > 20
    assert cookie is not None
    with stranger() as web:
        web.cookies.set(console.address.cookie, cookie)
        assert web.get(f"{visitor.origin}{visitor.base}/").status_code == 200
        assert web.get(f"{visitor.origin}/").status_code == 401
        assert web.get(f"{visitor.origin}/runs/run-1").status_code == 401


def test_a_session_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions(lasts_s=60)
    cookie = sessions.open(sessions.token)
    assert cookie is not None
    assert sessions.find(cookie) is not None
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 62)
    assert sessions.find(cookie) is None


@pytest.mark.parametrize("jump", [-86_400, 9 * 3600])
def test_a_clock_that_jumps_ends_no_console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: int) -> None:
    """At worst the session has ended for as long; no answer is an error."""
    again = coordinator_console(coordinator_runs(tmp_path, "run-1"))
    with visiting(again) as opened:
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + jump)
        assert opened.get("/").status_code in (200, 401)
        monkeypatch.undo()
        assert opened.get("/").status_code == 200


def test_a_session_ends_with_its_console(tmp_path: Path) -> None:
    """Between two starts another account can take the port; open pages send it their cookie."""
    before, again = (coordinator_console(coordinator_runs(tmp_path / name)) for name in ("a", "b"))
    with before.beside(), stranger() as web:
        cookie = web.get(before.opening).cookies[before.address.cookie]
    with again.beside(), stranger() as web:
        web.cookies.set(again.address.cookie, cookie)
        assert web.get(f"http://127.0.0.1:{again.address.port}/").status_code == 401


def test_a_stream_ends_so_that_its_session_is_checked_again(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LONGEST_S", 0.1)
    assert visitor.get("/events").text.startswith("data: ")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1", ""])
def test_a_foreign_host_is_refused_even_with_the_cookie(visitor: Visitor, host: str) -> None:
    assert visitor.web.get(f"{visitor.origin}{visitor.base}/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "http://127.0.0.1", "http://127.0.0.1:1"])
def test_a_change_from_a_foreign_origin_is_refused(visitor: Visitor, origin: str) -> None:
    fields = {FORM_TOKEN: visitor.token("/runs/run-1"), "confirmed": "yes"}
    answer = visitor.web.post(
        f"{visitor.origin}{visitor.base}/runs/run-1/stop", data=fields, headers={"origin": origin}
    )
    assert answer.status_code == 403


@pytest.mark.parametrize("token", ["", "guess", "é"])
def test_a_change_needs_the_token_of_its_session(visitor: Visitor, token: str) -> None:
    answer = visitor.post("/runs/run-1/stop", confirmed="yes", **{FORM_TOKEN: token})
    assert answer.status_code == 403


def test_a_form_has_an_end(visitor: Visitor) -> None:
    answer = visitor.post("/runs/run-1/stop", page="/runs/run-1", more="x" * (MAX_FORM_BYTES + 1))
    assert answer.status_code == 413


def test_a_json_body_is_no_form(visitor: Visitor) -> None:
    headers = {"origin": visitor.origin}
    assert (
        visitor.web.post(f"{visitor.origin}{visitor.base}/runs/run-1/stop", json={}, headers=headers).status_code == 413
    )


def test_other_methods_are_refused(visitor: Visitor) -> None:
    assert visitor.web.put(f"{visitor.origin}{visitor.base}/runs/run-1").status_code == 405


def test_every_answer_forbids_what_is_foreign(visitor: Visitor) -> None:
    for path in ("/", "/static/style.css", "/none", "/runs/run-1"):
        headers = visitor.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_the_cookie_is_for_this_site_and_no_script(tmp_path: Path) -> None:
    again = coordinator_console(coordinator_runs(tmp_path))
    with again.beside(), stranger() as web:
        cookie = web.get(again.opening).headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert str(again.address.port) in cookie


def test_read_only_refuses_every_change(tmp_path: Path) -> None:
    console = coordinator_console(coordinator_runs(tmp_path, "run-1"), is_read_only=True)
    with visiting(console) as visitor:
        assert FORM_TOKEN not in visitor.get("/runs/run-1").text
        answer = visitor.post("/runs/run-1/stop", confirmed="yes", **{FORM_TOKEN: "any"})
    assert answer.status_code == 403
    assert "--read-only" in answer.text


@pytest.mark.parametrize("path", ["/static/../sessions.py", "/static/%2e%2e/sessions.py", "/static/none"])
def test_static_files_are_those_of_the_folder(visitor: Visitor, path: str) -> None:
    assert visitor.get(path).status_code == 404


def test_the_style_needs_no_session(visitor: Visitor) -> None:
    with stranger() as web:
        assert web.get(f"{visitor.origin}/static/style.css").status_code == 200


def test_other_protocols_reach_no_page() -> None:
    reached: list[str] = []

    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append(scope["type"])

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    async def send(message: Message) -> None:
        raise AssertionError("nothing is answered")

    guard = Guard(page, Sessions(), Address("127.0.0.1", 8080))
    asyncio.run(guard({"type": "websocket", "path": "/", "headers": []}, receive, send))
    assert reached == []


class TestListen:
    def test_another_address_needs_tls(self) -> None:
        with pytest.raises(StudyError, match=r"--host 0\.0\.0\.0 is not loopback"):
            Listen("0.0.0.0").check()

    def test_certificate_and_key_belong_together(self, tmp_path: Path) -> None:
        with pytest.raises(StudyError, match="--certificate and --key belong together"):
            Listen(certificate=tmp_path / "a.crt").check()

    def test_a_port_in_use_is_named(self, console: Console) -> None:
        with pytest.raises(StudyError, match=rf"cannot listen on 127\.0\.0\.1, port {console.address.port}"):
            Console(lambda serving: PlainTextResponse(), Listen(port=console.address.port))

    def test_a_certificate_that_is_none_is_named(self, tmp_path: Path) -> None:
        for name in ("a.crt", "a.key"):
            (tmp_path / name).write_text("none")
        listen = Listen("127.0.0.1", 0, tmp_path / "a.crt", tmp_path / "a.key")
        with pytest.raises(StudyError, match=r"cannot use '.*a\.crt'"):
            Console(lambda serving: PlainTextResponse(), listen)

    @pytest.mark.parametrize("host", ["0.0.0.0", "::"])
    def test_every_address_needs_the_name_that_browsers_use(self, tmp_path: Path, host: str) -> None:
        listen = Listen(host, certificate=tmp_path / "c", key=tmp_path / "k")
        with pytest.raises(StudyError, match="add --name"):
            listen.check()
        replace(listen, names=("synth.hospital.org",)).check()

    @pytest.mark.parametrize("name", ["https://synth.org", "synth.org:8443", "a b", "", "*.org", "a/b"])
    def test_a_name_is_a_host_name(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(StudyError, match="not a host name"):
            Listen(certificate=tmp_path / "c", key=tmp_path / "k", names=(name,)).check()

    def test_names_are_for_a_console_with_tls(self) -> None:
        with pytest.raises(StudyError, match="--name is for"):
            Listen(names=("synth.hospital.org",)).check()

    def test_declared_names_are_hosts_and_origins(self) -> None:
        address = Address("0.0.0.0", 8443, is_secure=True, names=("synth.hospital.org", "synth"))
        assert address.origins == {"https://synth.hospital.org:8443", "https://synth:8443"}
        assert address.origin == "https://synth.hospital.org:8443"
        assert address.cookie == "__Secure-fedsynth-8443"

    def test_an_address_is_reached_by_its_usual_name_too(self) -> None:
        assert Address("127.0.0.1", 8080).origins == {"http://127.0.0.1:8080", "http://localhost:8080"}
        assert Address("relay.example", 443, is_secure=True).origins == {"https://relay.example"}
