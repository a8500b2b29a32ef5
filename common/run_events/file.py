"""The file of a run's events, one JSON object on each line; `common.run_events.events` lists the fields."""

from __future__ import annotations

import os
from pathlib import Path

from common.errors import WireError
from common.run_events.events import RunEvent, from_json, to_json

EVENTS = "events.jsonl"
"""Name of the file in a run's folder."""


class JsonLines:
    """Appends each event to a file, one line for each, written to the operating system at once.

    Args:
        path: created if it does not exist. An incomplete last line is removed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if path.exists():
            complete = _whole_lines(path.read_bytes())
            if len(complete) < path.stat().st_size:
                os.truncate(path, len(complete))

    def __call__(self, event: RunEvent) -> None:
        with self._path.open("ab") as file:  # closing it writes the whole line, or raises
            file.write(to_json(event).encode() + b"\n")


def read_events(path: Path) -> tuple[RunEvent, ...]:
    """Return the events of a file, none where there is no file; an incomplete last line is left out.

    Raises:
        WireError: a line is not an event.
    """
    content = path.read_bytes() if path.exists() else b""
    events = []
    for number, line in enumerate(_whole_lines(content).splitlines(), start=1):
        try:
            events.append(from_json(line))
        except WireError:
            raise WireError(f"'{path}', line {number} is not a run event; move the file away") from None
    return tuple(events)


def _whole_lines(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]
