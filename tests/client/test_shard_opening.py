"""Whatever is in the records, they open: a failure before the charge would tell others about them at no cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from client.shard import Shard, StreamedShard
from common.columns.date import SECONDS, Dated
from common.study.schema import Schema
from common.study.study import Study
from common.tables.parts import Part
from tests.testbeds.all_kinds import COLUMNS

Row = Mapping[str, str]

OUTCOME: dict[str, Any] = {"name": "outcome", "kind": "boolean", "true": "1", "false": "0"}
FORMATS = {"days": "%Y-%m-%d", "hours": "%Y-%m-%d %H", "minutes": "%Y-%m-%d %H:%M", "seconds": "%Y-%m-%d %H:%M:%S"}
CORNERS: tuple[dict[str, Any], ...] = (
    {"name": "born", "kind": "date", "lower": "0001-01-02", "upper": "9999-12-30"},
    {"name": "died", "kind": "date", "since": "born", "least": -1, "most": 1},
    {"name": "began", "kind": "datetime", "resolution": "seconds", "date_format": FORMATS["seconds"],
     "lower": "0001-01-01 00:00:01", "upper": "9999-12-31 23:59:58"},
    {"name": "ended", "kind": "datetime", "resolution": "seconds", "date_format": FORMATS["seconds"], "since": "began",
     "least": -1, "most": 1},
    {"name": "weight", "kind": "numeric", "lower": -5e5, "upper": 5e5, "decimals": 9},
    {"name": "dose", "kind": "numeric", "lower": 0, "upper": 500, "stored": "float16", "written_decimals": 15},
)  # fmt: skip
CELLS = {
    "born": ["0001-01-01", "0001-01-02", "9999-12-31"],
    "died": ["0001-01-01", "9999-12-31"],
    "began": ["0001-01-01 00:00:00", "9999-12-31 23:59:59"],
    "ended": ["0001-01-01 00:00:00", "9999-12-31 23:59:59"],
    "admitted": ["01.01.0001", "31.12.9999"],
    "left": ["0001-01-01", "9999-12-31"],
    "seen": ["0001-01-01 00:00", "9999-12-31 23:59"],
    "drugs": ["none", "aspirin; statin; insulin; poison"],
    "icd": ["I10", "I25.1", "I25.7", "other"],
    "zip": ["02139", "250.00"],
    "smoker": ["0", "1"],
}
ANY_CELL = ["", "NA", "nan", "inf", "-inf", "1e308", "-1e308", "999", ".", "> 89", "<0.1", "ND", "\ud800", "0"]


def study_of(columns: Sequence[dict[str, Any]]) -> Study:
    return Study.model_validate(
        {
            "study": {"name": "s"},
            "schema": {"columns": [*columns, OUTCOME]},
            "privacy": {"unit": "record", "epsilon": 1.0, "delta": 1e-4},
            "evaluation": {"target": "outcome", "holdout_fraction": 0.2},
        }
    )


def opened(study: Study, rows: Sequence[Row]) -> int:
    """How many training rows there are, both ways to hold the records."""
    raw = pd.DataFrame(list(rows), columns=list(study.table.read_names), dtype=object).fillna("")
    whole, streamed = Shard(raw, study, key=b"k"), StreamedShard([Part.of(raw)], study, key=b"k")
    assert (streamed.histograms(16) == whole.histograms(16)).all()
    return len(whole.training) + len(whole.holdout)


ALL_KINDS = study_of([*COLUMNS, *CORNERS])


@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {name: st.sampled_from([*CELLS.get(name, []), *ANY_CELL]) for name in ALL_KINDS.table.read_names}
        ),
        min_size=1,
        max_size=6,
    )
)
def test_cells_at_the_corners_of_all_kinds_open(rows: list[Row]) -> None:
    assert opened(ALL_KINDS, rows) == len(rows)


@settings(deadline=None, max_examples=150)
@given(
    unit=st.sampled_from(list(SECONDS)),
    bounds=st.lists(st.datetimes(), min_size=2, max_size=2, unique=True).map(sorted),
    span=st.tuples(st.integers(-400, 400) | st.integers(-(10**9), 10**9), st.integers(1, 10**6)),
    cells=st.lists(st.tuples(st.datetimes(), st.datetimes()), max_size=3),
)
@example(unit="days", bounds=[datetime(1900, 1, 1), datetime.max], span=(1, 400), cells=[])
@example(unit="days", bounds=[datetime.min, datetime(1900, 1, 1)], span=(-1, 400), cells=[])
@example(unit="days", bounds=[datetime(1900, 1, 1), datetime(9999, 12, 30)], span=(0, 1), cells=[])
def test_dates_of_an_accepted_study_open(
    unit: str, bounds: list[datetime], span: tuple[int, int], cells: list[tuple[datetime, datetime]]
) -> None:
    def text(moment: datetime) -> str:  # `strftime` pads no years
        return f"{moment.year:04}" + moment.strftime(FORMATS[unit].removeprefix("%Y"))

    form = {"date_format": FORMATS[unit]}
    kind: dict[str, Any] = {"kind": "date"} if unit == "days" else {"kind": "datetime", "resolution": unit}
    lower, upper = map(text, bounds)
    columns = [
        {"name": "start", **kind, **form, "lower": lower, "upper": upper},
        {"name": "end", **kind, **form, "since": "start", "least": span[0], "most": span[0] + span[1]},
    ]
    try:
        Schema.model_validate({"columns": [*columns, OUTCOME]})
    except ValidationError as refused:
        assert any(word in str(refused) for word in ("years 1 to 9999", "lower must be before", "less than or equal"))  # noqa: PT017
        return
    corners = [{"start": edge, "end": end} for edge in (lower, upper, "") for end in (text(datetime.max), lower, "")]
    rows = [*corners, *({"start": text(first), "end": text(second)} for first, second in cells)]
    assert opened(study_of(columns), rows) == len(rows)


@pytest.mark.parametrize(
    ("lower", "upper", "least", "most"),
    [
        ("1900-01-01", "9999-12-31", 1, 400),
        ("0001-01-01", "1900-01-01", -1, 400),
        ("1900-01-01", "2100-01-01", (date.max - date(2020, 1, 1)).days, (date.max - date(2020, 1, 1)).days + 1),
    ],
)
def test_a_span_beyond_the_calendar_is_refused(lower: str, upper: str, least: int, most: int) -> None:
    start = {"name": "start", "kind": "date", "lower": lower, "upper": upper}
    end = {"name": "end", "kind": "date", "since": "start", "least": least, "most": most}
    with pytest.raises(ValidationError, match="column 'end' with least and most reaches beyond the years 1 to 9999"):
        study_of([start, end])


def test_a_date_beyond_the_calendar_is_written_as_its_end() -> None:
    column = Dated(name="x", kind="date", lower="1900-01-01", upper="2000-01-01")
    assert column.format(pd.Series([float(10**9), -float(10**9)])).tolist() == ["9999-12-31", "1-01-01"]


def test_more_rows_than_identifiers_open() -> None:
    study = study_of([{"name": "id", "kind": "identifier", "pattern": "###"}, CORNERS[0]])
    for rows in (1000, 1001):
        assert opened(study, [{"outcome": "1"}] * rows) == rows
