"""Drafts of a column's settings from its cells. For public or simulated tables only: no epsilon covers them.

Each kind of column says what it recognizes (`Column.draft`); kinds are asked in the order of `common.columns.kinds`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from common.arrays import Floats
from common.columns.cells import each, is_missing, number_of, text_of
from common.columns.value_grid import MAX_GRID_SIZE

FEW_NUMBERS = 12
"""Up to this many distinct numbers are labels; more are measurements."""

MOST_LABELS = 50
"""Labels of a drafted column; the rarer ones of a longer list become `OTHER`."""

MOST_DECIMALS = 4
"""Decimals of a drafted column; finer numbers are rounded."""

MOST_MULTIPLES = 4
"""Steps of round numbers that a draft names for a column."""

SURPLUS = 0.1
"""A step is named where its multiples exceed what chance and coarser steps explain by this fraction of the values."""

OTHER = "other"


@dataclass(frozen=True)
class ColumnEvidence:
    """The cells of one column, one per patient.

    Attributes:
        cells: raw cells, missing ones included.
        is_target: whether the column is the target of predictions, which is never taken for an identifier.
        with_multiples: whether the draft may name steps of round numbers.
    """

    cells: Sequence[str]
    is_target: bool = False
    with_multiples: bool = True

    @cached_property
    def present(self) -> list[str]:
        """The cells that are not missing, without surrounding blanks."""
        return [cell.strip() for cell in self.cells if not is_missing(cell)]

    @cached_property
    def numbers(self) -> Floats:
        """The present cells as numbers; NaN for other text."""
        return np.array(each(self.present, number_of), dtype=np.float64)

    @cached_property
    def is_numeric(self) -> bool:
        """Return whether every present cell is a number."""
        return not bool(np.isnan(self.numbers).any())

    @cached_property
    def labels(self) -> Counter[str]:
        """Return the number of cells of each label; "1" and "1.0" are one label."""
        return Counter(each(self.numbers.tolist(), text_of) if self.is_numeric else self.present)

    @property
    def has_missing(self) -> bool:
        """Return whether any cell is missing."""
        return len(self.present) < len(self.cells)

    @property
    def is_constant(self) -> bool:
        """Return whether the cells have fewer than two distinct values; missing counts as one."""
        return not self.labels or len(self.labels) + self.has_missing < 2


@dataclass(frozen=True, slots=True)
class Draft:
    """A kind recognizes the column.

    Attributes:
        settings: the column's entry in the schema but for name and missing.
        notice: what a person should know about the column; None where there is nothing to say.
    """

    settings: dict[str, Any]
    notice: str | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A kind recognizes the column as one that does not belong in a study."""

    reason: str


def draft_numeric(evidence: ColumnEvidence) -> Draft | LeftOut | None:
    """Return bounds, decimals and multiples of a column of many distinct numbers; None for any other column."""
    numbers = evidence.numbers
    if not evidence.is_numeric or len(evidence.labels) <= FEW_NUMBERS:
        return None
    is_whole = bool((numbers == np.round(numbers)).all())
    if is_whole and not evidence.is_target and len(evidence.labels) == len(evidence.cells):
        return LeftOut("it is a different whole number in every row, like an identifier")
    return Draft(_draft_bounds(numbers, with_multiples=evidence.with_multiples))


def draft_categorical(evidence: ColumnEvidence) -> Draft | LeftOut:
    """Return all labels in order; of more than `MOST_LABELS` the most frequent ones and `OTHER`."""
    labels, is_numeric = evidence.labels, evidence.is_numeric
    if not is_numeric and not evidence.is_target and len(labels) > len(evidence.present) / 2:
        return LeftOut("more than half of its labels are distinct, like an identifier or free text")
    if len(labels) <= MOST_LABELS:
        return Draft({"kind": "categorical", "categories": sorted(labels, key=number_of if is_numeric else None)})
    ranked = sorted((label for label in labels if label != OTHER), key=lambda label: (-labels[label], label))
    categories = sorted(ranked[: MOST_LABELS - 1], key=number_of if is_numeric else None)
    return Draft(
        {"kind": "categorical", "categories": [*categories, OTHER], "fallback": OTHER},
        f"has more than {MOST_LABELS} labels: rare ones become '{OTHER}'",
    )


def _draft_bounds(numbers: Floats, *, with_multiples: bool) -> dict[str, Any]:
    """Return bounds, decimals and multiples.

    Bounds are rounded outwards to multiples of the power of ten just below the range: 28 to 77 becomes 20 to 80.
    """
    tolerance = 1e-9 * np.maximum(1.0, np.abs(numbers))
    decimals = 0
    while decimals < MOST_DECIMALS and bool((np.abs(np.round(numbers, decimals) - numbers) > tolerance).any()):
        decimals += 1
    low, high = float(numbers.min()), float(numbers.max())
    step = 10.0 ** max(math.floor(math.log10(high - low)), -decimals)
    lower, upper = (round(edge * step, decimals) for edge in (math.floor(low / step), math.ceil(high / step)))
    entry = {"kind": "numeric", "lower": lower, "upper": upper, "decimals": decimals}
    can_count = max(abs(lower), abs(upper)) <= MAX_GRID_SIZE * 10.0**-decimals
    multiples = _draft_multiples(numbers, decimals, upper - lower) if can_count and with_multiples else []
    return entry | ({"multiples": multiples} if multiples else {})


def _draft_multiples(numbers: Floats, decimals: int, span: float) -> list[float]:
    """Return the powers of ten, and five times them, with more multiples than the steps named before explain.

    Zero, which is a multiple of everything, does not count.
    """
    values = np.round(numbers[numbers != 0] * 10.0**decimals)
    steps = [digit * 10**power for power in range(decimals + 3) for digit in (1, 5)]
    fractions = {step: float((values % step == 0).mean()) for step in steps if 1 < step < span * 10.0**decimals}
    named: list[int] = []  # coarse to fine
    while len(named) < MOST_MULTIPLES:
        surplus = {
            step: fraction - _explained(step, named, fractions)
            for step, fraction in fractions.items()
            if step not in named
        }
        best = max(surplus, key=lambda step: surplus[step], default=None)
        if best is None or surplus[best] < SURPLUS:
            break
        named = sorted([*named, best], reverse=True)
    return [round(step / 10.0**decimals, decimals) for step in named]


def _explained(step: int, named: Sequence[int], fractions: Mapping[int, float]) -> float:
    """Return the fraction of values that are multiples of a step by chance.

    Values between the next coarser and the next finer named step are taken as evenly spread; where the three do not
    divide each other, everything counts as explained.

    Args:
        step: the step, in units of the last decimal.
        named: steps named so far.
        fractions: fraction of the values that are multiples of each step that could be declared.
    """
    coarser = min((other for other in named if other > step), default=None)
    finer = max((other for other in named if other < step), default=1)
    if step % finer or (coarser is not None and coarser % step):
        return 1.0
    rare, above = (1 / coarser, fractions[coarser]) if coarser is not None else (0.0, 0.0)
    below = fractions.get(finer, 1.0)
    return above + (below - above) * (1 / step - rare) / (1 / finer - rare)
