"""A second inhabitant of the table of readers: one record per line, cells separated by bars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from common.tables.formats import Reader
from common.tables.parts import Part


def bar_parts(path: Path, columns: Sequence[str] | None, rows: int) -> Iterator[Part]:
    """Yield the table part by part; see `common.tables.formats.Reader`."""
    header, *records = (line.split("|") for line in path.read_text(encoding="utf-8").splitlines())
    raw = pd.DataFrame(records, columns=pd.Index(header), dtype=object)
    raw = raw[[name for name in header if columns is None or name in columns]]
    for start in range(0, max(len(raw), 1), rows):
        yield Part.of(raw[start : start + rows])


BARS = Reader("text with bars", bar_parts)
