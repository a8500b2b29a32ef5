"""`fedsynth study agree`: compare hospitals' dictionaries and propose a schema. It reads dictionaries, and no table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simulations.cli.console import note, out_console


def agree(
    dictionaries: Annotated[
        list[Path],
        typer.Argument(
            help="Dictionary files (TOML), one per hospital, as `site dictionary` writes.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option(help="Study file to write.", show_default=False)],
    page: Annotated[Path | None, typer.Option(help="HTML page for the meeting to write. Default: none.")] = None,
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

    Exit code 0 where nobody has to decide anything, 7 where people do. The study then holds proposals, and says so.
    """
    from common.dictionary.agreed_study import study_text
    from common.dictionary.agreement import agree as compare
    from common.dictionary.agreement_text import lines_of
    from common.dictionary.dictionary import read_dictionary
    from common.errors import StudyError, UndecidedError
    from common.system.files import write_synced, writing
    from simulations.agreement_page import agreement_page
    from simulations.federation.hospitals import slugify

    for path in (out, page):
        if path is not None and path.exists():
            raise StudyError(f"'{path}' exists; choose another or remove it")
    called = name or slugify(out.stem) or "study"
    agreement = compare([read_dictionary(path) for path in dictionaries], keep_partial=keep_partial)
    for line in lines_of(agreement):
        out_console.print(line, markup=False, highlight=False, soft_wrap=True)
    if page is not None:
        with writing(page, remedy="choose another --page"):
            write_synced(page, agreement_page(agreement, title=called).encode())
    if strict and not agreement.is_settled:
        raise UndecidedError(f"{agreement.open_findings} differences are open; no study was written (--strict)")
    if sum(column.is_ready for column in agreement.columns) < 2:
        raise UndecidedError("fewer than 2 columns are ready, so no study was written; decide on the open ones first")
    text = study_text(agreement, name=called, target=target)
    with writing(out):
        write_synced(out, text.encode())
    out_console.print(f"Wrote {out}.", markup=False, soft_wrap=True)
    if not agreement.is_settled:
        note([f"{agreement.open_findings} differences are open; {out} holds proposals, each with DECIDE beside it"])
        raise typer.Exit(UndecidedError.exit_code)
