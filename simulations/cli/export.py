"""`fedsynth study export`: write a study's columns by another tool's standard. It reads the study, and no table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simulations.cli.console import note, out_console
from simulations.cli.options import StudyArgument


def export(
    study: StudyArgument,
    to: Annotated[str, typer.Option(help="Standard: sdv, frictionless or json-schema.", show_default=False)],
    out: Annotated[Path, typer.Option(help="File (JSON) to write.", show_default=False)],
) -> None:
    """Write the columns of a study as SDV metadata, Frictionless Table Schema or JSON Schema. No record is read.

    What the standard cannot hold is said on standard error.
    """
    from common.dictionary.standards.registry import WRITTEN
    from common.dictionary.standards.registry import export as export_columns
    from common.errors import StudyError
    from common.study.study import read_study
    from common.system.files import refuse_existing, write_synced, writing

    if to not in WRITTEN:
        raise StudyError(f"--to '{to}' is not a standard; choose from {', '.join(WRITTEN)}")
    refuse_existing(out)
    columns = read_study(study).declared.columns
    exported = export_columns(columns, to)
    with writing(out):
        write_synced(out, exported.text.encode())
    note(exported.losses)
    out_console.print(f"Wrote {out}: {len(columns)} columns.", markup=False, soft_wrap=True)
