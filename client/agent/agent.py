"""The site agent: the one process that owns the data, the policy and the ledger, reached through a Unix socket alone.

    SuperNode -> relay (client/app.py) -> socket -> agent -> safeguards -> Hospital.handle

The socket has no address that a network could reach. Who may open it is decided by file permissions: the agent's group.
"""

from __future__ import annotations

import logging
import os
import signal
import stat
import threading
import time
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
    Answer,
    Ask,
    HealthAnswer,
    HealthAsk,
    pack,
    unpack,
)
from client.agent.journal import FIELDS, Metrics
from client.agent.safeguards import CoordinatorCheck, DataWatch, check_state
from client.agent.transport import MOST_BYTES, check_address
from client.hospital import Hospital
from common.errors import PolicyRefusal, Reason, StudyError, WireError
from common.protocol.messages import (
    REQUESTS,
    EnrolReply,
    EnrolRequest,
    Reply,
    Request,
    Unavailable,
    digest,
    from_bytes,
    refusal,
    to_bytes,
)
from common.protocol.signing import sign_reply
from common.system.files import HeldError, locked, writing
from common.version import VERSION

GRACE_S = 30.0
"""How long a stopping agent lets the current request finish. Giving it up is safe as well, only slower."""

WAITING = 4
"""Requests that may wait for the one being answered; more are turned away."""

SOCKET_MODE, FOLDER_MODE = 0o660, 0o750

log = logging.getLogger(__name__)


