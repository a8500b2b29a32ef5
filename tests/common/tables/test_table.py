import csv
import datetime
import gzip
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.columns.categorical import Categorical
from common.columns.numeric import Numeric
from common.errors import DataError
from common.study.schema import Schema
from common.tables.checking import check_table
from common.tables.conforming import conform, format_table
from common.tables.patients import first_rows, keyed_fraction, patient_keys, split_holdout
from common.tables.raw import as_text
from common.tables.reading import check_readable, read_parts, read_table

CANARY = "7777123"
SCHEMA = Schema(
    columns=(
        Numeric(name="age", lower=18, upper=100, unit="years"),
        Numeric(name="oldpeak", lower=-5, upper=10, decimals=1, missing=True),
        Categorical(name="sex", categories=("female", "male")),
        Categorical(name="ca", categories=("0", "1", "2"), missing=True),
        Categorical(name="ward", categories=("icu", "other"), fallback="other"),
        Categorical(name="died", categories=("no", "yes")),
    )
)
GOOD = pd.DataFrame(
    {
        "age": ["63", "40", "51"],
        "oldpeak": ["2.3", "", "-1"],
        "sex": ["male", "female", "male"],
        "ca": ["0", "1.0", "NA"],
        "ward": ["icu", "icu", "other"],
        "died": ["no", "yes", "no"],
    }
)


def with_cell(column: str, text: str) -> pd.DataFrame:
    table = GOOD.copy()
    table.loc[0, column] = text
    return table


def refusal(raw: pd.DataFrame, *, patient_column: str | None = None) -> str:
    with pytest.raises(DataError) as caught:
        check_table(raw, SCHEMA, name="north", patient_column=patient_column, target="died")
    message = str(caught.value)
    assert CANARY not in message
    assert all(line.startswith("north: ") for line in message.splitlines())
    return message


# Reading


