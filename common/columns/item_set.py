"""Columns of lists: several items in one cell, of which the declared ones are counted as yes or no each."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field, model_validator

from common.columns.base import LONGEST_NAME, Column, TableColumn, Texts
from common.columns.boolean import Boolean
from common.columns.cells import each, is_missing, missing_notice, notice
from common.columns.drafting import ColumnEvidence, Draft
from common.columns.drafting_lists import draft_set
from common.settings import Readable

YES, NO = "yes", "no"

MOST_ITEMS = 100
"""Items of a set; each is a column of codes, whose count and tables take noise of their own."""


class ItemSet(TableColumn):
    """A list of items in one cell, such as medications.

    Each declared item is modeled as a column of its own, yes or no, named `<column>: <item>`: one patient changes one
    count of each. Where a list may be missing, the first item says whether it is. A cell comes back with its items in
    the declared order, joined by the `separator`. `empty` is how a list without items is written; an empty cell is such
    a list, too, where missing is not allowed.
    """

    drafts_missing: ClassVar[bool] = False

    kind: Literal["set"] = "set"
    items: tuple[Readable, ...] = Field(min_length=1, max_length=MOST_ITEMS, strict=False)
    separator: Readable = Field(default=", ", min_length=1)
    empty: Readable = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        where = f"column '{self.name}':"
        repeated = sorted({item for item in self.items if self.items.count(item) > 1})
        if repeated:
            raise ValueError(f"{where} item '{repeated[0]}' is listed twice; remove one")
        if any(not item or item != item.strip() or self._mark in item for item in self.items):
            raise ValueError(
                f"{where} an item is empty, begins or ends with a blank, or holds the separator; correct it"
            )
        longest, most = max(map(len, self.items)) + len(self.name), LONGEST_NAME - len(": ")
        if longest > most:
            raise ValueError(
                f"{where} its name and an item have {longest} characters, more than {most}; use shorter ones"
            )
        if self.empty.strip() in self.items:
            raise ValueError(f"{where} empty is also an item; remove one")
        if self.missing and not self.empty:
            raise ValueError(f"{where} missing = true needs empty, the text of a list without items; add it, as 'none'")
        return self

    @property
    def _mark(self) -> str:
        """What stands between two items of a cell, blanks aside."""
        return self.separator.strip() or self.separator

    @cached_property
    def modeled(self) -> tuple[Column, ...]:
        return tuple(
            Boolean(name=f"{self.name}: {item}", missing=self.missing and not number, true=YES, false=NO)
            for number, item in enumerate(self.items)
        )

    @property
    def outlying_cell(self) -> str:
        return self.separator.join(self.items)

    @classmethod
    def draft(cls, evidence: ColumnEvidence) -> Draft | None:
        return draft_set(evidence)

    @classmethod
    def forced(cls, evidence: ColumnEvidence) -> Draft | None:
        return draft_set(evidence, is_forced=True)

    def read(self, cells: list[str]) -> dict[str, npt.NDArray[Any]]:
        """Return yes or no for every item, None for the first where the cell is missing. Other items are left out."""
        held, values = each(cells, self._items_of), {}
        for part, item in zip(self.modeled, self.items, strict=True):
            absent = None if part.missing else NO
            labels = [absent if items is None else YES if item in items else NO for items in held]
            values[part.name] = np.array(labels, dtype=object)
        return values

    def _items_of(self, cell: str) -> frozenset[str] | None:
        """Return the items of a cell; None where it is missing."""
        text = cell.strip()
        if text == self.empty.strip():
            return frozenset()
        if is_missing(cell) and text not in self.items:
            return None
        return frozenset(item.strip() for item in text.split(self._mark) if item.strip())

    def check(self, cells: list[str]) -> list[str]:
        held, notices, declared = each(cells, self._items_of), [], frozenset(self.items)
        if not self.missing and (missing := sum(items is None for items in held)):
            notices.append(missing_notice(missing, "a list without items"))
        if other := sum(items is not None and not items <= declared for items in held):
            notices.append(notice("holds items that are not declared", other, "left out of the list"))
        return notices

    def write(self, frame: pd.DataFrame, texts: Mapping[str, Texts]) -> Texts:
        """Return the items that are yes; "" where the first is missing."""
        parts = [frame[part.name].to_numpy(dtype=object) for part in self.modeled]
        rows = zip(*parts, strict=True)
        return np.array([self._text(row) for row in rows], dtype=object)

    def _text(self, row: tuple[Any, ...]) -> str:
        if row[0] is None:
            return ""
        held = [item for item, label in zip(self.items, row, strict=True) if label == YES]
        return self.separator.join(held) if held else self.empty

    def invent(self, rows: int, rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
        return {part.name: part.draw(rows, rng) for part in self.modeled}

    def consent_sentence(self, cells: int) -> str | None:
        """Return which items are counted."""
        return "how many patients have each of " + ", ".join(f"'{item}'" for item in self.items)
