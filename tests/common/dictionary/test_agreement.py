"""What hospitals agree on: each difference, its proposal, who has to change what, and whether people decide."""

from __future__ import annotations

import time
from typing import Any

import pytest

from common.columns.kinds import KINDS
from common.dictionary.agreed_study import MARK, study_text
from common.dictionary.agreement import agree
from common.dictionary.agreement_text import lines_of
from common.dictionary.aspects import ASPECTS
from common.errors import StudyError
from common.study.study import parse_study
from tests.testbeds.all_kinds import COLUMNS
from tests.testbeds.dictionaries import agreement_on, column_of, dictionary, finding_of, labeled, numeric

DATE = {"name": "d", "kind": "date", "lower": "2020-01-01", "upper": "2020-12-31"}


def one(*columns: dict[str, Any] | None, keep_partial: bool = False) -> Any:
    return column_of(agreement_on(*columns, keep_partial=keep_partial))


class TestAspects:
    """The table of what may differ."""

    def test_aspects_cover_every_setting_of_every_kind(self) -> None:
        discussed = {key for aspect in ASPECTS for key in aspect.keys}
        declared = {key for kind in KINDS.values() for key in kind.model_fields}
        assert discussed == declared - {"name", "kind", "description"}

    def test_bounds_are_said_in_words(self) -> None:
        bounds = next(aspect for aspect in ASPECTS if aspect.keys == ("lower", "upper"))
        texts = [bounds.text(values) for values in ((0, 10.5), (0, None), (None, None))]
        assert texts == ["0 to 10.5", "0 to ?", "not declared"]

    @pytest.mark.parametrize("kind", list(KINDS))
    def test_a_column_open_everywhere_is_open(self, kind: str) -> None:
        column = one(*[{"name": "x", "kind": kind}] * 2)
        has_open_keys = kind not in ("boolean", "text")
        assert column.is_open == has_open_keys
        assert bool(column.open_keys) == has_open_keys


class TestSettled:
    """Differences that nobody has to decide."""

    def test_the_same_everywhere_is_no_difference(self) -> None:
        files = [dictionary(hospital, *COLUMNS) for hospital in ("north", "south", "east")]
        agreement = agree(files)
        assert agreement.is_settled
        assert len(agreement.same) == len(COLUMNS)
        study = parse_study(study_text(agreement, name="s"))
        assert [column.name for column in study.table.columns] == [column["name"] for column in COLUMNS]

    def test_bounds_become_the_widest(self) -> None:
        column = one(numeric("x", 18, 90), numeric("x", 0, 80))
        assert (column.settings["lower"], column.settings["upper"]) == (0, 90)
        assert not column.is_open

    def test_dates_become_the_widest_in_one_format(self) -> None:
        german = {**DATE, "date_format": "%d.%m.%Y", "lower": "01.06.2019", "upper": "30.06.2020"}
        column = one(DATE, DATE, german)
        assert (column.settings["lower"], column.settings["upper"]) == ("2019-06-01", "2020-12-31")
        assert finding_of(column, "date format").tasks == {"c": "convert dates to %Y-%m-%d in the mapping file"}

    def test_missing_and_decimals_need_no_decision(self) -> None:
        column = one(numeric("x", missing=True), numeric("x", decimals=2))
        assert column.settings["missing"] is True
        assert column.settings["decimals"] == 2
        assert not column.is_open

    def test_nested_labels_become_the_larger_list(self) -> None:
        column = one(labeled("x", "p", "q"), labeled("x", "q", "p", "r"))
        assert column.settings["categories"] == ["q", "p", "r"]
        assert not column.is_open

    def test_words_that_are_read_need_no_change(self) -> None:
        column = one({"name": "x", "kind": "boolean"}, {"name": "x", "kind": "boolean", "true": "1", "false": "0"})
        assert not column.is_open

    def test_patterns_of_identifiers_need_no_change(self) -> None:
        column = one(*({"name": "x", "kind": "identifier", "pattern": mark + "-####"} for mark in "NS"))
        assert not column.is_open

    @pytest.mark.parametrize(
        ("settings", "is_kept"),
        [({"kind": "identifier", "pattern": "####"}, True), ({"kind": "text"}, False)],
    )
    def test_unread_columns_some_lack_stay_if_written(self, settings: dict[str, Any], is_kept: bool) -> None:
        column = one({"name": "x", **settings}, None)
        assert column.is_ready == is_kept
        assert not column.is_open
        assert column.findings


