"""Whether import and reader see one patient as one row, whatever is in the row: part of `fedsynth site selftest`.

The canary is a patient with two rows, a line break in a note and a far-out date. An invented table is imported with and
without the canary, by the code of `fedsynth site import`, and read by the code that an agent answers with. Everything
is in a folder that is deleted. The site's own table is not opened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from client.selftest.checks import require
from client.shard import StreamedShard
from client.site.config import Site
from client.site.creation import init_site
from client.site.imported import FrozenTable
from client.site.importing import import_table
from client.site.opening import open_rows
from common.encoding import count_cells
from common.errors import DataError
from common.study.study import Study, parse_study
from common.tables.conforming import conform

PREFIX = ".selftest-"
"""Start of the name of the folder for invented records, in the state folder."""

PATIENT, NOTE, VISIT = "patient", "note", "visit"
"""Columns that the reader must get past; no study has them."""

LINE_BREAK = 'seen again,\n"well",\r\nno complaints'
"""A note of three lines, with commas and quotation marks."""

LAST_DAY, BEYOND = "9999-12-31", 3_000_000
"""The last date that is text, and days after 1970 until the year 10183, which no reader may meet while it answers."""

ROWS = 100
"""Rows of the invented table without the canary."""

CELLS = 64
"""Fine cells of the histograms that are compared."""

STUDY = """
study = { name = "selftest" }
privacy = { unit = "patient", epsilon = 1.0, delta = 1e-4 }
evaluation = { target = "outcome", holdout_fraction = 0.0 }
[schema]
columns = [
    { name = "age", kind = "numeric", lower = 0, upper = 110, missing = true },
    { name = "outcome", kind = "categorical", categories = ["no", "yes"] },
]
"""

REMEDY = "import nothing; install fedsynth with the versions of constraints.txt (pandas, pyarrow) again"


def check_reader(site: Site) -> str:
    """Check that one patient more changes what is read by one row, in every format.

    Raises:
        CheckError: the canary changes more, or less, or nothing is said about a date that cannot be read.
    """
    study, write = parse_study(STUDY), {".csv": write_csv, ".parquet": write_parquet}
    with TemporaryDirectory(prefix=PREFIX, dir=site.state) as folder:
        for ending, write_table in write.items():
            tables = {name: Path(folder) / f"{name}{ending}" for name in ("absent", "present", "unreadable")}
            write_table(invented(ROWS), tables["absent"], LAST_DAY)
            write_table(with_canary(invented(ROWS)), tables["present"], LAST_DAY)
            absent, present = (imported(tables[name]) for name in ("absent", "present"))
            change = present.open_records(study).histograms(CELLS) - absent.open_records(study).histograms(CELLS)
            expected = count_cells(conform(canary().iloc[:1], study.table), study.table, CELLS)
            is_one = (absent.rows, present.rows) == (ROWS, ROWS + 1) and np.array_equal(change, expected)
            require(is_one, f"a patient with two rows and a line break is not read as one row of {ending}: {REMEDY}")
        write_parquet(with_canary(invented(ROWS)), tables["unreadable"], None)
        _require_refusal(tables["unreadable"])
    return f"{' and '.join(write)}: a patient with two rows, a line break and a far-out date is one row"


@dataclass(frozen=True, slots=True)
class ImportedTable:
    """A table that was imported at a site that exists for one check.

    Args:
        site: the site.
        rows: number of rows of the frozen table.
        open_records: opens its records for a study, as an agent does.
    """

    site: Site
    rows: int
    open_records: Callable[[Study], StreamedShard]


def import_at_new_site(table: Path, *, name: str, patient_column: str | None, visits: bool = False) -> ImportedTable:
    """Create a site beside a file, and import the file as `fedsynth site import` does.

    Args:
        table: the file; the site's folder has its name without the ending.
        name: name of the hospital.
        patient_column: column that identifies the patient.
        visits: whether all rows of a patient are kept.

    Raises:
        DataError: the table cannot be read.
    """
    settings = {
        "name": name,
        "cohort": name,
        "data": str(table.absolute()),
        "patient_column": patient_column,
        "visits": visits,
    }
    site = init_site(table.with_suffix(f"{table.suffix}.site"), settings | LIMITS)
    rows = import_table(site).rows
    return ImportedTable(site, rows, partial(open_rows, site, FrozenTable(site)))


LIMITS = {"declared_rows": 100, "max_epsilon": 1.0, "delta": 1e-4}
"""Settings of a site that releases nothing."""


def imported(table: Path) -> ImportedTable:
    """Import a file that the checks wrote."""
    return import_at_new_site(table, name="selftest", patient_column=PATIENT)


def invented(rows: int) -> pd.DataFrame:
    """Return an invented raw table with one row for each patient."""
    numbers = range(rows)
    return pd.DataFrame(
        {
            PATIENT: [f"p{row}" for row in numbers],
            NOTE: [f"note {row}" for row in numbers],
            "age": [str(20 + row % 60) for row in numbers],
            "outcome": [("no", "yes")[row % 2] for row in numbers],
        }
    )


def canary() -> pd.DataFrame:
    """Return the raw rows of the canary; the first of them counts."""
    return pd.DataFrame(
        {PATIENT: ["canary", "canary"], NOTE: [LINE_BREAK, "later"], "age": ["97", "98"], "outcome": ["yes", "no"]}
    )


def with_canary(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the canary's first row among the others and the second one at its end."""
    rows = canary()
    middle = len(table) // 2
    return pd.concat([table[:middle], rows[:1], table[middle:], rows[1:]], ignore_index=True)


def write_csv(table: pd.DataFrame, path: Path, date: str | None) -> None:
    """Write a raw table as CSV, with this date in the rows of the canary.

    Args:
        table: the table, one row per visit or patient.
        path: file to write.
        date: text of the date; None for `LAST_DAY`.
    """
    table.assign(**{VISIT: _dates(table, date or LAST_DAY)}).to_csv(path, index=False)


def write_parquet(table: pd.DataFrame, path: Path, date: str | None) -> None:
    """Write a raw table as Parquet, with this date in the rows of the canary; None for one in the year 10183."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    days = [np.datetime64(text, "D").astype(int) for text in _dates(table, date or LAST_DAY)]
    is_canary = table[PATIENT] == "canary"
    days = [BEYOND if date is None and special else int(day) for day, special in zip(days, is_canary, strict=True)]
    columns = pa.Table.from_pandas(table, preserve_index=False)
    pq.write_table(columns.append_column(VISIT, pa.array(days, pa.int32()).cast(pa.date32())), path)


def _dates(table: pd.DataFrame, date: str) -> list[str]:
    return [date if patient == "canary" else "2020-01-31" for patient in table[PATIENT]]


def _require_refusal(table: Path) -> None:
    """Check that a date without text is refused at import, with its row and without the cell."""
    try:
        imported(table)
    except DataError as refusal:
        is_good = f"column '{VISIT}', row {ROWS // 2 + 1}" in str(refusal) and "10183" not in str(refusal)
        require(is_good, f"the refusal of a date beyond the year 9999 does not name column and row: {REMEDY}")
    else:
        require(False, f"a date beyond the year 9999 passes the import: {REMEDY}")
