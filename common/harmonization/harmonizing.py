"""Apply a mapping to a hospital's raw table, part by part: the one way from local columns to those of a study."""

from __future__ import annotations

import difflib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from common.columns.cells import count_rows
from common.errors import DataError
from common.harmonization.mapping import Mapping
from common.harmonization.recipe import Converter, Row
from common.tables.parts import Cells, IndexedCells, Indices, Part

MOST_LISTED = 20
"""Most unread texts of one column that are shown to people."""

MOST_COUNTED = 1000
"""Most different unread texts of one column that are counted apart, which bounds the memory."""

LONGEST_LISTED = 40
"""Most characters of a text that is shown."""


@dataclass
class Unread:
    """What a harmonization could not read, by section and column. It stays at the hospital, like the table.

    Attributes:
        texts: rows by unread text, of columns with one source.
        rows: rows with an unread cell.
    """

    texts: dict[str, Counter[str]] = field(default_factory=dict)
    rows: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, texts: Counter[str] | None, rows: int) -> None:
        """Count unread cells of one column in one part.

        Args:
            name: the column of the study, or the intermediate one.
            texts: rows by text; None for a column of several sources.
            rows: number of rows.
        """
        self.rows[name] += rows
        if texts is not None:
            known = self.texts.setdefault(name, Counter())
            for text, count in texts.items():
                if text in known or len(known) < MOST_COUNTED:
                    known[text] += count

    def notices(self, mapping: Mapping) -> list[str]:
        """Return what could not be read, with the cells' texts and counts: for the hospital only.

        Args:
            mapping: the mapping that was applied.
        """
        notices = []
        for section, name, recipe in mapping.recipes():
            key = f"{section}.{name}"
            if not (rows := self.rows[key]):
                continue
            where = f"[{key}] ({recipe.operation} of {', '.join(map(repr, recipe.sources))})"
            texts = self.texts.get(key)
            if texts is None:
                notices.append(f"{where}: could not be computed in {count_rows(rows)}, which become missing")
                continue
            shown = [f"{_short(text)} ({count_rows(count)})" for text, count in texts.most_common(MOST_LISTED)]
            further = f", and {len(texts) - MOST_LISTED} more texts" if len(texts) > MOST_LISTED else ""
            notices.append(
                f"{where}: not mapped in {count_rows(rows)}, which become missing: {', '.join(shown)}{further}"
            )
        return notices


def _short(text: str) -> str:
    """Return a text that people can read in one line."""
    shown = "".join(mark if mark.isprintable() else " " for mark in text)
    return repr(shown if len(shown) <= LONGEST_LISTED else shown[: LONGEST_LISTED - 1] + "…")


def harmonized(parts: Iterable[Part], mapping: Mapping, unread: Unread, *, source: Path) -> Iterator[Part]:
    """Yield the parts of a raw table with the columns of the study, in the mapping's order.

    Every row is made of the cells of that row alone, so a patient changes no other patient's row.

    Args:
        parts: parts of the hospital's own table.
        mapping: what its columns become.
        unread: collects the cells that could not be read.
        source: the mapping's file, for messages.

    Raises:
        DataError: the table lacks a column that the mapping reads, has one with the name of an intermediate column, or
            `keep_others` would keep a column with the name of another. The text names columns and remedy, and no cell.
    """
    converters = [
        (section, name, recipe.sources, recipe.converter(recipe.own_conventions(mapping.conventions)))
        for section, name, recipe in mapping.recipes()
    ]
    names: dict[str, str] | None = None
    for part in parts:
        if names is None:
            names = _local_names(list(part.columns), mapping, source)
        columns: dict[str, Cells] = {composed: part.columns[name] for composed, name in names.items()}
        of_study: dict[str, Cells] = {}
        for section, name, sources, converter in converters:
            read = [columns[_composed(local)] for local in sources]
            cells = _converted(f"{section}.{name}", read, converter, part.rows, unread)
            if section == "intermediate":
                columns[_composed(name)] = cells
            else:
                of_study[name] = cells
        yield Part(part.rows, of_study | _others(part.columns, mapping))


