from __future__ import annotations

import numpy as np
import pytest

from common.arrays import Weights
from common.study.sections import AggregationKind
from server.aggregation import AGGREGATORS, aggregate

ROWS = {"a": 100, "b": 100, "c": 200}


def updates(*values: float) -> dict[str, Weights]:
    return {
        name: {"gen.w": np.full((2, 2), value, dtype=np.float32)} for name, value in zip("abc", values, strict=True)
    }


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("mean", (100 * 1 + 100 * 2 + 200 * 9) / 400),  # weighted by declared rows: 5.25
        ("median", 2.0),
        ("trimmed-mean", 2.0),  # one of three goes at either end
        ("krum", 1.0),  # the update closest to its neighbors; 1 and 2 tie and the first wins
    ],
)
def test_each_rule_gives_the_value_worked_out_by_hand(kind: AggregationKind, expected: float) -> None:
    combined = aggregate(kind, updates(1, 2, 9), ROWS)
    assert combined["gen.w"].dtype == np.float32
    np.testing.assert_allclose(combined["gen.w"], expected, rtol=1e-6)


@pytest.mark.parametrize("kind", AGGREGATORS)
def test_equal_updates_stay_as_they_are_and_keep_their_shape(kind: AggregationKind) -> None:
    combined = aggregate(kind, updates(3, 3, 3), ROWS)
    np.testing.assert_array_equal(combined["gen.w"], np.full((2, 2), 3, dtype=np.float32))


@pytest.mark.parametrize("kind", AGGREGATORS)
def test_the_order_of_arrival_does_not_matter(kind: AggregationKind) -> None:
    forwards = updates(1, 2, 9)
    backwards = dict(reversed(forwards.items()))
    np.testing.assert_array_equal(aggregate(kind, forwards, ROWS)["gen.w"], aggregate(kind, backwards, ROWS)["gen.w"])


@pytest.mark.parametrize("kind", ["median", "trimmed-mean", "krum"])
def test_the_robust_rules_ignore_one_wild_hospital(kind: AggregationKind) -> None:
    combined = aggregate(kind, updates(1, 1.5, 1e6), ROWS)
    assert combined["gen.w"].max() <= 1.5
