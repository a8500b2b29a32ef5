from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from client.agent.envelope import HealthReply
from client.agent.transport import AgentSocket
from client.supernode.connection import UNKNOWN_KEY, Connection, check_certificate, explain
from client.supernode.supernode import SuperNode, find_agent
from common.errors import FederationError, StudyError
from common.protocol.signing import Identity, create_node_key, node_fingerprint
from server.deploy.certificates import make_authority
from tests.testbeds.agent_process import ROOT, AgentProcess
from tests.testbeds.site_requests import write_table


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def connection(tmp_path: Path) -> Connection:
    make_authority(tmp_path / "ca.crt", tmp_path / "ca.key")
    create_node_key(tmp_path / "node.key")
    return Connection(
        superlink=f"127.0.0.1:{free_port()}",
        authority=tmp_path / "ca.crt",
        key=tmp_path / "node.key",
        socket=tmp_path / "run" / "agent.sock",
        home=tmp_path / "flower",
        port=free_port(),
    )


def test_a_complete_connection_passes(connection: Connection) -> None:
    connection.check()
    assert connection.home.is_dir()


@pytest.mark.parametrize("address", ["coordinator", "coordinator:", ":8000", "https://coordinator", "coordinator:http"])
def test_an_address_without_host_or_port_is_refused(connection: Connection, address: str) -> None:
    with pytest.raises(StudyError, match="is not HOST:PORT"):
        replace(connection, superlink=address).check()


def test_an_agent_with_a_network_address_is_refused(connection: Connection) -> None:
    with pytest.raises(StudyError, match="no network address"):
        replace(connection, socket=Path("127.0.0.1:50051")).check()


def test_an_agent_of_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AgentSocket, "health", lambda self: HealthReply("9.9.9", "north", "serving"))
    with pytest.raises(FederationError, match=r"the agent runs fedsynth 9\.9\.9"):
        find_agent(tmp_path / "agent.sock")


def test_a_node_key_that_others_can_read_is_refused(connection: Connection) -> None:
    connection.key.chmod(0o644)
    with pytest.raises(StudyError, match="chmod 600"):
        connection.check()


def test_another_key_than_the_supernodes_is_refused(connection: Connection) -> None:
    # Flower would be started, and fail, again and again.
    connection.key.unlink()
    connection.key.with_name("node.key.pub").unlink()
    Identity.create(connection.key)
    with pytest.raises(StudyError, match="not a SuperNode's key"):
        connection.check()


def test_a_taken_port_is_named_before_anything_is_started(connection: Connection) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", connection.port))
        taken.listen()
        with pytest.raises(StudyError, match=f"port {connection.port} is in use on this machine; choose another"):
            connection.check()


def test_a_file_that_is_no_certificate_is_refused(connection: Connection) -> None:
    connection.authority.write_text("hello", encoding="utf-8")
    with pytest.raises(StudyError, match="is not a certificate"):
        check_certificate(connection.authority)
    with pytest.raises(StudyError, match="is not a certificate"):
        connection.check()


@pytest.mark.parametrize(("days", "words"), [(-2, "is not valid yet"), (36500, "has expired")])
def test_a_certificate_of_another_time_is_refused(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, days: int, words: str
) -> None:
    class Then:
        @staticmethod
        def now(zone: timezone) -> datetime:
            return datetime.now(zone) + timedelta(days=days)

    monkeypatch.setattr("client.supernode.connection.datetime", Then)
    with pytest.raises(StudyError, match=words):
        check_certificate(connection.authority)