def test_a_csv_keeps_every_cell_as_text(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('﻿id,a,b\n007,None,\n1e5,"x, y",NA\n\n', encoding="utf-8")
    raw = read_table(path)
    assert raw.to_dict("list") == {"id": ["007", "1e5"], "a": ["None", "x, y"], "b": ["", "NA"]}


def test_a_gzipped_csv_reads_like_a_plain_one(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n"))
    assert read_table(tmp_path / "t.csv.gz").to_dict("list") == {"a": ["1"], "b": ["2"]}


def test_parquet_becomes_text_without_loss(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"age": [63.0, np.nan], "long": pd.array([2**60 + 1, None], dtype="Int64"), "ok": [True, False]}
    )
    frame.set_index("age").to_parquet(tmp_path / "t.parquet")
    raw = read_table(tmp_path / "t.parquet")
    assert raw["age"].tolist() == ["63", ""]
    assert raw["long"].tolist() == [str(2**60 + 1), ""]
    assert raw["ok"].tolist() == ["True", "False"]


@pytest.mark.parametrize(
    ("content", "cause", "remedy"),
    [
        (b"a,b,a\n7777123,1,2\n", "columns 1 and 3 have the same name in the header", "rename or remove one"),
        (b"a,b\n1,2\n7777123\n", "line 3 has 1 fields where the header has 2", "complete the line"),
        (b"a,b\n1,2,7777123\n", "line 2 has 3 fields where the header has 2", "quote fields"),
        (b'a,b\n"1\n1",2\n\n1,7777123\n1,2,3\n', "line 6 has 3 fields where the header has 2", "a line break"),
        (b'a,b\n1,"7777123\n3,4\n', "quotation marks do not pair up in the record that starts in line 2", "double"),
        (b'a,b\n1,2\n1,"77"77123\n', "quotation marks do not pair up in the record that starts in line 3", "double"),
        (b'a,"b\n7777123,1\n', "quotation marks do not pair up in the record that starts in line 1", "double"),
        (b"a,b\n7777123,\xe9\n", "it is not UTF-8 text in line 2", "save it as UTF-8"),
        ("a,b\n7777123,1\n".encode("utf-16"), "it is not UTF-8 text in line 1", "save it as UTF-8"),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_a_malformed_csv_is_refused_in_the_same_words_by_every_reader(
    tmp_path: Path, suffix: str, content: bytes, cause: str, remedy: str
) -> None:
    path = tmp_path / f"t{suffix}"
    path.write_bytes(gzip.compress(content) if suffix == ".csv.gz" else content)
    messages = []
    for read in (read_table, lambda path: list(read_parts(path, ["a"], rows=1)), check_readable):
        with pytest.raises(DataError) as caught:
            read(path)
        messages.append(str(caught.value))
        assert caught.value.exit_code == 5
        assert caught.value.__context__ is None or caught.value.__suppress_context__
    assert len(set(messages)) == 1
    message = messages[0]
    assert str(path) in message
    assert cause in message
    assert remedy in message
    assert CANARY not in message


def test_a_quoted_line_break_belongs_to_its_cell(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'a,"b\n(unit)"\r\n"x\r\n1,2\n3,4","say ""hi"""\r\n5,6\r\n')
    assert read_table(path).to_dict("list") == {"a": ["x\r\n1,2\n3,4", "5"], "b\n(unit)": ['say "hi"', "6"]}


@settings(deadline=None)
@given(
    st.lists(st.tuples(*[st.text(st.characters(exclude_categories=["Cs"]), max_size=8)] * 2), max_size=6),
    st.sampled_from(["\n", "\r\n"]),
)
def test_a_correct_writer_gives_one_record_per_row(rows: list[tuple[str, ...]], line_end: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator=line_end).writerows([("a", "b"), *rows])
        assert read_table(path).to_numpy().tolist() == [list(row) for row in rows]


def test_no_length_of_a_cell_makes_a_file_unreadable(tmp_path: Path) -> None:
    # One patient's long note must not decide whether a hospital answers; Python's own limit is 131,072 characters.
    (tmp_path / "t.csv").write_text(f"a,b\n1,{'x' * 200_000}\n")
    assert len(read_table(tmp_path / "t.csv")["b"][0]) == 200_000


@pytest.mark.parametrize(("content", "columns"), [(b"", []), (b"\n", []), (b"a,b\n", ["a", "b"])])
def test_a_table_without_rows_can_be_read_and_is_refused_by_the_check(
    tmp_path: Path, content: bytes, columns: list[str]
) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    check_readable(tmp_path / "t.csv")
    raw = read_table(tmp_path / "t.csv")
    assert (len(raw), list(raw.columns)) == (0, columns)
    with pytest.raises(DataError, match=r"^t\.csv: the table has no rows; give a table with a header and rows$"):
        check_table(raw, SCHEMA, name="t.csv")


@pytest.mark.parametrize("name", ["none.csv", "none.parquet", "text.parquet", "text.csv.gz", "text.xlsx", "folder.csv"])
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    if name.startswith("text"):
        (tmp_path / name).write_text(f"a,b\n{CANARY},2\n")
    with pytest.raises(DataError, match="cannot use table") as caught:
        read_table(tmp_path / name)
    assert name in str(caught.value)
    assert CANARY not in str(caught.value)


def test_typed_values_become_canonical_text() -> None:
    day = datetime.date(2020, 2, 29)
    values = [63.0, 0.1, 1e22, -0.0, 2**70, True, None, np.nan, pd.NaT, pd.NA, "NA", day, np.float32(0.1), np.inf]
    expected = ["63", "0.1", "10000000000000000000000", "0", "1180591620717411303424", "True"]
    expected += ["", "", "", "", "NA", "2020-02-29", "0.1", "inf"]
    assert as_text(pd.DataFrame({"x": pd.Series(values, dtype=object)}))["x"].tolist() == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pd.Series([1.0, np.nan, 2.5]), ["1", "", "2.5"]),
        (pd.Series([0.1], dtype="float32"), ["0.1"]),
        (pd.Series([True, None], dtype="boolean"), ["True", ""]),
        (pd.Series(["a", None], dtype="category"), ["a", ""]),
        (pd.Series(["a", None], dtype="string"), ["a", ""]),
        (pd.Series([1, 2], dtype="int8"), ["1", "2"]),
    ],
)
def test_every_column_type_has_a_text_form(values: pd.Series, expected: list[str]) -> None:
    assert as_text(pd.DataFrame({"x": values}))["x"].tolist() == expected


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_text_of_a_float_keeps_every_digit(value: float) -> None:
    assert float(as_text(pd.DataFrame({"x": [value]}))["x"][0]) == value


def test_a_frame_with_a_repeated_column_is_refused() -> None:
    with pytest.raises(DataError, match="columns 1 and 2 have the same name"):
        as_text(pd.DataFrame([[1, 2]], columns=["a", "a"]))


