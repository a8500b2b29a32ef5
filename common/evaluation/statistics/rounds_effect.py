"""Which measures training rounds changed beyond their intervals, of rows or of visits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from common.evaluation.statistics.intervals import Estimate
from common.evaluation.statistics.scales import Scale


@dataclass(frozen=True, slots=True)
class RoundsEffect:
    """Measures without the rounds, and which of them the rounds changed.

    Attributes:
        before: measures of the table without rounds, by key; None where the tables do not define one.
        better, worse: keys whose value without rounds is outside the interval of the run's table.
        headline: the same as a sentence.
    """

    before: dict[str, float | None]
    better: tuple[str, ...]
    worse: tuple[str, ...]
    headline: str


def effect_of(
    before: dict[str, float | None], after: Mapping[str, Estimate | None], measures: Mapping[str, Scale]
) -> RoundsEffect:
    """Return which measures differ by more than the interval of the later value.

    Args:
        before: measures without rounds.
        after: the same with rounds.
        measures: which direction is better, by key.
    """
    better, worse, compared = list[str](), list[str](), 0
    for key, value in before.items():
        estimate = after[key]
        if value is None or estimate is None:
            continue
        compared += 1
        if not estimate.low <= value <= estimate.high:
            is_higher = estimate.value > value
            (better if is_higher == (measures[key].direction == "higher") else worse).append(key)
    return RoundsEffect(before, tuple(better), tuple(worse), _headline(len(better), len(worse), compared))


def _headline(better: int, worse: int, measures: int) -> str:
    if not measures:
        return "No measure is defined both with and without the rounds."
    if not better and not worse:
        return f"The rounds changed no measure beyond its interval, of {measures} compared."
    return f"Beyond their intervals, the rounds made {better} of {measures} compared measures better and {worse} worse."
