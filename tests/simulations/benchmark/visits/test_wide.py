import pandas as pd
import pytest

from common.study.courses import Course
from common.study.study import Study
from common.tables.visits import visit_rows
from simulations.benchmark.visits.wide import flatten, unflatten, wide_study
from tests.testbeds.visits import MOST_VISITS, invented_visits, visits_study


@pytest.fixture
def study() -> Study:
    return visits_study()


@pytest.fixture
def rows(study: Study) -> pd.DataFrame:
    return visit_rows(invented_visits(30), study.declared)


class TestWide:
    def test_study_has_columns_of_every_visit(self, study: Study) -> None:
        wide = wide_study(study)
        names = [column.name for column in wide.table.columns]
        assert names[:3] == ["sex", "visits", "first_visit"]
        assert names[3:8] == ["stage #1", "weight #1", "stage #2", "weight #2", "since_last_visit #2"]
        assert len(names) == 3 + 2 + 3 * (MOST_VISITS - 1)
        assert wide.evaluation.target == "stage #1"
        assert not wide.has_visits
        assert not wide.table["stage #1"].missing
        assert wide.table["stage #2"].missing

    def test_study_leaves_rules_about_visits_out(self, study: Study) -> None:
        course = Course(column="stage", never="decreases")
        assert wide_study(study.model_copy(update={"courses": (course,)})).courses == ()

    def test_row_holds_the_visits_side_by_side(self, study: Study, rows: pd.DataFrame) -> None:
        wide = flatten(rows, study)
        first = rows[rows["id"] == rows["id"].iloc[0]]
        assert len(wide) == rows["id"].nunique()
        held = [wide[f"stage #{number}"].iloc[0] for number in range(1, MOST_VISITS + 1)]
        assert held == [*first["stage"], *[""] * (MOST_VISITS - len(first))]

    def test_unflatten_turns_flatten_back(self, study: Study, rows: pd.DataFrame) -> None:
        again = unflatten(flatten(rows, study), study)
        columns = [column.name for column in study.table.columns]
        assert again[columns].equals(rows[columns].reset_index(drop=True))
        assert (pd.factorize(again["id"])[0] == pd.factorize(rows["id"])[0]).all()
