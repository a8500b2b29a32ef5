"""What training rounds changed: a run's table beside the one that its generator gave before the rounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from common.evaluation.measures.registry import CORE_MEASURES, core_values
from common.evaluation.statistics.data import EvaluationData
from common.evaluation.statistics.intervals import Estimate


@dataclass(frozen=True, slots=True)
class RoundsEffect:
    """Core measures without the rounds, and which of them the rounds changed.

    Attributes:
        before: core measures of the table without rounds, by key; None where the tables do not define one.
        better, worse: keys whose value without rounds is outside the interval of the run's table.
        headline: the same as a sentence.
    """

    before: dict[str, float | None]
    better: tuple[str, ...]
    worse: tuple[str, ...]
    headline: str


def compare_rounds(data: EvaluationData, after: Mapping[str, Estimate | None]) -> RoundsEffect | None:
    """Return what the rounds changed; None where there is no table without them.

    Args:
        data: the tables, with the one of before the rounds.
        after: every core measure of the run's table, by key.
    """
    if data.before_rounds is None:
        return None
    return effect_of(core_values(replace(data, synthetic=data.before_rounds, before_rounds=None)), after)


def effect_of(before: dict[str, float | None], after: Mapping[str, Estimate | None]) -> RoundsEffect:
    """Return which measures differ by more than the interval of the later value.

    Args:
        before: core measures without rounds.
        after: the same with rounds.
    """
    better, worse, compared = list[str](), list[str](), 0
    for key, value in before.items():
        estimate = after[key]
        if value is None or estimate is None:
            continue
        compared += 1
        if not estimate.low <= value <= estimate.high:
            is_higher = estimate.value > value
            (better if is_higher == (CORE_MEASURES[key].direction == "higher") else worse).append(key)
    return RoundsEffect(before, tuple(better), tuple(worse), _headline(len(better), len(worse), compared))


def _headline(better: int, worse: int, measures: int) -> str:
    if not measures:
        return "No measure is defined both with and without the rounds."
    if not better and not worse:
        return f"The rounds changed no measure beyond its interval, of {measures} compared."
    return f"Beyond their intervals, the rounds made {better} of {measures} compared measures better and {worse} worse."
