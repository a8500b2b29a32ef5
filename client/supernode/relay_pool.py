"""The relay pool: one process imports what a relay needs and forks itself for every message.

For every message Flower starts the program `flwr-clientapp` by name; its imports cost more than a second of processor
time. `site join` puts its own folder in front of PATH. There `flwr-clientapp` passes its arguments to the waiting
process, whose fork runs the same entry point of Flower with them. So every message still has its own process. If no
process is waiting, Flower's own program runs instead. All of this runs in one account: code that came with one message
could stay and act as the relay of the next one, as it could with Flower's own program.
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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

PROGRAM = "flwr-clientapp"
"""Program that Flower starts for a message, found on PATH; also the name of Flower's console script."""

HAND_OVER = "fedsynth-relay"
"""This project's console script that replaces that program."""

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
    """
    script = Path(sys.executable).with_name(HAND_OVER)
    if not script.exists():
        log.warning("'%s' is missing, so every message takes a second longer; install fedsynth again", script)
        yield dict(environment)
        return
    with tempfile.TemporaryDirectory(prefix="fedsynth-") as name:  # of mode 0700
        programs, address = Path(name) / "bin", Path(name) / "socket"
        programs.mkdir()
        (programs / PROGRAM).symlink_to(script)
        process = subprocess.Popen(  # noqa: S603  # this program
            [sys.executable, "-P", "-m", "client.supernode.relay_pool", str(address), str(os.getpid())],
            env=dict(environment) | ONE_THREAD,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            path = os.pathsep.join([str(programs), environment.get("PATH", os.defpath)])
            yield dict(environment) | {"PATH": path, WAITING_AT: str(address)}
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def hand_over() -> None:
    """Replace Flower's program: let a fork run it, or run it here if no process is waiting."""
    if not _is_taken(os.environ.get(WAITING_AT, ""), sys.argv[1:]):
        program = str(Path(sys.executable).with_name(PROGRAM))
        os.execv(program, [program, *sys.argv[1:]])  # noqa: S606  # no shell, as Flower would have started it


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
    """Run the waiting process and, in each of its forks, Flower's program with the arguments it received."""
    import client.flower_app  # noqa: F401  # so that a relay finds it loaded

    program = entry_point()
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        raise RuntimeError("a library started a thread during its import; relays cannot be forked")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel removes ended children
    arguments = _wait(address, parent)
    if arguments is None:
        shutil.rmtree(address.parent, ignore_errors=True)  # the parent was killed and left it behind
        return
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    sys.argv = [PROGRAM, *arguments]
    program()  # ends with its own exit code


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


def entry_point() -> Callable[[], object]:
    """Return what Flower's program runs, found by the name that Flower's package declares."""
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name=PROGRAM)
    return cast("Callable[[], object]", script.load())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
