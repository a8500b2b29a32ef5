"""Visits that are read part by part: the same answers as from a table in memory."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import client.visits_shard as module
from client.shard import Shard
from client.visits_shard import VisitsShard
from common.errors import DataError
from common.planning.planner import make_plan
from common.planning.public_run import PublicRun
from common.study.study import Study
from common.tables.parts import Part
from tests.testbeds.visits import FACTS, invented_visits, visits_study

KEY = b"visits"


def scattered(patients: int = 120) -> pd.DataFrame:
    """Return visits in random order; some have no patient or no readable time, some names have blanks around them."""
    raw = invented_visits(patients, most=7).sample(frac=1.0, random_state=4).reset_index(drop=True)
    raw.loc[::17, "id"] = ""
    raw.loc[::23, "day"] = "soon"
    raw.loc[::5, "id"] = " " + raw.loc[::5, "id"] + " "
    raw.loc[::29, "weight"] = "heavy"
    return raw


def parts_of(raw: pd.DataFrame, rows: int) -> list[Part]:
    return [
        Part.of(raw.iloc[start : start + rows].reset_index(drop=True)) for start in range(0, max(len(raw), 1), rows)
    ]


def public_run(study: Study, shard: Shard) -> PublicRun:
    plan = make_plan(study)
    return PublicRun(study, plan).after("histograms", shard.histograms(plan.cells))


class TestVisitsShard:
    @pytest.mark.parametrize("rows", [7, 1000])
    @pytest.mark.parametrize("block", [1, 50, 2**16])
    def test_answers_as_one_in_memory(self, monkeypatch: pytest.MonkeyPatch, rows: int, block: int) -> None:
        monkeypatch.setattr(module, "BLOCK_VISITS", block)
        study, raw = visits_study().with_hospitals(FACTS), scattered()
        whole, read = Shard(raw, study, key=KEY), VisitsShard(parts_of(raw, rows), study, key=KEY)
        cells = make_plan(study).cells
        np.testing.assert_array_equal(read.histograms(cells), whole.histograms(cells))
        public = public_run(study, whole)
        np.testing.assert_array_equal(read.encoded(public), whole.encoded(public))
        assert len(read.held_out(public)) == 0

    def test_of_no_visit_answers(self) -> None:
        study, none = visits_study().with_hospitals(FACTS), invented_visits(1).iloc[:0]
        read = VisitsShard(parts_of(none, 10), study, key=KEY)
        assert not read.histograms(make_plan(study).cells).any()

    def test_needs_every_column(self) -> None:
        study, raw = visits_study().with_hospitals(FACTS), invented_visits(5).drop(columns="stage")
        with pytest.raises(DataError, match="column 'stage' is not in the table"):
            VisitsShard(parts_of(raw, 10), study, key=KEY)
