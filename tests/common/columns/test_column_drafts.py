"""What a draft makes of cells: one test per kind of mistake that real tables have shown."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from common.columns.drafting import ColumnEvidence
from common.columns.drafting_codes import draft_code
from common.errors import StudyError
from common.study.study import read_study
from common.tables.checking import check_table
from common.tables.conforming import conform, format_table
from simulations.drafting import NamedColumns, draft_study
from tests.testbeds.command_line import fedsynth
from tests.testbeds.drafts import DIED, ROWS, drafted, of, with_words

RNG = np.random.default_rng(3)
AGES = [str(18 + row % 70) for row in range(ROWS)]
LEVELS = [f"{value:.1f}" for value in RNG.uniform(0.6, 90, ROWS)]


class TestLabels:
    @pytest.mark.parametrize(
        "labels",
        [
            ("01002", "02139", "94110"),
            ("01", "02", "09"),
            ("038.9", "250", "250.0", "250.00", "401.9"),
            ("450229981000132101", "450229981000132104", "450229981000132108"),
            tuple(f"0{1000 + 37 * number}" for number in range(30)),
            ("1", "1.0", "2"),
        ],
    )
    def test_that_look_like_numbers_stay_as_written(self, labels: tuple[str, ...]) -> None:
        column, _ = drafted(of(labels))
        assert set(column["categories"]) == set(labels)
        assert column["written"] == of(labels)

    def test_of_17_concepts_are_not_measurements(self) -> None:
        concepts = [str(number) for number in RNG.integers(30_000, 50_000_000, 17)]
        column, notices = drafted(of(concepts))
        assert set(column["categories"]) == set(concepts)
        assert any("taken for codes" in notice for notice in notices)
        assert drafted(of(concepts), kinds={"x": "numeric"})[0]["kind"] == "numeric"

    def test_of_a_column_named_zip_are_not_measurements(self) -> None:
        codes = [str(number) for number in range(10_000, 10_040)]
        assert drafted(of(codes), name="zip")[0]["kind"] == "categorical"
        assert drafted(of(codes), name="steps")[0]["kind"] == "numeric"

    @pytest.mark.parametrize("word", ["None", "null", "NA"])
    def test_such_as_none_stay_where_they_answer(self, word: str) -> None:
        column, notices = drafted(of((word, "Moderate", "Heavy")))
        assert word in column["categories"]
        assert any(f"holds '{word}' in 80 rows, which is kept as a label" in notice for notice in notices)

    def test_such_as_na_are_missing_where_they_stand_among_numbers(self) -> None:
        raw = pd.DataFrame({"age": with_words(AGES, "NA"), "wing": of(("NA", "a", "b")), "died": DIED})
        study = draft_study(raw, "draft", NamedColumns("died")).study
        assert study.table["wing"].labels == ("a", "b")
        assert study.table["wing"].missing

    def test_none_is_a_class_of_the_target(self) -> None:
        raw = pd.DataFrame({"age": AGES, "complication": of(("None", "Bleeding"))})
        drafted = draft_study(raw, "draft", NamedColumns("complication"))
        study, notices = drafted.study, drafted.notices
        assert study.table["complication"].labels == ("Bleeding", "None")
        assert not any("missing in" in notice for notice in notices)

    def test_in_several_spellings_are_named(self) -> None:
        _, notices = drafted(of(("male", "Male", "MALE", "female")))
        assert any("'MALE', 'Male', 'male'" in notice for notice in notices)

    @pytest.mark.parametrize(("labels", "kind"), [(("Y", "N"), "boolean"), (("1", "0"), "categorical")])
    def test_of_two_words_are_boolean(self, labels: tuple[str, str], kind: str) -> None:
        column, _ = drafted(of(labels))
        assert (column["kind"], column["written"]) == (kind, of(labels))
        assert drafted(of(labels), kinds={"x": "boolean"})[0]["kind"] == "boolean"


class TestNumbers:
    @pytest.mark.parametrize(
        ("cells", "expected"),
        [
            (with_words(LEVELS, "."), {"missing_codes": (".",), "missing": True}),
            (with_words(LEVELS, "ND", "#N/A"), {"missing_codes": ("#N/A", "ND"), "missing": True}),
            (with_words(LEVELS, "<0.6"), {"below": "<0.6", "lower": 0.6}),
            (with_words(AGES, "> 89"), {"above": "> 89", "upper": 89}),
            (with_words(AGES, "90+"), {"above": "90+", "upper": 90}),
            (with_words(AGES, "999"), {"missing_codes": ("999",), "missing": True, "upper": 90}),
            (with_words(LEVELS, "-9.0"), {"missing_codes": ("-9.0",), "missing": True, "lower": 0}),
        ],
    )
    def test_stay_numbers_beside_a_marker(self, cells: list[str], expected: dict[str, Any]) -> None:
        column, notices = drafted(cells)
        assert column["kind"] == "numeric"
        assert {key: column[key] for key in expected} == expected
        assert column["written"] == cells
        assert any("in 12 rows" in notice or "in 6 rows" in notice for notice in notices)

    def test_with_a_unit_are_read(self) -> None:
        column, notices = drafted([f"{level} mg/L" for level in LEVELS])
        assert (column["unit"], column["written"]) == ("mg/L", LEVELS)
        assert any("holds the unit 'mg/L'" in notice for notice in notices)

    def test_keep_three_digits_however_small(self) -> None:
        column, _ = drafted([f"{value:.3e}" for value in RNG.uniform(1e-6, 9e-6, ROWS)], kinds={"x": "numeric"})
        assert column["decimals"] >= 8
        assert len(set(column["written"])) > 150

    def test_beyond_every_grid_are_left_out(self) -> None:
        cells = [str(value) for value in RNG.uniform(0, 7e17, ROWS)]
        column, notices = drafted(cells)
        assert column is None
        assert any("more than 2^50 values" in notice for notice in notices)


class TestIdentifiers:
    @pytest.mark.parametrize(
        "cells",
        [
            with_words([str(4_000_000_000 + 13 * row) for row in range(ROWS)], ""),
            [str(4_000_000_000 + 13 * (row // 2 * 2 if row < 60 else row)) for row in range(ROWS)],
            [f"0999{RNG.integers(10**6):06}" for _ in range(ROWS)],
            [str(9_000_000_000_000_000_000 + row) for row in range(ROWS)],
        ],
    )
    def test_with_blanks_or_repeats_are_left_out(self, cells: list[str]) -> None:
        assert drafted(cells)[0] is None

    def test_are_fresh_where_a_person_asks_for_them(self) -> None:
        cells = [f"P-{row:04}" for row in range(ROWS)]
        column, _ = drafted(cells, kinds={"x": "identifier"})
        assert column["pattern"] == "P-0###"
        assert len(set(column["written"])) == ROWS


class TestImages:
    def test_are_declared_where_a_person_says_so(self) -> None:
        cells = [f"films/{row}.png; films/{row}.JPG" if row % 3 else "" for row in range(ROWS)]
        column, notices = drafted(cells, kinds={"x": "image"})
        assert (column["size"], column["most_images"], column["missing"]) == ((28, 28), 2, True)
        assert any("their rows and columns of pixels" in notice for notice in notices)

    def test_are_not_other_texts(self) -> None:
        with pytest.raises(StudyError, match="--kind x=image: its cells are not of this kind"):
            drafted(of(("a.png.txt", "b")), kinds={"x": "image"})


class TestPatients:
    def test_are_counted_by_a_column_that_is_left_out(self) -> None:
        _, notices = drafted([f"P{row:04}" for row in range(ROWS)], name="patient_id")
        assert any("'patient_id' is left out" in text and "--patient-column NAME" in text for text in notices)


class TestLists:
    def test_in_one_cell_are_a_set(self) -> None:
        column, _ = drafted(of(("aspirin", "aspirin; statin", "statin; insulin", "aspirin; statin; insulin", "")))
        assert (column["kind"], column["separator"]) == ("set", "; ")
        assert column["items"] == ("aspirin", "statin", "insulin")

    def test_labels_with_a_comma_are_labels(self) -> None:
        assert drafted(of(("yes, often", "no, never")))[0]["kind"] == "categorical"


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ({"x": "integer"}, "there is no such kind; choose from date"),
        ({"y": "numeric"}, "column 'y' is not in the table"),
        ({"x": "date"}, "not of this kind; choose another"),
    ],
)
def test_a_kind_that_does_not_fit_is_refused(kinds: dict[str, str], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        drafted(AGES, kinds=kinds)


@pytest.mark.parametrize(("kind", "cell"), [("identifier", ""), ("date", "2020-01-31")])
def test_too_few_texts_for_a_kind_are_refused(kind: str, cell: str) -> None:
    with pytest.raises(StudyError, match=f"--kind x={kind}: its cells are not of this kind"):
        drafted([cell] * ROWS, kinds={"x": kind})


def test_the_command_takes_the_kind_after_the_last_equals_sign(tmp_path: Path) -> None:
    table, out = tmp_path / "table.csv", tmp_path / "study.toml"
    pd.DataFrame({"a=b": AGES, "died": DIED}).to_csv(table, index=False)
    arguments = ["study", "draft", str(table), "--target", "died", "--out", str(out)]
    assert fedsynth(*arguments, "--kind", "a").exit_code == StudyError.exit_code
    assert fedsynth(*arguments, "--kind", "a=b=categorical").exit_code == 0
    assert read_study(out).table["a=b"].kind == "categorical"


class TestCodes:
    ICD_10 = tuple(f"{letter}{number:02}.{digit}" for letter in "EIJ" for number in (10, 25, 44) for digit in range(7))
    ICD_9 = (*(f"{250 + number}.{number % 10}" for number in range(40)), "V27", "E885", "8")
    ATC = tuple(f"{letter}{level:02}{pair}{drug:02}" for letter, level, pair in (("A", 10, "BA"), ("C", 9, "AA"))
                for drug in range(1, 11))  # fmt: skip
    LOINC = tuple(f"{1000 + 37 * number}-{number % 10}" for number in range(20))

    @pytest.mark.parametrize(
        ("codes", "prefixes"), [(ICD_10, (1, 3)), (ICD_9, (1, 3)), (ATC, (1, 3, 4, 5)), (LOINC, (1,))]
    )
    def test_of_many_values_are_kept_and_roll_up(self, codes: tuple[str, ...], prefixes: tuple[int, ...]) -> None:
        column, notices = drafted(of(codes))
        assert (column["kind"], column["prefixes"]) == ("code", prefixes)
        assert set(column["codes"]) == set(codes)
        assert column["written"] == of(codes)
        assert any("roll up to prefixes" in notice for notice in notices)

    def test_of_diagnoses_without_letters_go_by_the_name(self) -> None:
        codes = [code for code in self.ICD_9 if code[0].isdigit()]
        assert drafted(of(codes), name="diag_1")[0]["kind"] == "code"
        assert drafted(of(codes), name="steps")[0]["kind"] == "numeric"

    def test_with_a_leading_zero_have_digits_only(self) -> None:
        assert ColumnEvidence(with_words(LEVELS, "02/2021")).is_mostly_numeric
        assert not ColumnEvidence(with_words(LEVELS, "02139")).is_mostly_numeric

    @pytest.mark.parametrize("codes", [("a", "b", "c"), ("I10",)])
    def test_without_a_level_above_are_refused(self, codes: tuple[str, ...]) -> None:
        assert draft_code(ColumnEvidence(of(codes))) is None

    def test_of_few_values_are_labels(self) -> None:
        assert drafted(of(("I10", "E11.9", "J44.1")))[0]["kind"] == "categorical"


class TestSentences:
    def test_with_commas_are_not_lists(self) -> None:
        notes = (
            "Patient is stable, no fever",
            "Has pain, wound is dry, no fever",
            "Patient is stable",
            "No fever, has pain",
        )
        assert drafted(of(notes))[0]["kind"] == "categorical"
        assert drafted(of(notes), kinds={"x": "set"})[0]["kind"] == "set"

    @pytest.mark.parametrize(
        "text", ["Patientin war mit der Tochter da, {}", "Vue avec sa fille, {}", "Vino con su hija, {}"]
    )
    def test_of_many_kinds_are_left_out(self, text: str) -> None:
        column, notices = drafted(
            [text.format(f"sleeps badly since week {row} and asks for help") for row in range(ROWS)]
        )
        assert column is None
        assert any("direct identifier" in notice for notice in notices)


class TestSmallTables:
    @pytest.mark.parametrize(
        "cells", [[str(4000 + 137 * row) for row in range(18)], [f"{36 + row % 5 / 10:.1f}" for row in range(18)]]
    )
    def test_of_18_rows_have_numbers_with_a_note(self, cells: list[str]) -> None:
        column, notices = drafted(cells)
        assert (column["kind"], column["written"]) == ("numeric", cells)
        assert any("only 18 rows hold some" in notice for notice in notices) == (len(set(cells)) <= 18)

    def test_of_18_rows_keep_few_whole_numbers_as_labels(self) -> None:
        assert drafted([str(row % 4) for row in range(18)])[0]["kind"] == "categorical"

    def test_a_single_999_is_named_and_stays_a_number(self) -> None:
        column, notices = drafted([*AGES[:-1], "999"])
        assert "missing" not in column
        assert column["written"][-1] == "999"
        assert any("holds the number '999' in 1 row, far outside the rest" in notice for notice in notices)


class TestHeaders:
    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("crp\u200b", "'crp[U+200B]', is left out: its name holds U+200B"),
            ("q" * 140, "has 140 characters, more than 128"),
        ],
    )
    def test_that_no_study_can_hold_are_left_out(self, name: str, words: str) -> None:
        column, notices = drafted(LEVELS, name=name)
        assert column is None
        assert any(words in notice and "rename it in the table" in notice for notice in notices)


class TestDecimalCommas:
    def test_are_numbers_and_come_back(self) -> None:
        cells = with_words([level.replace(".", ",") for level in LEVELS], "<0,6", "ND")
        column, notices = drafted(cells)
        assert (column["kind"], column["decimal"], column["below"]) == ("numeric", ",", "<0,6")
        assert column["missing_codes"] == ("ND",)
        assert column["written"] == cells
        assert any("written with a decimal comma" in notice for notice in notices)

    def test_between_groups_of_three_digits_are_not_decimal_marks(self) -> None:
        column, _ = drafted([f"{1 + row % 9},{row % 1000:03}" for row in range(ROWS)])
        assert column is None or column["kind"] != "numeric"

    def test_of_a_file_come_back(self, tmp_path: Path) -> None:
        table, out = tmp_path / "table.csv", tmp_path / "study.toml"
        frame = pd.DataFrame({"crp": map(float, LEVELS), "age": map(int, AGES), "died": DIED})
        frame.to_csv(table, index=False, sep=";", decimal=",")
        done = fedsynth("study", "draft", table, "--target", "died", "--out", out)
        assert done.exit_code == 0
        crp, age, _ = read_study(out).table.columns
        assert crp.model_dump(exclude_defaults=True)["decimal"] == ","
        assert "decimal" not in age.model_dump(exclude_defaults=True)
        values = pd.Series([0.6, 12.5])
        assert crp.write(pd.DataFrame({"crp": values}), {}).tolist() == ["0,6", "12,5"]
        assert crp.read(["0,6", "12.5"])["crp"].tolist() == [0.6, 12.5]


def test_a_long_cell_among_numbers_takes_no_time() -> None:
    started = time.process_time()
    settings, _ = drafted([*map(str, range(100)), "1" + "e" * 200_000 + "5"])
    assert settings["kind"] == "numeric"
    assert time.process_time() - started < 2.0


class TestNumbersBesideText:
    @pytest.mark.parametrize(
        "word", ["90 and over", "90 years or older", "90 plus", "90 und älter", "über 90", ">= 90"]
    )
    def test_words_for_a_limit_above_declare_it(self, word: str) -> None:
        settings, _ = drafted(with_words(AGES, word))
        assert (settings["above"], settings["upper"], "unit" in settings) == (word, 90, False)
        assert settings["written"].count(word) == ROWS // 20

    @pytest.mark.parametrize("word", ["less than 0.6", "below 0.6", "unter 0.6", "moins de 0.6", "≤0.6"])
    def test_words_for_a_limit_below_declare_it(self, word: str) -> None:
        settings, _ = drafted(with_words(LEVELS, word))
        assert (settings["below"], settings["lower"]) == (word, 0.6)

    def test_limits_in_most_cells_leave_a_column_numeric(self) -> None:
        settings, _ = drafted(with_words(LEVELS, "<0.6", every=2))
        assert (settings["kind"], settings["below"]) == ("numeric", "<0.6")

    def test_a_limit_and_a_marker_leave_a_column_numeric(self) -> None:
        """As laboratories write many of their columns: below the limit of detection, and not done."""
        cells = ["<0.6" if row % 5 == 0 else "ND" if row % 5 == 1 else LEVELS[row] for row in range(ROWS)]
        settings, _ = drafted(cells)
        assert (settings["kind"], settings["below"]) == ("numeric", "<0.6")
        assert list(settings["missing_codes"]) == ["ND"]

    def test_many_words_beside_numbers_are_no_markers(self) -> None:
        cells = [f"see note {row % 40}" if row % 3 == 0 else LEVELS[row] for row in range(ROWS)]
        settings, _ = drafted(cells)
        assert settings is None

    def test_of_two_limits_the_inner_one_covers_the_other(self) -> None:
        settings, notices = drafted(with_words(LEVELS, "<0.5", "<0.6"))
        assert (settings["below"], settings["lower"], "missing_codes" in settings) == ("<0.6", 0.6, False)
        assert any("holds '<0.5' in 6 rows, written as '<0.6'" in notice for notice in notices)
        assert settings["written"].count("<0.6") == ROWS // 20

    @pytest.mark.parametrize("marks", [("H", "L"), ("*",), ("HH", "LL", "!")])
    def test_marks_behind_numbers_are_not_units(self, marks: tuple[str, ...]) -> None:
        cells = [f"{cell} {marks[row % len(marks)]}" if row % 3 else cell for row, cell in enumerate(LEVELS)]
        raw = pd.DataFrame({"x": cells, "died": DIED})
        drafted = draft_study(raw, "draft", NamedColumns("died"))
        study, notices = drafted.study, drafted.notices
        column = study.table.columns[0]
        assert (column.kind, column.missing, column.model_dump()["unit"]) == ("numeric", False, None)
        assert format_table(conform(raw, study.table), study.table)["x"].tolist() == LEVELS
        assert any("a mark such as H, * or ~" in text for text in (*notices, *check_table(raw, study.table, name="x")))

    def test_cells_in_another_unit_are_counted_together(self) -> None:
        cells = [f"{cell} mg/{'dL' if row % 10 == 0 else 'L'}" for row, cell in enumerate(LEVELS)]
        settings, notices = drafted(cells, kinds={"x": "numeric"})
        assert (settings["unit"], settings["missing"], "missing_codes" in settings) == ("mg/L", True, False)
        assert any(f"another unit, 'mg/dL', in {ROWS // 10} rows" in notice for notice in notices)

    def test_a_minus_sign_of_a_word_processor_is_read(self) -> None:
        settings, _ = drafted([f"{value:+.1f}".replace("-", "\N{MINUS SIGN}") for value in RNG.uniform(-9, 9, ROWS)])
        assert (settings["kind"], settings["lower"]) == ("numeric", -10)


class TestSentinels:
    @pytest.mark.parametrize(
        "words", [("777", "888", "999"), ("998", "999"), ("99.9",), ("9999.99",), ("-1", "-8", "-9"), ("-99",)]
    )
    def test_several_sentinels_do_not_hide_each_other(self, words: tuple[str, ...]) -> None:
        settings, _ = drafted(with_words([str(row % 40) for row in range(ROWS)], *words))
        assert sorted(settings["missing_codes"]) == sorted(words)
        assert (settings["lower"], settings["upper"]) == (0, 40)

    def test_months_with_a_sentinel_stay_labels(self) -> None:
        settings, _ = drafted(with_words([str(row % 12 + 1) for row in range(ROWS)], "99"))
        assert (settings["kind"], "99" in settings["categories"]) == ("categorical", True)

    def test_numbers_in_the_range_are_not_sentinels(self) -> None:
        settings, _ = drafted(with_words([str(row * 5) for row in range(ROWS)], "777", "888", "999"))
        assert "missing_codes" not in settings

    def test_zeros_far_below_the_rest_are_named(self) -> None:
        _, notices = drafted(with_words([f"{value:.1f}" for value in RNG.uniform(60, 200, ROWS)], "0"))
        assert any("holds 0 in 12 rows, far below the rest" in notice for notice in notices)
        assert not any("far below" in notice for notice in drafted([str(row % 90) for row in range(ROWS)])[1])
