"""Tables that are SQL queries: the same rows from SQLite, DuckDB and a real PostgreSQL server."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from time import sleep
from types import SimpleNamespace

import pytest
import sqlalchemy

from common.errors import DataError
from common.tables.database import connected
from common.tables.formats import read_parts, read_table
from common.tables.query_limit import limited_fetches
from common.tables.reading import Reading
from tests.testbeds.databases import postgres

CREATE = "CREATE TABLE patients (id INTEGER, sex VARCHAR(9), crp DECIMAL(6, 2), seen DATE)"
ROWS = "INSERT INTO patients VALUES (1, 'female', 1.5, '2020-01-31'), (2, 'männlich', NULL, NULL), (3, '', 0.25, NULL)"
QUERY = "SELECT id, sex, crp, seen FROM patients WHERE sex NOT LIKE '%x:y%' ORDER BY id;\n"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "duckdb", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        url = str(request.getfixturevalue("server"))
    else:
        pytest.importorskip("duckdb_engine" if request.param == "duckdb" else "sqlite3")
        url = f"{request.param}:///{tmp_path}/t.db"
    engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE IF EXISTS patients")
        connection.exec_driver_sql(CREATE)
        connection.exec_driver_sql(ROWS, execution_options={"no_parameters": True})
    engine.dispose()
    return url


@pytest.fixture
def query(tmp_path: Path) -> Path:
    path = tmp_path / "cohort.sql"
    path.write_text(QUERY, encoding="utf-8")
    return path


def test_the_rows_of_a_query_are_a_table(database: str, query: Path) -> None:
    raw = read_table(query, Reading(database=database))
    assert list(raw.columns) == ["id", "sex", "crp", "seen"]
    assert raw["id"].tolist() == ["1", "2", "3"]
    assert raw["sex"].tolist() == ["female", "männlich", ""]
    assert [float(cell or "nan") for cell in raw["crp"]][::2] == [1.5, 0.25]
    assert raw["seen"].tolist() == ["2020-01-31", "", ""]


def test_a_query_is_read_part_by_part(database: str, query: Path) -> None:
    parts = list(read_parts(query, ["sex", "absent"], rows=2, reading=Reading(database=database)))
    assert [(part.rows, list(part.columns)) for part in parts] == [(2, ["sex"]), (1, ["sex"])]
    query.write_text("SELECT id FROM patients WHERE id > 9")
    assert [part.rows for part in read_parts(query, reading=Reading(database=database))] == [0]


def test_nothing_in_the_database_can_be_changed(database: str, query: Path) -> None:
    query.write_text("DELETE FROM patients")
    with pytest.raises(DataError, match=r"cohort\.sql"):
        read_table(query, Reading(database=database))
    query.write_text("SELECT count(*) AS n FROM patients")
    assert read_table(query, Reading(database=database))["n"].tolist() == ["3"]


@pytest.mark.parametrize(
    "statement",
    [
        "COPY patients TO '{out}'",
        "-- a comment\nATTACH '{out}' AS other",
        "/* SELECT */ install httpfs",
        "VACUUM INTO '{out}'",
        "PRAGMA query_only = OFF",
        "CREATE TABLE copied AS SELECT * FROM patients",
        "",
    ],
)
def test_only_a_select_is_a_query(query: Path, tmp_path: Path, statement: str) -> None:
    query.write_text(statement.format(out=tmp_path / "out"))
    with pytest.raises(DataError, match="write one SELECT statement"):
        read_table(query, Reading(database="sqlite:////nowhere/t.db"))
    assert not (tmp_path / "out").exists()


def test_a_query_that_runs_too_long_is_ended(database: str, query: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.tables.database.MINUTES", 0.005)
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000000)"
    query.write_text(f"{numbers} SELECT count(*) AS n FROM n")
    with pytest.raises(DataError, match=r"may run 0\.005 minutes at most; .* declare timeout = MINUTES"):
        read_table(query, Reading(database=database))
    query.write_text(QUERY, encoding="utf-8")
    assert len(read_table(query, Reading(database=database, timeout=1))) == 3


def test_a_query_is_ended_whose_fetches_are_each_short(
    server: str, query: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.tables.database.MINUTES", 0.8 / 60)
    query.write_text("SELECT i, CAST(pg_sleep(0.1) AS VARCHAR) AS slept FROM generate_series(1, 30) AS t(i)")
    parts = read_parts(query, rows=2, reading=Reading(database=server))
    with pytest.raises(DataError, match=r"may run 0\.0133333 minutes at most"):
        list(parts)
    query.write_text("SELECT i FROM generate_series(1, 30) AS t(i)")
    assert len(list(read_parts(query, rows=2, reading=Reading(database=server)))) == 15


def test_a_query_is_ended_whose_rows_are_taken_slowly(database: str, query: Path) -> None:
    with connected(Reading(database=database)) as connection:
        limit = limited_fetches(connection, 0.05 / 60, "a database")
        limit()
        sleep(0.06)
        with pytest.raises(DataError, match="the query was ended on a database: it may run"):
            limit()


@pytest.mark.parametrize(
    "query_text", ["SELECT 1 AS n; SELECT 2 AS n", "SELECT 1 AS n; DROP TABLE patients", "COMMIT; SELECT 1 AS n"]
)
def test_a_query_is_one_statement(database: str, query: Path, query_text: str) -> None:
    query.write_text(query_text)
    with pytest.raises(DataError):
        read_table(query, Reading(database=database))
    query.write_text("SELECT count(*) AS n FROM patients")
    assert read_table(query, Reading(database=database))["n"].tolist() == ["3"]


@pytest.mark.parametrize(
    "query_text",
    ["SELECT * FROM '{file}'", "SELECT * FROM read_csv('{file}')", "FROM read_text('{file}')", "FROM glob('{file}')"],
)
def test_duckdb_reads_no_other_file(tmp_path: Path, query: Path, query_text: str) -> None:
    duckdb = pytest.importorskip("duckdb")
    duckdb.connect(str(tmp_path / "t.db")).close()
    (tmp_path / "other.csv").write_text("cell\n7777123\n")
    query.write_text(query_text.format(file=tmp_path / "other.csv"))
    with pytest.raises(DataError, match="which is refused; load the records") as caught:
        read_table(query, Reading(database=f"duckdb:///{tmp_path}/t.db"))
    assert "7777123" not in str(caught.value)


def test_duckdb_cannot_be_set_otherwise(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    duckdb.connect(str(tmp_path / "t.db")).close()
    reading = Reading(database=f"duckdb:///{tmp_path}/t.db")
    with pytest.raises(DataError), connected(reading) as connection, connected(reading):
        connection.exec_driver_sql("SET enable_external_access = true")


def test_a_declared_timeout_is_that_of_postgresql(server: str) -> None:
    with connected(Reading(database=server, timeout=7)) as connection:
        assert connection.exec_driver_sql("SHOW statement_timeout").scalar() == "7min"


def test_a_wrong_query_names_what_is_wrong_in_it(database: str, query: Path) -> None:
    query.write_text("SELECT crq FROM patients")
    with pytest.raises(DataError, match="crq"):
        read_table(query, Reading(database=database))


def test_an_error_quotes_no_cell_and_no_password(server: str, query: Path) -> None:
    query.write_text("SELECT CAST('7777' || '123' AS INTEGER), CAST('7777123x' AS INTEGER)")
    with pytest.raises(DataError, match="InvalidTextRepresentation") as caught:
        read_table(query, Reading(database=server.replace("reader@", "reader:secret@")))
    assert "7777123" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_duckdb_quotes_no_cell(tmp_path: Path, query: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    duckdb.connect(str(tmp_path / "t.db")).close()
    query.write_text("SELECT CAST('7777123x' AS INTEGER)")
    with pytest.raises(DataError, match="ConversionException") as caught:
        read_table(query, Reading(database=f"duckdb:///{tmp_path}/t.db"))
    assert "7777123" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        (None, "no database is declared"),
        ("no url", "is no URL"),
        ("sqlite:////nowhere/t.db", "there is no database file '/nowhere/t.db'"),
        ("postgresql://reader:secret@127.0.0.1:1/x", "connection"),
        ("nosuch://host/x", "no driver for nosuch"),
    ],
)
def test_an_unusable_database_is_named(query: Path, url: str | None, cause: str) -> None:
    with pytest.raises(DataError, match=cause) as caught:
        read_table(query, Reading() if url is None else Reading(database=url))
    assert "secret" not in str(caught.value)


def test_two_columns_of_one_name_are_refused(tmp_path: Path, query: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "t.db")) as database:
        database.execute(CREATE)
        database.commit()
    query.write_text("SELECT id, sex AS id FROM patients")
    with pytest.raises(DataError, match="have the same name"):
        read_table(query, Reading(database=f"sqlite:///{tmp_path}/t.db"))


@pytest.mark.parametrize("text", ["", "-- to be written", "SAVEPOINT here"])
def test_a_statement_without_rows_is_no_table(tmp_path: Path, query: Path, text: str) -> None:
    (tmp_path / "t.db").touch()
    query.write_text(text)
    with pytest.raises(DataError, match=r"the query (is not|begins with) .* refused; write one SELECT"):
        read_table(query, Reading(database=f"sqlite:///{tmp_path}/t.db"))


def test_a_select_into_a_variable_is_no_table(query: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # MySQL and others, for which fedsynth has no rule of its own, know such statements.
    done = SimpleNamespace(returns_rows=False)
    connection = SimpleNamespace(
        dialect=SimpleNamespace(name="mysql"),
        engine=SimpleNamespace(url=sqlalchemy.engine.make_url("mysql://reader@host/clinic")),
        execution_options=lambda **_: SimpleNamespace(exec_driver_sql=lambda text: done),
    )
    monkeypatch.setattr("common.tables.database.connected", lambda reading: nullcontext(connection))
    query.write_text("SELECT id INTO @first FROM patients LIMIT 1")
    with pytest.raises(DataError, match="the query returns no table; write one SELECT statement"):
        read_table(query, Reading(database="mysql://reader@host/clinic"))
