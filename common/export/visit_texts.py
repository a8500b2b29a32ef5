"""What an export says about one visit, column by column, and the cells that this gives."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from common.columns.base import TableColumn
from common.columns.item_set import ItemSet
from common.errors import DataError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class VisitTexts:
    """One visit of an export.

    Attributes:
        patient: text that names the patient.
        texts: what is said about each column, by its name: one text, or the items of a list.
    """

    patient: str
    texts: dict[str, list[str]] = field(default_factory=dict)

    def add(self, column: str, text: str) -> None:
        """Add what a row or resource says about a column."""
        self.texts.setdefault(column, []).append(text)


def cell_of(column: TableColumn, visit: VisitTexts) -> str:
    """Return the cell of a column; "" (missing) where the export says nothing about it.

    Raises:
        DataError: a visit has two values of a column that holds one.
    """
    texts = visit.texts.get(column.name, [])
    if not texts:
        return ""
    if isinstance(column, ItemSet) and texts != [column.empty]:
        return column.separator.join(item for item in column.items if item in texts)
    if len(texts) > 1:
        raise DataError(f"column '{column.name}': a visit has two values; restore the export as it was written")
    return texts[0]


class Grouped(Generic[T]):
    """Consecutive values with a key each, taken key by key in the order in which the keys come.

    Args:
        values: the values.
        key: returns the key of a value.
        what: what the values are, for messages.
    """

    def __init__(self, values: Iterator[T], key: Callable[[T], Hashable], what: str) -> None:
        self._values, self._key, self._what = values, key, what
        self._next = next(values, None)

    def take(self, key: Hashable) -> Iterator[T]:
        """Yield the next values, as long as they have this key."""
        while self._next is not None and self._key(self._next) == key:
            value, self._next = self._next, next(self._values, None)
            yield value

    def finish(self) -> None:
        """Raise `DataError` if a value is left: it belongs to none of the keys, or the order was changed."""
        if self._next is not None:
            raise DataError(f"{self._what} holds rows of no visit, or in another order; restore the export")