class Agent:
    """Answers one request at a time, and signs what it answers.

    Args:
        hospital: with its policy, ledger and identity, opened by this process.
        data: the file that the records are read from.
        state: the folder of the ledger; fingerprints of the data and the metrics go there too.
        is_rehearsal: take rehearsals, whose noise is predictable, and no other studies.
        epsilon: what the ledger says was spent so far, for the operator; None where it says nothing.
    """

    def __init__(
        self,
        hospital: Hospital,
        *,
        data: Path,
        state: Path,
        is_rehearsal: bool = False,
        epsilon: Callable[[], float | None] = lambda: None,
    ) -> None:
        self.name = hospital.policy.hospital
        self.is_stopping = False
        self._hospital, self._state, self._epsilon = hospital, state, epsilon
        self._check_coordinator = CoordinatorCheck(self._accepted_study, is_rehearsal=is_rehearsal)
        self._check_data = DataWatch(data, state / "data")
        self._metrics = Metrics(state / "metrics.json")
        self._places, self._turn = threading.BoundedSemaphore(1 + WAITING), threading.Lock()

    @property
    def is_busy(self) -> bool:
        return self._turn.locked()

    def answer(self, ask: Ask) -> Answer:
        """The answer to whatever a relay sent. Never raises."""
        started = time.monotonic()
        request, reply, fields = None, None, {"version": ask.version, "bytes": len(ask.request)}
        try:
            request = self._read(ask)
            fields |= {"kind": request.kind, "run": request.run_id, **_place_in_run(request)}
            self._admit(request, ask.signature)
            reply = self._hospital.handle(request)
            outcome = _outcome(reply)
        except PolicyRefusal as problem:
            outcome = str(problem.reason)
            fields["reason"] = str(problem)
        except Exception as problem:  # a bug, or a message made to find one: only its kind is written
            outcome = str(Reason.UNAVAILABLE)
            fields["reason"] = type(problem).__name__
        seconds = round(time.monotonic() - started, 3)
        level = logging.INFO if outcome in ("answered", Reason.ACCEPTED) else logging.WARNING
        log.log(level, "request", extra={FIELDS: fields | {"outcome": outcome, "seconds": seconds}})
        self._metrics.count(request.kind if request else "unreadable", outcome)
        self.write_metrics()
        if request is None:
            return Answer(VERSION, self.name, refusal=outcome)
        return self._signed(request, refusal(request, self.name, outcome) if reply is None else reply)

    def _signed(self, request: Request, reply: Reply) -> Answer:
        """The reply, with a signature by which the coordinator tells it from anybody else's; refusals have one too."""
        data, identity = to_bytes(reply), self._hospital.identity
        signature = b"" if identity is None else sign_reply(identity, digest(request), data)
        return Answer(VERSION, self.name, reply=data, signature=signature)

    def write_metrics(self) -> None:
        """Bring the operator's file up to date."""
        try:
            epsilon = self._epsilon()
        except Exception as problem:  # a ledger that cannot be read must not keep an answer back
            log.warning("cannot read the ledger's epsilon (%s)", type(problem).__name__)
            epsilon = None
        self._metrics.write(hospital=self.name, version=VERSION, epsilon=epsilon)

    def _read(self, ask: Ask) -> Request:
        if ask.version != VERSION:
            raise PolicyRefusal(
                Reason.VERSION_DIFFERS,
                f"this agent runs fedsynth {VERSION}; install the version that the coordinator runs, or ask it to",
            )
        try:
            message = from_bytes(ask.request)
        except WireError as problem:
            raise PolicyRefusal(Reason.UNAVAILABLE, str(problem)) from None
        if not isinstance(message, REQUESTS):
            raise PolicyRefusal(Reason.UNAVAILABLE, "not a request")
        return cast("Request", message)

    def _admit(self, request: Request, signature: bytes) -> None:
        """Raises `PolicyRefusal`, before the policy is asked and before anything is charged."""
        self._check_coordinator(request, signature)
        check_state(self._state)
        if not isinstance(request, EnrolRequest):
            self._check_data(request.run_id)

    def _accepted_study(self, run_id: str) -> str | None:
        enrolment = self._hospital.ledger.enrolment(run_id)
        return None if enrolment is None else enrolment[0]

    def on_handle(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        """The gRPC side of `answer`: waits for its turn, unless too many wait or the caller gives up first."""
        if not self._places.acquire(blocking=False):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests wait already")
        try:
            ask = unpack(Ask, data)
            left = context.time_remaining()
            if not self._turn.acquire(timeout=-1 if left is None else min(max(left, 0.0), threading.TIMEOUT_MAX)):
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
            self._places.release()
        raise AssertionError("abort always raises")

    def on_health(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        """Says who is there; does not wait for the request being answered."""
        try:
            unpack(HealthAsk, data)
        except WireError as problem:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(problem))
        return pack(HealthAnswer(VERSION, self.name, STOPPING if self.is_stopping else SERVING))


def serve(agent: Agent, socket: Path, *, grace_s: float = GRACE_S) -> None:
    """Serve until SIGTERM or SIGINT. To be called from the main thread.

    The request being answered may finish within `grace_s`. After that the process ends at once: the ledger's line
    stands, and the answer is computed anew when it is asked for again.

    Raises:
        StudyError: the socket cannot be had: not a path, its folder is open to others, or an agent serves there.
    """
    check_address(socket)
    os.environ["OMP_NUM_THREADS"] = "1"  # read by torch at its first import: sums must not depend on the processors
    with _taken(socket):
        server = grpc.server(
            ThreadPoolExecutor(WAITING + 3, thread_name_prefix="agent"),
            maximum_concurrent_rpcs=WAITING + 3,
            options=(
                ("grpc.max_receive_message_length", MOST_BYTES),
                ("grpc.max_send_message_length", MOST_BYTES),
            ),
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
            log.warning("stopped before the current request was answered; it will be answered when asked again")
            os._exit(0)  # the thread that computes cannot be ended otherwise; a kill at any point is safe
        log.info("stopped")


def _setter(event: threading.Event) -> Callable[[int, FrameType | None], None]:
    return lambda number, frame: event.set()


@contextmanager
def _taken(socket: Path) -> Iterator[None]:
    """Hold the socket's place by a file lock, which ends with the process, and clear away what a killed agent left."""
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
    if isinstance(reply, EnrolReply):
        return reply.reason
    return str(Reason.UNAVAILABLE) if isinstance(reply, Unavailable) else "answered"


def _place_in_run(request: Request) -> dict[str, str | int]:
    """Phase, round and attempt, where the request has them."""
    return {name: getattr(request, name) for name in ("phase", "round", "attempt") if hasattr(request, name)}
