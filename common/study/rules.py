"""Declared rules between numeric columns: which rows break them, and how a row is repaired."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.settings import Frozen
from common.study.schema import Schema

Relation = Literal["<", "<=", ">", ">="]

RELATIONS: dict[Relation, Callable[[pd.Series, pd.Series], pd.Series]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


REDRAWS = 10
"""How often rows that break a rule are drawn again; those still broken after that are corrected."""

MOST_BROKEN = 0.5
"""Fraction of drawn patients from which a broken rule is worth a warning."""


class Rule(Frozen):
    """`left relation right` between two columns of numbers, wherever both are present."""

    left: str
    relation: Relation
    right: str

    def __str__(self) -> str:
        return f"{self.left} {self.relation} {self.right}"

    @property
    def is_strict(self) -> bool:
        return self.relation in ("<", ">")

    @property
    def ascending(self) -> tuple[str, str]:
        """The two columns, the one of smaller values first."""
        return (self.left, self.right) if self.relation in ("<", "<=") else (self.right, self.left)

    def broken(self, frame: pd.DataFrame) -> npt.NDArray[np.bool_]:
        """Return which rows break the rule; a missing value breaks none."""
        left, right = frame[self.left], frame[self.right]
        holds = RELATIONS[self.relation](left, right)
        return np.asarray(left.notna() & right.notna() & ~holds, dtype=np.bool_)


def contradiction(rules: Sequence[Rule], schema: Schema) -> str | None:
    """Return why no row with all values can meet the rules; None where one can, as far as rules alone tell.

    Every rule says that one column is below another. Rules exclude each other where they lead from a column back to
    itself and one of them is strict; a rule is impossible where the bounds leave no such values.

    Args:
        rules: rules between columns of numbers.
        schema: their columns.
    """
    for rule in rules:
        low, high = schema[rule.ascending[0]], schema[rule.ascending[1]]
        assert low.grid is not None, "the study allows rules between numeric columns only"
        assert high.grid is not None, "the study allows rules between numeric columns only"
        are_absolute = not low.needs and not high.needs
        least, most = low.grid.lower, high.grid.upper
        if are_absolute and (least > most or (rule.is_strict and least >= most)):
            return f"'{rule}' can hold for no values within the bounds; correct the rule or the bounds"
    for rule in rules:
        path = _path(rules, rule.ascending[1], rule.ascending[0])
        if path is not None and any(step.is_strict for step in (rule, *path)):
            others = " and ".join(f"'{step}'" for step in path)
            excluded = f"excludes {others}" if path else "excludes itself"
            return f"'{rule}' {excluded}: no row can meet them all; remove one"
    return None


def _path(rules: Sequence[Rule], start: str, end: str) -> list[Rule] | None:
    """Return rules that say that column `start` is below column `end`, the fewest; None where none do."""
    reached: dict[str, list[Rule]] = {start: []}
    waiting = [start]
    while waiting:
        column = waiting.pop(0)
        if column == end:
            return reached[column]
        for rule in rules:
            low, high = rule.ascending
            if low == column and high not in reached:
                reached[high] = [*reached[column], rule]
                waiting.append(high)
    return None


def broken(frame: pd.DataFrame, rules: Sequence[Rule]) -> npt.NDArray[np.bool_]:
    """Return which rows break any rule."""
    rows = np.zeros(len(frame), dtype=np.bool_)
    for rule in rules:
        rows |= rule.broken(frame)
    return rows


def warnings_of_rules(redrawn: Mapping[str, float]) -> list[str]:
    """Return a warning with a remedy for every rule that most drawn patients broke.

    A patient who breaks a rule with probability p still does after `REDRAWS` further draws with p^(REDRAWS + 1).

    Args:
        redrawn: fraction of drawn patients that broke each rule.
    """
    return [
        f"RULE: {fraction:.0%} of the drawn patients broke '{rule}'. They were drawn again up to {REDRAWS} times, and "
        f"about {fraction ** (REDRAWS + 1):.0%} of all patients were corrected in the end, so that their values are "
        "less like real ones. Check that real patients keep the rule. If they do, give its columns fewer categories "
        "or decimals, raise epsilon, or remove the rule, draw more patients and drop those that break it."
        for rule, fraction in redrawn.items()
        if fraction >= MOST_BROKEN
    ]


def repair(frame: pd.DataFrame, rules: Sequence[Rule], schema: Schema) -> pd.DataFrame:
    """Return the table with the right-hand value of every broken rule moved next to the left-hand one.

    Values stay within their bounds; where these leave no room, the left-hand value moves instead. One pass over the
    rules in order; rules that move one column in different directions may leave a row broken.

    Args:
        frame: a conformed table.
        rules: the study's rules.
        schema: columns of the table.
    """
    frame = frame.copy()
    for rule in rules:
        left, right = schema[rule.left].grid, schema[rule.right].grid
        assert left is not None, "the study allows rules between numeric columns only"
        assert right is not None, "the study allows rules between numeric columns only"
        sign = 1.0 if rule.relation in ("<", "<=") else -1.0
        gap = sign * 10.0 ** -min(left.decimals, right.decimals) if rule.relation in ("<", ">") else 0.0
        rows = rule.broken(frame)
        moved = (frame.loc[rows, rule.left] + gap).clip(right.lower, right.upper).round(right.decimals)
        frame.loc[rows, rule.right] = moved
        rows = rule.broken(frame)
        moved = (frame.loc[rows, rule.right] - gap).clip(left.lower, left.upper).round(left.decimals)
        frame.loc[rows, rule.left] = moved
    return frame
