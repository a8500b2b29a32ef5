"""`fedsynth site dictionary`: describe the hospital's columns from its data dictionary. It takes no table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client.cli.options import console


def dictionary(
    hospital: Annotated[str, typer.Option(help="Name of this hospital.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Dictionary file (TOML) to write.", show_default=False)],
) -> None:
    """Write a dictionary file: the columns of this hospital as its data dictionary describes them. No record is read.

    Fill it in, and send it to the coordinator, who compares all hospitals' files with `fedsynth study agree`.
    """
    from common.dictionary.template import template
    from common.errors import StudyError
    from common.system.files import write_synced, writing

    if out.exists():
        raise StudyError(f"'{out}' exists; choose another --out or remove it")
    with writing(out):
        write_synced(out, template(hospital).encode())
    console().print(f"Wrote {out}: a commented form. Fill it in from the data dictionary, never from records.")
