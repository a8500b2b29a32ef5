from __future__ import annotations

import pytest

from common.errors import StudyError
from common.study.schema import VisitsSchema
from common.study.study import parse_study
from tests.testbeds.clinic import clinic_study
from tests.testbeds.visits import TEXT, visits_study


class TestModeledTable:
    def test_has_the_patient_first_and_derived_columns(self) -> None:
        table = visits_study().table
        assert isinstance(table, VisitsSchema)
        assert table.names == ("sex", "visits", "first_visit", "stage", "weight", "visit", "since_last_visit")
        assert table.is_of_visit == (False, False, False, True, True, True, True)
        assert table["since_last_visit"].grid is not None
        assert table["since_last_visit"].grid.upper == 1000

    def test_without_a_declared_time_has_no_times(self) -> None:
        table = parse_study(TEXT.replace('time = "day"', 'time = "moment"')).table
        assert table.names == ("sex", "visits", "day", "stage", "weight", "visit")

    @pytest.mark.parametrize(("most", "parts"), [(2, 2), (4, 12), (6, 60), (8, 180), (48, 780)])
    def test_parts_are_shared_evenly_or_nearly(self, most: int, parts: int) -> None:
        table = visits_study(schema={"most_visits": most}).table
        assert table.parts == parts
        assert all(parts // visits * visits > parts * 15 / 16 for visits in range(1, most + 1))

    def test_a_study_without_visits_is_modeled_as_declared(self) -> None:
        study = parse_study(
            TEXT.replace('patient = "id"', "")
            .replace('time = "day"', "")
            .replace("most_visits = 4", "")
            .replace('per = "patient"', "")
        )
        assert study.table is study.declared
        assert study.table.parts == 1
        assert not study.has_visits

    def test_is_written_and_read_back(self) -> None:
        study = visits_study(schema={"keep_visits": "last", "varying": "refuse"})
        assert parse_study(study.to_toml()) == study


class TestRefusals:
    @pytest.mark.parametrize(
        ("old", "new", "problem"),
        [
            ('patient = "id"', "", "add patient"),
            ("most_visits = 4", "", "add most_visits"),
            ('time = "day"', 'time = "id"', "patient and time are two columns"),
            ('name = "sex"', 'name = "visit"', "column 'visit' is the patient or a column that visits are given"),
            ("upper = 1000", "upper = 1000\nmissing = true", "column 'day' is the time of the visits"),
            ('unit = "patient"', 'unit = "record"', r'set \[privacy\] unit = "patient"'),
            ("[privacy]", '[synthesizer]\nkind = "marginal-gan"\n[privacy]', "makes no visits"),
            ("[privacy]", "[synthesizer]\ntriples = 3\n[privacy]", r"\[synthesizer\] triples is not available"),
            ('target = "stage"', 'target = "stage"\nprivate = true', "leave it out; `fedsynth site evaluate` measures"),
        ],
    )
    def test_name_the_key_and_the_remedy(self, old: str, new: str, problem: str) -> None:
        with pytest.raises(StudyError, match=problem):
            parse_study(TEXT.replace(old, new))

    def test_whole_histories_need_visits(self) -> None:
        with pytest.raises(StudyError, match="'history-gan' is for tables of visits"):
            clinic_study(synthesizer={"kind": "history-gan"})

    def test_keys_of_visits_need_a_time(self) -> None:
        flat = TEXT.replace('patient = "id"', "").replace('time = "day"', "").replace("most_visits = 4", "")
        with pytest.raises(StudyError, match="per of column 'sex' is for tables of visits; add patient, time"):
            parse_study(flat)

    def test_a_table_of_patient_columns_alone_is_refused(self) -> None:
        text = TEXT.replace('categories = ["1", "2", "3"]', 'categories = ["1", "2", "3"]\nper = "patient"')
        with pytest.raises(StudyError, match="no column is of the visits"):
            parse_study(text.replace("upper = 140", 'upper = 140\nper = "patient"'))
