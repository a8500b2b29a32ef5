"""One table with every kind of column, in every file format: an import gives the same values from each."""

from __future__ import annotations

import datetime as dt
import gzip
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyreadstat
import pytest
import sqlalchemy

from client.site.creation import init_site
from client.site.imported import FrozenTable
from client.site.importing import import_table
from common.columns.kinds import KINDS
from common.columns.questions import images_of
from common.images.png import png_of
from common.study.schema import Schema
from common.tables.formats import READERS
from common.tables.parts import join
from tests.testbeds.databases import postgres

SCHEMA = Schema.model_validate(
    {"columns": [
        {"name": "id", "kind": "identifier", "pattern": "P-####"},
        {"name": "age", "kind": "numeric", "lower": 18, "upper": 89, "above": "> 89", "missing_codes": ["999"]},
        {"name": "crp", "kind": "numeric", "lower": 0.1, "upper": 300, "decimals": 2, "missing": True},
        {"name": "zip", "kind": "categorical", "categories": ["02139", "250", "250.00"], "missing": True},
        {"name": "grade", "kind": "categorical", "categories": ["1", "2", "3"], "missing": True},
        {"name": "smoker", "kind": "boolean", "missing": True},
        {"name": "admitted", "kind": "date", "date_format": "%d.%m.%Y", "lower": "01.01.2020", "upper": "31.12.2024",
         "missing": True},
        {"name": "left", "kind": "date", "since": "admitted", "least": 0, "most": 400, "missing": True},
        {"name": "quarter", "kind": "date", "resolution": "months", "date_format": "%m/%Y", "lower": "01/2020",
         "upper": "12/2024", "missing": True},
        {"name": "seen", "kind": "datetime", "date_format": "%Y-%m-%dT%H:%M:%S+01:00", "resolution": "seconds",
         "lower": "2020-01-01T00:00:00+01:00", "upper": "2024-12-31T23:59:59+01:00", "missing": True},
        {"name": "drugs", "kind": "set", "items": ["aspirin", "statin"], "separator": "; ", "missing": True,
         "empty": "none"},
        {"name": "icd", "kind": "code", "codes": ["I10", "I25.0", "I25.1", "J45.9"], "prefixes": [1, 3]},
        {"name": "film", "kind": "image", "size": [8, 8], "frequencies": 4},
        {"name": "note", "kind": "text", "template": "{id}: {age} years"},
    ]}
)  # fmt: skip
"""Formats of dates are not those that typed files hold."""

DAY, TIME = dt.date, dt.datetime
ROWS: dict[str, list[Any]] = {
    "id": ["P-1", "P-2", "P-3", "P-4"],
    "age": [63, 999, 18, 91],
    "crp": [1.5, None, 0.1, 250.25],
    "zip": ["02139", "250", "", "250.00"],
    "grade": [1, 3, None, 2],
    "smoker": [True, False, None, True],
    "admitted": [DAY(2020, 1, 31), DAY(2021, 2, 28), None, DAY(2024, 12, 31)],
    "left": [DAY(2020, 2, 1), DAY(2022, 2, 28), None, DAY(2024, 12, 31)],
    "quarter": [DAY(2020, 1, 1), DAY(2021, 4, 1), None, DAY(2024, 10, 1)],
    "seen": [TIME(2020, 1, 31, 8, 30), TIME(2020, 7, 1, 0, 0), None, TIME(2024, 12, 31, 23, 59, 58)],
    "drugs": ["aspirin; statin", "none", "", "statin"],
    "icd": ["I25.1", "J45.9", "I10", "I25.0"],
    "film": ["1.png", "2.png", "1.png", "2.png"],
    "note": ["", "a, b", "", "c; d"],
}
"""The table with a type for every column, as a database holds it. Times are at the offset of the study."""


def written(mark: str = ".") -> list[list[str]]:
    """Return the table as a file of text holds it, in the formats of the study, with its header."""

    def text(name: str, value: Any) -> str:
        if value is None:
            return ""
        match name:
            case "smoker":
                return "Y" if value else "N"
            case "admitted" | "left":
                return f"{value:%d.%m.%Y}" if name == "admitted" else f"{value:%Y-%m-%d}"
            case "quarter":
                return f"{value:%m/%Y}"
            case "seen":
                return f"{value:%Y-%m-%dT%H:%M:%S}+01:00"
            case "crp":
                return str(value).replace(".", mark)
        return str(value)

    columns = [[name, *(text(name, value) for value in values)] for name, values in ROWS.items()]
    return [list(row) for row in zip(*columns, strict=True)]


def csv_text(separator: str = ",", mark: str = ".", end: str = "\n") -> str:
    quoted = ([f'"{cell}"' for cell in row] for row in written(mark))
    return "".join(separator.join(row) + end for row in quoted)


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inside.csv", csv_text())


