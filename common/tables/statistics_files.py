"""Reading the files of SAS, SPSS and Stata with pyreadstat (extra `files`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from common.columns.cells import text_of
from common.errors import DataError
from common.tables.extras import load
from common.tables.parts import Cells, Part, PlainCells, chosen
from common.tables.raw import as_text

FUNCTIONS = {
    ".sas7bdat": "read_sas7bdat",
    ".xpt": "read_xport",
    ".sav": "read_sav",
    ".zsav": "read_sav",
    ".por": "read_por",
    ".dta": "read_dta",
}
"""Function of pyreadstat by the end of a file's name."""


def statistics_parts(path: Path, columns: Sequence[str] | None, rows: int) -> Iterator[Part]:
    """Yield the table part by part, at least one part; see `common.tables.formats.Reader`.

    A code with a value label in the file becomes its label. What the file declares missing is missing.

    Args:
        path: the file.
        columns: the wanted columns, None for all.
        rows: most rows of a part.

    Raises:
        DataError: pyreadstat is not installed, or cannot read the file.
    """
    pyreadstat = load("pyreadstat", "files")
    read = getattr(pyreadstat, FUNCTIONS[path.suffix.lower()])
    with path.open("rb"):  # the system's own words where it cannot be opened
        pass
    try:
        _, meta = read(str(path), metadataonly=True)
        wanted = chosen(meta.column_names, columns)
        start = 0
        while True:
            frame, _ = read(str(path), row_offset=start, row_limit=rows, usecols=wanted) if wanted else (None, None)
            if frame is None or (frame.empty and start):
                break
            yield _part(frame, wanted, meta.variable_value_labels)
            start += len(frame)
            if len(frame) < rows:
                break
    except (pyreadstat.ReadstatError, pyreadstat.PyreadstatError) as problem:
        # The library's text names format and offset, and no cell.
        raise DataError(f"it is damaged or of another format ({type(problem).__name__}); export it again") from None
    if not wanted:
        yield Part(int(meta.number_rows or 0), {})


def _part(frame: pd.DataFrame, wanted: Sequence[str], labels: dict[str, dict[Any, Any]]) -> Part:
    """Return the rows as text, with value labels in place of codes."""
    texts = as_text(frame)
    columns: dict[str, Cells] = {}
    for name in wanted:
        known = {text_of(code): text_of(label) for code, label in labels.get(name, {}).items()}
        columns[name] = PlainCells.of([known.get(text, text) for text in texts[name]])
    return Part(len(frame), columns)
