from __future__ import annotations

import asyncio
import inspect
import logging
import socket
import threading
import time
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import uvicorn
from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_HEADER, TIMESTAMP_TOLERANCE
from flwr.proto.fleet_pb2 import PullMessagesResponse
from flwr.supercore import constant
from flwr.supercore.protobuf.client import ProtobufClient
from flwr.supernode.fleet_http_client import FleetHttpClient

from server.deploy import gateway
from server.deploy.certificates import make_authority, make_server
from server.deploy.gateway import (
    AHEAD_S,
    AUTHENTICATION,
    BEHIND_S,
    HOLD_S,
    NOTHING,
    PATHS,
    PULL,
    PUSH,
    Gateway,
    Receive,
    Scope,
    Send,
)

SIGNED = {"flwr-public-key": "ours", "flwr-timestamp": "now", "flwr-signature": "signed"}


@dataclass
class Upstream:
    """Stands in for the SuperLink: remembers what it was asked and answers what it is told to."""

    address: str = ""
    authority: Path = Path()
    status: int = 200
    answers: list[bytes] = field(default_factory=list)
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = (await receive()).get("body", b"")
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append((scope["method"], scope["path"], headers, body))
        answer = self.answers.pop(0) if self.answers else NOTHING
        await send({"type": "http.response.start", "status": self.status, "headers": [(b"x-flower", b"yes")]})
        await send({"type": "http.response.body", "body": answer})


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Upstream]:
    """Over TLS, as the SuperLink is."""
    authority, server = (tmp_path / "ca.crt", tmp_path / "ca.key"), (tmp_path / "s.crt", tmp_path / "s.key")
    make_authority(*authority)
    make_server(authority, *server, [], 1)
    one = Upstream(authority=authority[0])
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        one.address = f"https://127.0.0.1:{place.getsockname()[1]}"
        config = uvicorn.Config(
            one,
            ssl_certfile=server[0],
            ssl_keyfile=str(server[1]),
            lifespan="off",
            log_level="warning",
            ws="none",
            timeout_graceful_shutdown=1,
        )
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [place]})
        thread.start()
        while not running.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield one
        running.should_exit = True
        thread.join()


def knock(
    upstream: Upstream,
    path: str,
    method: str = "POST",
    *,
    body: bytes = b"who I am",
    headers: dict[str, str] | None = None,
    is_closing: bool = False,
) -> httpx.Response:
    """What a SuperNode is answered at the gateway."""

    async def ask() -> httpx.Response:
        one = Gateway(upstream.address, upstream.authority, is_closing=lambda: is_closing)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(one), base_url="https://gateway") as network:
            answer = await network.request(method, path, content=body, headers=SIGNED | (headers or {}))
        await one.close()
        return answer

    return asyncio.run(ask())


def test_what_a_supernode_needs_passes_both_ways(upstream: Upstream) -> None:
    upstream.answers = [b"node 7"]
    headers = {"flwr-signature": "signed", "te": "trailers", "upgrade": "h2c"}
    answer = knock(upstream, "/v1/fleet/activate-node", headers=headers)
    assert (answer.status_code, answer.content, answer.headers["x-flower"]) == (200, b"node 7", "yes")
    ((method, path, passed, body),) = upstream.asked
    assert (method, path, body) == ("POST", "/v1/fleet/activate-node", b"who I am")
    assert passed["flwr-signature"] == "signed"
    assert not {"te", "upgrade"} & passed.keys()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/control/start-run"),
        ("POST", "/v1/runtime/acquire-task"),
        ("POST", "/v1/fleet/register-node"),
        ("POST", "/v1/fleet/pull-messages/"),
        ("POST", "/v1/fleet/../control/start-run"),
        ("POST", "/V1/fleet/pull-messages"),
        ("GET", "/v1/fleet/pull-messages"),
        ("POST", "/health"),
        ("GET", "/docs"),
    ],
)
def test_nothing_else_reaches_the_superlink(
    upstream: Upstream, caplog: pytest.LogCaptureFixture, method: str, path: str
) -> None:
    assert knock(upstream, path, method).status_code == 404
    assert not upstream.asked
    assert "refused" in caplog.text


