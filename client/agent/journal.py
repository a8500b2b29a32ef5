"""What the operator of a site sees: log lines in JSON and a file of metrics. Neither contains a record's value."""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.errors import cause_of
from common.system.files import write_synced

MOST_TEXT = 400
"""Longest text in a log line, in characters; longer texts come from outside and are cut."""

FIELDS = "fields"
"""Attribute of a log record with the named fields of its line."""


class JournalFormatter(logging.Formatter):
    """Formats one JSON object per line, in ASCII, so that no text from outside can forge a line or move a cursor.

    An exception appears by its class only: its text might quote a record.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage()[:MOST_TEXT],
        }
        line |= getattr(record, FIELDS, {})
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
        return json.dumps({key: _cut(value) for key, value in line.items()})


def _cut(value: Any) -> Any:
    return value[:MOST_TEXT] if isinstance(value, str) else value


def log_as_json() -> None:
    """Log this process to standard error as JSON lines; other libraries from WARNING upward."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JournalFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for package in ("client", "common"):
        logging.getLogger(package).setLevel(logging.INFO)


class Metrics:
    """Counts requests by kind and outcome, with the time of the last one, in a small file.

    Args:
        path: JSON file for the operator, which only the agent's account can read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._requests: Counter[tuple[str, str]] = Counter()
        self._started = _now()
        self._last: str | None = None

    def count(self, kind: str, outcome: str) -> None:
        """Count a request; `outcome` is "answered", "unavailable" or a `Reason`."""
        self._requests[kind, outcome] += 1
        self._last = _now()

    def write(self, **facts: str | float | None) -> None:
        """Write the file; it appears whole or not at all. A full disk does not stop the agent.

        Args:
            facts: further entries for the operator, such as the epsilon spent so far.
        """
        requests: dict[str, dict[str, int]] = {}
        for (kind, outcome), number in sorted(self._requests.items()):
            requests.setdefault(kind, {})[outcome] = number
        content = {"started": self._started, "last_contact": self._last, "requests": requests, **facts}
        try:
            write_synced(self.path, (json.dumps(content, indent=2) + "\n").encode(), mode=0o600)
        except OSError as problem:
            logging.getLogger(__name__).warning("cannot write the metrics (%s)", cause_of(problem))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