class TestOpen:
    """Differences that people decide on, and whose task each is."""

    def test_kind_of_the_majority_is_proposed(self) -> None:
        column = one(numeric("x"), labeled("x", "1"), numeric("x"))
        assert column.settings["kind"] == "numeric"
        assert list(finding_of(column, "kind").tasks) == ["b"]

    def test_boolean_and_labels_tie_as_labels(self) -> None:
        column = one({"name": "x", "kind": "boolean"}, labeled("x", "never", "ex"))
        assert column.settings["kind"] == "categorical"
        assert list(finding_of(column, "kind").tasks) == ["a"]

    def test_unit_of_the_majority_keeps_its_bounds(self) -> None:
        liters = numeric("x", 40, 600, unit="mg/dL")
        column = one(liters, numeric("x", 2, 33, unit="mmol/L", decimals=1), liters)
        assert column.settings["unit"] == "mg/dL"
        assert (column.settings["lower"], column.settings["upper"]) == (40, 600)
        assert finding_of(column, "unit").tasks == {"b": "convert mmol/L to mg/dL in the mapping file"}

    def test_unit_in_another_spelling_needs_no_conversion(self) -> None:
        column = one(*(numeric("x", unit=unit) for unit in ("mg/dL", "mg/dL", "mg/dl")))
        assert finding_of(column, "unit").tasks == {"c": "write the unit as mg/dL instead of mg/dl; values stay"}

    def test_unit_that_one_does_not_give_is_confirmed(self) -> None:
        column = one(numeric("x", unit="kg"), numeric("x"))
        assert finding_of(column, "unit").tasks == {"b": "confirm that the column is in kg, and declare the unit"}

    @pytest.mark.parametrize("other", [(20, 30), (0, 100)])
    def test_suspicious_bounds_ask_about_the_unit(self, other: tuple[int, int]) -> None:
        column = one(numeric("x", 0, 10), numeric("x", *other))
        assert set(finding_of(column, "bounds").tasks) == {"a", "b"}

    def test_doubtful_bounds_without_unit_do_not_count(self) -> None:
        column = one(numeric("x", 1, 20, unit="mg/dL"), numeric("x", 10, 1800))
        assert (column.settings["lower"], column.settings["upper"]) == (1, 20)
        assert set(finding_of(column, "bounds").tasks) == {"a", "b"}

    def test_the_decimal_mark_of_most_is_proposed(self) -> None:
        column = one(numeric("x"), numeric("x", decimal=","), numeric("x"))
        assert "decimal" not in column.settings
        assert finding_of(column, "decimal mark").tasks == {"b": 'declare decimal = "," in the mapping file'}

    def test_bounds_that_one_lacks_are_confirmed(self) -> None:
        column = one(numeric("x", 0, 10), numeric("x", None, None))
        assert finding_of(column, "bounds").tasks == {"b": "confirm that 0 to 10 is right for its values"}

    def test_contradictory_labels_name_both_hospitals(self) -> None:
        column = one(
            labeled("sex", "1", "2", meanings={"1": "male", "2": "female"}),
            labeled("sex", "1", "2", meanings={"1": "female", "2": "male"}),
        )
        finding = finding_of(column, "labels")
        assert finding.is_open
        assert "'1' means female here and male at a: write '2' for it" in finding.tasks["b"]

    def test_one_meaning_under_two_labels_is_mapped(self) -> None:
        column = one(
            labeled("sex", "1", "2", meanings={"1": "male", "2": "female"}),
            labeled("sex", "M", "F", meanings={"M": "Male", "F": "Female"}),
        )
        assert column.settings["categories"] == ["1", "2"]
        assert finding_of(column, "labels").tasks == {
            "b": "write '1' for 'M' in the mapping file; write '2' for 'F' in the mapping file"
        }

    def test_labels_in_another_case_are_mapped(self) -> None:
        column = one(labeled("x", "Yes", "No"), labeled("x", "yes", "No"))
        assert finding_of(column, "labels").tasks == {"b": "write 'Yes' for 'yes' in the mapping file"}

    def test_labels_of_their_own_are_asked_about(self) -> None:
        column = one(labeled("x", "never", "former"), labeled("x", "never", "ex"))
        assert column.settings["categories"] == ["never", "former", "ex"]
        assert set(finding_of(column, "labels").tasks) == {"a", "b"}

    def test_labels_without_meanings_are_confirmed(self) -> None:
        column = one(labeled("x", "1", "2", meanings={"1": "male", "2": "female"}), labeled("x", "1", "2"))
        task = "confirm that '1' means male, '2' means female"
        assert finding_of(column, "labels").tasks == {"b": task}
        assert column.settings["description"] == "1 = male; 2 = female"

    def test_a_code_that_is_a_value_elsewhere_is_asked(self) -> None:
        column = one(numeric("x", 0, 1000), numeric("x", 0, 300, missing_codes=["999"]))
        task = "confirm that 999 is a missing code and never a value"
        assert finding_of(column, "missing codes").tasks == {"a": task}

    def test_settings_that_do_not_fit_are_left_out(self) -> None:
        column = one(labeled("x", "Other", "p", "q"), labeled("x", "other", "p", fallback="other"))
        assert "fallback" not in column.settings
        assert finding_of(column, "settings together").is_open
        assert column.is_ready

    def test_words_that_are_not_read_are_mapped(self) -> None:
        column = one({"name": "x", "kind": "boolean"}, {"name": "x", "kind": "boolean", "true": "Da", "false": "Net"})
        assert finding_of(column, "words").tasks == {"b": "write yes for Da and no for Net in the mapping file"}

    @pytest.mark.parametrize("keep_partial", [False, True])
    def test_a_column_some_lack_is_kept_on_request(self, keep_partial: bool) -> None:
        column = one(numeric("x"), None, keep_partial=keep_partial)
        assert column.is_kept == keep_partial
        assert column.settings.get("missing", False) == keep_partial
        assert column.is_open

    def test_a_name_in_another_spelling_is_one_column(self) -> None:
        column = one(numeric("date of birth"), numeric("Date_of_Birth"), numeric("date of birth"))
        assert column.name == "date of birth"
        assert finding_of(column, "name").tasks == {
            "b": "rename 'Date_of_Birth' to 'date of birth' in the mapping file"
        }

    def test_a_like_name_is_asked_about(self) -> None:
        for name, other in (("systolic_pressure", "systolic_presure"), ("nyha", "nyha_class")):
            tasks = dict(agreement_on(numeric(name), numeric(other)).tasks_of("b"))
            assert f"does '{other}' hold the same?" in tasks[name]

    def test_nobody_renames_in_both_directions(self) -> None:
        files = [dictionary(n, numeric(c)) for n, c in (("a", "visit"), ("b", "visit"), ("c", "visit_date"))]
        agreement = agree(files)
        assert "does 'visit_date' hold the same?" in dict(agreement.tasks_of("c"))["visit"]
        assert "visit_date" not in {**dict(agreement.tasks_of("a")), **dict(agreement.tasks_of("b"))}

    def test_two_like_names_at_one_hospital_stay_apart(self) -> None:
        files = [dictionary("n", numeric("a b"), numeric("A_B")), dictionary("s", numeric("a b"), numeric("A_B"))]
        assert [column.name for column in agree(files).columns] == ["a b", "A_B"]

    def test_a_date_whose_start_is_left_out_is_left_out(self) -> None:
        since = {"name": "left", "kind": "date", "since": "d", "least": 0, "most": 9}
        files = [dictionary("n", DATE, since), dictionary("s", {**DATE, "name": "other day"})]
        agreement = agree(files, keep_partial=False)
        assert not any(column.is_ready for column in agreement.columns)

    def test_dates_that_count_differently_are_asked(self) -> None:
        since = {"name": "left", "kind": "date", "since": "d", "least": 0, "most": 9}
        own = {"name": "left", "kind": "date", "lower": "2020-01-01", "upper": "2020-12-31"}
        agreement = agree([dictionary("n", DATE, since), dictionary("s", DATE, own), dictionary("e", DATE, since)])
        column = agreement.columns[1]
        assert finding_of(column, "column it counts from").tasks == {"s": "count from d"}
        assert "lower" not in column.settings