# Checking


def test_a_table_that_fits_passes_without_a_notice() -> None:
    assert check_table(GOOD, SCHEMA, name="north", target="died") == []


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (GOOD.drop(columns="age"), ["column 'age' is not in the table", "add it"]),
        (GOOD.rename(columns={"age": "Age"}), ["column 'age' is not in the table", "did you mean 'Age'?"]),
        (GOOD.assign(died="no"), ["target 'died' has fewer than 2 distinct values", "choose another or add rows"]),
        (GOOD.iloc[:0], ["the table has no rows", "give a table with a header and rows"]),
    ],
)
def test_a_misfit_is_named_with_column_limit_and_remedy_but_never_a_cell(
    raw: pd.DataFrame, expected: list[str]
) -> None:
    message = refusal(raw)
    assert [part for part in expected if part not in message] == []
    assert len(message.splitlines()) == 1


def test_patients_must_be_identified() -> None:
    raw = GOOD.assign(pid=["p1", " ", "NA"])
    message = refusal(raw, patient_column="pid")
    assert "patient column 'pid' is blank in 2 rows; fill in or drop them" in message
    assert "patient column 'pit' is not in the table; did you mean 'pid'?" in refusal(raw, patient_column="pit")


def test_all_problems_are_told_at_once() -> None:
    raw = with_cell("age", CANARY).drop(columns=["oldpeak", "sex"]).assign(died="no")
    assert len(refusal(raw, patient_column="pid").splitlines()) == 4


SECRET = "; this number is a fact about your patients: do not pass it on"


@pytest.mark.parametrize(
    ("column", "text", "expected", "value"),
    [
        ("age", CANARY, "is outside [18, 100] years in 2 rows, clamped to the bounds", 100),
        ("age", "17", "is outside [18, 100] years in 2 rows, clamped to the bounds", 18),
        ("oldpeak", "-5.1", "is outside [-5, 10] in 2 rows, clamped to the bounds", -5),
        ("age", f"x{CANARY}", "holds text that is no number in 2 rows, counted as the lower bound, 18", 18),
        ("age", "inf", "holds text that is no number in 2 rows, counted as the lower bound, 18", 18),
        ("oldpeak", f"x{CANARY}", "holds text that is no number in 2 rows, counted as missing", None),
        ("age", "?", "is missing in 2 rows where missing = false, counted as the lower bound, 18", 18),
        ("sex", CANARY, "holds unlisted labels in 2 rows, counted as the last category, 'male'", "male"),
        ("ca", CANARY, "holds unlisted labels in 2 rows, counted as missing", None),
        ("ward", CANARY, "holds unlisted labels in 2 rows, counted as the fallback, 'other'", "other"),
        ("sex", "", "is missing in 2 rows where missing = false, counted as the last category, 'male'", "male"),
        ("ward", "", "is missing in 2 rows where missing = false, counted as the fallback, 'other'", "other"),
        ("died", "", "is missing in 2 rows where missing = false, counted as the last category, 'yes'", "yes"),
    ],
)
def test_a_cell_that_the_schema_changes_is_a_notice_that_says_what_it_becomes(
    column: str, text: str, expected: str, value: object
) -> None:
    raw = pd.concat([GOOD, GOOD], ignore_index=True)
    raw.loc[[0, 2], column] = text
    assert check_table(raw, SCHEMA, name="north", target="died") == [f"north: column '{column}' {expected}{SECRET}"]
    becomes = conform(raw, SCHEMA)[column][0]
    assert (None if pd.isna(becomes) else becomes) == value


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.one_of(st.text(), st.sampled_from(["", "nan", "1e400", "17", "x"]))] * 6), max_size=5))
def test_no_record_makes_the_check_fail(rows: list[tuple[str, ...]]) -> None:
    raw = pd.DataFrame([*GOOD.to_numpy().tolist(), *rows], columns=list(SCHEMA.names), dtype=object)
    check_table(raw, SCHEMA, name="north", target="died")


