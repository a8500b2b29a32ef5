"""The relay pool: one process imports what a relay needs and forks itself for every message.

For every message Flower starts the program `flwr-clientapp` by name; its imports cost more than a second of processor
time. `site join` gives it a PATH of one folder. There `flwr-clientapp` passes its arguments to the waiting process,
whose fork runs `client.supernode.relay` with them. So every message still has its own process. If no process is
waiting, a new interpreter runs the same. A coordinator chooses which of Flower's programs a task starts: in that folder
every other name refuses, so that no other way leads from a bundle to its code.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from common.errors import FederationError

PROGRAM = "flwr-clientapp"
"""Program that Flower starts for a message, found on PATH."""

EXECUTOR = "flower-superexec"
"""Flower's program that starts the others, itself started by name; the only one of Flower's in the folder."""

REFUSED = ("flwr-agentapp", "flwr-connector", "flwr-model", "flwr-serverapp", "flwr-simulation")
"""Flower's programs for tasks that no site has. They would run what a coordinator submitted."""

RELAY = "client.supernode.relay"
"""Module that answers one message."""

HAND_OVER = "fedsynth-relay"
"""This project's console script, which replaces all of these programs."""

WAITING_AT = "FEDSYNTH_RELAYS"
"""Environment variable that tells the program which Flower starts the socket of the waiting process."""

TAKEN = b"1"
MOST_BYTES = 64 * 1024

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Keeps numpy's linear algebra from starting threads when it is imported: a process with threads must not fork."""

log = logging.getLogger(__name__)


@contextmanager
def prepared_relays(environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Start the pool and yield the environment for a SuperNode that uses it, for as long as the block runs.

    Args:
        environment: the SuperNode's environment without the pool.

    Raises:
        FederationError: a program is missing. Flower's own would run any code that a coordinator submits.
    """
    script, executor = (Path(sys.executable).with_name(name) for name in (HAND_OVER, EXECUTOR))
    for program in (script, executor):
        if not program.exists():
            raise FederationError(f"'{program}' is missing; install fedsynth again")
    with tempfile.TemporaryDirectory(prefix="fedsynth-") as name:  # of mode 0700
        programs, address = Path(name) / "bin", Path(name) / "socket"
        programs.mkdir()
        (programs / EXECUTOR).symlink_to(executor)
        for replaced in (PROGRAM, *REFUSED):
            (programs / replaced).symlink_to(script)
        process = subprocess.Popen(  # noqa: S603  # this program
            [sys.executable, "-P", "-m", "client.supernode.relay_pool", str(address), str(os.getpid())],
            env=dict(environment) | ONE_THREAD,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield dict(environment) | {"PATH": str(programs), WAITING_AT: str(address)}
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def hand_over() -> None:
    """Replace Flower's programs: let a fork answer the message, or a new interpreter if no process is waiting."""
    if (name := Path(sys.argv[0]).name) != PROGRAM:
        sys.exit(f"the coordinator asked for '{name}', which no site runs")
    if not _is_taken(os.environ.get(WAITING_AT, ""), sys.argv[1:]):
        os.execv(sys.executable, [sys.executable, "-P", "-m", RELAY, *sys.argv[1:]])  # noqa: S606  # no shell


def _is_taken(address: str, arguments: list[str]) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(5.0)
            channel.connect(address)
            channel.sendall(json.dumps(arguments).encode())
            channel.shutdown(socket.SHUT_WR)
            return channel.recv(1) == TAKEN
    except OSError:
        return False


def main(address: Path, parent: int) -> None:
    """Run the waiting process and, in each of its forks, a relay with the arguments it received."""
    from client.supernode import relay  # before the fork: the reason for this process

    if len(list(Path("/proc/self/task").iterdir())) > 1:
        raise RuntimeError("a library started a thread during its import; relays cannot be forked")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel removes ended children
    arguments = _wait(address, parent)
    if arguments is None:
        shutil.rmtree(address.parent, ignore_errors=True)  # the parent was killed and left it behind
        return
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    sys.argv = [PROGRAM, *arguments]
    relay.main()  # ends with its own exit code


def _wait(address: Path, parent: int) -> list[str] | None:
    """Fork for every connection. Return the arguments in a fork, or None in the pool once its parent has ended."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(address))
        server.listen(16)
        server.settimeout(1.0)
        while os.getppid() == parent:
            with suppress(TimeoutError):
                channel, _ = server.accept()
                with channel:
                    if (arguments := _forked(channel)) is not None:
                        return arguments
    return None


def _forked(channel: socket.socket) -> list[str] | None:
    """Return the caller's arguments in the fork; None in the process that forked, or that could not fork."""
    try:
        channel.settimeout(5.0)
        parts = []
        while part := channel.recv(MOST_BYTES):
            parts.append(part)
        arguments = [str(argument) for argument in json.loads(b"".join(parts))]
        if os.fork() == 0:
            return arguments
        channel.sendall(TAKEN)
    except (OSError, ValueError, TypeError) as problem:
        log.warning("no relay was forked (%s)", type(problem).__name__)  # the caller runs Flower's own program
    return None


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
