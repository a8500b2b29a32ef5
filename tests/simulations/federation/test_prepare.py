"""Hospitals below the minimum of patients: refused, merged or left out."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pandas as pd
import pytest

from common.errors import DataError, StudyError
from simulations.federation.prepare import Prepared, prepare
from simulations.federation.run import Options, simulate
from tests.testbeds.clinic import clinic_study, clinic_table
from tests.testbeds.visits import visits_study


class TestSmallHospitals:
    def tables(self, *rows: int) -> dict[str, pd.DataFrame]:
        return {f"h{number}": clinic_table(count, seed=number) for number, count in enumerate(rows)}

    def test_are_merged_on_request(self) -> None:
        prepared = prepare(clinic_study(), self.tables(80, 12, 60, 14), small_hospitals="merge")
        assert {name: len(raw) for name, raw in prepared.tables.items()} == {"h0": 80, "merged-hospitals": 86}
        assert "hospitals are merged into 'merged-hospitals': h1, h3, h2" in prepared.notices

    def test_are_left_out_on_request(self) -> None:
        prepared = prepare(clinic_study(), self.tables(80, 12, 60), small_hospitals="drop")
        assert list(prepared.tables) == ["h0", "h2"]
        assert any("are left out: h1" in notice for notice in prepared.notices)

    def test_are_refused_with_the_option_that_helps(self) -> None:
        with pytest.raises(DataError, match="--small-hospitals merge or drop"):
            prepare(clinic_study(), self.tables(80, 12))

    def test_of_a_column_of_patient_numbers_none_is_named(self) -> None:
        tables = {f"P10{number:03}": clinic_table(3, seed=number) for number in range(13)}
        with pytest.raises(DataError, match="13 of 13 hospitals have fewer than 30 patients each") as refused:
            prepare(clinic_study(), tables)
        assert "P10" not in str(refused.value)

    @pytest.mark.parametrize("how", ["merge", "drop"])
    def test_of_many_none_is_named_in_a_notice(self, how: Literal["merge", "drop"]) -> None:
        tables = {f"P10{number:03}": clinic_table(3, seed=number) for number in range(13)}
        prepared = prepare(clinic_study(), {"a": clinic_table(80, seed=99)} | tables, small_hospitals=how)
        assert any("13 of 14" in notice for notice in prepared.notices)
        assert not any("P10" in notice for notice in prepared.notices)

    @pytest.mark.parametrize("how", [None, "merge", "drop"])
    @pytest.mark.parametrize("rows", [(7,), (7, 8)])
    def test_too_few_in_all_need_more_patients(
        self, how: Literal["merge", "drop"] | None, rows: tuple[int, ...]
    ) -> None:
        with pytest.raises(DataError, match=f"together they have {sum(rows)}: .* add patients") as refused:
            prepare(clinic_study(), self.tables(*rows), small_hospitals=how)
        assert "minimum of 30" in str(refused.value)
        assert "merge" not in str(refused.value)

    def test_are_not_all_left_out(self) -> None:
        with pytest.raises(DataError, match=r"drop leaves none.*--small-hospitals merge"):
            prepare(clinic_study(), self.tables(20, 20), small_hospitals="drop")


def test_a_target_of_one_value_in_all_tables_is_refused() -> None:
    tables = {name: clinic_table(60, seed=seed).assign(outcome="yes") for seed, name in enumerate(("north", "south"))}
    with pytest.raises(DataError, match="target 'outcome' has fewer than 2 distinct values in all tables; choose"):
        prepare(clinic_study(), tables)


def test_ray_splits_no_patients_visits(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="a patient's visits may be in any of them; leave it out"):
        simulate(Prepared(visits_study(), {}, None, ()), tmp_path / "out", Options(engine="ray"))
    assert not (tmp_path / "out").exists()
