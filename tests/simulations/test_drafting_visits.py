"""Drafts of studies of visits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from common.errors import StudyError
from common.study.study import Study, parse_study, read_study
from common.tables.visits import check_records, patients_in
from simulations.drafting import NamedColumns
from simulations.drafting_columns import ColumnRefused
from simulations.drafting_notices import draft_text
from simulations.drafting_visits import draft_visits
from tests.testbeds.command_line import fedsynth, output_of
from tests.testbeds.visits import invented_visits

RAW = invented_visits(150)


def of(time: str, patient: str | None = None, most_visits: int | None = None, target: str = "stage") -> NamedColumns:
    return NamedColumns(target, patient, None, time, most_visits)


ROLES = of("day", "id")


def draft(raw: pd.DataFrame = RAW, roles: NamedColumns = ROLES) -> tuple[Study, Sequence[str]]:
    drafted = draft_visits(raw, "x", roles)
    return drafted.study, drafted.notices


class TestDraft:
    def test_tells_columns_of_the_patient_from_those_of_the_visit(self) -> None:
        study, _ = draft()
        assert {column.name: column.per for column in study.declared.columns} == {
            "day": None, "sex": "patient", "stage": None, "weight": None
        }  # fmt: skip
        assert (study.declared.patient, study.declared.time) == ("id", "day")
        assert study.privacy.unit == "patient"

    def test_fits_the_table_and_is_read_again(self) -> None:
        study, notices = draft()
        assert check_records(RAW, study, name="x") == []
        assert patients_in(RAW, study, None) == 150
        assert parse_study(draft_text(study, notices)) == study

    def test_bounds_hold_for_all_visits(self) -> None:
        late = RAW.assign(weight=RAW.weight.where(RAW.day.astype(int) < 700, "139"))
        assert check_records(late, draft(late)[0], name="x") == []

    def test_keeps_nearly_all_visits_unless_asked_otherwise(self) -> None:
        assert draft()[0].declared.most_visits == 4
        study, notices = draft(roles=of("day", "id", 2))
        assert study.declared.most_visits == 2
        assert any("patients have more than 2 visits, of which the first are kept" in notice for notice in notices)

    def test_says_where_times_follow_a_clock(self) -> None:
        hourly = RAW.assign(day=(RAW.groupby("id").cumcount() * 6 + RAW.groupby("id").ngroup()).astype(str))
        assert any("interval = 6 under [schema]" in notice for notice in draft(hourly)[1])
        assert not any("interval" in notice for notice in draft()[1])

    def test_finds_the_patient_by_name_and_cells(self) -> None:
        renamed = RAW.rename(columns={"id": "patient_id"})
        assert draft(renamed, of("day"))[0].declared.patient == "patient_id"

    def test_orders_by_numbers_of_events_without_synthesizing_them(self) -> None:
        events = RAW.assign(encounter_id=[str(10_000 + row) for row in range(len(RAW))])
        study, notices = draft(events, of("encounter_id", "id"))
        assert study.declared.time_column is None
        assert any("only orders the visits" in notice for notice in notices)

    def test_lets_the_target_be_missing_at_visits(self) -> None:
        study, _ = draft(RAW.assign(stage=["", *RAW.stage[1:]]))
        assert study.declared.columns[2].model_dump()["missing"] is True

    def test_says_which_columns_vary_within_few_patients(self) -> None:
        typo = RAW.copy()
        row = RAW.index[RAW.id.duplicated()][0]
        typo.loc[row, "sex"] = "m" if RAW.sex[row] == "f" else "f"
        study, notices = draft(typo)
        assert study.declared.columns[1].per is None
        assert any("vary within few" in notice and "sex (1)" in notice for notice in notices)

    @pytest.mark.parametrize(
        ("roles", "problem"),
        [
            (of("when", "id"), "time 'when' is not in the table"),
            (of("sex", "id"), "time 'sex' cannot be read"),
            (of("id", "id"), "patient column 'id' is also the time"),
            (of("day", "id", target="day"), "target 'day' is also the time"),
            (of("day", "id", 100), "most_visits"),
            (NamedColumns("stage", "id", "ward", "day"), "site column 'ward' is not in the table"),
        ],
    )
    def test_refuses_roles_that_do_not_fit(self, roles: NamedColumns, problem: str) -> None:
        with pytest.raises(StudyError, match=problem):
            draft(RAW, roles)

    def test_refuses_a_kind_that_the_time_cannot_have(self) -> None:
        with pytest.raises(ColumnRefused, match="as the time of the visits"):
            draft_visits(RAW, "x", replace(ROLES, kinds={"day": "categorical"}))

    def test_says_why_columns_are_left_out(self) -> None:
        raw = RAW.assign(ward="a", email=[f"p{row}@example.org" for row in range(len(RAW))])
        drafted = draft_visits(raw, "x", NamedColumns("stage", "id", "ward", "day"))
        assert list(drafted.left_out) == ["id", "email", "ward"]
        assert "direct identifier" in drafted.left_out["email"]
        assert "ward" not in drafted.study.read_names

    def test_refuses_patients_with_one_row(self) -> None:
        with pytest.raises(StudyError, match="no patient has several rows by column 'id'"):
            draft(RAW.drop_duplicates("id"))

    def test_asks_for_the_patient_where_no_column_looks_like_it(self) -> None:
        with pytest.raises(StudyError, match="--time needs --patient-column: no column looks"):
            draft(RAW.rename(columns={"id": "who"}), of("day"))


class TestCommand:
    def test_writes_a_study_of_visits(self, tmp_path: Path) -> None:
        RAW.to_csv(tmp_path / "visits.csv", index=False)
        table, out = str(tmp_path / "visits.csv"), str(tmp_path / "s.toml")
        roles = ["--target", "stage", "--patient-column", "id", "--time", "day"]
        drafted = fedsynth("study", "draft", table, *roles, "--out", out)
        assert drafted.exit_code == 0
        declared = len(read_study(Path(out)).declared.columns)  # not visits and times from visit to visit beside them
        assert f"{declared} columns." in output_of(drafted)
        assert fedsynth("study", "check", out, "--data", table).exit_code == 0
