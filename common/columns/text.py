"""Columns of text: never read from records; written from the other cells of a synthetic row by a declared template."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, Self

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from common.columns.base import TableColumn, Texts, UnreadColumn
from common.columns.drafting import ColumnEvidence, Draft
from common.settings import Readable

SLOT = re.compile(r"\{([^{}]*)\}")
"""A column's name in a template."""


class Text(UnreadColumn):
    """Free text. No cell of a hospital is read, and it costs no epsilon.

    `template` is what every row says, with the row's other cells in place of their names in braces: "{age} years old,
    takes {medications}". Without a template the column is empty.
    """

    kind: Literal["text"] = "text"
    template: Readable = Field(default="", max_length=2000)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if set(SLOT.sub("", self.template)) & set("{}"):
            raise ValueError(f"column '{self.name}': a brace of the template has no other; write names as {{age}}")
        return self

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(SLOT.findall(self.template)))

    def problem(self, others: Mapping[str, TableColumn]) -> str | None:
        nested = [name for name in self.needs if isinstance(others[name], Text)]
        return f"names '{nested[0]}' in its template, which is text itself; name other columns" if nested else None

    @property
    def outlying_cell(self) -> str:
        return self.template

    @classmethod
    def forced(cls, evidence: ColumnEvidence) -> Draft:
        return Draft({"kind": "text"}, ("is never read; a template says what synthetic rows hold instead",))

    def write(self, frame: pd.DataFrame, texts: Mapping[str, Texts]) -> Texts:
        parts = SLOT.split(self.template)  # text and names in turn
        written = np.full(len(frame), "", dtype=object)
        for index, part in enumerate(parts):
            written = written + (texts[part] if index % 2 else part)
        return np.asarray(written, dtype=object)