def test_notices_name_ignored_columns_dropped_rows_rounding_and_fallbacks() -> None:
    raw = pd.concat([GOOD, GOOD.iloc[:1]]).assign(pid=["a", "b", "c", "a"], note=CANARY)
    raw["oldpeak"] = ["2.25", "1.0", "", "0"]
    raw["ward"] = ["icu", CANARY, CANARY, "icu"]
    assert check_table(raw, SCHEMA, name="north", patient_column="pid", target="died") == [
        "north: 1 row dropped: only the first of each patient is used",
        "north: columns not in the schema are ignored: 'note'",
        f"north: column 'oldpeak' has more than 1 decimals in 1 row, rounded{SECRET}",
        f"north: column 'ward' holds unlisted labels in 2 rows, counted as the fallback, 'other'{SECRET}",
    ]


def test_only_the_rows_that_will_be_used_are_checked() -> None:
    raw = pd.concat([GOOD, with_cell("age", "101").iloc[:1]]).assign(pid=["a", "b", "c", "a"])
    assert len(check_table(raw, SCHEMA, name="north", patient_column="pid", target="died")) == 1


def test_one_class_is_enough_where_another_hospital_may_hold_the_others() -> None:
    assert check_table(GOOD.assign(died="no"), SCHEMA, name="north") == []


# Patients

CELLS = st.sampled_from(["18", "18.0", "63", "x", "", "999"])
ROWS = st.lists(st.tuples(st.sampled_from(["p1", "p2", "p3", "p4", ""]), CELLS, CELLS), max_size=12)
PAIR = Schema(columns=(Numeric(name="a", lower=0, upper=100), Categorical(name="b", categories=("18", "63"))))


