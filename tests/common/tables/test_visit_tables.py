from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest

from common.errors import DataError
from common.tables.visit_tables import joined_visits, long_schema, long_table, visit_tables
from common.tables.visits import visit_rows
from common.tables.writing import WRITERS
from tests.testbeds.visits import conformed_visits, invented_visits, visits_study


@pytest.fixture(scope="module")
def raw() -> pd.DataFrame:
    return invented_visits(50)


class TestVisitTables:
    def test_hold_what_was_read(self, raw: pd.DataFrame) -> None:
        study = visits_study()
        written = long_table(conformed_visits(raw, study), study.declared)
        kept = visit_rows(raw, study.declared)
        for name in ("day", "sex", "stage", "weight"):
            assert written[name].tolist() == kept[name].tolist()
        assert written.columns.tolist() == ["id", "visit", "sex", "day", "stage", "weight"]

    def test_join_by_the_patient(self, raw: pd.DataFrame) -> None:
        study = visits_study()
        both = visit_tables(conformed_visits(raw, study), study.declared)
        assert both.visits.columns.tolist() == ["id", "visit", "day", "stage", "weight"]
        assert both.patients.columns.tolist() == ["id", "visits", "sex"]
        assert both.patients["id"].tolist() == [str(number) for number in range(1, 51)]
        counted = both.visits["id"].value_counts()
        assert both.patients.set_index("id")["visits"].astype(int).to_dict() == counted.to_dict()

    def test_times_end_at_the_upper_bound_and_stay_in_order(self, raw: pd.DataFrame) -> None:
        study = visits_study()
        frame = conformed_visits(raw, study)
        frame["since_last_visit"] *= 9
        written = long_table(frame, study.declared)
        days = written["day"].astype(int)
        assert days.max() == 1000
        assert (days.groupby(written["id"]).diff().dropna() >= 0).all()

    def test_are_written_with_types(self, raw: pd.DataFrame) -> None:
        study = visits_study()
        written = long_table(conformed_visits(raw, study), study.declared)
        content = WRITERS["parquet"](written, long_schema(study.declared))
        read = pd.read_parquet(io.BytesIO(content))
        assert read[["id", "visit", "day", "weight"]].dtypes.astype(str).tolist() == ["Int64"] * 4

    @pytest.mark.parametrize("other", ["visits.csv", "patients.csv"])
    def test_without_the_patient_are_refused(self, tmp_path: Path, other: str) -> None:
        for name in ("visits.csv", "patients.csv"):
            (tmp_path / name).write_text("nr,visit\n1,1\n" if name == other else "id,visit\n1,1\n")
        with pytest.raises(DataError, match=f"{other}' has no patient column 'id'; give tables of one study"):
            joined_visits(tmp_path, visits_study().declared)
