"""`fedsynth site check`: compare a hospital's table with a study."""

from __future__ import annotations

from client.cli.options import HERE, SiteFile, StudyFile, console, warn_of_rehearsal


def check(study: StudyFile, site: SiteFile = HERE) -> None:
    """Check this hospital's table against a study, before anything is agreed.

    Notices state exact row counts: they are for this hospital only.
    """
    from client.consent.statement import partner_keys
    from client.site.config import read_site
    from client.site.records import check_data
    from client.site.state import check_state
    from common.study.study import read_study

    config, agreed = read_site(site), read_study(study)
    check_state(config)
    out = console()
    for notice in check_data(config, agreed):
        out.print(f"note {notice}")
    out.print(f"{config.name}: the table fits study {agreed.name}.")
    for line in partner_keys(agreed, config.name, config.partners.of(agreed, config.name)):
        out.print(line)
    if agreed.about.origin == "drafted":
        out.print(
            "note this study's schema was drafted from records; this hospital accepts only studies written by people"
        )
    warn_of_rehearsal(config)
