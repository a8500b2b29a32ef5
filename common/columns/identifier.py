"""Columns of identifiers: never read from records; fresh ones are written by a declared pattern."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Literal, Self

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from common.columns.base import Texts, UnreadColumn
from common.columns.drafting import ColumnEvidence, Draft
from common.columns.drafting_lists import draft_identifier
from common.errors import StudyError
from common.settings import Readable

ALPHABETS = {"#": "0123456789", "?": "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
"""Marks of a pattern, and what stands in their place."""

LEAST_CAPACITY = 1000
"""Fewest identifiers that a pattern must give."""


class Identifier(UnreadColumn):
    """An identifier by a pattern: # is a digit, ? a capital letter, anything else stands for itself ("P-2025-####").

    No cell of a hospital is read. Row i of every synthetic table gets the i-th identifier of an order that only the
    column's name and pattern decide; all rows of a table differ.
    """

    kind: Literal["identifier"] = "identifier"
    pattern: Readable = Field(min_length=1, max_length=64)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.missing:
            raise ValueError(f"column '{self.name}': an identifier is never missing; remove missing")
        if self.capacity < LEAST_CAPACITY:
            raise ValueError(
                f"column '{self.name}': pattern gives {self.capacity} identifiers, and fewer than {LEAST_CAPACITY} are "
                "too few; add marks: # for a digit, ? for a letter"
            )
        return self

    @property
    def capacity(self) -> int:
        """Return how many identifiers the pattern gives."""
        return math.prod(len(ALPHABETS.get(mark, " ")) for mark in self.pattern)

    @property
    def max_rows(self) -> int:
        return self.capacity

    @property
    def outlying_cell(self) -> str:
        return self._text(self.capacity - 1)

    @classmethod
    def forced(cls, evidence: ColumnEvidence) -> Draft | None:
        return draft_identifier(evidence)

    def write(self, frame: pd.DataFrame, texts: Mapping[str, Texts]) -> Texts:
        """Return as many different identifiers as there are rows: i -> (a i + b) mod capacity, a prime to it.

        Raises:
            StudyError: the pattern gives fewer identifiers than there are rows.
        """
        if len(frame) > self.capacity:
            raise StudyError(
                f"column '{self.name}': its pattern gives {self.capacity} identifiers for {len(frame)} rows; add a # "
                "to the pattern or draw fewer rows"
            )
        digest = int.from_bytes(hashlib.sha256(f"{self.name}\n{self.pattern}".encode()).digest())
        step, start = digest % self.capacity or 1, (digest >> 128) % self.capacity
        while math.gcd(step, self.capacity) != 1:
            step += 1
        numbers = ((step * row + start) % self.capacity for row in range(len(frame)))
        return np.array([self._text(number) for number in numbers], dtype=object)

    def _text(self, number: int) -> str:
        marks = []
        for mark in reversed(self.pattern):
            if mark in ALPHABETS:
                number, index = divmod(number, len(ALPHABETS[mark]))
                mark = ALPHABETS[mark][index]
            marks.append(mark)
        return "".join(reversed(marks))
