"""Relays that are there at once: one process has imported what a relay needs, and forks itself for every message.

Flower starts the program `flwr-clientapp`, by name, for every message, and its imports cost more than a second of
processor time. `site join` puts a folder of its own in front of that program's PATH. In it, `flwr-clientapp` hands its
arguments to the process that waits here, whose fork runs the same entry point of Flower with them. So every message
still has a process of its own. Where nobody waits, Flower's own program is run instead. All of it is one account: what
one message brought to run could stay and stand in for the next one's relay, as it could with Flower's own program.
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
"""What Flower starts for a message, found on its PATH; also the name of its console script."""

HAND_OVER = "fedsynth-relay"
"""This project's console script in the place of that program."""

WAITING_AT = "FEDSYNTH_RELAYS"
"""Names the socket of the process that waits, for the program that Flower starts."""

TAKEN = b"1"
MOST_BYTES = 64 * 1024

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""A process with threads must not fork; numpy's linear algebra would start some when it is imported."""

log = logging.getLogger(__name__)


@contextmanager
def prepared_relays(environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The environment for a SuperNode whose relays are forked, for as long as the block runs.

    Args:
        environment: what the SuperNode sees otherwise.
    """
    script = Path(sys.executable).with_name(HAND_OVER)
    if not script.exists():
        log.warning("'%s' is missing, so that every message takes a second longer; install fedsynth again", script)
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
    """In the place of Flower's program: have a fork run it, or run it after all."""
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
    """The process that waits, and, in each of its forks, Flower's program with the arguments that were handed over."""
    import client.app  # noqa: F401  # a relay finds it loaded

    program = entry_point()
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        raise RuntimeError("a library started a thread while it was imported; relays are not forked")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel clears ended children away
    arguments = _wait(address, parent)
    if arguments is None:
        shutil.rmtree(address.parent, ignore_errors=True)  # the parent was killed, and left it behind
        return
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    sys.argv = [PROGRAM, *arguments]
    program()  # ends with an exit code of its own


def _wait(address: Path, parent: int) -> list[str] | None:
    """Fork for everyone who connects: the arguments, in a fork; None, in the process itself, once its parent ended."""
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
    """In the fork, the arguments that the caller sent; None in the process that forked, or that could not."""
    try:
        channel.settimeout(5.0)
        parts = []
        while part := channel.recv(MOST_BYTES):
            parts.append(part)
        arguments = [str(one) for one in json.loads(b"".join(parts))]
        if os.fork() == 0:
            return arguments
        channel.sendall(TAKEN)
    except (OSError, ValueError, TypeError) as problem:
        log.warning("no relay was forked (%s)", type(problem).__name__)  # the caller runs Flower's own program
    return None


def entry_point() -> Callable[[], object]:
    """What Flower's program runs, by the name under which Flower's package declares it."""
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name=PROGRAM)
    return cast("Callable[[], object]", script.load())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
