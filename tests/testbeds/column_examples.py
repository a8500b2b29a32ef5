"""A column of every kind that is modeled as itself: cells, what becomes of them, and faulty settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common.columns.base import Column
from common.columns.kinds import KINDS

SECRET_CELL = "Kari Nordmann 7777123"


@dataclass(frozen=True)
class Example:
    """A column of one kind without and with missing values, cells and what becomes of them, and faulty settings.

    Args:
        settings: of the column, without its name.
        cells: raw cells; the last is no value at all, the one before is missing.
        texts: what the formatted column holds where missing is not allowed.
        notices: beginnings of what the owner is told then.
        faults: settings that are refused, by part of the message.
    """

    settings: Mapping[str, Any]
    cells: tuple[str, ...]
    texts: tuple[str, ...]
    notices: tuple[str, ...]
    faults: Mapping[str, Mapping[str, Any]]

    def column(self, kind: str, **changes: Any) -> Column:
        column = KINDS[kind].model_validate({"name": "x", **self.settings, **changes})
        assert isinstance(column, Column)
        return column


EXAMPLES = {
    "numeric": Example(
        {"lower": 0.0, "upper": 20.0, "decimals": 1},
        ("1.5", " 20 ", "-3", "99", "2.25", "", SECRET_CELL),
        ("1.5", "20.0", "0.0", "20.0", "2.2", "0.0", "0.0"),
        (
            "is missing in 1 row where missing = false, counted as the lower bound, 0",
            "holds text that is not a number in 1 row, counted as the lower bound, 0",
            "is outside [0, 20] in 2 rows, clamped to the bounds",
            "has more than 1 decimals in 1 row, rounded",
        ),
        {
            "more than 2.50 values": {"upper": 1e308},
            "lower must be below upper": {"lower": 30.0},
            "lower has more than 1 decimals": {"lower": 0.25},
        },
    ),
    "categorical": Example(
        {"categories": ("a", "1"), "fallback": "a"},
        ("a", " a", "1.0", "", SECRET_CELL),
        ("a", "a", "1", "a", "a"),
        (
            "is missing in 1 row where missing = false, counted as the fallback, 'a'",
            "holds unlisted labels in 1 row, counted as the fallback, 'a'",
        ),
        {"listed twice": {"categories": ("a", "a")}, "fallback must be one": {"fallback": "b"}},
    ),
    "boolean": Example(
        {"true": "Y", "false": "N"},
        ("Y", "n", "TRUE", "0", " yes", "", SECRET_CELL),
        ("Y", "N", "Y", "N", "Y", "N", "N"),
        (
            "is missing in 1 row where missing = false, counted as 'N'",
            "is neither true nor false in 1 row, counted as 'N'",
        ),
        {"are the same word": {"true": "n"}, "Input should be 'true' or 'false'": {"otherwise": "maybe"}},
    ),
    "date": Example(
        {"date_format": "%d.%m.%Y", "lower": "01.01.2020", "upper": "31.12.2021"},
        ("29.02.2020", " 1.3.2020", "31.12.2019", "01.01.2031", "", SECRET_CELL),
        ("29.02.2020", "01.03.2020", "01.01.2020", "31.12.2021", "01.01.2020", "01.01.2020"),
        (
            "is missing in 1 row where missing = false, counted as the lower bound, 01.01.2020",
            "holds text that is not a date '%d.%m.%Y' in 1 row, counted as the lower bound, 01.01.2020",
            "is outside [01.01.2020, 31.12.2021] in 2 rows, clamped to the bounds",
        ),
        {
            "lower must be before upper": {"upper": "01.01.2019"},
            "are dates in its date_format": {"lower": "2020-01-01"},
            "date_format cannot be read back": {"date_format": "%d"},
            "since needs least and most": {"since": "y"},
            "since and bounds of its own": {"since": "y", "least": 0, "most": 9},
            "need since": {"least": 0},
        },
    ),
    "datetime": Example(
        {
            "date_format": "%Y-%m-%dT%H:%M",
            "resolution": "hours",
            "lower": "2020-01-01T00:00",
            "upper": "2020-12-31T23:00",
        },
        ("2020-02-29T13:59", "2020-11-01T05:00", "2019-12-31T23:59", "", SECRET_CELL),
        ("2020-02-29T13:00", "2020-11-01T05:00", "2020-01-01T00:00", "2020-01-01T00:00", "2020-01-01T00:00"),
        (
            "is missing in 1 row where missing = false, counted as the lower bound, 2020-01-01T00:00",
            "holds text that is not a date '%Y-%m-%dT%H:%M' in 1 row, counted as the lower bound, 2020-01-01T00:00",
            "is outside [2020-01-01T00:00, 2020-12-31T23:00] in 1 row, clamped to the bounds",
        ),
        {"lower must be before upper": {"upper": "2020-01-01T00:30"}},
    ),
    "code": Example(
        {"codes": ("I10", "I25.0", "I25.1", "J45.9"), "prefixes": (1, 3)},
        ("I25.1", " J45.9", "I10", "I25.77", "X9", "other", "", SECRET_CELL),
        ("I25.1", "J45.9", "I10", "I25", "other", "other", "other", "other"),
        (
            "is missing in 1 row where missing = false, counted as 'other'",
            "holds codes outside the hierarchy in 2 rows, counted as 'other'",
            "holds codes that are not listed in 1 row, counted as their longest prefix",
        ),
        {
            "listed twice": {"codes": ("I10", "I10")},
            "from short to long": {"prefixes": (3, 1)},
            "other is also a code": {"other": "I25"},
        },
    ),
    "answer": Example(
        {},
        ("no", "TRUE", "0", " yes", "", SECRET_CELL),
        ("no", "yes", "no", "yes", "no", "no"),
        (
            "is missing in 1 row where missing = false, counted as 'no'",
            "is neither yes nor no in 1 row, counted as 'no'",
        ),
        {"Input should be 'no' or 'yes'": {"otherwise": "maybe"}},
    ),
}