def test_the_program_gets_no_secret_of_the_environment(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whatever app is submitted inherits it.
    monkeypatch.setenv("DATABASE_PASSWORD", "canary-4711")
    environment = connection.environment()
    assert "canary-4711" not in environment.values()
    assert environment["FLWR_TELEMETRY_ENABLED"] == "0"
    assert environment["FLWR_HOME"] == str(connection.home)


def test_the_command_listens_on_loopback_only(connection: Connection) -> None:
    command = connection.command("north")
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--auth-supernode-private-key"] == str(connection.key)
    assert options["--root-certificates"] == str(connection.authority)
    assert options["--host"] == "127.0.0.1"
    assert options["--node-config"] == f'site="north" agent-socket="{connection.socket}"'
    assert "--insecure" not in command
    known = subprocess.run([command[0], "--help"], capture_output=True, text=True, check=True).stdout
    assert not [option for option in options if option not in known]


@pytest.mark.parametrize(
    ("lines", "meaning"),
    [
        ("[SSL: CERTIFICATE_VERIFY_FAILED] unable to get local issuer certificate", "is not signed by"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate has expired", "has expired"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate is not yet valid", "check this machine's clock"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] Hostname mismatch, certificate is not valid for 'x'", "is not for"),
        ("Client error '401 Unauthorized' for url", "set this machine's clock"),
        ("ERROR: [Errno 98] Address already in use", "is in use on this machine"),
        ("ERROR: Exit Code: 302\nUnable to parse the private key file.", "Flower's exit code 302"),
    ],
)
def test_known_last_lines_are_explained(connection: Connection, lines: str, meaning: str) -> None:
    assert meaning in str(explain(lines, connection))


def test_an_unknown_key_is_explained_with_its_fingerprint(connection: Connection) -> None:
    reason = str(explain("[code: 2004] Failed to activate SuperNode.", connection))
    assert node_fingerprint(connection.key.with_name("node.key.pub")) in reason


def test_other_last_lines_explain_nothing(connection: Connection) -> None:
    assert explain("SuperNode terminated gracefully. 401 bytes", connection) is None
    assert explain("ERROR: Exit Code: 305\nFailed to initialize the connection to the SuperLink.", connection) is None


def test_a_site_without_an_agent_does_not_join(connection: Connection) -> None:
    with pytest.raises(FederationError, match="start `fedsynth site agent`"):
        find_agent(connection.socket, patience_s=0)


class TestStaying:
    """When the program is started again, and when the command ends, with a program that ends at once."""

    @pytest.fixture(autouse=True)
    def _no_waiting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("client.supernode.supernode.RETRY_S", 0.0)

    def starts(self, node: SuperNode, *ends: str, stop: bool = True) -> int:
        """Return how often the program starts; an end is its last lines. After the last end the command is stopped."""
        left = list(ends)

        def run_once(site: str, environment: object) -> str:
            lines = left.pop(0)
            if not left and stop:
                node._stop.set()
            return lines

        node._run_once = run_once  # type: ignore[method-assign]
        node._stay("north", {})
        return len(ends) - len(left)

    def test_unusable_settings_end_the_command_first(
        self, connection: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[Path] = []
        monkeypatch.setattr("client.supernode.supernode.find_agent", asked.append)
        with pytest.raises(StudyError, match="is not HOST:PORT"):
            SuperNode(replace(connection, superlink="coordinator")).run()
        assert not asked

    def test_the_program_is_restarted_until_stopped(self, connection: Connection) -> None:
        assert self.starts(SuperNode(connection), "", UNKNOWN_KEY, "") == 3

    def test_a_lasting_reason_ends_the_command(self, connection: Connection) -> None:
        with pytest.raises(FederationError, match="refuses this site's signature"):
            self.starts(SuperNode(connection), "401 Unauthorized", stop=False)

    def test_a_stopped_program_needs_no_reason(self, connection: Connection) -> None:
        assert self.starts(SuperNode(connection), "401 Unauthorized") == 1

    def test_a_signal_while_waiting_ends_the_command(
        self, connection: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        node = SuperNode(connection)
        monkeypatch.setattr(node._stop, "wait", lambda seconds: True)
        assert self.starts(node, "", "", stop=False) == 1


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[AgentProcess]:
    one = AgentProcess(tmp_path)
    write_table(one)
    one.start()
    yield one
    one.kill()


JOIN = """
import json, sys
from pathlib import Path
from client.supernode.supernode import SuperNode
from client.supernode.connection import Connection

superlink, authority, key, socket, home, port = json.loads(sys.argv[1])
SuperNode(Connection(superlink, Path(authority), Path(key), Path(socket), Path(home), int(port))).run()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_of_a_supernode_outlives_its_command(
    connection: Connection, agent: AgentProcess, number: signal.Signals
) -> None:
    # A SuperNode left behind keeps its port and its key's place at the coordinator.
    values = [
        connection.superlink,
        connection.authority,
        connection.key,
        agent.socket,
        connection.home,
        connection.port,
    ]
    command = [sys.executable, "-c", JOIN, json.dumps([str(value) for value in values])]
    log = (connection.home.parent / "join.log").open("wb")
    process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": str(ROOT)})
    end = time.monotonic() + 60
    while not any("superexec" in name for name in descendants(process.pid).values()):  # the program's own child is up
        assert time.monotonic() < end, (connection.home.parent / "join.log").read_text(encoding="utf-8")
        time.sleep(0.1)
    started = set(descendants(process.pid))
    assert len(started) >= 2
    process.send_signal(number)
    assert process.wait(60) == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    end = time.monotonic() + 30
    while left := started & set(running()):
        assert time.monotonic() < end, left
        time.sleep(0.1)
    log.close()


def running() -> dict[int, tuple[int, str]]:
    """Parent and command line of every process, by number."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:  # it has just ended
            continue
        if parent[0] != "Z":
            found[int(folder.name)] = int(parent[1]), command
    return found


def descendants(process: int) -> dict[int, str]:
    """Command lines of all that a process started, directly or not."""
    everything, more = running(), {process}
    found: dict[int, str] = {}
    while more:
        children = {number for number, (parent, _) in everything.items() if parent in more}
        found |= {number: everything[number][1] for number in children}
        more = children
    return found
