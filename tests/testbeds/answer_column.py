"""A further kind of column, to show what one takes: this module and one entry in `common.columns.kinds.KINDS`."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.arrays import Integers
from common.columns.base import Column
from common.columns.binning import Binning
from common.columns.cells import each, is_missing, missing_notice, notice
from common.columns.compact import Compact, pack
from common.columns.labels import LabelCode, LabelHistogram, label_numbers

LABELS = ("no", "yes")
WORDS = {"no": 0, "false": 0, "0": 0, "yes": 1, "true": 1, "1": 1}
NEITHER = -1


def read(cell: str) -> int:
    """Return the label's number; `len(LABELS)` for missing, `NEITHER` for any other text."""
    return len(LABELS) if is_missing(cell) else WORDS.get(cell.strip().lower(), NEITHER)


class Answer(Column):
    """Yes or no, in the words that files use for it. Where missing is not allowed, it becomes `otherwise`."""

    kind: Literal["answer"] = "answer"
    otherwise: Literal["no", "yes"] = "no"

    @property
    def labels(self) -> tuple[str, ...]:
        return LABELS

    @property
    def outlying_cell(self) -> str:
        return "yes"

    def conform(self, cells: list[str]) -> npt.NDArray[Any]:
        numbers = np.array(each(cells, read), dtype=np.int64)
        lost = len(LABELS) if self.missing else LABELS.index(self.otherwise)
        labels = np.array([*LABELS, None], dtype=object)
        return labels[np.where((numbers == NEITHER) | (numbers == len(LABELS)), lost, numbers)]

    def check(self, cells: list[str]) -> list[str]:
        numbers, notices = each(cells, read), []
        if not self.missing and (missing := numbers.count(len(LABELS))):
            notices.append(missing_notice(missing, f"'{self.otherwise}'"))
        if other := numbers.count(NEITHER):
            fate = "missing" if self.missing else f"'{self.otherwise}'"
            notices.append(notice("is neither yes nor no", other, f"counted as {fate}"))
        return notices

    def format(self, values: pd.Series) -> npt.NDArray[np.object_]:
        return np.where(values.notna(), values, "").astype(object)

    def compact(self, values: pd.Series) -> Compact:
        numbers = label_numbers(values, LABELS)
        return pack(numbers, numbers < len(LABELS), len(LABELS))

    def max_codes(self, bins: int) -> int:
        return len(LABELS) + self.missing

    def code(self, noisy: Integers, binning: Binning) -> LabelCode:
        return LabelCode.of(self.histogram(binning.cells), noisy)

    def histogram(self, cells: int) -> LabelHistogram:
        return LabelHistogram(LABELS, self.missing)

    def strata(self, values: pd.Series) -> list[str]:
        return ["missing" if label is None else str(label) for label in values]

    def draw(self, rows: int, rng: np.random.Generator) -> npt.NDArray[Any]:
        return rng.choice(np.array(LABELS, dtype=object), rows)
