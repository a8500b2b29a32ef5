"""Numbers since 1970-01-01 as the dates that people are shown."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.columns.calendar import Calendar

DAY, NOON = 18690, 18690 * 1440 + 720
"""2021-03-04, in days; its noon, in minutes."""


@pytest.mark.parametrize(
    ("unit", "count", "text"),
    [("months", 614, "2021-03"), ("days", DAY, "2021-03-04"), ("days", -1, "1969-12-31"),
     ("hours", DAY * 24 + 9, "2021-03-04 09:00"), ("minutes", NOON, "2021-03-04 12:00"),
     ("seconds", NOON * 60 + 5, "2021-03-04 12:00:05")],
)  # fmt: skip
def test_text_is_the_date_to_the_unit(unit: str, count: int, text: str) -> None:
    assert Calendar(unit).text(count) == text


def test_span_names_the_whole_numbers_in_between() -> None:
    assert Calendar.DAYS.span(DAY - 0.5, DAY + 1.5) == "2021-03-04 to 2021-03-05"
    assert Calendar.DAYS.span(DAY - 0.5, DAY + 0.5) == "2021-03-04"


@pytest.mark.parametrize(
    ("unit", "span", "texts"),
    [("days", (DAY - 0.5, DAY + 1.4), ["2021-03-04", "2021-03-05"]),
     ("days", (DAY, DAY + 100), ["2021-04", "2021-05", "2021-06"]),
     ("days", (DAY, DAY + 3 * 365), ["2022", "2023", "2024"]),
     ("days", (-8000, 8000), ["1960", "1980"]),
     ("minutes", (NOON, NOON + 1500), ["2021-03-04 12:00", "2021-03-05 00:00", "2021-03-05 12:00"])],
)  # fmt: skip
def test_ticks_are_round_dates_in_short(unit: str, span: tuple[float, float], texts: list[str]) -> None:
    assert Calendar(unit).ticks(*span)[1] == texts


PER_DAY = {"months": 1 / 31, "days": 1, "hours": 24, "minutes": 1440, "seconds": 86400}


@settings(max_examples=50)
@given(st.sampled_from(Calendar), st.integers(-719_000, 2_000_000), st.floats(1e-5, 900_000))
def test_ticks_are_few_and_within(unit: Calendar, day: int, days: float) -> None:
    low = math.floor(day * PER_DAY[unit]) - 0.5
    high = low + max(1.0, days * PER_DAY[unit])
    positions, texts = unit.ticks(low, high)
    assert 1 <= len(positions) == len(texts) <= 4
    assert all(low <= position <= high and position.is_integer() for position in positions)
    assert all(unit.text(at).startswith(text) for at, text in zip(positions, texts, strict=True))
