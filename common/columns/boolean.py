"""Boolean columns: yes or no, read in the words that files use for it and written in the declared ones."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field, model_validator

from common.columns.cells import each, is_missing, missing_notice, notice
from common.columns.drafting import ColumnEvidence, Draft
from common.columns.drafting_labels import draft_boolean
from common.columns.labels import LabelColumn
from common.columns.words import FALSE_WORDS, TRUE_WORDS
from common.settings import Readable

MISSING, NEITHER = 2, -1
"""What `Boolean.number_of` returns besides 0 for false and 1 for true."""


class Boolean(LabelColumn):
    """Yes or no. `true` and `false` are how they are written; `otherwise` takes missing cells where none is allowed."""

    kind: Literal["boolean"] = "boolean"
    true: Readable = Field(default="yes", min_length=1)
    false: Readable = Field(default="no", min_length=1)
    otherwise: Literal["true", "false"] = "false"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.true.strip().lower() == self.false.strip().lower():
            raise ValueError(f"column '{self.name}': true and false are the same word; correct one")
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        return (self.false, self.true)

    @property
    def outlying_cell(self) -> str:
        return self.true

    @classmethod
    def draft(cls, evidence: ColumnEvidence) -> Draft | None:
        return draft_boolean(evidence)

    @classmethod
    def forced(cls, evidence: ColumnEvidence) -> Draft | None:
        return draft_boolean(evidence, with_digits=True)

    def conform(self, cells: list[str]) -> npt.NDArray[Any]:
        """Return labels and None for missing. Other text is missing; where that is not allowed it is `otherwise`."""
        numbers = np.array(each(cells, self.number_of), dtype=np.int64)
        lost = MISSING if self.missing else int(self.otherwise == "true")
        return np.array([*self.labels, None], dtype=object)[
            np.where((numbers == NEITHER) | (numbers == MISSING), lost, numbers)
        ]

    def number_of(self, cell: str) -> int:
        """Return 1 for true and 0 for false: by the declared words, then by the words that files use for it."""
        word = cell.strip()
        if word in self.labels:
            return self.labels.index(word)
        if is_missing(cell):
            return MISSING
        lowered = word.lower()
        if lowered in (self.false.lower(), self.true.lower()):
            return int(lowered == self.true.lower())
        return 1 if lowered in TRUE_WORDS else 0 if lowered in FALSE_WORDS else NEITHER

    def check(self, cells: list[str]) -> list[str]:
        numbers, notices = each(cells, self.number_of), []
        replacement = f"'{self.true if self.otherwise == 'true' else self.false}'"
        if not self.missing and (missing := numbers.count(MISSING)):
            notices.append(missing_notice(missing, replacement))
        if other := numbers.count(NEITHER):
            outcome = "missing" if self.missing else replacement
            notices.append(notice("is neither true nor false", other, f"counted as {outcome}"))
        return notices

    def strata(self, values: pd.Series) -> list[str]:
        """Return the label of every value."""
        return ["missing" if label is None else str(label) for label in values]
