from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.errors import FederationError, StudyError
from common.protocol.signing import create_node_key, node_fingerprint
from server.deploy import enrollment
from server.deploy.directory import CoordinatorDirectory
from server.deploy.enrollment import enroll_node, enrolled, revoke_node
from server.deploy.setup import create_missing_keys


class SuperLink:
    """Answers `flwr supernode register | unregister`, or is away."""

    def __init__(self) -> None:
        self.nodes: list[str] = []
        self.is_up = True

    def flwr(self, directory: CoordinatorDirectory, *arguments: str) -> dict[str, Any]:
        if not self.is_up:
            raise FederationError("the SuperLink cannot be reached")
        if arguments[1] == "register":
            self.nodes.append(str(41 + len(self.nodes)))
            return {"success": True, "node-id": int(self.nodes[-1])}
        self.nodes.remove(arguments[2])
        return {"success": True}


@pytest.fixture
def superlink(monkeypatch: pytest.MonkeyPatch) -> SuperLink:
    superlink = SuperLink()
    monkeypatch.setattr(enrollment, "flwr", superlink.flwr)
    return superlink


@pytest.fixture
def directory(tmp_path: Path) -> CoordinatorDirectory:
    directory = CoordinatorDirectory(tmp_path / "coordinator")
    create_missing_keys(directory, ["localhost"], 30)
    return directory


def public_key(path: Path) -> Path:
    create_node_key(path)
    return path.with_name(f"{path.name}.pub")


def test_a_revoked_site_is_gone_at_the_superlink_and_in_the_list(
    directory: CoordinatorDirectory, superlink: SuperLink, tmp_path: Path
) -> None:
    key = public_key(tmp_path / "north.key")
    enroll_node(directory, key, "north")
    enroll_node(directory, public_key(tmp_path / "south.key"), "south")
    assert superlink.nodes == ["41", "42"]
    assert revoke_node(directory, "north") == {"node": "41", "fingerprint": node_fingerprint(key)}
    assert superlink.nodes == ["42"]
    assert list(enrolled(directory)) == ["south"]
    with pytest.raises(StudyError, match=r"no key of 'north' is enrolled.*enrolled sites: south"):
        revoke_node(directory, "north")


def test_a_second_key_of_a_site_waits_until_the_first_is_revoked(
    directory: CoordinatorDirectory, superlink: SuperLink, tmp_path: Path
) -> None:
    enroll_node(directory, public_key(tmp_path / "first.key"), "north")
    second = public_key(tmp_path / "second.key")
    with pytest.raises(StudyError, match="coordinator revoke north"):
        enroll_node(directory, second, "north")
    revoke_node(directory, "north")
    assert enroll_node(directory, second, "north")["fingerprint"] == node_fingerprint(second)


def test_a_key_stays_listed_where_the_superlink_is_away(
    directory: CoordinatorDirectory, superlink: SuperLink, tmp_path: Path
) -> None:
    enroll_node(directory, public_key(tmp_path / "north.key"), "north")
    superlink.is_up = False
    with pytest.raises(FederationError):
        revoke_node(directory, "north")
    assert list(enrolled(directory)) == ["north"]
