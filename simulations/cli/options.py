"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

ReadOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--read",
        help="How the tables are written, as KEY=VALUE, instead of detecting it: separator, quote, decimal, "
        "thousands, encoding, comment, footer, sheet, database, schemas, timeout; repeatable.",
    ),
]
Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        help="URL of the database of a study on OMOP databases, such as duckdb:////path/cdm.duckdb; the same as "
        "--read database=URL.",
    ),
]
StudyArgument = Annotated[Path, typer.Argument(help="Study file (TOML).", show_default=False)]
StudyOrBuiltIn = Annotated[
    Path | None,
    typer.Option(
        "--study",
        help="Study file (TOML), or a built-in one: `follow-up` (visits), `omop-nsaid` (an OMOP database), `digits` or "
        "`chest-films` (images). Default: the built-in heart disease study.",
    ),
]
PatientColumn = Annotated[
    str | None,
    typer.Option(
        "--patient-column",
        help="Column that identifies the patient; only the first row of each patient is used. "
        "Default: every row is a patient.",
    ),
]
OneRowPerPatient = Annotated[
    bool,
    typer.Option(
        "--one-row-per-patient",
        help='Declare that every row is another patient: a study with unit = "patient" needs this or --patient-column.',
    ),
]
Tables = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Table (CSV, Excel, Parquet, SAS, SPSS, Stata or SQL query), or folder with one table per hospital. "
        "Default: the built-in tables.",
    ),
]
SiteColumn = Annotated[
    str | None,
    typer.Option("--site-column", help="Column that names the hospital: splits the table and is not synthesized."),
]
Hospitals = Annotated[
    int | None,
    typer.Option(
        "--hospitals",
        min=1,
        help="Number of hospitals to split the table into; 1 is the centralized case. Default: 4.",
    ),
]
Small = Annotated[
    Literal["merge", "drop"] | None,
    typer.Option(
        "--small-hospitals",
        help="Merge hospitals below the minimum of patients into one, or leave them out. Default: refuse them.",
    ),
]
Skew = Annotated[
    float | None,
    typer.Option(
        "--skew",
        help="With --hospitals: Dirichlet concentration of the target's classes; smaller is more uneven. "
        "Default: even.",
    ),
]


def reading_options(read: list[str] | None, database: str | None) -> list[str]:
    """Return everything that is declared about how tables are read, as KEY=VALUE.

    Args:
        read: the values of --read.
        database: that of --database.
    """
    return [*(read or []), *([] if database is None else [f"database={database}"])]
