"""`fedsynth study`: draft, check, agree on, export and explain study files; propose features of OMOP databases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from simulations.cli.agree import agree
from simulations.cli.console import err_console, note, out_console, show_plan, warn
from simulations.cli.export import export
from simulations.cli.options import (
    Database,
    OneRowPerPatient,
    PatientColumn,
    ReadOptions,
    StudyArgument,
    reading_options,
)

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Draft, check, agree on, export and explain study files."
)
app.command()(agree)
app.command()(export)


@app.command()
def draft(
    table: Annotated[Path, typer.Argument(help="Table to read, in any format of docs/inputs.md.", show_default=False)],
    target: Annotated[str, typer.Option(help="Column to predict.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Study file to write.", show_default=False)],
    name: Annotated[str | None, typer.Option(help="Name of the study. Default: the table's file name.")] = None,
    patient_column: PatientColumn = None,
    site_column: Annotated[
        str | None, typer.Option(help="Column that names the hospital; it is left out. Default: none.")
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(help="COLUMN=KIND where you know better than the draft, as in zip=categorical; repeatable."),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(help="Rows are visits of patients, in the order of this column. Default: a patient is one row."),
    ] = None,
    most_visits: Annotated[
        int | None,
        typer.Option(help="With --time: most visits of a patient. Default: 95 % of patients keep all."),
    ] = None,
    read: ReadOptions = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Draft a study by READING a table: for public or simulated tables only.

    With --time, the rows are visits: a column whose cells vary within no patient is one of the patient.
    People write the schema of a real study from the data dictionary. Hospitals refuse drafted studies.
    """
    from common.system.files import refuse_existing, write_synced, writing
    from common.tables.reading import parse_reading
    from simulations.drafting import NamedColumns, study_name
    from simulations.drafting_notices import draft_text
    from simulations.drafting_tables import draft_table

    if not force:
        refuse_existing(out)
    named = NamedColumns(target, patient_column, site_column, time, most_visits, _kinds(kind or []))
    drafted = draft_table(table, parse_reading(read or []), named, name=name or study_name(table))
    with writing(out):
        write_synced(out, draft_text(drafted.study, drafted.notices).encode())
    note(drafted.notices)
    count = len(drafted.study.declared.columns)
    out_console.print(f"Wrote {escape(str(out))}: {count} columns. Read it before you use it.")


@app.command()
def sql(study: StudyArgument) -> None:
    """Show the SQL that takes a study's table from an OMOP database, text by text with its SHA-256.

    These are the texts that a hospital's people read before they approve, and that `site import` runs.
    """
    from common.errors import StudyError
    from common.omop.words import sql_lines, what_is_taken
    from simulations.federation.hospitals import study_named

    agreed = study_named(study)
    if agreed.extraction is None:
        raise StudyError(f'study {agreed.name} has no [source] kind = "omop"; it takes hospitals\' tables')
    for line in (*what_is_taken(agreed.extraction), *sql_lines(agreed.extraction)):
        typer.echo(line)


@app.command()
def features(
    names: Annotated[list[str], typer.Argument(help="Names of concepts, or words of them.", show_default=False)],
    database: Database = None,
    read: ReadOptions = None,
) -> None:
    """Propose features of a study for names of concepts, from the vocabulary of an OMOP database: no record is read.

    A person completes them: windows, summaries, units, bounds.
    """
    from common.omop.proposing import feature_text
    from common.tables.omop_concepts import find_concepts
    from common.tables.reading import parse_reading

    reading = parse_reading(reading_options(read, database))
    for name in names:
        typer.echo(feature_text(name, find_concepts(name, reading)))


def _kinds(options: list[str]) -> dict[str, str]:
    """Return the kind of every column that an option names; the last = separates them."""
    from common.errors import StudyError

    kinds = {}
    for option in options:
        column, separator, kind = option.rpartition("=")
        if not separator or not column:
            raise StudyError(f"--kind '{option}' is not COLUMN=KIND; write one such as zip=categorical")
        kinds[column] = kind
    return kinds


@app.command()
def check(
    study: StudyArgument,
    data: Annotated[
        Path | None,
        typer.Option(
            help="A hospital's table to check, or a folder with one table per hospital (north.csv) and their mappings, "
            "if any (north.toml)."
        ),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(help="With --data FILE: mapping of the table's columns to the study, as `site map` writes it."),
    ] = None,
    patient_column: PatientColumn = None,
    one_row_per_patient: OneRowPerPatient = False,
    read: ReadOptions = None,
    database: Database = None,
) -> None:
    """Check a study file, and optionally tables against it; show what each hospital would release at which epsilon.

    --data takes one table with the study's columns, or a folder with one table per hospital. In a folder, north.toml
    beside north.csv is the mapping of that table (docs/harmonize.md) and is applied first; --mapping is that of one
    table. With --database, the table is what a study on OMOP databases takes from it.

    Notices about the table state exact row counts: they are for its owner's eyes only.
    """
    from common.errors import StudyError
    from common.planning.planner import make_plan
    from common.study.study import read_study
    from common.tables.reading import parse_reading
    from simulations.checking import TablesToCheck, check_study

    agreed = read_study(study)
    out_console.print(f"Study [bold]{agreed.name}[/], fingerprint {agreed.fingerprint}")
    data = study if data is None and database is not None else data
    reading = parse_reading(reading_options(read, database))
    if mapping is not None and data is None:
        raise StudyError("--mapping is of a table; name it with --data")
    source = None if data is None else TablesToCheck(data, reading, mapping, patient_column, one_row_per_patient)
    checked = check_study(agreed, source)
    note(checked.notices)
    for name in checked.tables:
        out_console.print(f"{escape(name)} fits the schema.")
    warn(checked.warnings)
    if agreed.hospitals:
        with err_console.status("Planning the noise..."):
            make_plan(agreed)
        show_plan(agreed)
    else:
        note(
            [
                "the study lists no [[hospitals]], so there is no plan yet; add each one's name and declared_rows "
                "to see what it would release, or run `fedsynth simulate`, which declares those of your table"
            ]
        )
