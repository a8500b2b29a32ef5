"""Every key of a deployment is replaced as docs/deploy.md says, and a run follows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from client.site.creation import create_site_keys
from common.protocol.signing import IDENTITY
from simulations.rehearsal.deployment import Deployment
from simulations.rehearsal.processes import output_of
from tests.testbeds.deployment import SITES, rehearsal_study, running

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with running(tmp_path_factory.mktemp("bed"), training={"rounds": 0}) as one:
        yield one


@pytest.fixture
def new_keys(tmp_path: Path) -> Path:
    """A folder with a new identity and a new node key, as `site init` makes them."""
    (tmp_path / "node").mkdir()
    create_site_keys(tmp_path, tmp_path / "node")
    return tmp_path


def replace(old: Path, new: Path) -> None:
    for key, successor in ((old, new), (old.with_name(f"{old.name}.pub"), new.with_name(f"{new.name}.pub"))):
        shutil.move(successor, key)


def run_once(deployment: Deployment) -> None:
    study = rehearsal_study(deployment.public, training={"rounds": 0})
    assert "Results: " in deployment.run(deployment.propose(deployment.identified(study)))


def test_a_revoked_node_is_refused_until_its_new_key_is_enrolled(deployment: Deployment, new_keys: Path) -> None:
    key = deployment.site("north") / "node" / "node.key"
    output_of(deployment.coordinator("revoke", "north"))
    deployment.await_that(
        lambda: "the coordinator does not know this site's key" in deployment.log("north-node"), "the SuperNode refused"
    )
    deployment.end("north-node")
    again = deployment.coordinator("enroll", f"{key}.pub", "--name", "north")
    assert "Public key already in use" in again.stderr  # revoked for good

    replace(key, new_keys / "node" / "node.key")
    output_of(deployment.coordinator("enroll", f"{key}.pub", "--name", "north"))
    deployment.start_supernode("north")
    run_once(deployment)


def test_identity_signing_key_and_authority_are_replaced(deployment: Deployment, new_keys: Path) -> None:
    deployment.end("north-agent")
    replace(deployment.site("north") / IDENTITY, new_keys / IDENTITY)
    deployment.start_agent("north")

    for name in SITES:
        deployment.end(f"{name}-node")
    deployment.end("coordinator")
    before = deployment.public
    for path in (*deployment.directory.authority, *deployment.directory.server, deployment.directory.key):
        path.unlink()
    deployment.directory.key.with_name(f"{deployment.directory.key.name}.pub").unlink()
    assert deployment.make_keys() != before
    deployment.start_coordinator()
    for name in SITES:
        deployment.start_supernode(name)
    run_once(deployment)
