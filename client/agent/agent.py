"""The site agent: the only process that opens the data, the policy and the ledger. It listens on a Unix socket only.

    SuperNode -> relay (client/flower_app.py) -> socket -> agent -> safeguards -> Hospital.handle

No network can reach the socket. File permissions decide which accounts may open it: those in the agent's group.
"""

from __future__ import annotations

import logging
import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import cast

import grpc

from client.agent.envelope import (
    HANDLE,
    HEALTH,
    SERVICE,
    SERVING,
    STOPPING,
    AgentReply,
    AgentRequest,
    HealthReply,
    HealthRequest,
    pack,
    unpack,
)
from client.agent.journal import FIELDS, Metrics
from client.agent.request_checks import CoordinatorCheck, check_state
from client.agent.timing import ReplyGrid
from client.agent.transport import MOST_BYTES, check_address
from client.hospital import Hospital
from common.errors import PolicyRefusal, Reason, StudyError, WireError
from common.protocol.byte_form import from_bytes, to_bytes
from common.protocol.messages import REQUESTS, EnrollReply, Reply, Request, Unavailable, refusal
from common.protocol.seals import asked_by
from common.protocol.signing import sign_reply
from common.system.files import HeldError, locked, writing
from common.version import VERSION

GRACE_S = 30.0
"""Seconds that a stopping agent gives the current request. Cutting it off is also safe: the relay asks again."""

WAITING = 4
"""Number of requests that may wait for the current one; further requests are refused."""

AT_ONCE = ReplyGrid(0.0)

SOCKET_MODE, FOLDER_MODE = 0o660, 0o750

log = logging.getLogger(__name__)


class Agent:
    """Answers one request at a time and signs each reply.

    Args:
        hospital: the hospital with its policy, ledger and identity, opened by this process.
        state: folder of the ledger; it also gets the metrics.
        is_rehearsal: accept only rehearsals, whose noise is predictable.
        replies: when replies leave; at once unless a site says otherwise.
        epsilon: returns the epsilon spent so far, for the metrics, or None if it is unknown.
    """

    def __init__(
        self,
        hospital: Hospital,
        *,
        state: Path,
        is_rehearsal: bool = False,
        replies: ReplyGrid = AT_ONCE,
        epsilon: Callable[[], float | None] = lambda: None,
    ) -> None:
        self.name = hospital.policy.hospital
        self.is_stopping = False
        self._hospital, self._state, self._epsilon, self._replies = hospital, state, epsilon, replies
        self._check_coordinator = CoordinatorCheck(self._accepted_study, is_rehearsal=is_rehearsal)
        self._metrics = Metrics(state / "metrics.json")
        self._queue, self._turn = threading.BoundedSemaphore(1 + WAITING), threading.Lock()

    @property
    def is_busy(self) -> bool:
        return self._turn.locked()

    def answer(self, ask: AgentRequest) -> AgentReply:
        """Return the reply to anything that a relay sent. Never raises."""
        began = self._replies.now()
        request, reply, fields = None, None, {"version": ask.version, "bytes": len(ask.request)}
        try:
            request = self._read(ask)
            fields |= {"kind": request.kind, "run": request.run_id, **_position_in_run(request)}
            self._admit(request, ask.seal)
            reply = self._hospital.handle(request)
            outcome = _outcome(reply)
        except PolicyRefusal as problem:
            outcome = str(problem.reason)
            fields["reason"] = str(problem)
        except Exception as problem:  # a bug, or a message crafted to trigger one: log its class only
            outcome = str(Reason.UNAVAILABLE)
            fields["reason"] = type(problem).__name__
        seconds = round(self._replies.now() - began, 3)
        level = logging.INFO if outcome in ("answered", Reason.ACCEPTED) else logging.WARNING
        log.log(level, "request", extra={FIELDS: fields | {"outcome": outcome, "seconds": seconds}})
        self._metrics.count(request.kind if request else "unreadable", outcome)
        self.write_metrics()
        if request is None:
            return AgentReply(VERSION, self.name, refusal=outcome)
        signed = self._signed(ask, request, refusal(request, self.name, outcome) if reply is None else reply)
        self._replies.hold(request, began)
        return signed

    def _signed(self, ask: AgentRequest, request: Request, reply: Reply) -> AgentReply:
        """Sign a reply or a refusal, so that the coordinator can verify who sent it."""
        data, identity = to_bytes(reply), self._hospital.identity
        signature = b"" if identity is None else sign_reply(identity, asked_by(request, ask.seal), data)
        return AgentReply(VERSION, self.name, reply=data, signature=signature)

    def write_metrics(self) -> None:
        """Write the metrics to the operator's file."""
        try:
            epsilon = self._epsilon()
        except Exception as problem:  # a ledger that cannot be read must not hold back a reply
            log.warning("cannot read the ledger's epsilon (%s)", type(problem).__name__)
            epsilon = None
        self._metrics.write(hospital=self.name, version=VERSION, epsilon=epsilon)

    def _read(self, ask: AgentRequest) -> Request:
        if ask.version != VERSION:
            raise PolicyRefusal(
                Reason.VERSION_DIFFERS,
                f"this agent runs fedsynth {VERSION}; agree with the coordinator on one version and install it",
            )
        try:
            message = from_bytes(ask.request)
        except WireError as problem:
            raise PolicyRefusal(Reason.UNAVAILABLE, str(problem)) from None
        if not isinstance(message, REQUESTS):
            raise PolicyRefusal(Reason.UNAVAILABLE, "not a request")
        return cast("Request", message)

    def _admit(self, request: Request, seal: bytes) -> None:
        """Raise `PolicyRefusal` unless all safeguards hold; runs before the policy and before any charge."""
        self._check_coordinator(request, seal)
        check_state(self._state)

    def _accepted_study(self, run_id: str) -> str | None:
        enrollment = self._hospital.ledger.enrollment(run_id)
        return None if enrollment is None else enrollment.study

    def on_handle(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        """Handle a gRPC call: wait for the current request, unless too many wait already or the caller gives up."""
        if not self._queue.acquire(blocking=False):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests are waiting")
        try:
            ask = unpack(AgentRequest, data)
            wait_s = context.time_remaining()
            if not self._turn.acquire(timeout=-1 if wait_s is None else min(max(wait_s, 0.0), threading.TIMEOUT_MAX)):
                context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the agent is busy")
            try:
                if self.is_stopping or not context.is_active():
                    context.abort(grpc.StatusCode.UNAVAILABLE, "the agent is stopping")
                return pack(self.answer(ask))
            finally:
                self._turn.release()
        except WireError as problem:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(problem))
        finally:
            self._queue.release()
        raise AssertionError("abort always raises")

    def on_health(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        """Return hospital, version and state; does not wait for the current request."""
        try:
            unpack(HealthRequest, data)
        except WireError as problem:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(problem))
        return pack(HealthReply(VERSION, self.name, STOPPING if self.is_stopping else SERVING))