def test_a_path_cannot_write_lines_into_the_log(upstream: Upstream, caplog: pytest.LogCaptureFixture) -> None:
    assert knock(upstream, "/x%0a2026-11-26 INFO north: forged %1b[31mred").status_code == 404
    assert "refused '/x\\n2026-11-26 INFO north: forged \\x1b[31mred'" in caplog.text
    assert "\x1b" not in caplog.text


def test_another_protocol_is_not_answered(upstream: Upstream) -> None:
    async def receive() -> MutableMapping[str, object]:
        raise AssertionError("nothing is read")

    async def send(message: MutableMapping[str, object]) -> None:
        raise AssertionError("nothing is answered")

    async def ask() -> None:
        gateway = Gateway(upstream.address, upstream.authority)
        await gateway({"type": "websocket", "path": PUSH, "method": "POST", "headers": []}, receive, send)
        await gateway.close()

    asyncio.run(ask())
    assert upstream.asked == []


def status_of(upstream: Upstream, headers: dict[str, str], receive: Receive) -> object:
    """Of the answer to a message whose body is received so."""
    told: list[MutableMapping[str, object]] = []

    async def send(message: MutableMapping[str, object]) -> None:
        told.append(message)

    async def ask() -> None:
        one = Gateway(upstream.address, upstream.authority)
        named = [(name.encode(), value.encode()) for name, value in headers.items()]
        await one({"type": "http", "method": "POST", "path": PUSH, "headers": named}, receive, send)
        await one.close()

    asyncio.run(ask())
    return told[0]["status"]


@pytest.mark.parametrize("missing", SIGNED)
def test_nothing_is_read_from_a_caller_without_authentication(upstream: Upstream, missing: str) -> None:
    async def never() -> dict[str, object]:
        raise AssertionError("the body was asked for")

    assert status_of(upstream, {name: value for name, value in SIGNED.items() if name != missing}, never) == 401
    assert not upstream.asked


def test_a_body_that_never_comes_is_given_up(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "BODY_S", 0.1)

    async def never() -> dict[str, object]:
        await asyncio.sleep(60)
        return {}

    assert status_of(upstream, SIGNED, never) == 408


def test_a_body_that_is_too_large_is_refused_unread(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "MAX_BODY_BYTES", 20)
    monkeypatch.setattr(gateway, "MAX_QUESTION_BYTES", 10)
    assert knock(upstream, PUSH, body=b"x" * 21).status_code == 413
    assert knock(upstream, PULL, body=b"x" * 11).status_code == 413
    assert not upstream.asked


