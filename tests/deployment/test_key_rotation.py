"""A site's node key is revoked while it is connected, and replaced; the coordinator's certificate is renewed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from common.protocol.signing import create_node_key
from simulations.rehearsal.deployment import Deployment
from simulations.rehearsal.processes import output_of
from tests.testbeds.deployment import rehearsal_study, running

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with running(tmp_path_factory.mktemp("bed")) as one:
        yield one


def test_a_revoked_node_is_refused_until_its_new_key_is_enrolled(deployment: Deployment) -> None:
    public = deployment.site("north") / "node" / "node.key.pub"
    output_of(deployment.coordinator("revoke", "north"))
    deployment.await_that(
        lambda: "the coordinator does not know this site's key" in deployment.log("north-node"), "the SuperNode refused"
    )
    deployment.end("north-node")
    assert deployment.coordinator("enroll", str(public), "--name", "north").returncode != 0  # revoked for good

    for path in (public, public.with_suffix("")):
        path.unlink()
    create_node_key(public.with_suffix(""))
    output_of(deployment.coordinator("enroll", str(public), "--name", "north"))
    deployment.start_supernode("north")
    run_id = deployment.propose(deployment.identified(rehearsal_study(deployment.public)))
    assert "Results: " in deployment.run(run_id)


def test_a_renewed_server_certificate_needs_nothing_from_the_sites(deployment: Deployment) -> None:
    deployment.end("coordinator")
    for path in deployment.directory.server:
        path.unlink()
    deployment.make_keys()
    deployment.start_coordinator()
    run_id = deployment.propose(deployment.identified(rehearsal_study(deployment.public)))
    assert "Results: " in deployment.run(run_id)