def typed(**changes: Callable[[Any], Any]) -> pd.DataFrame:
    columns = {
        name: [None if value is None else changes.get(name, lambda value: value)(value) for value in values]
        for name, values in ROWS.items()
    }
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})


def statistics(write: Callable[..., None]) -> Callable[[Path], None]:
    """Statistics packages hold numbers as doubles and no booleans."""

    def to(path: Path) -> None:
        frame = typed(smoker=float)
        for name in ("age", "crp", "grade", "smoker"):
            frame[name] = frame[name].astype(float)
        frame["seen"] = pd.to_datetime(frame["seen"])
        write(frame, path)

    return to


def labelled(write: Callable[..., None]) -> Callable[[Path], None]:
    return statistics(lambda frame, path: write(frame, path, variable_value_labels={"smoker": {0: "no", 1: "yes"}}))


def workbook(path: Path) -> None:
    book = openpyxl.Workbook()
    for row in ([*ROWS], *zip(*ROWS.values(), strict=True)):
        book.active.append(list(row))
    book.save(path)


def arrow(path: Path, **types: pa.DataType) -> None:
    columns = {name: pa.array(values, type=types.get(name)) for name, values in ROWS.items()}
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), path)


def pandas_parquet(path: Path) -> None:
    """Pandas holds days as times."""
    dates = ("admitted", "left", "quarter", "seen")
    typed().assign(**{name: pd.to_datetime(pd.Series(ROWS[name])) for name in dates}).to_parquet(path)


def parquet_with_zone(path: Path) -> None:
    """The same moments in another zone, decimals, short integers and dictionaries."""
    seen = pa.array([None if moment is None else moment - dt.timedelta(hours=1) for moment in ROWS["seen"]])
    crp = [None if value is None else Decimal(str(value)) for value in ROWS["crp"]]
    columns = {name: pa.array(values) for name, values in ROWS.items()} | {
        "seen": seen.cast(pa.timestamp("ns")).cast(pa.timestamp("ns", tz="UTC")),
        "crp": pa.array(crp, pa.decimal128(12, 4)),
        "age": pa.array(ROWS["age"], pa.int16()),
        "grade": pa.array(ROWS["grade"], pa.float32()),
        "zip": pa.array(ROWS["zip"]).dictionary_encode(),
        "icd": pa.array([cell.encode() for cell in ROWS["icd"]]),
    }
    pq.write_table(pa.table(columns), path)


@dataclass(frozen=True)
class Stored:
    """The table in one file: its name, what writes it, and what `[read]` has to say about it."""

    name: str
    write: Callable[[Path], Any]
    read: tuple[tuple[str, str], ...] = ()


def text_file(name: str, text: Callable[[], str], encoding: str = "utf-8") -> Stored:
    return Stored(name, lambda path: path.write_bytes(text().encode(encoding)))


FILES = {
    "CSV": text_file("t.csv", csv_text),
    "CSV of a German Excel": text_file("t.csv", lambda: csv_text(";", ",", "\r\n"), "cp1252"),
    "CSV in UTF-16": text_file("t.csv", lambda: csv_text("\t"), "utf-16"),
    "TSV": text_file("t.tsv", lambda: csv_text("\t")),
    "gzipped CSV": Stored("t.csv.gz", lambda path: path.write_bytes(gzip.compress(csv_text().encode()))),
    "gzipped TSV": Stored("t.tsv.gz", lambda path: path.write_bytes(gzip.compress(csv_text("\t").encode()))),
    "zipped CSV": Stored("t.zip", zipped),
    "Excel": Stored("t.xlsx", workbook),
    "Excel with macros": Stored("t.xlsm", workbook),
    "Parquet of Arrow": Stored("t.parquet", arrow),
    "Parquet of pandas": Stored("t.parquet", pandas_parquet),
    "Parquet with a zone": Stored("t.parquet", parquet_with_zone),
    "Parquet folder": Stored("t.parquet", lambda path: arrow(path / "part-0.parquet")),
    "SAS transport": Stored("t.xpt", statistics(pyreadstat.write_xport)),
    "SPSS": Stored("t.sav", labelled(pyreadstat.write_sav)),
    "compressed SPSS": Stored("t.zsav", labelled(lambda *a, **k: pyreadstat.write_sav(*a, compress=True, **k))),
    "Stata": Stored("t.dta", labelled(pyreadstat.write_dta)),
}
NOT_WRITTEN = {".sas7bdat", ".por", ".sql", ".toml"}
"""Formats that no free program writes; `.sql` is tried below, and `.toml` is an OMOP study of its own columns."""


