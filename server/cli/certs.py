"""`fedsynth coordinator certs`: create certificates and keys."""

from __future__ import annotations

from typing import Annotated

import typer

from server.cli.options import HOME, HomeFolder


def certs(
    host: Annotated[
        list[str] | None, typer.Option(help="Name or address by which sites reach this machine; repeatable.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="Validity of the server certificate, in days.")] = 365,
    home: HomeFolder = HOME,
) -> None:
    """Create the certificate authority, the server certificate and the signing key. Existing ones are kept.

    Give ca.crt and the coordinator's public key to the sites, and compare both fingerprints over another channel.
    """
    from common.protocol.signing import Identity, fingerprint
    from server.deploy.certificates import certificate_fingerprint
    from server.deploy.directory import CoordinatorDirectory
    from server.deploy.setup import create_missing_keys

    folder = CoordinatorDirectory(home.resolve())
    created = create_missing_keys(folder, host or [], days)
    public = Identity.load(folder.key).public
    typer.echo(f"Created: {', '.join(created)}")
    typer.echo(f"For sites: {folder.authority[0]}\n  SHA-256 {certificate_fingerprint(folder.authority[0])}")
    typer.echo(f'For studies: [federation] coordinator = "{public}"\n  fingerprint {fingerprint(public)}')
    typer.echo("Read both fingerprints to every site by telephone, or hand them over on paper.")
