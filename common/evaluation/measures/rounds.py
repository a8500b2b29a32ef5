"""What training rounds changed: a run's table beside the one that its generator gave before the rounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from common.evaluation.measures.registry import CORE_MEASURES, core_values
from common.evaluation.statistics.data import EvaluationData
from common.evaluation.statistics.intervals import Estimate
from common.evaluation.statistics.rounds_effect import RoundsEffect, effect_of


def compare_rounds(data: EvaluationData, after: Mapping[str, Estimate | None]) -> RoundsEffect | None:
    """Return what the rounds changed; None where there is no table without them.

    Args:
        data: the tables, with the one of before the rounds.
        after: every core measure of the run's table, by key.
    """
    if data.before_rounds is None:
        return None
    before = core_values(replace(data, synthetic=data.before_rounds, before_rounds=None))
    return effect_of(before, after, CORE_MEASURES)
