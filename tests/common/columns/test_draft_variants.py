"""What a draft makes of forms of cells from clinics of several countries: one test per kind of mistake."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from common.columns.cells import censored, flagged, without_unit
from common.errors import StudyError
from common.tables.conforming import conform, format_table
from simulations.drafting import NamedColumns, draft_study
from tests.testbeds.drafts import DIED, ROWS, drafted, of, with_words

RNG = np.random.default_rng(5)
AGES = [str(18 + row % 70) for row in range(ROWS)]
LEVELS = [f"{value:.1f}" for value in RNG.uniform(0.6, 90, ROWS)]
DAYS = [f"2021-{month:02d}-{day:02d}" for month, day in RNG.integers(1, 13, (ROWS, 2))]


def draft_with_losses(cells: list[str]) -> tuple[Any, list[str]]:
    """Return the settings of a column of which some cells become missing, and the notices."""
    raw = pd.DataFrame({"x": cells, "died": DIED})
    study = draft_study(raw, "draft", NamedColumns("died"))
    column = study.study.table["x"]
    written = format_table(conform(raw, study.study.table), study.study.table)["x"].tolist()
    return column.model_dump(exclude_defaults=True) | {"written": written, "kind": column.kind}, list(study.notices)


MICRO = "\u00b5\u03bc"


class TestLimits:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("> 89 years", (1, 89.0)),
            ("&gt;89", (1, 89.0)),
            ("&lt; 0.6", (-1, 0.6)),
            ("\uff1c0.6", (-1, 0.6)),
            ("<0,6", (-1, 0.6)),
            ("<0,125", (-1, 0.125)),
            ("<1,000", None),  # a thousand, or one
            (">10\u00b2", None),  # a power is no digit
        ],
    )
    def test_are_read_in_more_forms(self, text: str, expected: tuple[int, float] | None) -> None:
        assert censored(text) == expected

    @pytest.mark.parametrize("text", ["> 89 years", "&gt;89", "\uff1e89"])
    def test_of_ages_are_declared_as_above(self, text: str) -> None:
        column, _ = drafted(with_words(AGES, text), name="age")
        assert (column["above"], column["upper"], "missing_codes" in column) == (text, 89.0, False)


class TestMarks:
    @pytest.mark.parametrize("mark", ["~{}", "ca. {}", "\u2248 {}", "etwa {}", "approx. {}"])
    def test_of_rough_numbers_are_left_off(self, mark: str) -> None:
        cells = [mark.format(cell) if row % 9 == 0 else cell for row, cell in enumerate(LEVELS)]
        column, notices = draft_with_losses(cells)
        assert (column["kind"], "missing_codes" in column) == ("numeric", False)
        assert column["written"] == [f"{float(cell):.1f}" for cell in LEVELS]
        assert any("a mark such as H, * or ~" in notice for notice in notices)

    def test_of_other_words_are_no_numbers(self) -> None:
        assert np.isnan(flagged("room 7"))

    @pytest.mark.parametrize("form", ["{} +", "#{}", "p{}"])
    def test_that_nothing_reads_do_not_put_values_into_the_study(self, form: str) -> None:
        cells = [form.format(cell) if row % 9 == 0 else cell for row, cell in enumerate(LEVELS)]
        column, notices = draft_with_losses(cells)
        assert column["kind"] == "numeric"
        assert not any(mark.isdigit() for code in column.get("missing_codes", ()) for mark in code)
        assert any("becomes missing" in notice for notice in notices)

    def test_that_cannot_be_printed_are_no_missing_codes(self) -> None:
        column, notices = draft_with_losses([*AGES[1:], "\ufeff18"])
        assert (column["kind"], "missing_codes" in column) == ("numeric", False)
        assert any("other text in 1 row" in notice for notice in notices)


class TestUnits:
    def test_with_a_micro_sign_or_a_mu_are_one(self) -> None:
        cells = [f"{40 + row % 150} {MICRO[row % 2]}mol/L" for row in range(ROWS)]
        column, _ = drafted(cells)
        assert (column["kind"], column["unit"]) == ("numeric", "\u00b5mol/L")
        assert column["written"] == [str(40 + row % 150) for row in range(ROWS)]
        assert without_unit("7 \u03bcg", "\u00b5g") == "7 "

    def test_behind_whole_numbers_make_no_identifiers(self) -> None:
        assert drafted([f"{1000 + row} mg/dl" for row in range(ROWS)])[0]["kind"] == "numeric"

    @pytest.mark.parametrize("unit", ["months", "Wochen", "jours", "d\u00edas"])
    def test_of_infants_are_not_those_of_all_ages(self, unit: str) -> None:
        column, notices = draft_with_losses(with_words(AGES, f"6 {unit}", f"11 {unit}"))
        assert (column["lower"] >= 10, "unit" in column, column["missing"]) == (True, False, True)
        assert column["written"][0] == ""
        assert any(f"another unit, '{unit}', in 12 rows" in notice for notice in notices)

    def test_of_time_in_most_cells_are_those_of_the_column(self) -> None:
        column, _ = drafted([f"{age} months" for age in AGES])
        assert (column["unit"], column["written"]) == ("months", AGES)

    def test_in_a_fifth_of_the_cells_are_named(self) -> None:
        cells = [f"{0.5 + row / 100:.2f} mg/dl" if row % 5 == 0 else f"{40 + row} µmol/L" for row in range(ROWS)]
        column, notices = draft_with_losses(cells)
        assert column["unit"] == "µmol/L"
        assert any("another unit, 'mg/dl', in 48 rows" in notice for notice in notices)


FORMS = {
    "points between thousands": ([f"{1 + row % 9}.{100 + row},5" for row in range(ROWS)], "--read thousands=point"),
    "apostrophes": ([f"{1 + row % 9}'{100 + row}" for row in range(ROWS)], "--read thousands=apostrophe"),
    "blanks": ([f"{1 + row % 9}\u00a0{100 + row}" for row in range(ROWS)], "--read thousands=blank"),
    "commas and small numbers": (
        [f"{1 + row % 9},{100 + row}" if row % 3 else str(row + 7) for row in range(ROWS)],
        "--read thousands=,",
    ),
    "parentheses": ([f"({cell})" if row % 3 == 0 else cell for row, cell in enumerate(LEVELS)], "as in -2.5"),
    "sign behind": ([f"{cell}-" if row % 3 == 0 else cell for row, cell in enumerate(LEVELS)], "as in -2.5"),
    "blood pressure": ([f"{90 + row}/{50 + row % 40}" for row in range(ROWS)], "one column of each"),
    "two forms of dates": (
        [f"{day[8:]}.{day[5:7]}.2021" if row % 3 else day for row, day in enumerate(DAYS)],
        "dates or",
    ),
    "parts of dates": ([day if row % 4 else day[:7] for row, day in enumerate(DAYS)], "dates or times"),
    "unknown days": ([day if row % 4 else f"{day[:7]}-UN" for row, day in enumerate(DAYS)], "dates or times"),
    "weeks": ([f"{2000 + row // 50}-W{1 + row % 50:02d}-{1 + row % 7}" for row in range(ROWS)], "dates or times"),
    "noon": ([f"{day[5:7]}/{day[8:]}/2021 08:{row % 60:02d} AM" for row, day in enumerate(DAYS)], "dates or times"),
    "ISO durations": ([f"P{row}DT{row % 24}H" for row in range(ROWS)], "it holds durations"),
    "durations of Excel": (
        [f"{row // 24} days, {row % 24}:00:00" for row in range(24, 24 + ROWS)],
        "it holds durations",
    ),
    "durations of pandas": ([f"{row} days 0{row % 9}:00:00" for row in range(ROWS)], "it holds durations"),
}
"""Cells in a form that no kind reads, and words of what helps."""


class TestForms:
    @pytest.mark.parametrize("name", FORMS)
    def test_that_no_kind_reads_are_named_with_what_helps(self, name: str) -> None:
        cells, words = FORMS[name]
        column, notices = drafted(cells)
        assert column is None
        assert any(words in notice for notice in notices), notices

    def test_are_not_seen_in_identifiers(self) -> None:
        _, notices = drafted([f"{row:05d}" for row in range(ROWS)], name="pid")
        assert any("medical record" in notice for notice in notices)


def test_labels_that_differ_in_how_accents_are_stored_are_named() -> None:
    _, notices = drafted(of(("S\u00fcd", "Su\u0308d", "Nord")))
    assert any("differ only in capitals or blanks" in notice for notice in notices)


class TestFrequentNumbers:
    def test_that_may_stand_for_missing_are_named(self) -> None:
        column, notices = drafted(with_words(AGES, "99", every=10), name="age")
        assert (column["kind"], "missing_codes" in column) == ("numeric", False)
        assert any("holds 99 in 24 rows, more often than any other number" in notice for notice in notices)

    def test_that_are_as_frequent_as_others_are_not(self) -> None:
        _, notices = drafted([str(30 + row % 70) for row in range(ROWS)], name="age")
        assert not any("more often" in notice for notice in notices)


def test_a_repeated_header_is_not_a_patient() -> None:
    raw = pd.DataFrame({"age": [*AGES, "\ufeffage"], "died": [*DIED, "died"]})
    drafted = draft_study(raw, "draft", NamedColumns("died"))
    assert drafted.study.table["died"].labels == ("no", "yes")
    assert drafted.study.table["age"].kind == "numeric"
    assert any("the header is repeated in 1 row" in notice for notice in drafted.notices)


def test_a_draft_of_one_column_names_the_reasons() -> None:
    raw = pd.DataFrame({"pid": [f"P{row:04d}" for row in range(ROWS)], "died": DIED})
    with pytest.raises(StudyError, match=r"needs 2 columns, and the draft keeps 1: 'pid': .*; add a column"):
        draft_study(raw, "draft", NamedColumns("died"))
