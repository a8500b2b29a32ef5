"""`fedsynth site partner`: pin the identity keys of other hospitals, each compared by telephone with that hospital."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from client.cli.options import HERE, SiteFile, console

partner_app = typer.Typer(
    no_args_is_help=True, help="Pin the keys of partners. Noise is shared only with partners that are pinned."
)

PartnerName = Annotated[str, typer.Argument(help="The partner's name in studies.", show_default=False)]


@partner_app.command()
def add(
    name: PartnerName,
    fingerprint: Annotated[
        list[str],
        typer.Argument(help="Eight groups of four digits, as the partner reads them to you.", show_default=False),
    ],
    site: SiteFile = HERE,
) -> None:
    """Pin a partner's fingerprint. Type what the partner itself reads to you over the telephone.

    Do not copy it from a study or from `site approve`: the coordinator wrote it there. No command pins by itself.
    """
    from datetime import UTC, datetime

    from client.site.config import read_site
    from client.site.state import check_own_state, own_fingerprint

    config = read_site(site)
    check_own_state(config)
    today = datetime.now(UTC).date()
    pin = config.partners.add(name, " ".join(fingerprint), today, own={config.name: own_fingerprint(config)})
    console().print(f"Pinned {name}: {pin.fingerprint}, since {pin.since}, in {config.partners.path}.")


@partner_app.command("list")
def show(site: SiteFile = HERE) -> None:
    """List the pinned partners, and this hospital's own fingerprint for reading to them."""
    from client.site.config import read_site
    from client.site.state import own_fingerprint

    config = read_site(site)
    pins, own, out = config.partners.pins(), own_fingerprint(config), console()
    if own is not None:
        out.print(f"Read this to partners who call you: {config.name}: {own}")
    if not pins:
        out.print("No partner is pinned, so this hospital takes part in studies with local noise only.")
        return
    table = Table("Partner", "Fingerprint", "Since")
    for name, pin in sorted(pins.items()):
        table.add_row(name, pin.fingerprint, str(pin.since))
    out.print(table)


@partner_app.command()
def remove(name: PartnerName, site: SiteFile = HERE) -> None:
    """Remove a partner's pin. It counts at once: runs under way that share noise with this partner get no answer."""
    from client.site.config import read_site
    from client.site.state import check_own_state

    config = read_site(site)
    check_own_state(config)
    config.partners.remove(name)
    console().print(f"Removed {name}. No run shares noise with it until it is pinned again.")
