"""Rows of a model under conditions: categories, which the model draws exactly, and ranges, which reject other rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.columns.ranges import Range, parse_range
from common.errors import StudyError
from common.model import Model
from common.seeds import seed_for
from common.study.schema import Schema
from common.tables.conforming import format_table

TRIED_ROWS = 10_000
"""Rows from which the fraction that satisfies the conditions is estimated."""

MOST_DRAWN = 2_000_000
"""Most rows that are drawn for rows in a range."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What every drawn row must satisfy: a category by column, and a range by column."""

    categories: dict[str, str] = field(default_factory=dict)
    ranges: dict[str, Range] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.categories or self.ranges)

    def satisfied(self, raw: pd.DataFrame) -> npt.NDArray[np.bool_]:
        """Return which rows of a written table satisfy all conditions."""
        satisfied = np.ones(len(raw), dtype=np.bool_)
        for name, category in self.categories.items():
            satisfied &= (raw[name] == category).to_numpy()
        for name, chosen in self.ranges.items():
            satisfied &= chosen.holds(raw[name])
        return satisfied


def parse_conditions(texts: Sequence[str], schema: Schema) -> Conditions:
    """Return the conditions that a command line gives as COLUMN=CATEGORY or COLUMN=LOW..HIGH.

    Column names may hold `=`: the longest name that fits is taken.

    Raises:
        StudyError: a text is not of this form, names no column, or no range of it; or two texts name one column.
    """
    conditions = Conditions()
    for text in texts:
        if "=" not in text:
            raise StudyError("--given takes COLUMN=CATEGORY or COLUMN=LOW..HIGH, such as --given sex=female")
        fitting = [name for name in schema.written_names if text.startswith(f"{name}=")]
        name = max(fitting, key=len, default=text.partition("=")[0])
        value = text[len(name) + 1 :]
        if name in conditions.categories or name in conditions.ranges:
            raise StudyError(f"column '{name}' has two conditions; keep one --given for it")
        column = next((column for column in schema.modeled if column.name == name), None)
        if column is None or column.labels:
            conditions.categories[name] = value  # a text outside its categories is refused when rows are drawn
        else:
            conditions.ranges[name] = parse_range(column, value)
    return conditions


def sample_where(model: Model, rows: int, seed: int, conditions: Conditions) -> pd.DataFrame:
    """Draw a table whose rows all satisfy the conditions.

    Args:
        model: the trained model.
        rows: number of rows.
        seed: the same seed gives the same table.
        conditions: categories are drawn exactly; rows outside a range are rejected and others drawn.

    Returns:
        A conformed table, its columns in schema order.

    Raises:
        StudyError: as `Model.sample` does, or too few of `MOST_DRAWN` rows are in the ranges.
    """
    if not conditions.ranges:
        return model.sample(rows, seed, given=conditions.categories)
    kept: list[pd.DataFrame] = []
    count = drawn = 0
    size = max(rows, 1000)
    while count < rows:
        if drawn + size > MOST_DRAWN or (drawn >= 10 * TRIED_ROWS and not count):
            names = ", ".join(f"'{name}'" for name in conditions.ranges)
            raise StudyError(f"{count} of {drawn} drawn rows are in the range of column {names}; widen it")
        frame = model.sample(size, seed_for(seed, "range", drawn), given=conditions.categories)
        chosen = frame[conditions.satisfied(format_table(frame, model.study.table))]
        kept.append(chosen)
        count, drawn = count + len(chosen), drawn + size
        size = int(np.clip((rows - count) * drawn / max(count, 1), 1000, 10 * TRIED_ROWS))
    return pd.concat(kept, ignore_index=True).iloc[:rows]


def fraction_satisfying(model: Model, seed: int, conditions: Conditions) -> float:
    """Return the fraction of `TRIED_ROWS` rows, drawn without conditions, that satisfy them.

    Args:
        model: the trained model.
        seed: seed of the rows.
        conditions: what a row must satisfy.
    """
    frame = model.sample(TRIED_ROWS, seed_for(seed, "fraction"))
    return float(conditions.satisfied(format_table(frame, model.study.table)).mean())
