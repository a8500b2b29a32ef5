"""Built-in estimates of one table of rows, with their textbook variances: what `fedsynth combine` pools."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from common.arrays import Floats
from common.errors import StudyError
from common.study.schema import Schema

ITERATIONS = 50
"""Newton steps of a logistic regression; it converges in about six."""

HALF = 0.5
"""Added to every cell of a fourfold table, so that empty ones give a finite odds ratio (Haldane 1956, Gart 1966)."""


@dataclass(frozen=True, slots=True)
class Estimand:
    """What is estimated from a table.

    Attributes:
        kind: "mean", "proportion" or "log-odds".
        column: of the mean or proportion, or the outcome.
        label: of `column`; "" for a mean.
        other: of "log-odds": the column that predicts.
        other_label: of `other`; "" where it holds numbers: the coefficient of a logistic regression per unit.
    """

    kind: str
    column: str
    label: str = ""
    other: str = ""
    other_label: str = ""

    def __str__(self) -> str:
        of = f"{self.column}={self.label}" if self.label else self.column
        if not self.other:
            return f"{self.kind} {of}"
        return f"{self.kind} {of} by {self.other}" + (f"={self.other_label}" if self.other_label else "")

    def estimate(self, frame: pd.DataFrame) -> tuple[float, float]:
        """Return estimate and textbook variance from rows with known values; NaN where they say nothing."""
        names = [name for name in (self.column, self.other) if name]
        known = frame[names].dropna()
        if self.kind == "mean":
            values = known[self.column].to_numpy(dtype=np.float64)
            return (float(values.mean()), float(values.var(ddof=1)) / len(values)) if len(values) > 1 else NOTHING
        outcome = np.asarray(known[self.column] == self.label, dtype=np.float64)
        if self.kind == "proportion":
            rate = float(outcome.mean()) if len(outcome) else math.nan
            return rate, rate * (1 - rate) / max(len(outcome), 1)
        if self.other_label:
            return log_odds_ratio(outcome, np.asarray(known[self.other] == self.other_label, dtype=np.float64))
        return logistic_slope(outcome, known[self.other].to_numpy(dtype=np.float64))


NOTHING = (math.nan, math.nan)


def parse_estimand(kind: str, text: str, schema: Schema) -> Estimand:
    """Return the estimand that an option names: COLUMN, COLUMN=LABEL, or COLUMN=LABEL:COLUMN[=LABEL].

    Args:
        kind: "mean", "proportion" or "log-odds".
        text: of the option.
        schema: columns of the tables.

    Raises:
        StudyError: a column is unknown or of the wrong kind, or a label is missing or unknown.
    """
    first, _, second = text.partition(":")
    column, label = _column_and_label(first, schema, needs_label=kind != "mean")
    if kind == "mean" and schema[column].grid is None:
        raise StudyError(f"column '{column}' holds labels; --proportion {column}=LABEL takes it")
    if kind != "log-odds":
        if second:
            raise StudyError(f"--{kind} names one column; --log-odds names two")
        return Estimand(kind, column, label)
    if not second:
        raise StudyError("--log-odds takes OUTCOME=LABEL:COLUMN, and =LABEL after it where the column holds labels")
    other, other_label = _column_and_label(second, schema, needs_label=False)
    if other == column:
        raise StudyError(f"--log-odds names column '{column}' twice; name another column after the colon")
    if schema[other].grid is None and not other_label:
        raise StudyError(f"column '{other}' holds labels; name one, as in {other}=LABEL")
    return Estimand(kind, column, label, other, other_label)


def _column_and_label(text: str, schema: Schema, *, needs_label: bool) -> tuple[str, str]:
    column, _, label = text.partition("=")
    if column not in schema.names:
        raise StudyError(f"column '{column}' is not in the tables; choose one of {', '.join(schema.names)}")
    if (needs_label or label) and label not in schema[column].labels:
        known = ", ".join(schema[column].labels[:20]) or "none: it holds numbers"
        raise StudyError(f"column '{column}' has no such label; its labels are {known}")
    return column, label


def log_odds_ratio(outcome: Floats, exposed: Floats) -> tuple[float, float]:
    """Return the log odds ratio of a fourfold table and its variance, the sum of inverse cells (Woolf 1955).

    Args:
        outcome, exposed: 0 or 1 for each row.
    """
    cells = [float(((outcome == o) & (exposed == e)).sum()) + HALF for o, e in ((1, 1), (0, 0), (1, 0), (0, 1))]
    ratio = math.log(cells[0]) + math.log(cells[1]) - math.log(cells[2]) - math.log(cells[3])
    return ratio, sum(1 / cell for cell in cells)


def logistic_slope(outcome: Floats, values: Floats) -> tuple[float, float]:
    """Return the coefficient of one number in a logistic regression and its variance, per unit of the number.

    Maximum likelihood by Newton's method; the variance is from the inverse information.

    Args:
        outcome: 0 or 1 for each row.
        values: the number.
    """
    spread = float(values.std()) if len(values) else 0.0
    if not spread or not 0 < outcome.sum() < len(outcome):
        return NOTHING
    design = np.stack([np.ones(len(values)), (values - values.mean()) / spread], axis=1)
    beta = np.zeros(2)
    information = np.eye(2)
    for _ in range(ITERATIONS):
        rate = 1 / (1 + np.exp(-np.clip(design @ beta, -30, 30)))
        information = (design.T * (rate * (1 - rate))) @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(information, design.T @ (outcome - rate))
        beta = beta + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-9:
            break
    return float(beta[1]) / spread, float(np.linalg.inv(information)[1, 1]) / spread**2
