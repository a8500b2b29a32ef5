"""Drafts of columns from cells: a table of one column beside two others, and what its draft declares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from common.tables.checking import check_table
from common.tables.conforming import conform, format_table
from simulations.drafting import NamedColumns, draft_study

ROWS = 240
DIED = ["no", "yes"] * (ROWS // 2)


def drafted(cells: Sequence[object], *, name: str = "x", kinds: dict[str, str] | None = None) -> tuple[Any, list[str]]:
    """Return the settings of a column without defaults, None where it is left out, and the notices."""
    texts = [str(cell) for cell in cells]
    raw = pd.DataFrame({name: texts, "sex": (["F", "M", "M"] * ROWS)[: len(texts)], "died": DIED[: len(texts)]})
    drafted = draft_study(raw, "draft", NamedColumns("died", kinds=kinds or {}))
    study, notices = drafted.study, list(drafted.notices)
    if name not in study.table.written_names:
        return None, notices
    again = format_table(conform(raw, study.table), study.table)
    assert check_table(raw, study.table, name="x") == [] or kinds
    column = next(column for column in study.table.columns if column.name == name)
    return column.model_dump(exclude_defaults=True) | {"written": again[name].tolist(), "kind": column.kind}, notices


def of(labels: Sequence[str]) -> list[str]:
    """Return the labels in turn, one a row."""
    return [labels[row % len(labels)] for row in range(ROWS)]


def with_words(numbers: Sequence[str], *words: str, every: int = 20) -> list[str]:
    """Return numbers with a word in every so many cells."""
    cells = list(numbers)
    cells[::every] = [words[index % len(words)] for index in range(len(cells[::every]))]
    return cells
