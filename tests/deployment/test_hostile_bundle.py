"""Whoever reaches the control port submits an app. No site runs it, and what its account can ask comes to nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomli_w

from client.agent.transport import AgentSocket
from common.planning.planner import make_plan
from common.protocol.messages import CountsRequest, EnrollRequest, Request, RoundRequest
from common.protocol.seals import seal_request
from common.protocol.signing import Identity
from server.deploy.directory import CONNECTION
from server.deploy.superlink import flwr
from simulations.rehearsal.deployment import Deployment
from tests.testbeds.deployment import SITES, charges, rehearsal_study, running

pytestmark = pytest.mark.slow

CLIENT = """
from pathlib import Path

from flwr.app import Message, RecordDict
from flwr.clientapp import ClientApp

Path({marker!r}).touch()  # where a site imports this file
app = ClientApp()


@app.query("attack")
def attack(message, context):
    return Message(RecordDict(), reply_to=message)
"""

SERVER = """
import json
from pathlib import Path

from flwr.app import Message, RecordDict
from flwr.serverapp import ServerApp

app = ServerApp()


@app.main()
def main(grid, context):
    nodes = grid.get_node_ids()
    asked = [Message(RecordDict(), dst_node_id=node, message_type="query.attack", ttl=120) for node in nodes]
    replies = list(grid.send_and_receive(asked, timeout=100))
    errors = [one.error.reason if one.has_error() else "" for one in replies]
    Path(context.run_config["out"]).write_text(json.dumps(errors))
"""


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with running(tmp_path_factory.mktemp("bed")) as one:
        yield one


def submit(deployment: Deployment, folder: Path) -> list[str]:
    """Run a bundle with code past `fedsynth coordinator`; the error of every site's reply, empty where it ran."""
    bundle, out = folder / "hostile", folder / "told.json"
    bundle.mkdir()
    (bundle / "hostile_server.py").write_text(SERVER)
    (bundle / "hostile_client.py").write_text(CLIENT.format(marker=str(folder / "marker")))
    settings = {
        "project": {"name": "hostile", "version": "1.0.0", "description": "hostile", "license": "Apache-2.0"},
        "tool": {
            "flwr": {
                "app": {
                    "publisher": "hostile",
                    "components": {"serverapp": "hostile_server:app", "clientapp": "hostile_client:app"},
                    "config": {"out": str(out)},
                }
            }
        },
    }
    (bundle / "pyproject.toml").write_text(tomli_w.dumps(settings))
    flwr(deployment.directory, "run", str(bundle), CONNECTION)
    end = time.monotonic() + 120
    while not out.exists():
        assert time.monotonic() < end, deployment.log("coordinator")[-3000:]
        time.sleep(0.5)
    time.sleep(0.5)
    told: list[str] = json.loads(out.read_text())
    return told


def test_no_site_runs_or_keeps_code_that_a_coordinator_submits(deployment: Deployment, tmp_path: Path) -> None:
    journals = {name: deployment.journal(name) for name in SITES}
    told = submit(deployment, tmp_path)
    assert len(told) == len(SITES)
    assert all("another app than fedsynth's; it was not installed" in error for error in told)
    assert not (tmp_path / "marker").exists()
    assert not [*(deployment.path / "sites").rglob("hostile_client.py")]
    assert {name: deployment.journal(name) for name in SITES} == journals  # no agent heard of it


def ask(deployment: Deployment, site: str, request: Request, signature: bytes) -> str:
    """What the agent replies to bytes from the relay's account, by kind and reason."""
    socket = AgentSocket(deployment.site(site) / "run" / "agent.sock", "", signature, 30.0)
    reply = socket.handle(request)
    return f"{reply.kind} {getattr(reply, 'reason', '')}".strip()


def test_forged_and_replayed_requests_cost_nothing(deployment: Deployment, tmp_path: Path) -> None:
    study = deployment.identified(rehearsal_study(deployment.public))
    run_id = deployment.propose(study)
    deployment.run(run_id)
    before = charges(deployment, run_id)

    coordinator = Identity.load(deployment.directory.key)
    attacker = Identity.create(tmp_path / "attacker.key")
    own = study.amended(federation={"coordinator": attacker.public})
    recorded = CountsRequest(run_id, "histograms")  # what an eavesdropper has seen, with its signature
    more = RoundRequest(run_id, 2, {}, {})

    def enroll(run: str) -> EnrollRequest:
        return EnrollRequest(run, own.to_toml(), own.fingerprint, make_plan(own).to_json(), "{}")

    attacks: list[tuple[Request, bytes]] = [
        (recorded, b""),
        (recorded, seal_request(attacker, recorded)),
        (more, seal_request(coordinator, recorded)),  # a signature moved to another request
        (enroll("another-run"), seal_request(attacker, enroll("another-run"))),
        (
            CountsRequest("another-run", "histograms"),
            seal_request(attacker, CountsRequest("another-run", "histograms")),
        ),
        (enroll(run_id), seal_request(attacker, enroll(run_id))),
        (recorded, seal_request(coordinator, recorded)),
    ]
    attacks += [
        (CountsRequest(f"run-{number}", "histograms"), seal_request(attacker, recorded)) for number in range(20)
    ]
    for name in SITES:
        told = [ask(deployment, name, request, signature) for request, signature in attacks]
        assert told[:7] == [
            "unavailable",
            "unavailable",
            "unavailable",
            "query.enroll.reply study-not-approved",
            "unavailable",
            "query.enroll.reply signature-refused",
            "query.counts.reply",  # the stored reply, once more
        ]
        assert set(told[7:]) == {"unavailable"}
    assert charges(deployment, run_id) == before
    assert charges(deployment, "another-run") == dict.fromkeys(SITES, 0)
    for name in SITES:
        assert "signature-refused" in [entry.get("outcome") for entry in deployment.journal(name)]
