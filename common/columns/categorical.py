"""Categorical columns: one of a declared list of labels."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field, model_validator

from common.columns.cells import each, missing_notice, notice
from common.columns.drafting import ColumnEvidence, Draft, LeftOut
from common.columns.drafting_labels import draft_categorical
from common.columns.labels import UNLISTED, LabelColumn, finder
from common.settings import Readable


class Categorical(LabelColumn):
    """One of a declared list of labels. `fallback` takes the labels that are not listed."""

    kind: Literal["categorical"] = "categorical"
    categories: tuple[Readable, ...] = Field(min_length=1, max_length=1000, strict=False)
    fallback: Readable | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        repeated = sorted({c for c in self.categories if self.categories.count(c) > 1})
        if repeated:
            raise ValueError(f"column '{self.name}': category '{repeated[0]}' is listed twice; remove one")
        if "" in self.categories:
            raise ValueError(f"column '{self.name}': a category is empty; declare missing = true instead")
        if self.fallback is not None and self.fallback not in self.categories:
            raise ValueError(f"column '{self.name}': fallback must be one of the categories")
        return self

    @property
    def fallback_code(self) -> int:
        """Where an unlisted label goes: the declared fallback, else missing where allowed, else the last category."""
        if self.fallback is not None:
            return self.categories.index(self.fallback)
        return len(self.categories) if self.missing else len(self.categories) - 1

    @property
    def labels(self) -> tuple[str, ...]:
        return self.categories

    @property
    def outlying_cell(self) -> str:
        return self.categories[-1]

    @property
    def target_problem(self) -> str | None:
        return "has one category only; there is nothing to predict" if len(self.categories) < 2 else None

    @classmethod
    def draft(cls, evidence: ColumnEvidence) -> Draft | LeftOut:
        return draft_categorical(evidence)

    @classmethod
    def forced(cls, evidence: ColumnEvidence) -> Draft | LeftOut:
        return draft_categorical(evidence, is_forced=True)

    def conform(self, cells: list[str]) -> npt.NDArray[Any]:
        """Return labels and None for missing. An unlisted label goes where `fallback_code` says, and so does missing
        where it is not allowed."""
        numbers = np.array(each(cells, finder(self.categories)), dtype=np.int64)
        is_lost = numbers == UNLISTED
        if not self.missing:
            is_lost |= numbers == len(self.categories)
        labels = np.array([*self.categories, None], dtype=object)
        return labels[np.where(is_lost, self.fallback_code, numbers)]

    def check(self, cells: list[str]) -> list[str]:
        numbers = each(cells, finder(self.categories))
        label = self.fallback if self.fallback is not None else self.categories[-1]
        replacement = f"the {'fallback' if self.fallback is not None else 'last category'}, '{label}'"
        notices = []
        if not self.missing and (missing := numbers.count(len(self.categories))):
            notices.append(missing_notice(missing, replacement))
        if unlisted := numbers.count(UNLISTED):
            outcome = "missing" if self.fallback_code == len(self.categories) else replacement
            notices.append(notice("holds unlisted labels", unlisted, f"counted as {outcome}"))
        return notices

    def strata(self, values: pd.Series) -> list[str]:
        """Return the category of every value."""
        return ["missing" if label is None else f"category {label}" for label in values]