def imported(folder: Path, data: Path, read: dict[str, str]) -> tuple[pd.DataFrame, Any]:
    """Import the table as a hospital does; return its conformed values and the descriptions of its images."""
    films = folder / "films"
    films.mkdir()
    for number in (1, 2):
        (films / f"{number}.png").write_bytes(png_of(np.full((8, 8), 80 * number, dtype=np.uint8)))
    settings: dict[str, Any] = {"name": "north", "cohort": "north", "data": str(data), "patient_column": "id"}
    settings |= {"declared_rows": 30, "max_epsilon": 5.0, "delta": 1e-4, "read": read}
    images = {"film": {"folder": str(films), "size": [8, 8]}}
    site = init_site(folder / "site", settings | {"images": images})
    import_table(site)
    parts = list(FrozenTable(site).parts())
    (image,) = images_of(SCHEMA.columns)
    return pd.concat([part.conform(SCHEMA) for part in parts]), image.describe(join(parts)["film"].tolist())


def expected() -> pd.DataFrame:
    """Return the conformed values, worked out by hand: months and days since 1970, seconds of the clock."""
    seconds = [None if moment is None else (moment - TIME(1970, 1, 1)).total_seconds() for moment in ROWS["seen"]]
    days = [None if day is None else (day - DAY(1970, 1, 1)).days for day in ROWS["admitted"]]
    return pd.DataFrame(
        {
            "crp": [1.5, np.nan, 0.1, 250.25],
            "zip": ["02139", "250", None, "250.00"],
            "grade": ["1", "3", None, "2"],
            "smoker": ["yes", "no", None, "yes"],
            "admitted": np.array(days, dtype=float),
            "left": [1.0, 365.0, np.nan, 0.0],
            "quarter": [600.0, 615.0, np.nan, 657.0],
            "seen": np.array(seconds, dtype=float),
            "drugs: aspirin": ["yes", "no", None, "no"],
            "drugs: statin": ["yes", "no", "no", "yes"],
            "icd": ["I25.1", "J45.9", "I10", "I25.0"],
        }
    )


def assert_right(values: pd.DataFrame, images: Any) -> None:
    ages = values["age"].to_numpy()
    assert ages[[0, 2, 3]].tolist() == [63.0, 18.0, 90.0]  # 91 is "> 89", a step beyond the bound
    assert np.isnan(ages[1])
    right = expected()
    pd.testing.assert_frame_equal(values[list(right.columns)].reset_index(drop=True), right, check_dtype=False)
    assert images.shape[:2] == (4, 1)
    np.testing.assert_array_equal(images[0], images[2])
    assert (images[0] != images[1]).any()


class TestEveryKind:
    def test_is_in_the_table_and_every_format_is_written(self) -> None:
        assert {column.kind for column in SCHEMA.columns} == set(KINDS)
        suffixes = {next(end for end in sorted(READERS, key=len, reverse=True) if file.name.endswith(end))
                    for file in FILES.values()}  # fmt: skip
        assert suffixes == set(READERS) - NOT_WRITTEN

    @pytest.mark.parametrize("name", FILES)
    def test_gives_the_same_values_from_a_file(self, tmp_path: Path, name: str) -> None:
        file = FILES[name]
        file.write(tmp_path / file.name)
        assert_right(*imported(tmp_path, tmp_path / file.name, dict(file.read)))

    @pytest.mark.parametrize("kind", ["sqlite", "duckdb", pytest.param("postgresql", marks=pytest.mark.slow)])
    def test_gives_the_same_values_from_a_database(self, tmp_path: Path, kind: str, request: Any) -> None:
        url = request.getfixturevalue("server") if kind == "postgresql" else f"{kind}:///{tmp_path}/t.db"
        if kind == "duckdb":
            pytest.importorskip("duckdb_engine")
        fill(url.replace("postgresql:", "postgresql+psycopg:"), ROWS)
        (tmp_path / "t.sql").write_text("SELECT * FROM patients ORDER BY id")
        assert_right(*imported(tmp_path, tmp_path / "t.sql", {"database": url}))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres() as url:
        yield url


TYPES = {"age": "SMALLINT", "crp": "DECIMAL(12, 4)", "grade": "REAL", "smoker": "BOOLEAN", "admitted": "DATE",
         "left": "DATE", "quarter": "TIMESTAMP", "seen": "TIMESTAMP"}  # fmt: skip


def fill(url: str, rows: Mapping[str, Sequence[Any]]) -> None:
    """Write the table into an empty database, with a type for every column."""
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        columns = ", ".join(f'"{name}" {TYPES.get(name, "VARCHAR(40)")}' for name in rows)
        connection.exec_driver_sql(f"CREATE TABLE patients ({columns})")
        statement = sqlalchemy.text(f"INSERT INTO patients VALUES ({', '.join(f':{name}' for name in rows)})")
        for row in zip(*rows.values(), strict=True):
            connection.execute(statement, dict(zip(rows, row, strict=True)))
    engine.dispose()
