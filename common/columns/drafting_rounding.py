"""Drafts of round numbers: which steps a column's values are often multiples of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from common.arrays import Floats
from common.columns.rounding import RoundValues

MOST_MULTIPLES = 4
"""Steps of round numbers that a draft names for a column."""

SURPLUS = 0.1
"""A step is named where its multiples exceed what chance and coarser steps explain by this fraction of the values."""

OTHER_UNITS = (2.54, 0.45359237, 0.0254, 0.3048, 28.349523125, 0.0284130625)
"""Units in which people record whole numbers that are then stored in others: inches in centimeters, pounds in
kilograms, inches and feet in meters, ounces in grams, fluid ounces in liters."""

CLEAR = 4.0
"""Least size of such a unit, in units of the last decimal."""


def draft_multiples(numbers: Floats, decimals: int, span: float) -> list[float]:
    """Return the powers of ten, and five times them, with more multiples than the steps named before explain.

    Zero, which is a multiple of everything, does not count.

    Args:
        numbers: values of the column, without missing ones.
        decimals: of the column.
        span: upper bound minus lower bound, in the column's unit.
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


def draft_recorded_step(numbers: Floats, decimals: int) -> dict[str, Any] | None:
    """Return `recorded_step` and `recorded_decimals` of the unit of which more values than by chance are multiples.

    A step below `CLEAR` units of its last decimal is not looked for: by chance, too many values are near its multiples.
    None where no unit explains `SURPLUS` of the values.
    """
    scale = 10.0**decimals
    values = np.round(numbers[numbers != 0] * scale).astype(np.int64)
    best, most = None, SURPLUS
    for step, digits in product(OTHER_UNITS, range(decimals + 1)):
        rounded_to = round(10.0 ** (decimals - digits))
        if step * scale < CLEAR * rounded_to or not len(values):
            continue
        rounds = RoundValues((), step * scale, rounded_to)
        chance = float((values % rounded_to == 0).mean()) * rounded_to / (step * scale)
        surplus = float((rounds.classes_of(values) == 0).mean()) - chance
        if surplus > most:
            best, most = {"recorded_step": step, "recorded_decimals": digits}, surplus
    return best


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
