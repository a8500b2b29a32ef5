"""Which SuperNodes may connect: enroll a site's key at the SuperLink, and revoke it. The SuperLink keeps no names."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from common.errors import StudyError
from common.protocol.signing import node_fingerprint
from common.system.folder import RunFolder
from server.deploy.certificates import check_not_own
from server.deploy.directory import CONNECTION, CoordinatorDirectory
from server.deploy.superlink import flwr

NODES = "nodes.json"


class Node(TypedDict):
    """An enrolled SuperNode: Flower's number of it and the fingerprint of its key."""

    node: str
    fingerprint: str


def enrolled(directory: CoordinatorDirectory) -> dict[str, Node]:
    """Return the enrolled SuperNodes by site."""
    nodes: dict[str, Node] = RunFolder(directory.path).read_json(NODES) or {}
    return nodes


def enroll_node(directory: CoordinatorDirectory, key: Path, site: str) -> Node:
    """Let the holder of a node key connect as a site's SuperNode.

    Args:
        directory: the coordinator's folder.
        key: the site's public node key, OpenSSH form.
        site: name in lists, and for `revoke_node`.

    Raises:
        StudyError: the site has an enrolled key, or the key is the coordinator's own or not a public key.
        FederationError: the SuperLink cannot be reached, or knows the key already.
    """
    fingerprint, nodes = node_fingerprint(key), enrolled(directory)
    if site in nodes:
        raise StudyError(
            f"'{site}' is enrolled with the key {nodes[site]['fingerprint']}; to replace it, run "
            f"`fedsynth coordinator revoke {site}` first"
        )
    check_not_own(key, [directory.authority[0], directory.server[0]])
    answer = flwr(directory, "supernode", "register", str(key.resolve()), CONNECTION, "--name", site)
    node = Node(node=str(answer["node-id"]), fingerprint=fingerprint)
    RunFolder(directory.path).write_json(NODES, nodes | {site: node})
    return node


def revoke_node(directory: CoordinatorDirectory, site: str) -> Node:
    """Remove a site's key from the SuperLink: from then on its SuperNode is refused, connected or not.

    Raises:
        StudyError: no key is enrolled for the site.
        FederationError: the SuperLink cannot be reached; the key stays enrolled.
    """
    nodes = enrolled(directory)
    if site not in nodes:
        known = ", ".join(sorted(nodes)) or "none"
        raise StudyError(f"no key of '{site}' is enrolled at '{directory.path}'; enrolled sites: {known}")
    node = nodes.pop(site)
    flwr(directory, "supernode", "unregister", node["node"], CONNECTION)
    RunFolder(directory.path).write_json(NODES, nodes)
    return node
