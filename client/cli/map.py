"""`fedsynth site map`: propose how a hospital's table becomes the columns of a study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from client.cli.options import StudyFile, console

if TYPE_CHECKING:
    from common.harmonization.proposing import MappingProposal


def map_table(
    study: StudyFile,
    data: Annotated[Path, typer.Option(help="Table of the hospital.", show_default=False)],
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("mapping.toml"),
    patient_column: Annotated[
        str | None, typer.Option(help="The table's column that identifies the patient. Default: by its name.")
    ] = None,
    dictionary: Annotated[
        Path | None,
        typer.Option(
            help="Data dictionary of the table, such as REDCap's: says what columns and codes mean. Default: none."
        ),
    ] = None,
    read: Annotated[
        list[str] | None,
        typer.Option("--read", help="How the table is written, as KEY=VALUE, as for `site init`; repeatable."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing mapping.")] = False,
) -> None:
    """Propose a mapping of this hospital's table to a study, for a person to check. Nothing leaves this machine.

    Names, labels and units are compared with the study's, also across English, German, French and Spanish. What it
    prints and writes shows cells of the table: it is for this hospital only.
    """
    from client.site.mapping import MappingOptions, write_mapping
    from common.study.study import read_study
    from common.tables.reading import parse_reading

    agreed = read_study(study)
    options = MappingOptions(out, force, patient_column, parse_reading(read or []), dictionary)
    proposal, notices = write_mapping(agreed, data, options)
    out_console = console()
    out_console.print(_overview(proposal))
    for notice in notices:
        out_console.print(f"note {notice}")
    unsure = sum(not item.is_sure for item in proposal.columns)
    verb = "needs" if unsure == 1 else "need"
    out_console.print(f"Wrote {out}. {unsure} of {len(proposal.columns)} columns {verb} a check: look for CHECK there.")
    out_console.print("It holds labels of your patients and stays here. Name it in site.toml (mapping), then import.")


def _overview(proposal: MappingProposal) -> Table:
    """Return a table of what is proposed."""
    table = Table("study", "your table", "confidence", "check", box=None, pad_edge=False)
    for item in proposal.columns:
        if item.suggestion is None:
            table.add_row(item.name, "", "none", "no column resembles it")
            continue
        checks = "; ".join(item.suggestion.checks)
        table.add_row(item.name, ", ".join(item.sources), f"{item.confidence} %", checks)
    return table
