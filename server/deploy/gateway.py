"""The only port that sites can reach: it forwards the requests that a SuperNode needs and no others.

Flower's SuperLink serves everything on one port: the Fleet API for SuperNodes, which are authenticated, and the Control
and Runtime APIs for submitting code, which in the open distribution are not. So the SuperLink listens on this machine
only, and the gateway stands between it and the network, under the same certificate.

A SuperNode that is told "no message" sleeps three seconds before it asks again. The gateway therefore delays that
answer and polls the SuperLink on the SuperNode's behalf, so a request reaches the site as soon as it exists.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

FLEET = (
    "activate-node",
    "deactivate-node",
    "send-node-heartbeat",
    "pull-messages",
    "push-messages",
    "get-run",
    "get-fab",
    "push-object",
    "pull-object",
    "confirm-message-received",
)
PATHS = {f"/v1/fleet/{name}": "POST" for name in FLEET} | {"/health": "GET"}
"""Exact paths. Self-registration of nodes is not among them: the coordinator enrolls every site by its key."""

AUTHENTICATION = {b"flwr-public-key", b"flwr-timestamp", b"flwr-signature"}
"""Headers of a SuperNode, which the SuperLink checks. Nothing is read from callers who send none."""

MAX_BODY_BYTES, MAX_QUESTION_BYTES = 64 * 2**20, 2**20
"""Largest body of requests that carry data, and of all others. Flower sends large arrays in pieces of 5 MiB."""

DATA = {"/v1/fleet/push-messages", "/v1/fleet/push-object"}

MOST_CONNECTIONS = 512
"""Most connections at once; further ones are refused with status 503."""

PATIENCE_S, BODY_S = 300.0, 300.0

PULL, PUSH = "/v1/fleet/pull-messages", "/v1/fleet/push-messages"
NOTHING = b""
"""The SuperLink's answer to `PULL` where there is no message: a protobuf message without a field set."""

HOLD_S = 20.0
"""Seconds for which a SuperNode's request for messages is held: it gives up after 30 s."""

LOOK_S, SLOW_LOOK_S, LIVELY_S = 0.1, 1.0, 60.0
"""Seconds between two polls for a held SuperNode: the short interval while messages pass and for `LIVELY_S` after."""

AHEAD_S, BEHIND_S = 5, 305
"""A SuperNode's clock may differ by less than this, or Flower refuses its signatures."""

HOP_BY_HOP = {
    b"connection",
    b"keep-alive",
    b"transfer-encoding",
    b"upgrade",
    b"te",
    b"trailer",
    b"host",
    b"content-length",
}

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

log = logging.getLogger(__name__)


class Gateway:
    """An ASGI application that forwards the Fleet API.

    Args:
        upstream: the SuperLink's base address, `https://127.0.0.1:<port>`.
        authority: the certificate authority that the SuperLink's certificate comes from.
        is_closing: returns whether the server is stopping; no request is held then.
    """

    def __init__(self, upstream: str, authority: Path, *, is_closing: Callable[[], bool] = lambda: False) -> None:
        self._upstream, self._is_closing = upstream, is_closing
        self._last_message = -LIVELY_S
        trusted = ssl.create_default_context(cafile=str(authority))
        self._client = httpx.AsyncClient(verify=trusted, timeout=PATIENCE_S, trust_env=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path, method = scope["path"], scope["method"]
        if PATHS.get(path) != method:
            log.warning("%s: refused %s", _peer(scope), ascii(path[:100]))
            await _answer(send, 404, [], b"")
            return
        if method == "POST" and not {name.lower() for name, _ in scope["headers"]} >= AUTHENTICATION:
            log.warning("%s: a SuperNode without authentication was refused", _peer(scope))
            await _answer(send, 401, [], b"")
            return
        try:
            body = await asyncio.wait_for(
                _body(receive, MAX_BODY_BYTES if path in DATA else MAX_QUESTION_BYTES), BODY_S
            )
        except TimeoutError:
            await _answer(send, 408, [], b"")
            return
        if body is None:
            await _answer(send, 413, [], b"")
            return
        headers = [(name, value) for name, value in scope["headers"] if name.lower() not in HOP_BY_HOP]
        try:
            reply = await self._client.request(method, f"{self._upstream}{path}", content=body, headers=headers)
            if path == PULL:
                reply = await self._hold(reply, body, headers, receive)
            if path == PUSH or (path == PULL and reply.content != NOTHING):
                self._last_message = time.monotonic()
        except httpx.HTTPError as problem:
            log.warning("the SuperLink does not answer (%s)", type(problem).__name__)
            await _answer(send, 503, [], b"")  # a SuperNode tries again
            return
        if reply.status_code == 401:
            log.warning("%s: %s", _peer(scope), _why_refused(dict(headers)))
        reply_headers = [(name, value) for name, value in reply.headers.raw if name.lower() not in HOP_BY_HOP]
        await _answer(
            send,
            reply.status_code,
            [header for header in reply_headers if header[0].lower() != b"content-encoding"],
            reply.content,
        )

    async def close(self) -> None:
        """Close the connections to the SuperLink."""
        await self._client.aclose()

    async def _hold(
        self, reply: httpx.Response, body: bytes, headers: list[tuple[bytes, bytes]], receive: Receive
    ) -> httpx.Response:
        """Return the first answer to this `PULL` that holds a message, or the last answer after `HOLD_S`.

        Polling stops when the SuperNode disconnects: a message fetched for it would be lost.
        """
        end = time.monotonic() + HOLD_S
        gone = asyncio.ensure_future(receive())  # after the body, only the disconnect can be received
        try:
            while reply.status_code == 200 and reply.content == NOTHING and time.monotonic() < end:
                is_lively = time.monotonic() - self._last_message < LIVELY_S
                await asyncio.wait({gone}, timeout=LOOK_S if is_lively else SLOW_LOOK_S)
                if gone.done() or self._is_closing():
                    return reply
                reply = await self._client.request("POST", f"{self._upstream}{PULL}", content=body, headers=headers)
        finally:
            gone.cancel()
        return reply


async def _body(receive: Receive, most: int) -> bytes | None:
    """Return the request body, or None if it is too large."""
    parts, size = [], 0
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            return None
        if not message.get("more_body"):
            return b"".join(parts)


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "unknown address"


def _why_refused(headers: dict[bytes, bytes]) -> str:
    """Return why a SuperNode was refused, and what the operator should check."""
    try:
        signed = datetime.fromisoformat(headers[b"flwr-timestamp"].decode("ascii"))
        skew = (datetime.now(UTC) - signed).total_seconds()
    except (KeyError, ValueError, TypeError):
        return "a SuperNode without authentication was refused"
    if not -AHEAD_S < skew < BEHIND_S:
        return f"a SuperNode was refused: its clock differs by {skew:.0f} s; set both clocks with NTP"
    return "a SuperNode was refused: its key is not enrolled; run `fedsynth coordinator enroll` with its .pub file"