def _local_names(present: list[str], mapping: Mapping, source: Path) -> dict[str, str]:
    """Return the table's columns by their names in composed Unicode, after comparing them with the mapping's."""
    names = {_composed(name): name for name in present}
    wanted = {_composed(name): name for name in mapping.sources}
    lacking = [name for composed, name in wanted.items() if composed not in names]
    if 2 * len(lacking) > len(wanted):  # perhaps no header: names would be cells, so the text holds none
        listed = ", ".join(f"'{name}'" for name in lacking[:5])
        raise DataError(f"the table lacks most columns that '{source}' reads, such as {listed}; is the first line the "
                        "header, and is this the mapping of this table?")  # fmt: skip
    if lacking:
        problems = [f"'{name}' is not in the table; {_hint(name, present)}" for name in lacking]
        raise DataError("\n".join(f"{source}: column {problem}" for problem in problems))
    for name in mapping.intermediate:
        if _composed(name) in names:
            raise DataError(f"{source}: [intermediate.{name}] has the name of a column of the table; rename it")
    if mapping.keep_others and (both := [name for name in _kept(present, mapping) if name in mapping.columns]):
        raise DataError(
            f"{source}: keep_others would keep the table's column '{both[0]}' beside [columns.{both[0]}]; read the "
            "one in the other, or set keep_others = false"
        )
    return names


def _hint(name: str, present: list[str]) -> str:
    folded = {_composed(column).strip().casefold(): column for column in present}
    near = difflib.get_close_matches(_composed(name).casefold(), folded, n=1)
    return f"did you mean '{folded[near[0]]}'?" if near else "correct the mapping, or add the column to the table"


def _composed(name: str) -> str:
    """Return the name in composed Unicode: an umlaut may be stored as one character or as two."""
    return unicodedata.normalize("NFC", name)


def _kept(present: Iterable[str], mapping: Mapping) -> list[str]:
    read = set(map(_composed, mapping.sources))
    return [name for name in present if _composed(name) not in read]


def _others(columns: dict[str, Cells], mapping: Mapping) -> dict[str, Cells]:
    """Return the local columns that are kept as they are."""
    return {name: columns[name] for name in _kept(columns, mapping)} if mapping.keep_others else {}


def _converted(name: str, sources: list[Cells], converter: Converter, rows: int, unread: Unread) -> IndexedCells:
    """Return one column that is made of others; each distinct combination of cells is computed once.

    Args:
        name: name of the column.
        sources: cells of the sources.
        converter: makes one cell.
        rows: number of rows.
        unread: collects the cells that could not be read.
    """
    distinct, indices = _combinations(sources, rows)
    convert = [converter(row) for row in distinct]
    lost = [number for number, cell in enumerate(convert) if cell is None]
    if lost:
        counts = np.bincount(indices, minlength=len(distinct))
        texts = Counter({distinct[number][0]: int(counts[number]) for number in lost}) if len(sources) == 1 else None
        unread.add(name, texts, int(counts[lost].sum()))
    return IndexedCells([cell or "" for cell in convert], indices)


def _combinations(sources: list[Cells], rows: int) -> tuple[list[Row], Indices]:
    """Return the distinct combinations of the sources' cells, and the index of every row's combination."""
    if not sources:
        return [()], np.zeros(rows, dtype=np.intp)
    if len(sources) == 1:
        texts, indices = sources[0].distinct()
        return [(text,) for text in texts], indices
    numbered = [cells.distinct() for cells in sources]
    numbers: dict[tuple[int, ...], int] = {}
    rows_of = zip(*(indices.tolist() for _, indices in numbered), strict=True)
    combined = np.fromiter((numbers.setdefault(row, len(numbers)) for row in rows_of), dtype=np.intp, count=rows)
    texts_of = [texts for texts, _ in numbered]
    return [tuple(texts[n] for texts, n in zip(texts_of, row, strict=True)) for row in numbers], combined
