"""Serve a console: bind first, so that the address is known, then answer until somebody stops it."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import uvicorn
from starlette.types import ASGIApp

from common.errors import StudyError, cause_of
from common.web.guard import OPENING, WILDCARDS, Address, Guard
from common.web.pages import Serving
from common.web.sessions import Sessions

CLOSE_S = 2
"""Seconds that open pages have to leave when a console stops; a page shows then that it is not live."""

NAME = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*", re.IGNORECASE)
"""A host name or IPv4 address, as a browser writes it."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen, and how.

    Attributes:
        host, port: address and port; port 0 takes a free one.
        certificate, key: PEM files; both, or none for plain HTTP, which is for loopback only.
        is_read_only: refuse every change.
        names: host names under which browsers reach it.
    """

    host: str = "127.0.0.1"
    port: int = 0
    certificate: Path | None = None
    key: Path | None = None
    is_read_only: bool = False
    names: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise `StudyError` unless the console is on loopback, or speaks TLS."""
        if (self.certificate is None) != (self.key is None):
            raise StudyError("--certificate and --key belong together; give both files, or none on loopback")
        if self.certificate is None and self.host not in ("127.0.0.1", "::1", "localhost"):
            raise StudyError(
                f"--host {self.host} is not loopback, so others could read and change what is sent; add --certificate "
                "and --key (PEM), or leave --host out and forward the port with ssh"
            )
        if self.names and self.certificate is None:
            raise StudyError("--name is for a console with --certificate and --key; leave it out on loopback")
        for name in self.names:
            if NAME.fullmatch(name) is None:
                raise StudyError(
                    f"--name '{name}' is not a host name; give it as in a browser's address, such as synth.hospital.org"
                )
        if self.written_host in WILDCARDS and not self.names:
            raise StudyError(
                f"--host {self.host} is every address of the machine; add --name with the host name that browsers use, "
                "as in the certificate"
            )

    @property
    def written_host(self) -> str:
        """The address as a browser writes it."""
        return f"[{self.host}]" if ":" in self.host else self.host


class Console:
    """A console that is bound to its address and not yet serving.

    Args:
        make_app: returns the pages, given what they know of the server.
        listen: where to listen.

    Raises:
        StudyError: the address cannot be used, or would be unprotected.
    """

    def __init__(self, make_app: Callable[[Serving], ASGIApp], listen: Listen) -> None:
        listen.check()
        secured = None
        if listen.certificate is not None and listen.key is not None:
            secured = _tls(listen.certificate, listen.key)
        self._socket = _bind(listen.host, listen.port)
        port = int(self._socket.getsockname()[1])
        names = tuple(name.lower() for name in listen.names)
        self.address = Address(listen.written_host, port, is_secure=secured is not None, names=names)
        self._sessions = Sessions()
        pages = make_app(Serving(self._sessions.base, lambda: self._server.should_exit))
        guarded = Guard(pages, self._sessions, self.address, is_read_only=listen.is_read_only)
        config = uvicorn.Config(
            guarded,
            log_level="warning",
            access_log=False,  # an address may hold the token
            server_header=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=CLOSE_S,
        )
        if secured is not None:
            config.load()
            config.ssl = secured
        self._server = uvicorn.Server(config)

    @property
    def opening(self) -> str:
        """The address that opens the console, once."""
        return f"{self.address.origin}{OPENING}?token={self._sessions.token}"

    def serve(self) -> None:
        """Answer until Ctrl-C or SIGTERM."""
        self._server.run(sockets=[self._socket])

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Answer in a thread of its own while the block runs."""
        thread = Thread(target=self.serve, name="console", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._server.should_exit = True
            thread.join(CLOSE_S + 3)


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            bound.listen()  # whoever opens the printed address at once waits, and is not refused
        except BaseException:
            bound.close()
            raise
    except OSError as problem:
        raise StudyError(f"cannot listen on {host}, port {port}: {cause_of(problem)}; choose another --port") from None
    return bound


def _tls(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as problem:
        raise StudyError(f"cannot use '{certificate}' with '{key}' (PEM): {problem}; check both files") from None
    return context