class TestAgree:
    """Several dictionaries together."""

    def test_one_hospital_alone_is_refused(self) -> None:
        with pytest.raises(StudyError, match="at least 2 hospitals"):
            agree([dictionary("n", numeric("x"))])

    def test_two_files_of_one_hospital_are_refused(self) -> None:
        with pytest.raises(StudyError, match="two dictionaries are of hospital 'n'"):
            agree([dictionary("n", numeric("x"))] * 2)

    def test_the_study_holds_proposals_and_comments(self) -> None:
        agreement = agree(
            [
                dictionary("n", numeric("x"), labeled("sex", "1", "2"), numeric("gone"), numeric("y", None, None)),
                dictionary("s", numeric("x", unit="kg"), labeled("sex", "1", "2"), numeric("y", None, None)),
            ]
        )
        text = study_text(agreement, name="trial", target="sex")
        study = parse_study(text)
        assert [column.name for column in study.table.columns] == ["x", "sex"]
        assert study.evaluation.target == "sex"
        assert f"# {MARK} unit: take kg" in text
        assert "# Left out: column 'gone'" in text
        assert "# Left out: column 'y': lower, upper not known" in text

    def test_what_visits_need_is_a_comment(self) -> None:
        columns = (labeled("sex", "m", "f", per="patient"), numeric("x"))
        text = study_text(agree([dictionary(hospital, *columns) for hospital in "ns"]), name="t")
        assert '# per = "patient"' in text

    def test_shared_noise_is_proposed_from_three_on(self) -> None:
        files = [dictionary(hospital, numeric("x"), labeled("y", "p", "q")) for hospital in "nse"]
        modes = [parse_study(study_text(agree(files[:count]), name="t")).privacy.noise for count in (2, 3)]
        assert modes == ["local", "distributed"]

    def test_the_proposed_target_has_the_fewest_labels(self) -> None:
        columns = (labeled("y", "p", "q", "r"), labeled("z", "p", "q"), numeric("x"))
        files = [dictionary(hospital, *columns) for hospital in "ns"]
        assert parse_study(study_text(agree(files), name="t")).evaluation.target == "z"

    def test_the_text_names_columns_and_tasks(self) -> None:
        lines = list(lines_of(agreement_on(numeric("x", unit="kg"), numeric("x", unit="g"))))
        assert lines[0] == "2 columns of 2 hospitals (a, b): 1 the same, 0 settled, 1 to decide."
        assert "  x: convert g to kg in the mapping file" in lines

    def test_non_latin_names_are_compared_as_they_are(self) -> None:
        column = one(labeled("性别", "男", "女"), labeled("性别", "男", "女", "未知"))
        assert column.settings["categories"] == ["男", "女", "未知"]
        assert not column.is_open

    def test_a_thousand_columns_take_seconds(self) -> None:
        shared = [numeric(f"lab {number}", 0, 100 + number % 3) for number in range(500)]
        files = [
            dictionary(hospital, *shared, *(labeled(f"{hospital}_{number}", "p", "q") for number in range(500)))
            for hospital in ("north", "south", "east")
        ]
        start = time.process_time()
        agreement = agree(files)
        study_text(agreement, name="wide")
        assert len(agreement.columns) == 2000
        assert time.process_time() - start < 10
