"""How the Flower ClientApp reaches the hospital's own process. In a simulation both are one process."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import grpc

from client.agent.envelope import HANDLE, HEALTH, SERVICE, Answer, Ask, HealthAnswer, HealthAsk, pack, unpack
from common.errors import Reason, StudyError, WireError
from common.protocol.messages import REQUESTS, Reply, Request, from_bytes, refusal, to_bytes
from common.version import VERSION

AGENT, AGENT_SOCKET, SITE = "agent", "agent-socket", "site"
"""Keys of a node's configuration: an address in this process, or the socket of an agent and the site's name."""

MOST_BYTES = 64 * 2**20
"""The largest message on the socket, in bytes."""

PATIENCE_S = 60.0
"""How long a relay waits for an agent that does not answer: long enough for one that is being restarted."""

PAUSE_S = 0.25

LONGEST_PATH = 107
"""Bytes that the kernel allows for a Unix socket's path (unix(7))."""

_IN_PROCESS: dict[str, Transport] = {}

log = logging.getLogger(__name__)


class Transport(Protocol):
    """Anything that answers requests for a hospital."""

    def handle(self, request: Request) -> Reply:
        """The reply to a request; never raises for reasons that lie in the records."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A reply, and the hospital's signature on it: empty in a simulation, and where a relay speaks for itself."""

    reply: Reply
    signature: bytes = b""


class Line(Protocol):
    """What a relay has of a hospital."""

    def answer(self, request: Request) -> Signed:
        """The reply to a request, as it shall travel."""


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A hospital in this process: there is nobody in between who could alter what it says."""

    hospital: Transport

    def answer(self, request: Request) -> Signed:
        return Signed(self.hospital.handle(request))


@contextmanager
def in_process(hospitals: Mapping[str, Transport]) -> Iterator[None]:
    """Make hospitals reachable inside this process, by address, for as long as the block runs."""
    _IN_PROCESS.update(hospitals)
    try:
        yield
    finally:
        for address in hospitals:
            _IN_PROCESS.pop(address, None)


def connect(node_config: Mapping[str, object], signature: bytes = b"", *, timeout_s: float = PATIENCE_S) -> Line:
    """The hospital that the node's configuration names: `agent = "<address>"` or `agent-socket = "<path>"`.

    Args:
        signature: the coordinator's, for the request that will be handled.
        timeout_s: how long the request may take.

    Raises:
        LookupError: the configuration names neither, or no hospital answers at that address.
        StudyError: the socket is not a path.
    """
    if AGENT_SOCKET not in node_config:
        return Unsigned(_IN_PROCESS[str(node_config[AGENT])])
    socket = Path(str(node_config[AGENT_SOCKET]))
    check_address(socket)
    return AgentSocket(socket, str(node_config.get(SITE, "")), signature, timeout_s)


def check_address(socket: Path) -> None:
    """Refuse anything but the absolute path of a Unix socket: an agent has no network address.

    Raises:
        StudyError: not absolute, or longer than the kernel allows.
    """
    if not socket.is_absolute():
        raise StudyError(f"'{socket}' is not the absolute path of a Unix socket; an agent has no network address")
    if len(os.fsencode(socket)) > LONGEST_PATH:
        raise StudyError(f"the socket's path is longer than {LONGEST_PATH} bytes; choose a shorter one")


@dataclass(frozen=True, slots=True)
class AgentSocket:
    """A site agent behind its Unix socket.

    Args:
        site: the hospital's name, for answers that the relay gives in the agent's absence.
        signature: the coordinator's, for the request that will be handled.
        timeout_s: how long the request may take.
    """

    socket: Path
    site: str = ""
    signature: bytes = b""
    timeout_s: float = PATIENCE_S

    def handle(self, request: Request) -> Reply:
        """As `answer`, without the signature."""
        return self.answer(request).reply

    def answer(self, request: Request) -> Signed:
        """The agent's reply, or a constant. An agent that dies is asked again once it is back: it repeats itself.

        The signature is passed on as it came; the key to check it by is in the study, at the coordinator.
        """
        try:
            answer = unpack(Answer, self._ask(pack(Ask(VERSION, to_bytes(request), self.signature))))
            if answer.version != VERSION:
                log.warning("the agent runs fedsynth %s, this relay %s; install one version", answer.version, VERSION)
                return Signed(refusal(request, answer.hospital, Reason.VERSION_DIFFERS))
            if answer.refusal:
                return Signed(refusal(request, answer.hospital, answer.refusal))
            reply = from_bytes(answer.reply)
        except (grpc.RpcError, WireError, OSError) as problem:
            log.warning("no answer from the agent at %s: %s", self.socket, _cause(problem))
            return Signed(refusal(request, self.site, Reason.UNAVAILABLE))
        if isinstance(reply, REQUESTS):
            return Signed(refusal(request, self.site, Reason.UNAVAILABLE))
        return Signed(cast("Reply", reply), answer.signature)

    def health(self) -> HealthAnswer:
        """Who serves. Raises `grpc.RpcError` or `OSError` where nobody does."""
        return unpack(HealthAnswer, self._call(HEALTH, pack(HealthAsk(VERSION)), self.timeout_s))

    def _ask(self, data: bytes) -> bytes:
        """Ask until there is an answer, the time is up, or the agent has been away for longer than `PATIENCE_S`."""
        end = time.monotonic() + self.timeout_s
        away_since: float | None = None
        while True:
            asked = time.monotonic()
            try:
                return self._call(HANDLE, data, max(0.1, end - asked))
            except FileNotFoundError:
                problem: Exception = FileNotFoundError(f"no socket at {self.socket}")
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
                problem = error
            now = time.monotonic()
            if away_since is None or now - asked > 1.0:  # it was there in between
                away_since = now
            if now > min(end, away_since + PATIENCE_S):
                raise problem
            time.sleep(PAUSE_S)

    def _call(self, method: str, data: bytes, timeout_s: float) -> bytes:
        mode = os.R_OK | os.W_OK
        self.socket.stat()
        if not os.access(self.socket, mode):
            raise PermissionError("this account may not use the socket; put it into the agent's group")
        options = (("grpc.max_receive_message_length", MOST_BYTES), ("grpc.max_send_message_length", MOST_BYTES))
        with grpc.insecure_channel(f"unix:{self.socket}", options=options) as channel:
            return bytes(channel.unary_unary(f"/{SERVICE}/{method}")(data, timeout=timeout_s))


def _cause(problem: Exception) -> str:
    return str(problem.code().name) if isinstance(problem, grpc.RpcError) else str(problem)
