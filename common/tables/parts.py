"""Parts of a raw table: consecutive rows, each distinct cell held once, so that long tables need little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.columns.base import Texts
from common.study.schema import Schema
from common.tables.conforming import DistinctCells, conformed_values, distinct_cells

PART_ROWS = 2**16
"""Most rows of a part, which bounds the memory that reading takes."""

T = TypeVar("T")

Indices = npt.NDArray[np.intp]


class Cells(Protocol):
    """The cells of one column in some rows, as text."""

    def every(self) -> Texts:
        """Return the cell of every row."""
        ...

    def distinct(self) -> DistinctCells:
        """Return the distinct cells, and for every row the index of its cell among them."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class PlainCells:
    """Cells as most formats hold them: one text for every row."""

    texts: Texts

    @classmethod
    def of(cls, texts: Sequence[str]) -> PlainCells:
        """Return these cells, one for every row."""
        return cls(np.array(texts, dtype=object))

    def every(self) -> Texts:
        return self.texts

    def distinct(self) -> DistinctCells:
        return distinct_cells(self.texts)


@dataclass(frozen=True, slots=True, eq=False)
class IndexedCells:
    """Cells of a format that holds every distinct one once."""

    texts: list[str]
    indices: Indices

    def every(self) -> Texts:
        return np.array(self.texts, dtype=object)[self.indices]

    def distinct(self) -> DistinctCells:
        return self.texts, self.indices


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Consecutive rows of a raw table.

    Attributes:
        rows: number of rows.
        columns: the cells of every column, by its name.
    """

    rows: int
    columns: dict[str, Cells]

    @classmethod
    def of(cls, raw: pd.DataFrame) -> Part:
        """Return a whole raw table as one part."""
        return cls(len(raw), {str(name): PlainCells(raw[name].to_numpy(dtype=object)) for name in raw.columns})

    def cells(self, column: str) -> list[str]:
        """Return the column's cell in every row."""
        return list(self.columns[column].every())

    def conform(self, schema: Schema) -> pd.DataFrame:
        """Return the conformed rows, as `common.tables.conforming.conform` does."""
        absent = IndexedCells([""], np.zeros(self.rows, dtype=np.intp))
        values = conformed_values(schema, lambda name: self.columns.get(name, absent).distinct())
        return pd.DataFrame(values, index=pd.RangeIndex(self.rows))


def join(parts: Sequence[Part]) -> pd.DataFrame:
    """Return the raw table that the parts make, at least one."""
    rows = sum(part.rows for part in parts)
    names = pd.Index(list(parts[0].columns), dtype=object)
    return pd.DataFrame(
        {name: np.concatenate([part.columns[name].every() for part in parts]) for name in names},
        index=pd.RangeIndex(rows),
        columns=names,
        copy=False,
        dtype=object,
    )


def chunks(fetch: Callable[[], Sequence[T]]) -> Iterator[Sequence[T]]:
    """Yield what every call of `fetch` returns until it returns nothing; at least once, for a table without rows."""
    chunk = fetch()
    yield chunk
    while chunk and (chunk := fetch()):
        yield chunk


def chosen(names: Iterable[str], wanted: Sequence[str] | None) -> list[str]:
    """Return the wanted ones among a file's column names, in the order of the file; all where `wanted` is None."""
    return list(names) if wanted is None else list(filter(frozenset(wanted).__contains__, names))


def indices_of(names: Sequence[str], wanted: Sequence[str] | None) -> dict[str, int]:
    """Return the index in the file of every wanted column, in the order of the file; all where `wanted` is None.

    Args:
        names: all columns of the file, no two alike.
        wanted: names of columns; those that are not in the file are left out.
    """
    index = {name: number for number, name in enumerate(names)}
    return {name: index[name] for name in chosen(names, wanted)}
