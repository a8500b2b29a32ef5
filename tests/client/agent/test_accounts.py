"""Three accounts on one machine: the agent's owns the data, the relay's may ask, a stranger's may not even do that.

The agent has no network either, as in `docker/compose.site.yaml`. Needs root to change accounts; elsewhere unproven.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testbeds.agent_process import ROOT, AgentProcess
from tests.testbeds.site_requests import Coordinator, histograms, write_table

AGENT, RELAY, STRANGER, GROUP = 20001, 20002, 20004, 20003
"""Account numbers that own nothing on this machine, and the group that agent and relay share."""

OURS = Coordinator.new()

LOOK_AROUND = """
import json, os, sys
from pathlib import Path
from client.agent.transport import AgentSocket

data, state, socket = map(Path, sys.argv[1:4])

def attempt(deed):
    try:
        deed()
    except OSError as problem:
        return type(problem).__name__
    return "done"

found = {
    "data": attempt(data.read_bytes),
    "state": attempt(lambda: os.listdir(state)),
    "ledger": attempt((state / "ledger.sqlite").read_bytes),
    "replace the socket": attempt(socket.unlink),
    "put a file beside it": attempt(socket.with_name("x").touch),
}
try:
    found["agent"] = AgentSocket(socket, timeout_s=5).health().hospital
except PermissionError:
    found["agent"] = "PermissionError"
found["heavy"] = sorted({"torch", "pandas", "flwr"} & set(sys.modules))
print(json.dumps(found))
"""


def account(user: int, group: int) -> tuple[str, ...]:
    return ("setpriv", "--reuid", str(user), "--regid", str(group), "--clear-groups", "--no-new-privs")


@pytest.fixture
def agent() -> Iterator[AgentProcess]:
    if os.geteuid() != 0 or not (shutil.which("setpriv") and shutil.which("unshare")):
        pytest.skip("unproven: changing accounts needs root and util-linux")
    command = [*account(RELAY, GROUP), sys.executable, "-c", "import grpc, client.agent.transport"]
    if subprocess.run(command, cwd=ROOT, capture_output=True).returncode != 0:
        pytest.skip("unproven: other accounts cannot run this interpreter")
    folder = Path(tempfile.mkdtemp(prefix="fedsynth-accounts-"))
    folder.chmod(0o711)
    site = AgentProcess(folder, prefix=("unshare", "--net", *account(AGENT, AGENT)))
    write_table(site)
    site.state.mkdir(mode=0o700)
    site.socket.parent.mkdir()
    os.chown(site.data, AGENT, AGENT)
    site.data.chmod(0o600)
    os.chown(site.state, AGENT, AGENT)
    os.chown(site.socket.parent, AGENT, GROUP)
    site.socket.parent.chmod(0o2750)  # what is made in it belongs to the shared group
    site.start()
    yield site
    site.kill()
    shutil.rmtree(folder)


def look_around(agent: AgentProcess, user: int, group: int) -> dict[str, object]:
    command = [*account(user, group), sys.executable, "-c", LOOK_AROUND, agent.data, agent.state, agent.socket]
    done = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_the_relays_account_can_ask_the_agent_and_read_nothing(agent: AgentProcess) -> None:
    assert look_around(agent, RELAY, GROUP) == {
        "data": "PermissionError",
        "state": "PermissionError",
        "ledger": "PermissionError",
        "replace the socket": "PermissionError",
        "put a file beside it": "PermissionError",
        "agent": "north",
        "heavy": [],
    }


def test_an_account_outside_the_group_cannot_even_ask(agent: AgentProcess) -> None:
    found = look_around(agent, STRANGER, STRANGER)
    assert found.pop("heavy") == []
    assert set(found.values()) == {"PermissionError"}


def test_an_agent_without_any_network_serves_its_socket(agent: AgentProcess) -> None:
    assert agent.process is not None
    devices = Path(f"/proc/{agent.process.pid}/net/dev").read_text(encoding="utf-8").splitlines()[2:]
    assert [line.split(":")[0].strip() for line in devices] == ["lo"]
    assert type(OURS.ask(agent, OURS.enroll())).__name__ == "EnrollReply"
    assert type(OURS.ask(agent, histograms())).__name__ == "CountsReply"
    assert agent.data.stat().st_uid == AGENT
    assert agent.socket.stat().st_gid == GROUP
