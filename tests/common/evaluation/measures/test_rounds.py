from __future__ import annotations

from dataclasses import replace

import pytest

from common.evaluation.measures.registry import CORE_MEASURES
from common.evaluation.measures.rounds import compare_rounds
from common.evaluation.statistics.intervals import Estimate
from common.evaluation.statistics.rounds_effect import effect_of
from tests.testbeds.evaluation_tables import SYNTHETIC, data_of, heart


def around(value: float) -> Estimate:
    return Estimate(value, value - 0.01, value + 0.01, size=100)


class TestEffect:
    @pytest.mark.parametrize(
        ("key", "before", "after", "better", "worse"),
        [
            ("tvd2", 0.10, 0.05, ("tvd2",), ()),
            ("tvd2", 0.05, 0.10, (), ("tvd2",)),
            ("tvd2", 0.10, 0.095, (), ()),  # within 0.085 to 0.105
            ("auc_gb", 0.80, 0.90, ("auc_gb",), ()),
            ("c2st", 0.80, 0.90, (), ("c2st",)),
            ("auc_gb", None, 0.90, (), ()),
        ],
    )
    def test_a_change_counts_beyond_the_interval(
        self, key: str, before: float | None, after: float, better: tuple[str, ...], worse: tuple[str, ...]
    ) -> None:
        effect = effect_of({key: before}, {key: around(after)}, CORE_MEASURES)
        assert (effect.better, effect.worse) == (better, worse)

    def test_the_headline_counts_both_directions(self) -> None:
        before: dict[str, float | None] = {"tvd1": 0.2, "tvd2": 0.2, "c2st": 0.6}
        after = {"tvd1": around(0.1), "tvd2": around(0.1), "c2st": around(0.9)}
        headline = effect_of(before, after, CORE_MEASURES).headline
        assert headline == "Beyond their intervals, the rounds made 2 of 3 compared measures better and 1 worse."
        same = {key: around(value) for key, value in before.items() if value is not None}
        headline = effect_of(before, same, CORE_MEASURES).headline
        assert headline == "The rounds changed no measure beyond its interval, of 3 compared."

    def test_undefined_measures_are_not_counted(self) -> None:
        before: dict[str, float | None] = {"tvd1": 0.2, "auc_lr": None, "auc_gb": 0.9}
        after = {"tvd1": around(0.2), "auc_lr": around(0.9), "auc_gb": None}
        headline = effect_of(before, after, CORE_MEASURES).headline
        assert headline == "The rounds changed no measure beyond its interval, of 1 compared."
        assert "No measure" in effect_of({"auc_lr": None}, after, CORE_MEASURES).headline


class TestComparison:
    def test_without_an_earlier_table_nothing_is_compared(self) -> None:
        train, holdout = heart()
        assert compare_rounds(data_of(train, train, holdout), {}) is None

    def test_rounds_that_restore_pairs_are_better_in_pairs(self) -> None:
        train, holdout = heart()
        data = replace(data_of(train, train, holdout), before_rounds=SYNTHETIC["permuted"](train))
        effect = compare_rounds(data, {key: around(measure.best) for key, measure in CORE_MEASURES.items()})
        assert effect is not None
        assert {"tvd2", "tvd3", "auc_gb", "c2st"} <= set(effect.better)
        assert effect.before["tvd1"] == 0.0
        assert effect.worse == ()
