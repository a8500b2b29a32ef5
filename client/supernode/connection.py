"""A site's connection to its coordinator: addresses, files and ports, checked first; what Flower's last lines mean."""

from __future__ import annotations

import os
import re
import socket as sockets
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from client.agent.transport import AGENT_SOCKET, SITE, check_address
from common.errors import StudyError, cause_of
from common.protocol.signing import node_fingerprint, require_private
from common.system.files import writing

PROGRAM = "flower-supernode"
PORT = 9094
"""Flower's default for the loopback port on which a SuperNode talks to the apps it starts."""

CONNECTION_FAILED = "305"
"""Flower's exit code when a retry may help; the others mean a wrong setting."""

UNKNOWN_KEY = "[code: 2004]"
"""Flower's refusal of a key that is not enrolled, or whose owner it still considers connected."""

QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
POLL = {"FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1"}
KEPT = ("PATH", "PYTHONPATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
"""Environment variables passed on to the program, which talks to the network: no secrets."""


@dataclass(frozen=True, slots=True)
class Connection:
    """How a site reaches its coordinator.

    Attributes:
        superlink: the coordinator's HOST:PORT.
        authority: certificate of the CA that signed the coordinator's certificate.
        key: the SuperNode's private key, from `create_node_key`.
        socket: Unix socket of the agent.
        home: Flower's folder of received apps.
        port: loopback port of the SuperNode's own processes.
    """

    superlink: str
    authority: Path
    key: Path
    socket: Path
    home: Path
    port: int = PORT

    def check(self) -> None:
        """Check everything that can be checked before connecting.

        Raises:
            StudyError: an address, file or port that cannot be used.
        """
        check_address(self.socket)
        host, _, port = self.superlink.rpartition(":")
        if not host or not port.isdigit():
            raise StudyError(f"'{self.superlink}' is not HOST:PORT; ask the coordinator for its address")
        require_private(self.key)
        check_node_key(self.key)
        check_certificate(self.authority)
        with sockets.socket() as probe:
            probe.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError:
                raise StudyError(f"port {self.port} is in use on this machine; choose another with --port") from None
        with writing(self.home, remedy="choose another --home"):
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)

    def command(self, site: str) -> list[str]:
        """Return the SuperNode's command line."""
        config = f'{SITE}="{site}" {AGENT_SOCKET}="{self.socket}"'
        return [
            str(Path(sys.executable).with_name(PROGRAM)),
            *("--superlink", self.superlink, "--root-certificates", str(self.authority)),
            *("--auth-supernode-private-key", str(self.key)),
            *("--host", "127.0.0.1", "--port", str(self.port), "--node-config", config),
        ]

    def environment(self) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in KEPT if name in os.environ}
        programs = str(Path(sys.executable).parent)  # Flower starts its other programs by name
        path = os.pathsep.join([programs, inherited.get("PATH", os.defpath)])
        return inherited | QUIET | POLL | {"PATH": path, "FLWR_HOME": str(self.home)}


def check_node_key(path: Path) -> None:
    """Check that a key is a SuperNode's key and not, for example, the site's identity.

    Raises:
        StudyError: it is not an elliptic curve key in OpenSSH format.
    """
    try:
        is_node_key = isinstance(load_ssh_private_key(path.read_bytes(), None), EllipticCurvePrivateKey)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        is_node_key = False
    if not is_node_key:
        raise StudyError(f"'{path}' is not a SuperNode's key; `fedsynth site init` creates one")


def check_certificate(path: Path) -> None:
    """Check that a CA certificate is usable today.

    Raises:
        StudyError: it is not a certificate, has expired, or is not yet valid by this machine's clock.
    """
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as problem:
        raise StudyError(
            f"'{path}' is not a certificate ({cause_of(problem)}); ask the coordinator for its ca.crt"
        ) from None
    now = datetime.now(UTC)
    if now > certificate.not_valid_after_utc:
        raise StudyError(f"the CA certificate '{path}' has expired; ask the coordinator for a new one")
    if now < certificate.not_valid_before_utc:
        raise StudyError(f"the CA certificate '{path}' is not valid yet; check this machine's clock")


def explain(lines: str, connection: Connection) -> str | None:
    """Return what the program's last lines mean for the operator; None if they contain no known message."""
    if "CERTIFICATE_VERIFY_FAILED" in lines:
        if "expired" in lines:
            return "the coordinator's certificate has expired; ask for a new one, or check this machine's clock"
        if "not yet valid" in lines:
            return "the coordinator's certificate is not valid yet; check this machine's clock"
        if re.search("mismatch|doesn't match|not valid for", lines, re.IGNORECASE):
            return f"the coordinator's certificate is not for {connection.superlink}; use the name in the certificate"
        return (
            f"the coordinator's certificate is not signed by '{connection.authority}'; "
            "compare the CA certificate with the coordinator's"
        )
    if UNKNOWN_KEY in lines:
        public = connection.key.with_name(f"{connection.key.name}.pub")
        shown = node_fingerprint(public) if public.exists() else "unknown, its .pub file is not here"
        return (
            "the coordinator does not know this site's key, or still considers the site connected; "
            f"have it enroll '{public.name}', fingerprint {shown}"
        )
    if "401 Unauthorized" in lines:
        return "the coordinator refuses this site's signature; set this machine's clock, which may be at most 5 s fast"
    if "address already in use" in lines.lower():
        return f"port {connection.port} is in use on this machine; choose another with --port"
    exit_code = re.search(r"Exit Code: (\d+)", lines)
    if exit_code is not None and exit_code[1] != CONNECTION_FAILED:
        return f"the SuperNode ended with Flower's exit code {exit_code[1]}; its last lines give the cause"
    return None
