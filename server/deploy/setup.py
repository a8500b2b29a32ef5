"""Set up a coordinator: create the certificates and the signing key that its folder lacks."""

from __future__ import annotations

from collections.abc import Sequence

from common.errors import StudyError
from common.protocol.signing import Identity
from server.deploy.certificates import check_hosts, make_authority, make_server
from server.deploy.directory import CoordinatorDirectory


def create_missing_keys(directory: CoordinatorDirectory, hosts: Sequence[str], days: int) -> list[str]:
    """Create the certificate authority, the server certificate and the signing key; existing ones are kept.

    Args:
        directory: the coordinator's folder, created where it does not exist.
        hosts: names and addresses by which sites reach the coordinator.
        days: validity of the server certificate.

    Returns:
        names of what was created.

    Raises:
        StudyError: nothing is missing, or a file cannot be written.
    """
    check_hosts(hosts)
    directory.make()
    created = []
    if not any(path.exists() for path in directory.authority):
        make_authority(*directory.authority)
        created.append("certificate authority")
    if not any(path.exists() for path in directory.server):
        make_server(directory.authority, *directory.server, hosts, days)
        created.append("server certificate")
    if not directory.key.exists():
        Identity.create(directory.key)
        created.append("signing key")
    if not created:
        raise StudyError(f"'{directory.path / 'certs'}' is complete; to replace a file, move it away first")
    return created
