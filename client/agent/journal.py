"""What the operator of a site sees: log lines in JSON, and a file of counts. No value of a record is in either."""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.system.files import write_synced

MOST_TEXT = 400
"""Longer texts are cut: they would come from outside."""

FIELDS = "fields"
"""The attribute of a log record that holds a line's named fields."""


class JsonLines(logging.Formatter):
    """One JSON object a line, ASCII only, so that no text from outside can forge a line or move a cursor.

    Of an exception only its kind is written: its text might quote a record.
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
    """Send every log line of this process to standard error as JSON; other libraries' lines from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for package in ("client", "common"):
        logging.getLogger(package).setLevel(logging.INFO)


class Metrics:
    """How many requests of which kind ended how, and when the last one came; kept as one small file.

    Args:
        path: a JSON file for the operator, readable by the agent's account alone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._requests: Counter[tuple[str, str]] = Counter()
        self._started = _now()
        self._last: str | None = None

    def count(self, kind: str, outcome: str) -> None:
        """One more request; `outcome` is "answered", "unavailable" or a `Reason`."""
        self._requests[kind, outcome] += 1
        self._last = _now()

    def write(self, **facts: str | float | None) -> None:
        """Write the file; it appears whole or not at all. A full disk does not stop the agent.

        Args:
            facts: what else the operator wants to know, such as the epsilon spent so far.
        """
        requests: dict[str, dict[str, int]] = {}
        for (kind, outcome), number in sorted(self._requests.items()):
            requests.setdefault(kind, {})[outcome] = number
        content = {"started": self._started, "last_contact": self._last, "requests": requests, **facts}
        try:
            write_synced(self.path, (json.dumps(content, indent=2) + "\n").encode(), mode=0o600)
        except OSError as problem:
            logging.getLogger(__name__).warning("cannot write the metrics (%s)", type(problem).__name__)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
