"""Columns of dates in the report: people see dates, not numbers since 1970."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from common.columns.date import Date, Datetime
from common.evaluation.fairness.groups import groups_of
from common.evaluation.fidelity.distributions import ColumnFidelity, compare_columns
from common.evaluation.report.charts import column_chart
from common.evaluation.report.visits import render_visits, visit_charts
from common.evaluation.statistics.data import EvaluationData
from common.evaluation.visits.analysis import VisitAnalysis
from common.evaluation.visits.evidence import VisitEvidence, assess_visits
from common.evaluation.visits.histories import VisitLayout
from common.study.schema import Schema

ADMITTED = Date(name="admitted", lower="2020-01-01", upper="2023-12-31", missing=True)
SEEN = Datetime(name="seen", lower="2021-03-04 00:00", upper="2021-03-06 00:00")
LEFT = Date(name="left", since="admitted", least=0, most=30, missing=True)
SCHEMA = Schema(columns=(ADMITTED, SEEN, LEFT))

DAY = 18262
"""2020-01-01 in days since 1970-01-01."""


def table(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = {column.name: column.draw(60, rng) for column in (ADMITTED, SEEN, LEFT)}
    rows["admitted"][0] = np.nan
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def columns() -> dict[str, ColumnFidelity]:
    data = EvaluationData(table(0), table(1), table(2), SCHEMA, "left")
    return {column.name: column for column in compare_columns(data)}


class TestHistograms:
    def test_of_dates_have_dates_on_the_axis(self, columns: dict[str, ColumnFidelity]) -> None:
        chart = column_chart(columns["admitted"])
        axis = chart["layout"]["xaxis"]
        assert axis["ticktext"] == ["2021", "2022", "2023", "missing"]
        assert axis["tickvals"][:3] == [DAY + 366, DAY + 366 + 365, DAY + 366 + 2 * 365]
        bars, outline = chart["data"]
        assert bars["customdata"][0].startswith("2020-0")
        assert len(bars["customdata"]) == len(bars["x"])
        assert len(outline["customdata"]) == len(outline["x"])
        assert bars["customdata"][-1] == outline["customdata"][-1] == "missing"

    def test_of_times_have_the_time_below_the_date(self, columns: dict[str, ColumnFidelity]) -> None:
        chart = column_chart(columns["seen"])
        times = ["2021-03-04<br>12:00", "2021-03-05<br>00:00", "2021-03-05<br>12:00"]
        assert chart["layout"]["xaxis"]["ticktext"] == times

    def test_of_times_since_a_date_stay_numbers(self, columns: dict[str, ColumnFidelity]) -> None:
        column = columns["left"]
        assert (column.unit, column.calendar) == ("days since admitted", None)
        assert column_chart(column)["layout"]["xaxis"]["ticktext"][0] == "0"


def test_groups_of_a_date_are_named_by_dates() -> None:
    names, _ = groups_of(table(0), SCHEMA, "admitted")
    assert names == [
        "2020-01-01 to before 2020-12-31",
        "2020-12-31 to before 2021-12-31",
        "2021-12-31 to before 2022-12-31",
        "2022-12-31 to 2023-12-31",
        "missing",
    ]


@pytest.fixture(scope="module")
def evidence() -> VisitEvidence:
    grids = {column.name: column.grid for column in (ADMITTED, LEFT)}
    layout = VisitLayout("patient", "day", (), ("admitted", "left"), None, grids, "days")
    tables = [table(seed).assign(patient=np.arange(60) // 3, day=np.arange(60.0)) for seed in range(3)]
    return assess_visits(VisitAnalysis.of(tables[0], tables[1], tables[2], layout))


class TestVisits:
    def test_courses_of_dates_have_dates_on_the_axis(self, evidence: VisitEvidence) -> None:
        charts = visit_charts(evidence)
        dates, numbers = charts["real-courses-0"], charts["real-courses-1"]
        assert list(dates["layout"]["yaxis"]["ticktext"]) == ["2020", "2022", "2024"]
        assert dates["data"][0]["customdata"][0].startswith("202")
        assert "ticktext" not in numbers["layout"]["yaxis"]

    def test_the_page_names_units_of_numbers_and_times(self, evidence: VisitEvidence) -> None:
        page = render_visits(evidence, None, title="stays").split("<script")[0]
        assert "days since admitted" in page
        assert "since 1970" not in page
        assert "since the first visit in days" in page
        assert "Time to the next visit in days" in page
