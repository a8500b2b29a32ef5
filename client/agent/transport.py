"""How the Flower ClientApp reaches the hospital's own process. In a simulation both run in one process."""

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

from client.agent.envelope import (
    HANDLE,
    HEALTH,
    SERVICE,
    AgentReply,
    AgentRequest,
    HealthReply,
    HealthRequest,
    pack,
    unpack,
)
from common.errors import Reason, StudyError, WireError
from common.protocol.byte_form import from_bytes, to_bytes
from common.protocol.messages import REQUESTS, Reply, Request, refusal
from common.version import VERSION

AGENT, AGENT_SOCKET, SITE = "agent", "agent-socket", "site"
"""Keys of a node's configuration: an address in this process, or an agent's socket and the site's name."""

MOST_BYTES = 64 * 2**20
"""Largest message on the socket, in bytes."""

PATIENCE_S = 60.0
"""Seconds that a relay waits for an agent that does not answer: long enough for a restart."""

PAUSE_S = 0.25

LONGEST_PATH = 107
"""Longest path of a Unix socket that the kernel allows, in bytes (unix(7))."""

_IN_PROCESS: dict[str, Transport] = {}

log = logging.getLogger(__name__)


class Transport(Protocol):
    """Anything that answers requests for a hospital."""

    def handle(self, request: Request) -> Reply:
        """Return the reply to a request; never raises because of the records."""


@dataclass(frozen=True, slots=True)
class SignedReply:
    """A reply and the hospital's signature; the signature is empty in a simulation and in a relay's own refusals."""

    reply: Reply
    signature: bytes = b""


class HospitalChannel(Protocol):
    """A relay's connection to its hospital."""

    def answer(self, request: Request) -> SignedReply:
        """Return the reply to a request and its signature."""


@dataclass(frozen=True, slots=True)
class InProcessHospital:
    """A hospital in this process; its replies need no signature, because nothing in between could alter them."""

    hospital: Transport

    def answer(self, request: Request) -> SignedReply:
        return SignedReply(self.hospital.handle(request))


@contextmanager
def in_process(hospitals: Mapping[str, Transport]) -> Iterator[None]:
    """Make hospitals reachable inside this process, by address, for as long as the block runs."""
    _IN_PROCESS.update(hospitals)
    try:
        yield
    finally:
        for address in hospitals:
            _IN_PROCESS.pop(address, None)


def connect(node_config: Mapping[str, object], seal: bytes = b"", *, timeout_s: float = PATIENCE_S) -> HospitalChannel:
    """Connect to the hospital of a node's configuration: `agent = "<address>"` or `agent-socket = "<path>"`.

    Args:
        node_config: the configuration of the Flower node.
        seal: the coordinator's seal on the request to handle.
        timeout_s: longest time that the request may take, in seconds.

    Raises:
        LookupError: the configuration names neither, or no hospital answers at that address.
        StudyError: the socket is not a path.
    """
    if AGENT_SOCKET not in node_config:
        return InProcessHospital(_IN_PROCESS[str(node_config[AGENT])])
    socket = Path(str(node_config[AGENT_SOCKET]))
    check_address(socket)
    return AgentSocket(socket, str(node_config.get(SITE, "")), seal, timeout_s)


def check_address(socket: Path) -> None:
    """Refuse anything but the absolute path of a Unix socket: an agent has no network address.

    Raises:
        StudyError: not absolute, or longer than the kernel allows.
    """
    if not socket.is_absolute():
        raise StudyError(f"'{socket}' is not the absolute path of a Unix socket; an agent has no network address")
    if len(os.fsencode(socket)) > LONGEST_PATH:
        raise StudyError(f"the path of the socket is longer than {LONGEST_PATH} bytes; choose a shorter one")


@dataclass(frozen=True, slots=True)
class AgentSocket:
    """A site agent behind its Unix socket.

    Attributes:
        socket: absolute path of the socket.
        site: the hospital's name, for the relay's own refusals while there is no agent.
        seal: the coordinator's seal on the request to handle.
        timeout_s: longest time that the request may take, in seconds.
    """

    socket: Path
    site: str = ""
    seal: bytes = b""
    timeout_s: float = PATIENCE_S

    def handle(self, request: Request) -> Reply:
        """As `answer`, without the signature."""
        return self.answer(request).reply

    def answer(self, request: Request) -> SignedReply:
        """Return the agent's reply, or a constant refusal. An agent that restarts gets the request again.

        The signatures are passed on unchanged; the coordinator has the key to check it, from the study.
        """
        try:
            answer = unpack(AgentReply, self._ask(pack(AgentRequest(VERSION, to_bytes(request), self.seal))))
            if answer.version != VERSION:
                log.warning("the agent runs fedsynth %s, this relay %s; install one version", answer.version, VERSION)
                return SignedReply(refusal(request, answer.hospital, Reason.VERSION_DIFFERS))
            if answer.refusal:
                return SignedReply(refusal(request, answer.hospital, answer.refusal))
            reply = from_bytes(answer.reply)
        except (grpc.RpcError, WireError, OSError) as problem:
            log.warning("no answer from the agent at %s: %s", self.socket, _cause(problem))
            return SignedReply(refusal(request, self.site, Reason.UNAVAILABLE))
        if isinstance(reply, REQUESTS):
            return SignedReply(refusal(request, self.site, Reason.UNAVAILABLE))
        return SignedReply(cast("Reply", reply), answer.signature)

    def health(self) -> HealthReply:
        """Return the agent's state. Raises `grpc.RpcError` or `OSError` if no agent answers."""
        return unpack(HealthReply, self._call(HEALTH, pack(HealthRequest(VERSION)), self.timeout_s))

    def _ask(self, data: bytes) -> bytes:
        """Repeat the request until there is a reply, the time is up, or no agent was there for `PATIENCE_S`."""
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
            if away_since is None or now - asked > 1.0:  # it was there meanwhile
                away_since = now
            if now > min(end, away_since + PATIENCE_S):
                raise problem
            time.sleep(PAUSE_S)

    def _call(self, method: str, data: bytes, timeout_s: float) -> bytes:
        mode = os.R_OK | os.W_OK
        self.socket.stat()
        if not os.access(self.socket, mode):
            raise PermissionError("this account may not use the socket; add it to the agent's group")
        options = (("grpc.max_receive_message_length", MOST_BYTES), ("grpc.max_send_message_length", MOST_BYTES))
        with grpc.insecure_channel(f"unix:{self.socket}", options=options) as channel:
            return bytes(channel.unary_unary(f"/{SERVICE}/{method}")(data, timeout=timeout_s))


def _cause(problem: Exception) -> str:
    return str(problem.code().name) if isinstance(problem, grpc.RpcError) else str(problem)