def table(rows: list[tuple[str, str, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["pid", "a", "b"], dtype=object)


def test_the_first_row_of_each_patient_stays_and_rows_of_nobody_go() -> None:
    raw = table([("p2", "1", ""), ("", "2", ""), ("p1", "3", ""), ("p2 ", "4", ""), ("p1", "5", "")])
    assert first_rows(raw, "pid")["a"].tolist() == ["1", "3"]
    assert first_rows(raw, None) is raw
    with pytest.raises(DataError, match="patient column 'nobody' is not in the table"):
        first_rows(raw, "nobody")


def test_without_a_patient_column_rows_that_say_the_same_are_the_same() -> None:
    keys = patient_keys(table([("x", "18", "63"), ("y", "18.0", "63.0"), ("z", "18", "18")]), PAIR, None)
    assert keys[0] == keys[1] != keys[2]
    assert patient_keys(table([("x ", "18", "63")]), PAIR, "pid") == ["x"]


@settings(deadline=None)
@given(ROWS, st.integers(0, 12), CELLS, CELLS)
def test_adding_a_patient_changes_nobody_elses_first_row(
    rows: list[tuple[str, str, str]], place: int, a: str, b: str
) -> None:
    before = first_rows(table(rows), "pid")
    more = first_rows(table([*rows[:place], ("new", a, b), *rows[place:], ("new", b, a)]), "pid")
    pd.testing.assert_frame_equal(more[more["pid"] != "new"].reset_index(drop=True), before)


@settings(deadline=None)
@given(ROWS, st.integers(0, 12), CELLS, CELLS, st.booleans())
def test_adding_a_patient_changes_nobody_elses_holdout_place(
    rows: list[tuple[str, str, str]], place: int, a: str, b: str, has_patient_column: bool
) -> None:
    column = "pid" if has_patient_column else None
    numbered = table(rows).assign(place=[str(number) for number in range(len(rows))])
    new = pd.DataFrame({"pid": ["new"], "a": [a], "b": [b], "place": ["new"]})
    longer = pd.concat([numbered.iloc[:place], new, numbered.iloc[place:]], ignore_index=True)
    before, after = (
        [set(part["place"]) - {"new"} for part in split_holdout(t, PAIR, key=b"k", fraction=0.5, patient_column=column)]
        for t in (numbered, longer)
    )
    assert before == after


def test_rows_of_one_patient_share_a_fate_and_no_row_is_lost() -> None:
    raw = table([(f"p{number % 50}", str(number), "18") for number in range(200)])
    train, holdout = split_holdout(raw, PAIR, key=b"k", fraction=0.3, patient_column="pid")
    assert set(train["pid"]).isdisjoint(holdout["pid"])
    assert sorted([*train["a"], *holdout["a"]], key=int) == raw["a"].tolist()


def test_nobody_is_held_out_at_fraction_zero() -> None:
    train, holdout = split_holdout(GOOD, SCHEMA, key=b"k", fraction=0.0, patient_column=None)
    assert (len(train), len(holdout)) == (3, 0)


def test_the_keyed_fraction_is_uniform_below_one_and_depends_on_the_key() -> None:
    draws = keyed_fraction(b"key", [f"p{number}" for number in range(4000)])
    assert draws.min() >= 0
    assert draws.max() < 1
    # The mean of 4000 uniform numbers has standard deviation 0.289 / sqrt(4000) = 0.0046.
    assert abs(draws.mean() - 0.5) < 0.02
    assert (draws != keyed_fraction(b"other", [f"p{number}" for number in range(4000)])).all()


# Conforming


def test_conforming_clamps_rounds_and_sends_the_rest_to_missing_or_a_fallback() -> None:
    raw = pd.DataFrame(
        {
            "age": [" 63 ", "17", "1e9", "x", "-inf"],
            "oldpeak": ["2.34", "", "abc", "1_0", "-0.01"],
            "sex": ["female", "martian", "", " male", "male"],
            "ca": ["1.0", "", "5", "01", "None"],
            "died": ["no", "yes", "no", "yes", "no"],
            "surplus": "x",
        }
    )
    table = conform(raw, SCHEMA)
    assert list(table.columns) == list(SCHEMA.names)
    # Not allowed to be missing: the lower bound.
    assert table["age"].tolist() == [63, 18, 100, 18, 18]
    assert table["oldpeak"].fillna(99).tolist() == [2.3, 99, 99, 99, 0]
    assert not np.signbit(table["oldpeak"][4])
    # Not allowed to be missing, and no fallback: the last category.
    assert table["sex"].tolist() == ["female", "male", "male", "male", "male"]
    assert table["ca"].tolist() == ["1", None, None, "1", None]
    # The column is not there: missing throughout, so the fallback.
    assert table["ward"].tolist() == ["other"] * 5


def test_a_missing_word_that_is_listed_is_a_category() -> None:
    schema = Schema(columns=(Categorical(name="glucose", categories=("None", "high"), missing=True), *PAIR.columns))
    table = conform(pd.DataFrame({"glucose": ["None", "NA", "", "high"]}), schema)
    assert table["glucose"].tolist() == ["None", None, None, "high"]


def test_an_exact_label_wins_over_an_equal_number() -> None:
    schema = Schema(columns=(Categorical(name="code", categories=("1", "01", "2.50")), *PAIR.columns))
    table = conform(pd.DataFrame({"code": ["01", "1", "1.0", "2.5"]}), schema)
    assert table["code"].tolist() == ["01", "1", "1", "2.50"]


NASTY = st.one_of(
    st.text(), st.sampled_from(["", "nan", "1e400", "-1e308", "٣", "1\x00", "0x1A", " 7", "-0", "\ud800"])
)


@settings(deadline=None)
@given(st.lists(st.tuples(*[NASTY] * len(SCHEMA.names)), max_size=5))
def test_conforming_never_fails_and_its_text_conforms_to_itself(rows: list[tuple[str, ...]]) -> None:
    raw = pd.DataFrame(rows, columns=list(SCHEMA.names), dtype=object)
    table = conform(raw, SCHEMA)
    assert table["age"].between(18, 100).all()
    assert set(table["sex"]) <= {"female", "male"}
    text = format_table(table, SCHEMA)
    pd.testing.assert_frame_equal(conform(text, SCHEMA), table)
    pd.testing.assert_frame_equal(format_table(conform(text, SCHEMA), SCHEMA), text)


@settings(deadline=None)
@given(st.lists(NASTY, min_size=1, max_size=8), NASTY)
def test_a_cell_conforms_alone(cells: list[str], other: str) -> None:
    def conformed(texts: list[str]) -> pd.DataFrame:
        return conform(pd.DataFrame(dict.fromkeys(SCHEMA.names, texts), dtype=object), SCHEMA)

    pd.testing.assert_frame_equal(conformed([*cells, other]).iloc[:-1], conformed(cells))


def test_a_conformed_table_is_written_with_the_declared_decimals() -> None:
    text = format_table(conform(GOOD, SCHEMA), SCHEMA)
    assert text["age"].tolist() == ["63", "40", "51"]
    assert text["oldpeak"].tolist() == ["2.3", "", "-1.0"]
    assert text["ca"].tolist() == ["0", "1", ""]
