"""Every way to break a deployment that concerns the coordinator, done for real; each leaves its line in a log."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from common.protocol.signing import create_node_key
from common.run_events.events import (
    ExchangeStarted,
    HospitalExcluded,
    RoundFinished,
    RunEvent,
    RunFinished,
    RunStarted,
)
from common.run_events.exclusions import Exclusion
from server.deploy.certificates import make_authority, make_server, read_certificate
from simulations.rehearsal.deployment import Deployment, free_port
from tests.testbeds.deployment import charges, on_the_local_grid, rehearsal_study, results, running
from tests.testbeds.events import exclusions

pytestmark = pytest.mark.slow


def is_training(event: RunEvent) -> bool:
    """Whether the first round was asked for."""
    return isinstance(event, ExchangeStarted) and (event.phase, event.round) == ("rounds", 1)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with running(tmp_path_factory.mktemp("bed"), training={"rounds": 2, "steps": 40}) as one:
        yield one


def break_and_resume(deployment: Deployment, strike: Callable[[str], None], folder: Path) -> str:
    """Start a run, strike when its first round is asked for, resume it, compare; the run id."""
    study = rehearsal_study(deployment.public, training={"rounds": 2, "steps": 40})
    run_id = deployment.propose(study)
    assert deployment.coordinator("run", run_id, "--no-follow").returncode == 0
    deployment.await_event(run_id, is_training)
    with silent(deployment, "south"):  # the round cannot end before the blow falls
        strike(run_id)
    deployment.run(run_id, "resume")
    started = [event for event in deployment.events(run_id) if isinstance(event, RunStarted)]
    assert [event.is_resumed for event in started] == [False, True]
    assert started[1].done == ("histograms", "coarse", "pairs", "fit")
    assert results(deployment.run_folder(run_id)) == on_the_local_grid(study, folder)
    assert charges(deployment, run_id) == {"north": 5, "south": 5}  # histograms, coarse, pairs, two rounds
    return run_id


@contextmanager
def silent(deployment: Deployment, site: str) -> Iterator[None]:
    """The site's agent does nothing meanwhile."""
    agent = deployment.processes[f"{site}-agent"].pid
    os.kill(agent, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(agent, signal.SIGCONT)


def server_app(deployment: Deployment, run_id: str) -> int:
    """The process that holds the run's lock."""
    return int((deployment.run_folder(run_id) / "lock").read_text())


def superlink(deployment: Deployment) -> int:
    """The process that runs the SuperLink of this deployment."""
    database = str(deployment.directory.database).encode()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if database in words:
                return int(path.parent.name)
    raise AssertionError("no SuperLink")


def gone(pid: int, *, patience_s: float = 30.0) -> bool:
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True  # dead, and nobody has asked how it ended
        except OSError:
            return True
        time.sleep(0.1)
    return False


def test_a_killed_server_app_is_resumed_to_the_same_model(deployment: Deployment, tmp_path: Path) -> None:
    def strike(run_id: str) -> None:
        again = deployment.coordinator("resume", run_id)  # while it is alive
        assert again.returncode == 2
        assert f"run '{run_id}' is being coordinated by process {server_app(deployment, run_id)}" in again.stderr
        os.kill(server_app(deployment, run_id), signal.SIGKILL)  # it takes a moment to die
        noted = f"{run_id}: interrupted, 4 steps done, can be resumed"
        deployment.await_that(lambda: noted in deployment.coordinator("status", run_id).stdout, noted, timeout_s=30)

    break_and_resume(deployment, strike, tmp_path)


def test_a_killed_superlink_comes_back_and_the_run_is_resumed(deployment: Deployment, tmp_path: Path) -> None:
    def strike(run_id: str) -> None:
        coordinating = server_app(deployment, run_id)
        os.kill(superlink(deployment), signal.SIGKILL)
        assert deployment.processes["coordinator"].wait(60) == 4  # a supervisor starts it again
        assert "the SuperLink ended by itself (exit code -9)" in deployment.log("coordinator")
        assert gone(coordinating)  # else its lock would keep the run from being resumed
        deployment.end("coordinator")
        deployment.start_coordinator()

    break_and_resume(deployment, strike, tmp_path)


def test_a_killed_coordinator_command_takes_its_superlink_along(deployment: Deployment, tmp_path: Path) -> None:
    def strike(run_id: str) -> None:
        pids = superlink(deployment), server_app(deployment, run_id)
        deployment.processes["coordinator"].kill()
        assert all(gone(pid) for pid in pids)
        deployment.end("coordinator")
        deployment.start_coordinator()

    break_and_resume(deployment, strike, tmp_path)


def test_a_stopped_run_can_be_resumed(deployment: Deployment, tmp_path: Path) -> None:
    def strike(run_id: str) -> None:
        coordinating = server_app(deployment, run_id)
        assert deployment.coordinator("stop", run_id).returncode == 0
        assert gone(coordinating)

    break_and_resume(deployment, strike, tmp_path)


def test_a_silent_site_is_excluded_and_comes_back(deployment: Deployment) -> None:
    study = rehearsal_study(
        deployment.public,
        training={"rounds": 3},
        federation={"coordinator": deployment.public, "round_deadline_s": 60, "min_hospitals": 1},
    )
    run_id = deployment.propose(study)
    assert deployment.coordinator("run", run_id, "--no-follow").returncode == 0
    deployment.await_event(run_id, is_training)
    with silent(deployment, "south"):
        deployment.await_event(run_id, lambda event: isinstance(event, HospitalExcluded))
    deployment.await_event(run_id, lambda event: isinstance(event, RunFinished))
    events = deployment.events(run_id)
    assert exclusions(events) == [("south", Exclusion.NO_REPLY)]
    finished = {event.round: event.hospitals for event in events if isinstance(event, RoundFinished)}
    assert (finished[1], finished[3]) == (1, 2)


def refused(deployment: Deployment, name: str, *, authority: Path | None = None) -> str:
    """Start a SuperNode that must not get in; what it said."""
    seen = len(deployment.log(f"{name}-node"))
    deployment.start_supernode(name, authority=authority, wait=False)
    process = deployment.processes[f"{name}-node"]
    with suppress(subprocess.TimeoutExpired):
        process.wait(60)
    deployment.end(f"{name}-node")
    return deployment.log(f"{name}-node")[seen:]


@pytest.fixture
def stranger(deployment: Deployment) -> str:
    """A site whose key nobody enrolled; its agent is north's."""
    folder = deployment.site("stranger")
    if not folder.exists():
        folder.mkdir()
        (folder / "node").mkdir(mode=0o700)
        create_node_key(folder / "node" / "node.key")
        (folder / "run").symlink_to(deployment.site("north") / "run")
    return "stranger"


def test_a_site_that_trusts_another_authority_does_not_connect(
    deployment: Deployment, stranger: str, tmp_path: Path
) -> None:
    make_authority(tmp_path / "other.crt", tmp_path / "other.key")
    said = refused(deployment, stranger, authority=tmp_path / "other.crt")
    assert "CERTIFICATE_VERIFY_FAILED" in said
    assert "is not signed by" in said


def test_a_key_that_nobody_enrolled_does_not_connect(deployment: Deployment, stranger: str) -> None:
    said = refused(deployment, stranger)
    assert "[code: 2004]" in said
    before = deployment.log("coordinator")
    assert "the coordinator does not know this site's key" in said or "its key is not enrolled" in before


def test_a_key_that_is_enrolled_already_is_refused(deployment: Deployment) -> None:
    key = deployment.site("north") / "node" / "node.key.pub"
    again = deployment.coordinator("enroll", str(key), "--name", "another")
    assert again.returncode != 0
    assert "Public key already in use" in again.stderr


def test_a_site_with_a_wrong_clock_is_named_as_such(deployment: Deployment) -> None:
    key = load_ssh_private_key((deployment.site("north") / "node" / "node.key").read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    stamp = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    headers = {
        "flwr-timestamp": stamp,
        "flwr-signature": b64encode(key.sign(stamp.encode(), ec.ECDSA(hashes.SHA256()))).decode(),
        "flwr-public-key": b64encode(key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)).decode(),
        "content-type": "application/protobuf",
    }
    trusted = ssl.create_default_context(cafile=str(deployment.authority))
    url = f"https://127.0.0.1:{deployment.port}/v1/fleet/pull-messages"
    assert httpx.post(url, headers=headers, verify=trusted).status_code == 401
    assert "its clock differs by 3600 s; set both clocks with NTP" in deployment.log("coordinator")


def make_expired(authority: tuple[Path, Path], certificate: Path, key: Path) -> None:
    """A server certificate of that authority whose days are over."""
    make_server(authority, certificate.with_suffix(".new"), key, [], 1)
    fresh = read_certificate(certificate.with_suffix(".new"))
    issuer_key = load_pem_private_key(authority[1].read_bytes(), password=None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(fresh.issuer, fresh.subject, fresh.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=2)).not_valid_after(now - timedelta(days=1))
    for extension in fresh.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    certificate.write_bytes(builder.sign(issuer_key, hashes.SHA256()).public_bytes(Encoding.PEM))


@contextmanager
def listening(certificate: Path, key: Path) -> Iterator[int]:
    """A TLS server that shows this certificate and says nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    context.wrap_socket(server.accept()[0], server_side=True).close()
                except ssl.SSLError:
                    continue
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]


def test_an_expired_certificate_stops_coordinator_and_sites(
    deployment: Deployment, stranger: str, tmp_path: Path
) -> None:
    make_expired(deployment.directory.authority, tmp_path / "server.crt", tmp_path / "server.key")
    with listening(tmp_path / "server.crt", tmp_path / "server.key") as port:
        usual, deployment.port = deployment.port, port
        try:
            said = refused(deployment, stranger)
        finally:
            deployment.port = usual
    assert "the coordinator's certificate has expired" in said

    with Deployment(tmp_path / "other") as other:
        other.path.mkdir()
        other.make_keys()
        for path in other.directory.server:
            path.unlink()
        make_expired(other.directory.authority, *other.directory.server)
        done = other.coordinator("up", "--port", str(free_port()), "--control-port", str(free_port()))
    assert done.returncode == 2
    assert "expired on" in done.stderr


def test_a_taken_port_is_named(deployment: Deployment) -> None:
    done = deployment.coordinator("up", "--host", "127.0.0.1", "--port", str(deployment.port))
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{deployment.port} (Address already in use)" in done.stderr
