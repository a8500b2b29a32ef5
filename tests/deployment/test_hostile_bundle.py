"""Whoever reaches the control port submits code that runs in every SuperNode. It can ask, and nothing comes of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomli_w

from common.planning.planner import make_plan
from common.protocol.byte_form import to_bytes
from common.protocol.messages import CountsRequest, EnrollRequest, Request, RoundRequest
from common.protocol.signing import Identity, sign_request
from server.deploy.directory import CONNECTION
from server.deploy.superlink import flwr
from simulations.rehearsal.deployment import Deployment
from tests.testbeds.deployment import SITES, charges, rehearsal_study, running

pytestmark = pytest.mark.slow

CLIENT = '''
"""Sends whatever the bundle holds to the agent, and tells what came back."""
import json
from pathlib import Path

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp

from client.agent.transport import AgentSocket
from common.protocol.byte_form import from_bytes

app = ClientApp()


@app.query("attack")
def attack(message, context):
    told = {}
    for number, (request, signature) in enumerate(json.loads((Path(__file__).parent / "attacks.json").read_text())):
        socket = AgentSocket(Path(context.node_config["agent-socket"]), "", bytes.fromhex(signature), 30.0)
        reply = socket.handle(from_bytes(bytes.fromhex(request)))
        told[str(number)] = f"{reply.kind} {getattr(reply, 'reason', '')}".strip()
    return Message(RecordDict({"told": ConfigRecord(told)}), reply_to=message)
'''

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
    told = [dict(one.content["told"]) for one in grid.send_and_receive(asked, timeout=100)]
    Path(context.run_config["out"]).write_text(json.dumps(told))
"""


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with running(tmp_path_factory.mktemp("bed")) as one:
        yield one


def submit(deployment: Deployment, attacks: list[tuple[Request, bytes]], folder: Path) -> list[dict[str, str]]:
    """Run the bundle past `fedsynth coordinator`; what each agent told it, by attack."""
    bundle, out = folder / "hostile", folder / "told.json"
    bundle.mkdir()
    (bundle / "hostile_server.py").write_text(SERVER)
    (bundle / "hostile_client.py").write_text(CLIENT)
    (bundle / "attacks.json").write_text(
        json.dumps([(to_bytes(request).hex(), signature.hex()) for request, signature in attacks])
    )
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
    told: list[dict[str, str]] = json.loads(out.read_text())
    return told


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
        (recorded, sign_request(attacker, recorded)),
        (more, sign_request(coordinator, recorded)),  # a signature moved to another request
        (enroll("another-run"), sign_request(attacker, enroll("another-run"))),
        (
            CountsRequest("another-run", "histograms"),
            sign_request(attacker, CountsRequest("another-run", "histograms")),
        ),
        (enroll(run_id), sign_request(attacker, enroll(run_id))),
        (recorded, sign_request(coordinator, recorded)),
    ]
    attacks += [
        (CountsRequest(f"run-{number}", "histograms"), sign_request(attacker, recorded)) for number in range(20)
    ]
    told = submit(deployment, attacks, tmp_path)

    assert len(told) == len(SITES)
    for site in told:
        assert [site[str(number)] for number in range(7)] == [
            "unavailable",
            "unavailable",
            "unavailable",
            "query.enroll.reply study-not-approved",
            "unavailable",
            "query.enroll.reply signature-refused",
            "query.counts.reply",  # the stored reply, once more
        ]
        assert {site[str(number)] for number in range(7, len(attacks))} == {"unavailable"}
    assert charges(deployment, run_id) == before
    assert charges(deployment, "another-run") == dict.fromkeys(SITES, 0)
    for name in SITES:
        assert "signature-refused" in [entry.get("outcome") for entry in deployment.journal(name)]