def serve(agent: Agent, socket: Path, *, grace_s: float = GRACE_S) -> None:
    """Serve until SIGTERM or SIGINT. Call it from the main thread.

    After `grace_s` the process ends even if a request is being computed. Its ledger entry stays, and the reply is
    computed again when the relay repeats the request.

    Args:
        agent: what to serve.
        socket: absolute path of the Unix socket.
        grace_s: seconds that the current request may still take.

    Raises:
        StudyError: the path is not usable, its folder is open to other accounts, or another agent serves it.
    """
    check_address(socket)
    os.environ["OMP_NUM_THREADS"] = "1"  # read by torch's first import; sums must not depend on the processors
    with _reserved(socket):
        server = _listening(agent, socket)
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _setter(stop))
        server.start()
        agent.write_metrics()
        log.info("serving", extra={FIELDS: {"hospital": agent.name, "version": VERSION, "socket": str(socket)}})
        stop.wait()
        agent.is_stopping = True
        log.info("stopping", extra={FIELDS: {"grace_s": grace_s, "busy": agent.is_busy}})
        server.stop(grace_s).wait()
        socket.unlink(missing_ok=True)
        if agent.is_busy:
            log.warning("stopped before the current request was answered; the relay will repeat it")
            os._exit(0)  # a computing thread cannot be stopped otherwise; a kill at any point is safe
        log.info("stopped")


def _listening(agent: Agent, socket: Path) -> grpc.Server:
    """Return a server that listens on the socket, which only the accounts of its folder may use."""
    server = grpc.server(
        ThreadPoolExecutor(WAITING + 3, thread_name_prefix="agent"),
        maximum_concurrent_rpcs=WAITING + 3,
        options=(("grpc.max_receive_message_length", MOST_BYTES), ("grpc.max_send_message_length", MOST_BYTES)),
    )
    handlers = {
        HANDLE: grpc.unary_unary_rpc_method_handler(agent.on_handle),
        HEALTH: grpc.unary_unary_rpc_method_handler(agent.on_health),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    before = os.umask(0o777 & ~SOCKET_MODE)
    try:
        server.add_insecure_port(f"unix:{socket}")
    except RuntimeError:
        raise StudyError(f"cannot listen on '{socket}'; check its folder") from None
    finally:
        os.umask(before)
    return server


def _setter(event: threading.Event) -> Callable[[int, FrameType | None], None]:
    return lambda number, frame: event.set()


@contextmanager
def _reserved(socket: Path) -> Iterator[None]:
    """Hold a file lock beside the socket until the process ends, and remove the socket that a killed agent left."""
    folder = socket.parent
    with ExitStack() as held:
        with writing(folder, remedy="check its owner"):
            folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            if stat.S_IMODE(folder.stat().st_mode) & 0o027:
                raise StudyError(f"the folder '{folder}' is open to other accounts; run chmod 0750 on it")
            lock = socket.with_name(f"{socket.name}.lock")
            try:
                held.enter_context(locked(lock, mode=0o600))  # the relay must not be able to hold it
            except HeldError as holder:
                raise StudyError(f"an agent (process {holder}) serves '{socket}' already; stop it first") from None
        socket.unlink(missing_ok=True)
        yield


def _outcome(reply: Reply) -> str:
    if isinstance(reply, EnrollReply):
        return reply.reason
    return str(Reason.UNAVAILABLE) if isinstance(reply, Unavailable) else "answered"


def _position_in_run(request: Request) -> dict[str, str | int]:
    """Return phase, round and attempt, where the request has them."""
    return {name: getattr(request, name) for name in ("phase", "round", "attempt") if hasattr(request, name)}
