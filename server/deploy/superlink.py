"""Flower's SuperLink behind the gateway, and the `flwr` commands that talk to it. Flower runs in its own processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import tomli_w

from common.errors import FederationError, StudyError
from common.protocol.bundle import PYPROJECT, bundle_text
from common.system.processes import end_with_parent
from common.version import VERSION
from server.deploy.certificates import check_server
from server.deploy.directory import CONNECTION, CoordinatorDirectory
from server.run.config import Scalar

START_S = 60.0
TASK_POLL_S = 0.1
"""Seconds between two looks of Flower's SuperExec for a ServerApp to start; Flower's default is 1."""

PRIVATE = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": str(TASK_POLL_S),
}
"""Flower reports nothing, looks nothing up and installs nothing."""


def up(directory: CoordinatorDirectory, host: str, port: int, control_port: int) -> None:
    """Run SuperLink and gateway until SIGINT or SIGTERM.

    Raises:
        StudyError: a port is taken, or sites would refuse the certificate.
        FederationError: the SuperLink does not start, or ends by itself.
    """
    import uvicorn

    from server.deploy.gateway import MOST_CONNECTIONS, Gateway

    check_server(directory.authority[0], directory.server[0])
    require_free(host, port)
    require_free("127.0.0.1", control_port)
    directory.connect(control_port)
    with _superlink(directory, control_port) as process:
        config = uvicorn.Config(
            Gateway(f"https://127.0.0.1:{control_port}", directory.authority[0], is_closing=lambda: server.should_exit),
            host=host,
            port=port,
            ssl_certfile=directory.server[0],
            ssl_keyfile=str(directory.server[1]),
            log_level="warning",
            lifespan="off",
            http="h11",  # whose headers have a limit
            limit_concurrency=MOST_CONNECTIONS,
        )
        server = uvicorn.Server(config)
        watch = threading.Thread(target=_close_with, args=(process, server), daemon=True)
        watch.start()
        print(f"sites reach this coordinator at {host}:{port}; stop it with Ctrl-C", flush=True)  # noqa: T201
        server.run()
        if process.poll() is not None:
            raise FederationError(
                f"the SuperLink ended by itself (exit code {process.returncode}); its last lines give the cause"
            )


def require_free(host: str, port: int) -> None:
    """Raise `StudyError` if another program listens on that port, or this one is not allowed to."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as problem:
            raise StudyError(
                f"cannot listen on {host}:{port} ({os.strerror(problem.errno or 0)}); "
                "stop the program that uses it (perhaps another coordinator), or choose other ports"
            ) from None


@contextmanager
def _superlink(directory: CoordinatorDirectory, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a healthy SuperLink in its own process group, which ends with the block."""
    command = [
        program("flower-superlink"),
        *("--host", "127.0.0.1", "--port", str(port), "--database", str(directory.database)),
        *("--ssl-ca-certfile", str(directory.authority[0])),
        *("--ssl-certfile", str(directory.server[0]), "--ssl-keyfile", str(directory.server[1])),
        *("--enable-supernode-auth", "--disable-runtime-dependency-installation"),
    ]
    process = subprocess.Popen(  # noqa: S603
        command,
        env=environment(directory),
        cwd=directory.path,
        start_new_session=True,
        preexec_fn=partial(end_with_parent, signal.SIGTERM),
    )
    try:
        _await_health(process, directory, port)
        yield process
    finally:
        _end_group(process)


def _await_health(process: subprocess.Popen[bytes], directory: CoordinatorDirectory, port: int) -> None:
    import httpx

    trusted = ssl.create_default_context(cafile=str(directory.authority[0]))
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise FederationError(
                f"the SuperLink did not start (exit code {process.returncode}); its last lines give the cause"
            )
        try:
            if httpx.get(f"https://127.0.0.1:{port}/health", verify=trusted, timeout=2, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise FederationError(f"the SuperLink did not answer within {START_S:g} s; see its log")


def _close_with(process: subprocess.Popen[bytes], server: Any) -> None:
    """Close the gateway's server when the SuperLink behind it is gone."""
    process.wait()
    server.should_exit = True


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Terminate the process group, then kill it: a ServerApp would otherwise outlive its SuperLink."""
    for number, patience_s in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(process.pid, number)
            end = time.monotonic() + patience_s
            while time.monotonic() < end:
                process.poll()
                os.killpg(process.pid, 0)
                time.sleep(0.05)
        except ProcessLookupError:
            return


def environment(directory: CoordinatorDirectory) -> dict[str, str]:
    """Return the environment of every Flower program: it reports and installs nothing."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return os.environ | PRIVATE | {"FLWR_HOME": str(directory.flower), "PATH": path}


def program(name: str) -> str:
    """Return the path of a Flower program in this Python's environment; raise `StudyError` if it is missing."""
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        raise StudyError(f"'{path}' is missing; install fedsynth into this environment again")
    return str(path)


def submit(directory: CoordinatorDirectory, config: Mapping[str, Scalar]) -> str:
    """Start the ServerApp under this run configuration and return Flower's id of the run.

    Raises:
        FederationError: the SuperLink cannot be reached or refuses.
    """
    with tempfile.TemporaryDirectory(dir=directory.path) as folder:
        bundle = Path(folder) / "fedsynth"
        bundle.mkdir()
        (bundle / PYPROJECT).write_text(bundle_text(VERSION), encoding="utf-8")
        overrides = Path(folder) / "config.toml"
        overrides.write_text(tomli_w.dumps(dict(config)), encoding="utf-8")
        answer = flwr(directory, "run", str(bundle), CONNECTION, "--run-config", str(overrides))
    return str(answer["run-id"])


def flwr(directory: CoordinatorDirectory, *arguments: str) -> dict[str, Any]:
    """Run a `flwr` command and return its answer, which is JSON.

    Raises:
        FederationError: the command failed; the message is Flower's.
    """
    command = [program("flwr"), *arguments, "--format", "json"]
    try:
        done = subprocess.run(  # noqa: S603
            command, env=environment(directory), cwd=directory.path, capture_output=True, text=True, timeout=120
        )
    except subprocess.TimeoutExpired:
        raise FederationError("the SuperLink does not answer; is `fedsynth coordinator up` running?") from None
    try:
        answer = json.loads(done.stdout[done.stdout.index("{") :])
    except ValueError:
        answer = {}
    if done.returncode == 0 and answer.get("success"):
        return dict(answer)
    answered = str(answer.get("error-message") or done.stderr or done.stdout).strip()
    if "connect" in answered.lower() or not answered:
        answered = "the SuperLink cannot be reached; is `fedsynth coordinator up` running with this --home?"
    raise FederationError(f"flwr {arguments[0]}: {answered}")
