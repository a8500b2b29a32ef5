"""A limit on how long a query may run, for databases in the process of the reader, which have none of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Any

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


def is_interrupted(cause: Any) -> bool:
    """Return whether a driver's error says that its query was interrupted."""
    return type(cause).__name__ == "InterruptException" or str(cause) == "interrupted"
