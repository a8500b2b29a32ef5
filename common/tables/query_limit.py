"""Limits on how long a query may run, from its start until its last row is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Timer
from time import monotonic
from typing import Any

from common.errors import DataError
from common.tables.extras import load


@contextmanager
def limited_queries(connection: Any, minutes: float) -> Iterator[None]:
    """Have every query of the block end after some minutes, counted until the next query: its rows are read in time.

    The drivers of SQLite and DuckDB have `interrupt`, which another thread may call; the query then fails.

    Args:
        connection: a connection of SQLAlchemy to a database that is a file.
        minutes: most minutes of a query.
    """
    driver, timers = connection.connection.driver_connection, list[Timer]()

    def start(*_: Any) -> None:
        stop()
        timers.append(Timer(60 * minutes, driver.interrupt))
        timers[-1].daemon = True
        timers[-1].start()

    def stop() -> None:
        while timers:
            timers.pop().cancel()

    load("sqlalchemy", "database").event.listen(connection, "before_cursor_execute", start)
    try:
        yield
    finally:
        stop()


def limited_fetches(connection: Any, minutes: float, database: str) -> Callable[[], None]:
    """Return a function to call before every fetch of the query that starts now; the fetch gets the time that is left.

    PostgreSQL's `statement_timeout` holds for one FETCH of a cursor, not for all of them together.

    Args:
        connection: a connection of SQLAlchemy, in a transaction.
        minutes: most minutes of the query.
        database: URL without a password, for the error.
    """
    end = monotonic() + 60 * minutes

    def limit() -> None:
        left = end - monotonic()
        if left <= 0:
            raise too_long(database, minutes)
        if connection.dialect.name == "postgresql":
            options = {"stream_results": False}
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {max(1, round(1000 * left))}", None, options)

    return limit


def too_long(database: str, minutes: float) -> DataError:
    """Return the error about a query that was ended.

    Args:
        database: URL without a password.
        minutes: most minutes of a query.
    """
    return DataError(
        f"the query was ended on {database}: it may run {minutes:g} minutes at most; make it simpler, add an index, or "
        "declare timeout = MINUTES in [read]"
    )


def is_interrupted(cause: Any) -> bool:
    """Return whether a driver's error says that its query was interrupted."""
    return type(cause).__name__ == "InterruptException" or str(cause) == "interrupted"