def test_a_superlink_that_is_down_is_something_to_try_again(
    upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        upstream.address = f"https://127.0.0.1:{unused.getsockname()[1]}"
    assert knock(upstream, PULL).status_code == 503
    assert "the SuperLink does not answer" in caplog.text


def test_a_supernode_that_waits_gets_its_message_within_one_call(upstream: Upstream) -> None:
    upstream.answers = [NOTHING, b"a request"]
    started = time.monotonic()
    assert knock(upstream, PULL, headers={"flwr-signature": "signed"}).content == b"a request"
    assert time.monotonic() - started < HOLD_S / 2
    assert [(path, headers["flwr-signature"], body) for _, path, headers, body in upstream.asked] == [
        (PULL, "signed", b"who I am")
    ] * 2


def test_a_supernode_for_which_nothing_comes_is_told_so(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "HOLD_S", 0.5)
    answer = knock(upstream, PULL)
    assert (answer.status_code, answer.content) == (200, NOTHING)


def test_a_refusal_is_not_waited_on(upstream: Upstream) -> None:
    upstream.status = 401
    assert knock(upstream, PULL).status_code == 401
    assert len(upstream.asked) == 1


def test_only_those_who_wait_for_messages_are_held(upstream: Upstream) -> None:
    assert knock(upstream, PUSH).content == NOTHING
    assert len(upstream.asked) == 1


def test_a_door_that_closes_holds_nobody(upstream: Upstream) -> None:
    assert knock(upstream, PULL, is_closing=True).content == NOTHING
    assert len(upstream.asked) == 1


def test_no_message_is_fetched_for_a_supernode_that_is_gone(upstream: Upstream) -> None:
    # The SuperLink hands a message out once: the site's next self would wait for it in vain.
    upstream.answers = [NOTHING, b"a request"]

    async def leave() -> None:
        told: list[dict[str, object]] = [{"type": "http.request", "body": b"who I am"}, {"type": "http.disconnect"}]

        async def receive() -> dict[str, object]:
            return told.pop(0)

        async def send(message: object) -> None:
            pass

        scope = {
            "type": "http",
            "method": "POST",
            "path": PULL,
            "headers": [(name.encode(), b"ours") for name in SIGNED],
        }
        one = Gateway(upstream.address, upstream.authority)
        await one(scope, receive, send)
        await one.close()

    asyncio.run(leave())
    assert upstream.answers == [b"a request"]


def test_messages_that_pass_make_the_door_look_often(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "LIVELY_S", 3600.0)
    monkeypatch.setattr(gateway, "LOOK_S", 0.01)
    monkeypatch.setattr(gateway, "HOLD_S", 3.0)
    monkeypatch.setattr(gateway, "SLOW_LOOK_S", 10.0)

    async def ask() -> int:
        one = Gateway(upstream.address, upstream.authority)
        one._last_message = time.monotonic() - 7200.0
        async with httpx.AsyncClient(transport=httpx.ASGITransport(one), base_url="https://gateway") as network:
            await network.post(PUSH, headers=SIGNED)
            await network.post(PULL, headers=SIGNED)
        await one.close()
        return len(upstream.asked)

    assert asyncio.run(ask()) > 3  # one push, and more pulls than the slow pace allows


@pytest.mark.parametrize(
    ("stamp", "meaning"),
    [
        ("yesterday", "without authentication"),
        (timedelta(), "its key is not enrolled"),
        (timedelta(hours=1), "set both clocks with NTP"),
        (-timedelta(seconds=60), "set both clocks with NTP"),
        (timedelta(seconds=290), "its key is not enrolled"),
    ],
)
def test_the_log_says_why_a_supernode_was_refused(
    upstream: Upstream, caplog: pytest.LogCaptureFixture, stamp: timedelta | str, meaning: str
) -> None:
    if isinstance(stamp, timedelta):  # so long ago
        stamp = (datetime.now(UTC) - stamp).isoformat()
    caplog.set_level(logging.WARNING)
    upstream.status = 401
    knock(upstream, "/v1/fleet/activate-node", headers={"flwr-timestamp": stamp})
    assert meaning in caplog.text


def test_flower_still_asks_and_answers_as_the_door_takes_it_to() -> None:
    # If this fails, Flower has changed: a SuperNode is not held any more, or cannot get through.
    asked = inspect.getsource(FleetHttpClient)
    assert [path for path in PATHS if path != "/health" and f'path="{path}"' not in asked] == []
    assert PullMessagesResponse().SerializeToString() == NOTHING
    names = (
        constant.FLEET_HTTP_PUBLIC_KEY_HEADER,
        TIMESTAMP_HEADER,
        constant.FLEET_HTTP_SIGNATURE_HEADER,
    )
    assert {name.encode() for name in names} == AUTHENTICATION
    assert (AHEAD_S, BEHIND_S) == (SYSTEM_TIME_TOLERANCE, TIMESTAMP_TOLERANCE + SYSTEM_TIME_TOLERANCE)
    gives_up_s = inspect.signature(ProtobufClient.__init__).parameters["timeout"].default
    assert gives_up_s >= HOLD_S + 5
