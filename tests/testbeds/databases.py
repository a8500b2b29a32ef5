"""A PostgreSQL server on loopback, in a folder of its own, for as long as a block runs."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ACCOUNT = "postgres"
"""Account that the server runs as where the tests run as root, which PostgreSQL refuses."""


def _program(name: str) -> str:
    known = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}")) or [Path(shutil.which(name) or "")]
    if not known[-1].is_file():
        pytest.skip(f"PostgreSQL is not installed: there is no {name}")
    return str(known[-1])


@contextmanager
def postgres() -> Iterator[str]:
    """Yield the URL of a new, empty database; skip the test with a reason where no server can be started."""
    initdb, control = _program("initdb"), _program("pg_ctl")
    account: dict[str, int] = {}
    folder = Path(tempfile.mkdtemp(prefix="fedsynth-postgres-"))
    if os.geteuid() == 0:
        try:
            entry = pwd.getpwnam(ACCOUNT)
        except KeyError:
            pytest.skip(f"there is no account {ACCOUNT}, and root may not run PostgreSQL")
        account = {"user": entry.pw_uid, "group": entry.pw_gid}
        os.chown(folder, entry.pw_uid, entry.pw_gid)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = folder / "data"

    def run(*command: str) -> None:
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=60, **account)  # type: ignore[call-overload]

    try:
        run(initdb, "-D", str(data), "-U", "reader", "--auth=trust", "--encoding=UTF8", "--no-sync", "--locale=C")
        options = f"-c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off -p {port}"
        run(control, "-D", str(data), "-l", str(folder / "log"), "-o", options, "-w", "start")
        try:
            yield f"postgresql://reader@127.0.0.1:{port}/postgres"
        finally:
            run(control, "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
