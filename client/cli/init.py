"""`fedsynth site init`: create a site's folder and keys."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from client.cli.options import console, warn_of_rehearsal

if TYPE_CHECKING:
    from client.site.config import Site
    from client.site.creation import SiteKeys


def init(
    folder: Annotated[Path, typer.Argument(help="Folder to create for site.toml and the state.", show_default=False)],
    name: Annotated[str, typer.Option(help="Name of this hospital in studies.", show_default=False)],
    data: Annotated[
        Path,
        typer.Option(
            help="Table of the hospital, a file with an SQL query, or a study on OMOP databases.", show_default=False
        ),
    ],
    declared_rows: Annotated[
        int, typer.Option(min=1, help="Number of rows with two significant digits; it is public.", show_default=False)
    ],
    max_epsilon: Annotated[
        float, typer.Option(help="Lifetime privacy budget (epsilon) of the cohort.", show_default=False)
    ],
    delta: Annotated[float, typer.Option(help="Delta of the cohort, at most 1 / (10 x declared rows).")] = 1e-5,
    cohort: Annotated[
        str | None, typer.Option(help="Name of the cohort, whose budget this is. Default: the hospital's name.")
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(help="File that maps the table to a study's columns (`fedsynth site map`). Default: none."),
    ] = None,
    patient_column: Annotated[
        str | None, typer.Option(help="Column that identifies the patient, after the mapping. Default: none.")
    ] = None,
    one_row_per_patient: Annotated[
        bool, typer.Option("--one-row-per-patient", help="Declare that every row is another patient.")
    ] = False,
    allow_large_epsilon: Annotated[
        bool, typer.Option("--allow-large-epsilon", help="Allow a --max-epsilon above 20.")
    ] = False,
    read: Annotated[
        list[str] | None,
        typer.Option(
            "--read",
            help="How the table is written, as KEY=VALUE, instead of detecting it: separator, quote, decimal, "
            "thousands, encoding, comment, footer, sheet, database, schemas, timeout; repeatable.",
        ),
    ] = None,
    node: Annotated[
        Path | None,
        typer.Option(help="Folder for the SuperNode's key, away from the data. Default: FOLDER/node."),
    ] = None,
    witness: Annotated[
        Path | None,
        typer.Option(help="New file outside FOLDER, such as on a mounted share, that names the ledger's last entry."),
    ] = None,
    rehearsal: Annotated[
        bool,
        typer.Option(
            "--rehearsal", help="Use predictable noise, which protects no patient; for invented records only."
        ),
    ] = False,
) -> None:
    """Create a folder with site.toml, an empty ledger and keys that only this account can read.

    Private keys never leave this machine. Two public parts do: the identity, which belongs in the study, and the
    SuperNode's `.pub` file, which the coordinator enrolls.
    """
    from client.site.creation import check_source, create_site_keys, init_site, omop_settings
    from common.errors import SiteError
    from common.tables.formats import known_suffixes, suffix_of
    from common.tables.reading import parse_reading

    if suffix_of(data) is None:
        raise SiteError(f"--data '{data}' does not end in {known_suffixes()}; save the table as one of these")
    reading = parse_reading(read or [])
    check_source(data, mapping, reading, patient_column)
    settings = {
        "name": name,
        "cohort": cohort or name,
        "data": os.path.realpath(data),  # a loop of links stays as it is; `Path.resolve` raises
        "mapping": None if mapping is None else os.path.realpath(mapping),
        "patient_column": patient_column,
        **omop_settings(data),
        "one_row_per_patient": one_row_per_patient,
        "allow_large_epsilon": allow_large_epsilon,
        "declared_rows": declared_rows,
        "max_epsilon": max_epsilon,
        "delta": delta,
        "rehearsal": rehearsal,
        "read": reading.model_dump(exclude_unset=True) or None,
        "ledger": None if witness is None else {"witness": os.path.realpath(witness)},
    }
    site = init_site(folder, settings)
    _say(site, create_site_keys(site.state, node or folder / "node"), folder, data)
    warn_of_rehearsal(site)


def _say(site: Site, keys: SiteKeys, folder: Path, data: Path) -> None:
    """Print what was made, what it lacks, and what to tell the coordinator.

    Args:
        site: the new site.
        keys: its public keys.
        folder: its folder.
        data: its table, which need not exist yet.
    """
    from client.site.config import SITE

    out = console()
    out.print(f"Wrote {folder / SITE}. Read it, then run `fedsynth site import --site {folder}`.")
    if not data.exists():
        out.print(
            f"warning there is no file '{data}' yet; put the table there before `fedsynth site import`.", style="yellow"
        )
    for warning in site.warnings:
        out.print(f"warning {warning}.", style="yellow")
    if site.unit == "record":
        out.print(
            "note guarantees are about records, not patients: a patient with several rows has several times the risk. "
            "Give --patient-column, or --one-row-per-patient if you know that it is so."
        )
    out.print(f'For the study, under [[hospitals]]: identity = "{keys.identity}"')
    out.print(f"For the coordinator: {keys.node_public}")
    out.print("Compare these fingerprints by telephone, digit by digit:")
    out.print(f"  identity  {keys.identity_fingerprint}   with the coordinator, and with every partner itself")
    out.print(f"  SuperNode {keys.node_fingerprint}   with the coordinator")
    if site.witness is None:
        out.print(
            "note there is no [ledger] witness: an old copy of the state folder, from a backup or a snapshot, is "
            "noticed only if somebody shows a later receipt"
        )
