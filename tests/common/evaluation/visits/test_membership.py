"""The attack that knows a patient's whole history."""

from __future__ import annotations

import numpy as np
import pandas as pd

from common.evaluation.visits.coding import CodedHistories, code_histories
from common.evaluation.visits.histories import OrderedVisits
from common.evaluation.visits.membership import _closest, history_membership
from tests.testbeds.histories import LAYOUT, chain


def coded(*tables: pd.DataFrame) -> tuple[CodedHistories, ...]:
    ordered = [OrderedVisits.of(table, LAYOUT, "real") for table in tables]
    return tuple(code_histories(ordered[0], [("real", table) for table in ordered], LAYOUT))


MEMBERS, OTHERS, FRESH = (chain(80, seed=seed) for seed in (1, 2, 3))


class TestAttack:
    def test_finds_members_in_a_copy(self) -> None:
        members, others = coded(MEMBERS, OTHERS)
        found = history_membership(members, others, members)
        assert found is not None
        assert found.value > 0.95

    def test_finds_nothing_in_other_patients(self) -> None:
        found = history_membership(*coded(MEMBERS, OTHERS, FRESH))
        assert found is not None
        assert found.low < 0.5 < found.high

    def test_needs_ten_patients(self) -> None:
        assert history_membership(*coded(MEMBERS, chain(9, seed=5), FRESH)) is None

    def test_counts_cells_that_differ(self) -> None:
        targets, drawn = np.array([[0, 1, 2], [3, 3, 3]]), np.array([[0, 1, 1], [0, 2, 2], [3, 0, -1]])
        assert _closest(targets.astype(np.int16), drawn.astype(np.int16)).tolist() == [1, 2]
