"""A site's SuperNode: run Flower's program with the right settings, explain its failures, restart it where that helps.

It runs in an account that cannot read the data; all it has is the key by which the coordinator knows the site.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO

import grpc

from client.agent.envelope import HealthReply
from client.agent.transport import AgentSocket
from client.supernode.connection import UNKNOWN_KEY, Connection, explain
from client.supernode.relay_pool import prepared_relays
from common.errors import FederationError
from common.system.processes import end_with_parent
from common.version import VERSION

AGENT_PATIENCE_S = 60.0
"""Seconds to wait for the agent, which may have been started at the same moment."""

REJOIN_S = 90.0
"""Seconds after a crash during which a coordinator may still consider the site connected, and refuse it."""

RETRY_S, STOP_S = 10.0, 20.0
"""Seconds before the program is started again, and seconds that it gets to stop."""

LINES = 60
"""Number of the program's last lines that are searched for the cause of its end."""

log = logging.getLogger(__name__)


def find_agent(socket: Path, *, patience_s: float = AGENT_PATIENCE_S) -> HealthReply:
    """Return the state of the agent that serves a socket; waits for an agent to start.

    Args:
        socket: Unix socket of the agent.
        patience_s: longest time to wait, in seconds.

    Raises:
        FederationError: no agent answers, this account may not use the socket, or the versions differ.
    """
    end = time.monotonic() + patience_s
    while True:
        try:
            health = AgentSocket(socket, timeout_s=5).health()
            break
        except PermissionError as problem:
            raise FederationError(str(problem)) from None
        except (grpc.RpcError, OSError):
            if time.monotonic() > end:
                raise FederationError(f"no agent serves '{socket}'; start `fedsynth site agent`") from None
            time.sleep(0.25)
    if health.version != VERSION:
        raise FederationError(f"the agent runs fedsynth {health.version} and this is {VERSION}; install one version")
    return health


class SuperNode:
    """Runs Flower's program until this process receives a signal to stop."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stop = threading.Event()

    def run(self) -> None:
        """Connect and stay connected until SIGTERM or SIGINT. Call it from the main thread.

        Raises:
            StudyError: a file, address or port is not usable.
            FederationError: there is no agent, or the coordinator refuses this site for a lasting reason.
        """
        self._connection.check()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        site = find_agent(self._connection.socket).hospital
        with prepared_relays(self._connection.environment()) as environment:
            self._stay(site, environment)

    def _stay(self, site: str, environment: Mapping[str, str]) -> None:
        """Run the program, and restart it when it ends, until this process receives a signal to stop."""
        refused_since: float | None = None
        while True:
            started = time.monotonic()
            last = self._run_once(site, environment)
            if self._stop.is_set():
                return
            reason, now = explain(last, self._connection), time.monotonic()
            if refused_since is None or now - started > REJOIN_S:  # it was connected meanwhile
                refused_since = now
            may_pass = UNKNOWN_KEY in last and now - refused_since < REJOIN_S
            if reason is not None and not may_pass:
                raise FederationError(reason)
            log.warning("the SuperNode ended and restarts in %g s: %s", RETRY_S, reason or "cause unknown")
            if self._stop.wait(RETRY_S):
                return

    def _run_once(self, site: str, environment: Mapping[str, str]) -> str:
        """Run the program until it ends or this process is told to stop, and return the program's last lines."""
        process = subprocess.Popen(  # noqa: S603  # a program of this installation, no shell
            self._connection.command(site),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=partial(end_with_parent, signal.SIGTERM),
        )
        last: deque[str] = deque(maxlen=LINES)
        reader = threading.Thread(target=_pass_on, args=(process.stdout, last), daemon=True)
        reader.start()
        while process.poll() is None and not self._stop.wait(0.2):
            pass
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
        _kill_group(process.pid)
        process.wait()
        reader.join(5.0)
        return "".join(last)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop.set()


def _pass_on(lines: IO[str], last: deque[str]) -> None:
    """Copy the program's lines to standard error and keep the last ones."""
    for line in lines:
        sys.stderr.write(line)
        last.append(line)


def _kill_group(group: int) -> None:
    """Kill what the program left behind: its executor would outlive it."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
