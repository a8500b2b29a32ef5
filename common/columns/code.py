"""Columns of codes in a declared hierarchy, such as ICD-10 and ATC: thousands of labels, counted by level."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field, model_validator

from common.arrays import Integers
from common.columns.binning import Binning
from common.columns.cells import each, is_missing, missing_notice, notice
from common.columns.code_tree import CODES_PER_BIN, Tree, TreeCode, TreeHistogram, tree_of
from common.columns.drafting import ColumnEvidence, Draft
from common.columns.drafting_codes import draft_code, recognize_code
from common.columns.labels import LabelColumn
from common.settings import Readable


class Code(LabelColumn):
    """One of many declared codes, whose prefixes of the declared lengths are the levels above them.

    With `prefixes = [1, 3]`, I25.1 is counted as I, I25 and I25.1. Where patients are few for the noise, codes roll up:
    a synthetic row then holds I25 or I. A longer text than is declared counts as its longest prefix; `other` takes
    texts outside the hierarchy.
    """

    kind: Literal["code"] = "code"
    codes: tuple[Readable, ...] = Field(min_length=2, max_length=20_000, strict=False)
    prefixes: tuple[int, ...] = Field(min_length=1, max_length=5, strict=False)
    other: Readable = Field(default="other", min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        where = f"column '{self.name}':"
        if len(set(self.codes)) < len(self.codes) or any(not code or code != code.strip() for code in self.codes):
            raise ValueError(f"{where} a code is empty, listed twice, or begins or ends with a blank; correct codes")
        if self.prefixes[0] < 1 or any(longer <= shorter for shorter, longer in pairwise(self.prefixes)):
            raise ValueError(f"{where} prefixes are lengths from short to long, as in [1, 3]; reorder them")
        if self.other in self._tree.numbers:
            raise ValueError(f"{where} other is also a code or a prefix; name it differently")
        return self

    @property
    def _tree(self) -> Tree:
        return tree_of(self.codes, self.prefixes)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return (*self._tree.numbers, self.other)

    @property
    def outlying_cell(self) -> str:
        return self.codes[-1]

    @property
    def target_problem(self) -> str | None:
        return "holds codes of a hierarchy; choose a column of few labels"

    @classmethod
    def draft(cls, evidence: ColumnEvidence) -> Draft | None:
        return recognize_code(evidence)

    @classmethod
    def forced(cls, evidence: ColumnEvidence) -> Draft | None:
        return draft_code(evidence)

    def conform(self, cells: list[str]) -> npt.NDArray[Any]:
        """Return codes, prefixes, `other`, and None for missing. Where missing is not allowed it is `other`."""
        return np.array(each(cells, self._label_of), dtype=object)

    def _label_of(self, cell: str) -> str | None:
        text, known = cell.strip(), self._tree.numbers
        if text in known or text == self.other:
            return text
        if is_missing(cell):
            return None if self.missing else self.other
        prefixes = [text[:length] for length in self.prefixes if text[:length] in known]
        return prefixes[-1] if prefixes else self.other

    def check(self, cells: list[str]) -> list[str]:
        notices = []
        missing = each(cells, lambda cell: is_missing(cell) and cell.strip() not in self._tree.numbers)
        if not self.missing and any(missing):
            notices.append(missing_notice(sum(missing), f"'{self.other}'"))
        labels = each(cells, self._label_of)
        changed = [
            label
            for cell, label, lost in zip(cells, labels, missing, strict=True)
            if not lost and label != cell.strip()
        ]
        if outside := changed.count(self.other):
            notices.append(notice("holds codes outside the hierarchy", outside, f"counted as '{self.other}'"))
        if coarser := len(changed) - outside:
            notices.append(notice("holds codes that are not listed", coarser, "counted as their longest prefix"))
        return notices

    def max_codes(self, bins: int) -> int:
        return min(CODES_PER_BIN * bins, len(self._tree.labels)) + 1 + self.missing

    def code(self, noisy: Integers, binning: Binning) -> TreeCode:
        return TreeCode.of(self.histogram(binning.cells), noisy, binning)

    def histogram(self, cells: int) -> TreeHistogram:
        return TreeHistogram(self._tree, self.labels, self.missing)

    def consent_sentence(self, cells: int) -> str | None:
        """Return on which levels codes are counted."""
        levels = ", ".join(str(length) for length in self.prefixes)
        return f"how many patients have each of {len(self.codes)} codes, and each prefix of {levels} characters"

    def strata(self, values: pd.Series) -> list[str]:
        """Return the prefix of the first level of every value."""
        length = self.prefixes[0]
        return ["missing" if label is None else str(label) if label == self.other else label[:length]
                for label in values]  # fmt: skip

    def draw(self, rows: int, rng: np.random.Generator) -> npt.NDArray[Any]:
        return rng.choice(np.array(self.codes, dtype=object), rows)
