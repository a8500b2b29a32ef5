"""Reading the rows of an SQL query through SQLAlchemy (extra `database`): PostgreSQL, SQLite, DuckDB and others.

The file of such a table holds the text of the query and ends in `.sql`; `database` in `[read]` names the database. The
connection only reads where the database can be told so: give it an account that may only read in any case. A query is
one SELECT, and on DuckDB it reaches no file but the database.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from common.columns.cells import each, text_of
from common.errors import DataError
from common.tables.extras import load
from common.tables.parts import Part, PlainCells, chunks, indices_of
from common.tables.query_limit import is_interrupted, limited_fetches, limited_queries, too_long
from common.tables.raw import refuse_repeated
from common.tables.reading import Reading

FILES = ("sqlite", "duckdb")
"""Databases that are one file, which must exist: connecting would create an empty one."""

ABOUT_THE_QUERY = frozenset({"CatalogException", "BinderException", "ParserException"})
"""Errors of DuckDB whose text is about the query; others may quote a cell."""

MINUTES: float = 60
"""Most minutes that a query may run unless `timeout` says otherwise; it may slow down other queries."""

TOO_LONG = "57014"
"""SQLSTATE of a query that PostgreSQL ended."""

FIRST_WORD = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*(\w+|.)?", re.DOTALL)
"""Blanks and comments, then the first word of a statement."""

READS = frozenset({"SELECT", "WITH", "FROM", "TABLE", "VALUES", "("})
"""First words of statements that read a table; on DuckDB, one may begin with FROM."""

QUERY_STATES = ("42", "3D", "3F", "08", "28")
"""Classes of SQLSTATE whose text names parts of the query, the account or the connection, and no cell."""


def query_parts(path: Path, columns: Sequence[str] | None, rows: int, reading: Reading) -> Iterator[Part]:
    """Yield the result of the query part by part, at least one part; see `common.tables.formats.Reader`.

    One statement sees one state of the database, however long it is read.

    Args:
        path: file with the text of one query, in UTF-8.
        columns: the wanted columns, None for all.
        rows: most rows of a part.
        reading: names the database.

    Raises:
        DataError: no database is declared, it cannot be reached, or the query fails; the text holds no password and no
            cell.
    """
    query = path.read_text(encoding="utf-8-sig").strip().rstrip(";")
    _refuse_other(query)
    with connected(reading) as connection:
        _refuse_several(connection, query)
        options = {"stream_results": True, "max_row_buffer": rows, "no_parameters": True}
        limit = limited_fetches(
            connection, _minutes(reading), connection.engine.url.render_as_string(hide_password=True)
        )
        result = connection.execution_options(**options).exec_driver_sql(query)
        if not result.returns_rows:
            raise DataError("the query returns no table; write one SELECT statement")
        names = list(map(str, result.keys()))
        refuse_repeated(names)
        indices = indices_of(names, columns)

        def fetch() -> list[Any]:
            limit()
            return list(result.fetchmany(rows))

        for chunk in chunks(fetch):
            yield _part(chunk, indices)


@contextmanager
def connected(reading: Reading) -> Iterator[Any]:
    """Open the declared database for reading, for as long as the block runs; a failing query becomes a `DataError`.

    PostgreSQL and DuckDB show one state of the database to all queries of the block.

    Raises:
        DataError: as `query_parts` does.
    """
    sqlalchemy = load("sqlalchemy", "database")
    if reading.database is None:
        raise DataError(
            "no database is declared to read from; name it with --database URL, or with --read database=URL at a site, "
            "such as postgresql://reader@host/name, sqlite:////path/file.db or duckdb:////path/file.duckdb"
        )
    url = _url(sqlalchemy, reading.database)
    engine, minutes = _engine(sqlalchemy, url), _minutes(reading)
    try:
        with engine.connect() as connection:
            _read_only(connection, url, minutes)
            _search_in(connection, url, reading.schema_names)
            with limited_queries(connection, minutes) if url.get_backend_name() in FILES else nullcontext():
                yield connection
    except sqlalchemy.exc.SQLAlchemyError as problem:
        raise _failure(problem, url.render_as_string(hide_password=True), minutes) from None
    finally:
        engine.dispose()


def _minutes(reading: Reading) -> float:
    return reading.timeout or MINUTES


def _url(sqlalchemy: Any, text: str) -> Any:
    """Return the URL of the database. Raises `DataError` for one that is malformed, or names a file that is absent."""
    try:
        url = sqlalchemy.engine.make_url(text)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise DataError("database is no URL; write it like postgresql://reader@host:5432/name") from None
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() in FILES and not Path(url.database or "").is_file():
        raise DataError(f"there is no database file '{url.database or ''}'; correct database")
    return url


def _engine(sqlalchemy: Any, url: Any) -> Any:
    is_duckdb = url.get_backend_name() == "duckdb"
    try:
        return sqlalchemy.create_engine(url, connect_args={"read_only": True} if is_duckdb else {})
    except (ImportError, sqlalchemy.exc.NoSuchModuleError):
        raise DataError(
            f"no driver for {url.get_backend_name()} is installed; run `pip install 'fedsynth[database]'`, or install "
            "the driver that SQLAlchemy names for this database"
        ) from None


def _refuse_other(query: str) -> None:
    """Raise `DataError` for a statement that does more than read, such as COPY, ATTACH, INSTALL or DELETE."""
    match = FIRST_WORD.match(query)
    word = (match.group(1) or "" if match else "").upper()
    if word not in READS:
        shown = f"begins with {word}" if word.isidentifier() and len(word) <= 20 else "is not one SELECT statement"
        raise DataError(f"the query {shown}, which is refused; write one SELECT statement, which may begin with WITH")


def _refuse_several(connection: Any, query: str) -> None:
    """Raise `DataError` for several statements on DuckDB; PostgreSQL and SQLite refuse them as they run."""
    if connection.dialect.name != "duckdb":
        return
    duckdb = load("duckdb", "database")
    try:
        statements = duckdb.extract_statements(query)
    except duckdb.Error:
        return  # the database names what is wrong in the query
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise DataError("the query holds another statement than one SELECT, which is refused; write one SELECT")


def _read_only(connection: Any, url: Any, minutes: float) -> None:
    """Have the database refuse every change during this connection, where it knows how.

    DuckDB also refuses every file but the database, and every extension that is not built in.

    Args:
        connection: a connection that has done nothing yet.
        url: URL of the database.
        minutes: most minutes that a query may run, on PostgreSQL.
    """
    match url.get_backend_name():
        case "postgresql":
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {60_000 * minutes:.0f}")
        case "duckdb":
            # All connections of a process to a file share their settings, so that another one may have locked them.
            if not connection.exec_driver_sql("SELECT current_setting('lock_configuration')").scalar():
                connection.exec_driver_sql("SET enable_external_access = false")
                connection.exec_driver_sql("SET lock_configuration = true")
        case "sqlite":
            connection.exec_driver_sql("PRAGMA query_only = ON")


def _search_in(connection: Any, url: Any, names: Sequence[str]) -> None:
    """Have the database look up tables in these schemas, in this order; none leaves it to the account.

    Args:
        connection: a connection.
        url: URL of the database.
        names: names of schemas, of letters, digits and underscores only (`Reading`).

    Raises:
        DataError: the database has no schemas.
    """
    if not names:
        return
    match url.get_backend_name():
        case "postgresql":
            quoted = ", ".join(f'"{name}"' for name in names)
            connection.exec_driver_sql(f"SET search_path TO {quoted}")
        case "duckdb":
            connection.exec_driver_sql(f"SET search_path = '{','.join(names)}'")
        case other:
            raise DataError(f"'schemas' is declared, which fedsynth cannot set on {other}; remove it")


def _failure(problem: Any, database: str, minutes: float) -> DataError:
    """Return the error about a query that fails; it quotes no cell.

    Args:
        problem: what SQLAlchemy raised.
        database: URL of the database without its password.
        minutes: most minutes that a query may run.
    """
    cause = getattr(problem, "orig", None) or problem
    if getattr(cause, "sqlstate", None) == TOO_LONG or is_interrupted(cause):
        return too_long(database, minutes)
    if type(cause).__name__ == "PermissionException":
        return DataError(
            f"the query asks for a file, an address or an extension outside of {database}, which is refused; load the "
            "records into the database first"
        )
    return DataError(f"the query fails on {database} ({cause_of_query(problem)}); correct the query or the database")


def cause_of_query(problem: Any) -> str:
    """Return what is known to quote no cell about an error of SQLAlchemy: its kind, and its text if about the query."""
    cause = getattr(problem, "orig", None) or problem
    kind, state = type(cause).__name__, getattr(cause, "sqlstate", None)
    is_safe = kind in ABOUT_THE_QUERY or type(cause).__module__.startswith("sqlite3")
    is_safe |= str(state or "").startswith(QUERY_STATES) or "connection" in str(cause)[:20]
    return " ".join(str(cause).split())[:300] if is_safe else f"{kind} {state or ''}".strip()


def _part(records: Sequence[Any], indices: dict[str, int]) -> Part:
    def column(index: int) -> PlainCells:
        values = [record[index] for record in records]
        try:
            texts = each(values, _text)
        except TypeError:  # lists and the like, which have no hash
            texts = [_text(value) for value in values]
        return PlainCells.of(texts)

    return Part(len(records), {name: column(index) for name, index in indices.items()})


def _text(value: object) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8", "replace")
    return text_of(value)
