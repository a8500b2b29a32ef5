"""`fedsynth site dictionary`: describe the hospital's columns from its data dictionary. It takes no table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client.cli.options import console


def dictionary(
    hospital: Annotated[str, typer.Option(help="Name of this hospital.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Dictionary file (TOML) to write.", show_default=False)],
    description: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Description of the columns to import: REDCap data dictionary (CSV), Frictionless Table Schema, SDV "
            "metadata, JSON Schema or pandera schema. Never a table of patients. Default: an empty form.",
        ),
    ] = None,
    standard: Annotated[
        str | None,
        typer.Option(
            "--standard", help="Its standard: redcap, frictionless, sdv, json-schema, pandera. Default: recognized."
        ),
    ] = None,
) -> None:
    """Write a dictionary file: the columns of this hospital as its data dictionary describes them. No record is read.

    Fill it in, and send it to the coordinator, who compares all hospitals' files with `fedsynth study agree`.
    """
    from common.dictionary.dictionary import parse_dictionary, to_toml
    from common.dictionary.standards.registry import STANDARDS, import_file
    from common.dictionary.template import template
    from common.errors import StudyError
    from common.system.files import refuse_existing, write_synced, writing

    refuse_existing(out)
    if standard is not None and (description is None or standard not in STANDARDS):
        expected = ", ".join(STANDARDS)
        raise StudyError(f"--standard names the standard of --from: {expected}; correct it or leave it out")
    if description is None:
        text, outcome = template(hospital), "a commented form"
    else:
        imported = import_file(description, standard)
        source = f"{imported.title}: {description.name}"
        text = to_toml(hospital, imported.entries, source=source, notes=imported.notes)
        parse_dictionary(text, source=str(description))
        for line in imported.notes:
            console().print(f"note: {line}")
        outcome = f"{len(imported.entries)} columns of a {imported.title}"
    with writing(out):
        write_synced(out, text.encode())
    console().print(f"Wrote {out}: {outcome}. Complete it from the data dictionary, never from records.")
