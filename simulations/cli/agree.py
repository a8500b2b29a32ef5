"""`fedsynth study agree`: compare hospitals' dictionaries and propose a schema. It reads dictionaries, and no table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simulations.cli.console import note, out_console, warn


def agree(
    dictionaries: Annotated[
        list[Path],
        typer.Argument(
            help="Dictionary files (TOML), one per hospital, as `site dictionary` writes.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option(help="Study file to write.", show_default=False)],
    page: Annotated[Path | None, typer.Option(help="HTML page for the meeting to write. Default: none.")] = None,
    mappings: Annotated[
        Path | None,
        typer.Option(help="New folder for a first mapping of every hospital (docs/harmonize.md). Default: none."),
    ] = None,
    target: Annotated[str | None, typer.Option(help="Column to predict. Default: a column of few labels.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the study. Default: that of --out.")] = None,
    keep_partial: Annotated[
        bool, typer.Option("--keep-partial", help="Keep columns that some hospitals lack; they are missing there.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Write no study while anything is open; the page is written.")
    ] = False,
) -> None:
    """Compare what hospitals' data dictionaries say about their columns, and propose a study. No record is read.

    Exit code 0 if nothing is open, 7 if people have to decide. The study then holds proposals, and says so.
    """
    from common.dictionary.agreement import agree as compare
    from common.dictionary.agreement_text import lines_of
    from common.dictionary.dictionary import read_dictionary
    from common.errors import UndecidedError
    from common.tables.roles import study_warnings
    from simulations.agreement_files import AgreementFiles
    from simulations.federation.hospitals import slugify

    files, called = AgreementFiles(out, page, mappings), name or slugify(out.stem) or "study"
    agreement = compare([read_dictionary(path) for path in dictionaries], keep_partial=keep_partial)
    for line in lines_of(agreement):
        out_console.print(line, markup=False, highlight=False, soft_wrap=True)
    files.write_aids(agreement, called)
    study = files.write_study(agreement, name=called, target=target, strict=strict)
    written = ", ".join(str(path) for path in (out, page, mappings) if path is not None)
    out_console.print(f"Wrote {written}.", markup=False, soft_wrap=True)
    warn(study_warnings(study.declared))
    if not agreement.is_settled:
        note([f"open differences: {agreement.open_findings}; {out} holds proposals, each with DECIDE beside it"])
        raise typer.Exit(UndecidedError.exit_code)
