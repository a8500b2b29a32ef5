"""A site's SuperNode: Flower's program with the right settings, its failures explained, restarted where that helps.

It runs under an account that cannot read the data; all it holds is the key by which the coordinator knows the site.
"""

from __future__ import annotations

import ctypes
import logging
import os
import re
import signal
import socket as sockets
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import IO

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from client.envelope import HealthAnswer
from client.transport import AGENT_SOCKET, SITE, AgentSocket, check_address
from common.errors import FederationError, StudyError
from common.identity import node_fingerprint, require_private
from common.version import VERSION

PROGRAM = "flower-supernode"
PORT = 9094
"""Flower's default for the port on which a SuperNode talks to the apps it starts; on loopback."""

AGENT_PATIENCE_S = 60.0
"""How long to wait for the agent: it may have been started at the same moment."""

REJOIN_S = 90.0
"""For so long after a crash a coordinator may take the site's former self to be still there, and refuse the new one."""

RETRY_S, STOP_S = 10.0, 20.0
LINES = 60
"""So many of the program's last lines are searched for the cause of its end."""

CONNECTION_FAILED = "305"
"""Flower's exit code where trying again may help; the others name a setting that is wrong."""

UNKNOWN_KEY = "[code: 2004]"
"""Flower's refusal of a key that nobody enrolled, and of one whose owner it believes to be connected still."""

QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
POLL = {"FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1"}
KEPT = ("PATH", "PYTHONPATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
"""What the program sees of this process's environment, and through it whatever app is submitted: no secrets."""

PR_SET_PDEATHSIG = 1

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Link:
    """How a site reaches its coordinator.

    Attributes:
        superlink: the coordinator's HOST:PORT.
        authority: certificate of the CA that signed the coordinator's.
        key: the SuperNode's private key, made by `create_node_key`.
        socket: the agent's.
        port: on loopback, for the SuperNode's own processes.
        home: Flower's folder: the apps that were received.
    """

    superlink: str
    authority: Path
    key: Path
    socket: Path
    home: Path
    port: int = PORT

    def check(self) -> None:
        """What can be known before connecting.

        Raises:
            StudyError: an address, file or port that cannot be used.
        """
        check_address(self.socket)
        host, _, port = self.superlink.rpartition(":")
        if not host or not port.isdigit():
            raise StudyError(f"'{self.superlink}' is not HOST:PORT; the coordinator says which")
        require_private(self.key)
        check_node_key(self.key)
        check_certificate(self.authority)
        with sockets.socket() as probe:
            probe.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError:
                raise StudyError(f"port {self.port} is taken on this machine; choose another one with --port") from None
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as problem:
            raise StudyError(f"cannot make '{self.home}' ({type(problem).__name__}); choose another --home") from None

    def command(self, site: str) -> list[str]:
        """The SuperNode's command line."""
        config = f'{SITE}="{site}" {AGENT_SOCKET}="{self.socket}"'
        return [
            str(Path(sys.executable).with_name(PROGRAM)),
            *("--superlink", self.superlink, "--root-certificates", str(self.authority)),
            *("--auth-supernode-private-key", str(self.key)),
            *("--host", "127.0.0.1", "--port", str(self.port), "--node-config", config),
        ]

    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        programs = str(Path(sys.executable).parent)  # Flower starts its other programs by name
        path = os.pathsep.join([programs, kept.get("PATH", os.defpath)])
        return kept | QUIET | POLL | {"PATH": path, "FLWR_HOME": str(self.home)}


def check_node_key(path: Path) -> None:
    """Refuse a key that is not the SuperNode's, such as the site's identity.

    Raises:
        StudyError: not an elliptic curve key in OpenSSH form.
    """
    try:
        is_node_key = isinstance(load_ssh_private_key(path.read_bytes(), None), EllipticCurvePrivateKey)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        is_node_key = False
    if not is_node_key:
        raise StudyError(f"'{path}' is not a SuperNode's key; `fedsynth site init` makes one")


def check_certificate(path: Path) -> None:
    """Refuse a CA certificate that cannot work today.

    Raises:
        StudyError: no certificate, expired, or not yet valid by this machine's clock.
    """
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as problem:
        cause = type(problem).__name__
        raise StudyError(f"'{path}' is no certificate ({cause}); ask the coordinator for its ca.crt") from None
    now = datetime.now(UTC)
    if now > certificate.not_valid_after_utc:
        raise StudyError(f"the CA certificate '{path}' has expired; ask the coordinator for a new one")
    if now < certificate.not_valid_before_utc:
        raise StudyError(f"the CA certificate '{path}' is not valid yet; check this machine's clock")


def find_agent(socket: Path, *, patience_s: float = AGENT_PATIENCE_S) -> HealthAnswer:
    """The agent that serves the socket; waits for one.

    Raises:
        FederationError: nobody answers, this account may not ask, or the agent is another version.
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


def explain(lines: str, link: Link) -> str | None:
    """What the program's last words mean for the operator; None where they say nothing known."""
    if "CERTIFICATE_VERIFY_FAILED" in lines:
        if "expired" in lines:
            return "the coordinator's certificate has expired; ask for a new one, or check this machine's clock"
        if "not yet valid" in lines:
            return "the coordinator's certificate is not valid yet; check this machine's clock"
        if re.search("mismatch|doesn't match|not valid for", lines, re.IGNORECASE):
            return f"the coordinator's certificate is not for {link.superlink}; use the name that it was made for"
        return f"the coordinator's certificate is not signed by '{link.authority}'; compare the CA with the coordinator"
    if UNKNOWN_KEY in lines:
        public = link.key.with_name(f"{link.key.name}.pub")
        shown = node_fingerprint(public) if public.exists() else "unknown, its .pub file is not here"
        return (
            "the coordinator does not know this site's key, or takes the site to be connected still; "
            f"have it enrol '{public.name}', fingerprint {shown}"
        )
    if "401 Unauthorized" in lines:
        return "the coordinator refuses this site's signature; set this machine's clock: 5 s ahead are too many"
    if "address already in use" in lines.lower():
        return f"port {link.port} is taken on this machine; choose another one with --port"
    found = re.search(r"Exit Code: (\d+)", lines)
    if found is not None and found[1] != CONNECTION_FAILED:
        return f"the SuperNode ended with Flower's exit code {found[1]}; its last lines say why"
    return None


class SuperNode:
    """Runs Flower's program until it is told to stop.

    Args:
        rejoin_s: how long a coordinator that refuses the key is asked again: after a crash it does so for a minute.
    """

    def __init__(self, link: Link, *, rejoin_s: float = REJOIN_S) -> None:
        self._link, self._rejoin_s = link, rejoin_s
        self._stop = threading.Event()

    def run(self) -> None:
        """Join and stay joined. To be called from the main thread; returns after SIGTERM or SIGINT.

        Raises:
            StudyError: a file, address or port that cannot be used.
            FederationError: no agent, or the coordinator refuses this site for a reason that waiting does not mend.
        """
        self._link.check()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        site = find_agent(self._link.socket).hospital
        refused_since: float | None = None
        while True:
            started = time.monotonic()
            last = self._run_once(site)
            if self._stop.is_set():
                return
            reason, now = explain(last, self._link), time.monotonic()
            if refused_since is None or now - started > self._rejoin_s:  # it was connected in between
                refused_since = now
            may_pass = UNKNOWN_KEY in last and now - refused_since < self._rejoin_s
            if reason is not None and not may_pass:
                raise FederationError(reason)
            log.warning("the SuperNode ended and is started again in %g s: %s", RETRY_S, reason or "cause unknown")
            if self._stop.wait(RETRY_S):
                return

    def _run_once(self, site: str) -> str:
        """Run the program to its end, or until this process is told to stop; the program's last lines."""
        process = subprocess.Popen(  # noqa: S603  # a program of this installation, no shell
            self._link.command(site),
            env=self._link.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=_die_with_parent,
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
    """Write the program's lines to this process's log and remember the last ones."""
    for line in lines:
        sys.stderr.write(line)
        last.append(line)


def _kill_group(group: int) -> None:
    """End what the program left behind: its executor outlives it otherwise."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _die_with_parent() -> None:
    """Have the kernel end the program when this process is killed (prctl(2)); Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
