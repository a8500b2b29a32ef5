"""A site that keeps visits: what it freezes, checks, accepts, and answers from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from client.consent.policy import Policy
from client.shard import Shard
from client.site.config import Site
from client.site.creation import init_site
from client.site.imported import FrozenTable
from client.site.importing import import_table, sentences
from client.site.opening import open_records
from client.site.records import check_data
from client.site.state import split_key
from client.visits_shard import VisitsShard
from common.errors import DataError, PolicyRefusal, Reason, SiteError
from common.planning.planner import make_plan
from common.study.study import Study
from common.tables.parts import join
from tests.testbeds.visits import FACTS, invented_visits, visits_study

RAW = invented_visits(120)


def site_of(folder: Path, *, visits: bool = True, patient_column: str | None = "id") -> Site:
    RAW.to_csv(folder / "visits.csv", index=False)
    settings = {
        "name": "north",
        "cohort": "north",
        "data": str(folder / "visits.csv"),
        "patient_column": patient_column,
        "visits": visits,
        "declared_rows": 400,
        "max_epsilon": 10.0,
        "delta": 1e-5,
    }
    return init_site(folder / "site", settings)


def agreed() -> Study:
    return visits_study().with_hospitals(FACTS)


class TestImport:
    def test_keeps_all_rows_of_a_patient(self, tmp_path: Path) -> None:
        site = site_of(tmp_path)
        import_table(site)
        pd.testing.assert_frame_equal(join(list(FrozenTable(site).parts())), RAW)

    def test_says_that_rows_are_visits(self, tmp_path: Path) -> None:
        assert any("each a visit of its patient" in line for line in sentences(import_table(site_of(tmp_path))))

    @pytest.mark.parametrize("imported", [True, False])
    def test_is_not_used_under_another_setting(self, tmp_path: Path, imported: bool) -> None:
        site = site_of(tmp_path, visits=imported)
        import_table(site)
        with pytest.raises(SiteError, match="the table was imported otherwise; correct it, or run `fedsynth site imp"):
            FrozenTable(site.model_copy(update={"visits": not imported}))

    def test_needs_a_patient_column(self, tmp_path: Path) -> None:
        with pytest.raises(SiteError, match="visits = true keeps all rows of a patient; add patient_column"):
            site_of(tmp_path, patient_column=None)

    def test_without_visits_is_refused_by_the_check(self, tmp_path: Path) -> None:
        site = site_of(tmp_path, visits=False)
        import_table(site)
        with pytest.raises(DataError, match=r"set visits = true in site\.toml and import again"):
            check_data(site, agreed())

    def test_is_checked_as_visits(self, tmp_path: Path) -> None:
        site = site_of(tmp_path)
        import_table(site)
        assert any(
            "the table has 120 patients and site.toml declares 400" in text for text in check_data(site, agreed())
        )


class TestAnswers:
    def test_read_all_visits(self, tmp_path: Path) -> None:
        site = site_of(tmp_path)
        import_table(site)
        records = open_records(site, FrozenTable(site), agreed())
        assert isinstance(records, VisitsShard)
        whole = Shard(RAW, agreed(), key=split_key(site, agreed()))
        np.testing.assert_array_equal(records.histograms(64), whole.histograms(64))

    @pytest.mark.parametrize("kept", [None, "patient"])
    def test_are_refused_where_visits_are_not_kept(self, kept: str | None) -> None:
        study = agreed()
        policy = Policy("north", max_epsilon=10.0, delta=1e-5, unit="patient", visits_of="id")
        assert policy.check_terms(study, make_plan(study), ()).hospital == "north"
        with pytest.raises(PolicyRefusal) as refusal:
            replace(policy, visits_of=kept).check_terms(study, make_plan(study), ())
        assert refusal.value.reason is Reason.VISITS_DIFFER
