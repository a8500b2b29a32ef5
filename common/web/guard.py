"""The checks that every request to a console passes before any page sees it.

A console answers to a person at this machine and may start, stop and approve. So it assumes that the same browser also
shows hostile sites, and that other accounts of the machine can connect:

- the Host header is one of the console's own addresses, or a foreign name that points here could read pages;
- all but the opening address and the style needs a session, whose cookie no other site's request carries;
- pages are below a path of random letters, and so is the cookie: browsers send cookies to every port of a host, so
  another account's page on this machine would get it, if it knew the path;
- a change comes from the console's own origin, with a token that only its own forms have;
- what is sent has an end, and every answer forbids the browser to run, load or frame anything foreign.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.web.sessions import Sessions

WILDCARDS = frozenset({"0.0.0.0", "[::]"})  # noqa: S104  # compared with, not listened on
"""Addresses that mean every address of the machine; no browser writes them."""

OPENING, STATIC = "/open", "/static/"
"""The address that the command prints, and where style and script are; nothing else is answered without a session."""

MAX_FORM_BYTES = 8 << 20
"""Most bytes of a form. A proposal of 3,000 columns and its plan take 2 MB; a table of 5 MB takes 7 as text."""

MAX_FIELDS = 50_000
"""Most fields of a form. A draft of 3,000 columns has about eight for each."""

FORM_TOKEN = "form_token"  # noqa: S105  # its name, not its value
"""Name of the hidden field of every form."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)

REPORT_POLICY = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; frame-ancestors 'none'"
)
"""For a report, one page with its own script. It runs in an origin of its own, so that it can do nothing here."""

HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a console listens.

    Attributes:
        host, port: as a browser writes them.
        is_secure: it speaks TLS.
        names: host names under which browsers reach it, besides the address; the first is printed.
    """

    host: str
    port: int
    is_secure: bool = False
    names: tuple[str, ...] = ()

    @property
    def origins(self) -> frozenset[str]:
        """Every origin under which a browser may reach it; on loopback, also by its usual name."""
        names = {self.host, "localhost"} if self.host in ("127.0.0.1", "[::1]") else {self.host}
        return frozenset(map(self._origin, names - WILDCARDS | set(self.names)))

    @property
    def origin(self) -> str:
        """The origin that the command prints."""
        return self._origin(self.names[0] if self.names else self.host)

    @property
    def cookie(self) -> str:
        """Name of the session's cookie. Browsers do not tell ports apart, so the name does.

        With TLS, its prefix makes browsers refuse such a cookie from a page without TLS.
        """
        return f"{'__Secure-' if self.is_secure else ''}fedsynth-{self.port}"

    def _origin(self, name: str) -> str:
        scheme, usual = ("https", 443) if self.is_secure else ("http", 80)
        return f"{scheme}://{name}" + ("" if self.port == usual else f":{self.port}")


class Guard:
    """An ASGI application that checks a request and hands it on, with `session`, `form_token` and `form` in its state.

    Args:
        app: gets requests of a session only.
        sessions: the sessions of the console.
        address: where it listens.
        is_read_only: refuse every change.
    """

    def __init__(self, app: ASGIApp, sessions: Sessions, address: Address, *, is_read_only: bool = False) -> None:
        self._app, self._sessions, self._address, self._is_read_only = app, sessions, address, is_read_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if headers.get("location", "").startswith("/"):
                    headers["location"] = self._sessions.base + headers["location"]
            await send(message)

        refusal = await self._refusal(scope, receive)
        await (refusal or self._app)(
            scope, self._spent if refusal is None and scope["method"] == "POST" else receive, send_guarded
        )

    async def _refusal(self, scope: Scope, receive: Receive) -> Response | None:
        """Return the answer that ends the request here, or None where the page may see it."""
        request = Request(scope, receive)
        hosts = {origin.split("://")[1] for origin in self._address.origins}
        if request.headers.get("host", "").lower() not in hosts:
            return PlainTextResponse("This page answers only under the address that the command printed.", 421)
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return PlainTextResponse("Only GET and POST are answered.", 405)
        path = scope["path"]
        if path == OPENING and scope["method"] == "GET":
            return self._open(request)
        if path.startswith(STATIC) and scope["method"] != "POST":
            return None
        session = self._sessions.find(request.cookies.get(self._address.cookie, ""))
        if session is None or not path.startswith(f"{self._sessions.base}/"):
            return PlainTextResponse(
                "No session, or it has ended. Open the address that the command printed; it works once. For another, "
                "start the console again.",
                401,
            )
        scope["root_path"] = self._sessions.base
        state = scope.setdefault("state", {})
        state |= {"form_token": self._sessions.form_token(session), "form": {}, "is_read_only": self._is_read_only}
        return await self._refusal_of_change(request, session) if scope["method"] == "POST" else None

    async def _refusal_of_change(self, request: Request, session: str) -> Response | None:
        if request.headers.get("origin", "") not in self._address.origins:
            return PlainTextResponse("A change must come from the console's own page.", 403)
        if self._is_read_only:
            return PlainTextResponse("This console only shows; start it without --read-only to act.", 403)
        form = await _read_form(request)
        if form is None:
            return PlainTextResponse(f"A form has at most {MAX_FORM_BYTES >> 20} MB, in the usual encoding.", 413)
        if not self._sessions.is_form_token(session, form.get(FORM_TOKEN, "")):
            return PlainTextResponse("The form is of another session; load the page again.", 403)
        request.scope["state"]["form"] = form
        return None

    def _open(self, request: Request) -> Response:
        cookie = self._sessions.open(request.query_params.get("token", ""))
        if cookie is None:
            return PlainTextResponse("This address was used, or is of an earlier start; start the console again.", 401)
        response = RedirectResponse("/", 303)
        response.set_cookie(
            self._address.cookie,
            cookie,
            max_age=self._sessions.lasts_s,
            path=f"{self._sessions.base}/",
            httponly=True,
            samesite="strict",
            secure=self._address.is_secure,
        )
        return response

    @staticmethod
    async def _spent() -> Message:
        """Stand in for the body of a form, which was read: the page finds it in the request's state."""
        return {"type": "http.request", "body": b"", "more_body": False}


async def _read_form(request: Request) -> Mapping[str, str] | None:
    """Return the first value of every field, or None where it is not a form or too large."""
    headers: Headers = request.headers
    if headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        return None
    parts, size = [], 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > MAX_FORM_BYTES:
            return None
    try:
        fields = parse_qs(
            b"".join(parts).decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=MAX_FIELDS
        )
    except ValueError:
        return None
    return {name: values[0] for name, values in fields.items()}
