from typing import Any

import numpy as np
import pandas as pd
import pytest

from common.columns.boolean import Boolean
from common.columns.categorical import Categorical
from common.columns.numeric import Numeric
from common.errors import StudyError
from common.study.study import Study, parse_study
from common.tables.checking import check_table
from common.tables.raw import as_text
from simulations.drafting import NamedColumns, draft_study
from simulations.drafting_notices import draft_text, in_few_lines
from simulations.federation.hospitals import built_in_hospitals


def stays(rows: int = 200) -> pd.DataFrame:
    """A raw table like an intensive care unit's, one row per stay."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "stay": np.arange(1000, 1000 + rows),
            "patient": [f"p{number}" for number in range(rows)],
            "ward": rng.choice(["north", "south"], rows),
            "age": rng.permutation(np.r_[28, 77, rng.integers(29, 77, rows - 2)]),
            "creatinine": np.round(rng.gamma(2.0, 0.6, rows), 2),
            "stage": rng.integers(0, 4, rows).astype(float),
            "diagnosis": [f"d{number % 61}" if number < 122 else "d0" for number in range(rows)],
            "note": [f"text {number}" for number in range(rows)],
            "constant": "x",
            "empty": None,
            "died": rng.choice(["no", "yes"], rows),
        }
    )
    frame.loc[:9, "creatinine"] = np.nan
    return as_text(frame)


def draft(raw: pd.DataFrame, target: str = "died", **named: Any) -> tuple[Study, list[str]]:
    drafted = draft_study(raw, "icu", NamedColumns(target, **named))
    return drafted.study, list(drafted.notices)


def test_a_draft_proposes_bounds_decimals_categories_and_missing() -> None:
    study, _ = draft(stays(), patient="patient", site="ward")
    assert study.table.names == ("age", "creatinine", "stage", "diagnosis", "died")
    assert study.table["age"] == Numeric(name="age", lower=20, upper=80)
    creatinine = study.table["creatinine"]
    assert isinstance(creatinine, Numeric)
    assert (creatinine.lower, creatinine.decimals, creatinine.missing) == (0, 2, True)
    assert study.table["stage"] == Categorical(name="stage", categories=("0", "1", "2", "3"))
    assert study.table["died"] == Boolean(name="died", false="no", true="yes")


ANY = np.random.default_rng(0).integers(0, 3000, 300) / 100


@pytest.mark.parametrize(
    ("values", "multiples"),
    [
        (np.arange(100) * 1.0 + 0.25 * (np.arange(100) % 50 == 3), (1.0,)),  # whole, but for two
        (np.where(np.arange(300) % 2, np.arange(300) * 5.0 % 250, np.arange(300)), (5.0,)),  # half of them fives
        (np.where(np.arange(300) % 2, 0.0, ANY), ()),  # many zeros are no reason
        (ANY, ()),
        (1.7e15 + 6e7 * (np.arange(300) % 299), ()),  # moments in microseconds: more digits than are counted
    ],
)
def test_draft_names_common_multiples(values: np.ndarray, multiples: tuple[float, ...]) -> None:
    table = pd.DataFrame({"x": [str(value) for value in values], "y": [f"{place % 2}" for place in range(len(values))]})
    study = draft_study(table, "x", NamedColumns("y")).study
    column = study.table["x"]
    assert isinstance(column, Numeric)
    assert column.multiples == multiples
    plain = draft_study(table, "x", NamedColumns("y"), with_multiples=False).study
    assert "multiples" not in plain.canonical()
    assert parse_study(study.to_toml()) == study


@pytest.mark.parametrize(
    ("values", "step"),
    [
        (np.round(np.random.default_rng(0).integers(58, 76, 300) * 2.54, 1), 2.54),
        (np.round(np.random.default_rng(0).integers(90, 300, 300) * 0.45359237, 1), 0.45359237),
        (np.r_[np.round(np.arange(58, 76).repeat(16) * 2.54, 1), 170.18, 160.02, 155 * np.ones(10)], 2.54),
        (np.round(np.random.default_rng(0).normal(170, 10, 300), 1), None),
        (np.round(np.random.default_rng(0).normal(170, 10, 300)), None),
        (np.round(np.random.default_rng(0).integers(58, 76, 300) * 2.54), None),
    ],
    ids=["inches", "pounds", "inches-among-hundredths", "tenths", "whole", "inches-in-whole-centimeters"],
)
def test_draft_names_the_unit_of_recording(values: np.ndarray, step: float | None) -> None:
    table = pd.DataFrame({"x": [f"{value:g}" for value in values], "y": ["no", "yes"] * 150})
    study = draft_study(table, "x", NamedColumns("y")).study
    column = study.table["x"]
    assert isinstance(column, Numeric)
    assert column.recorded_step == step


def test_many_labels_become_the_most_frequent_and_other() -> None:
    study, notices = draft(stays(), patient="patient")
    diagnosis = study.table["diagnosis"]
    assert isinstance(diagnosis, Categorical)
    assert len(diagnosis.categories) == 50
    assert "d0" in diagnosis.categories
    assert diagnosis.categories[-1] == diagnosis.fallback == "other"
    assert any("'diagnosis' has more than 50 labels" in notice for notice in notices)


def test_identifiers_and_constants_are_left_out_and_named() -> None:
    study, notices = draft(stays(), site="ward")
    left_out = ("stay", "patient", "ward", "note", "constant", "empty")
    assert not set(left_out) & set(study.table.names)
    assert all(any(f"'{column}' is left out" in notice for notice in notices) for column in left_out)


def test_a_draft_for_three_sites_or_more_shares_the_noise() -> None:
    table = stays()
    for sites, noise in ((2, "local"), (3, "distributed")):
        table["ward"] = [f"ward {row % sites}" for row in range(len(table))]
        study, notices = draft(table, site="ward")
        assert study.privacy.noise == noise
        assert any("share one draw of noise" in notice for notice in notices) == (sites == 3)


def test_a_draft_says_where_it_comes_from() -> None:
    study, notices = draft(stays())
    assert study.about.origin == "drafted"
    assert (study.privacy.epsilon, study.privacy.noise, study.federation.min_hospitals) == (3.0, "local", 2)
    assert "the draft comes from the table" in notices[0]
    text = draft_text(study, notices)
    assert text.startswith("# DRAFTED FROM RECORDS")
    assert "epsilon" in text.splitlines()[0]
    assert all(f"# - {notice}\n" in text for notice in notices)
    assert parse_study(text) == study


@pytest.mark.parametrize("roles", [{}, {"patient": "patient"}, {"patient": "patient", "site": "ward"}])
def test_a_table_passes_its_own_draft(roles: dict[str, str]) -> None:
    raw = stays()
    study, _ = draft(raw, **roles)
    check_table(raw, study.table, name="icu", patient_column=roles.get("patient"), target="died")


@pytest.mark.parametrize("target", ["heart_disease", "age", "chol"])
def test_the_heart_data_pass_their_own_draft(target: str) -> None:
    raw = pd.concat(built_in_hospitals().values(), ignore_index=True)
    study, _ = draft(raw, target)
    known = raw[raw[target] != ""].reset_index(drop=True)
    assert check_table(known, study.table, name="heart", target=target) == []
    assert study.table["age"] == Numeric(name="age", lower=20, upper=80)


def test_rows_without_the_target_are_not_read_and_counted() -> None:
    raw = stays()
    raw.loc[:4, "died"] = ""
    raw.loc[0, "age"] = "500"
    study, notices = draft(raw)
    assert any("target 'died' is missing in 5 rows" in notice and "drop them" in notice for notice in notices)
    assert study.table["age"] == Numeric(name="age", lower=20, upper=80)
    assert not study.table["died"].missing
    check_table(raw.iloc[5:], study.table, name="icu", target="died")


def test_only_the_first_row_of_each_patient_is_read() -> None:
    raw = stays()
    later = raw.iloc[:1].assign(age="500")
    study, notices = draft(pd.concat([raw, later], ignore_index=True), patient="patient")
    assert study.table["age"] == Numeric(name="age", lower=20, upper=80)
    assert "1 row not read: only the first of each patient is" in notices


@pytest.mark.parametrize(
    ("values", "bounds"),
    [
        (np.linspace(28, 77, 50), (20, 80, 0)),
        (np.linspace(0, 0.9, 19), (0, 0.9, 2)),
        (np.linspace(7.01, 7.59, 59), (7, 7.6, 2)),
        (np.linspace(-2.6, 6.2, 45), (-3, 7, 1)),
        (np.linspace(3, 1999, 500), (0, 2000, 0)),
        (np.linspace(0.00001, 0.00030, 30), (0, 0.0003, 5)),
    ],
)
def test_bounds_are_rounded_outwards(values: np.ndarray, bounds: tuple[float, float, int]) -> None:
    decimals = bounds[2] if bounds[1] != 0.0003 else 5
    raw = as_text(
        pd.DataFrame(
            {"x": np.round(values, decimals), "died": ["no", "yes"] * (len(values) // 2) + ["no"] * (len(values) % 2)}
        )
    )
    column = draft(pd.concat([raw, raw], ignore_index=True))[0].table["x"]
    assert isinstance(column, Numeric)
    assert (column.lower, column.upper, column.decimals) == pytest.approx(bounds)
    check_table(raw, draft(pd.concat([raw, raw]))[0].table, name="x", target="died")


@pytest.mark.parametrize(("rows", "delta"), [(200, 1e-5), (10_000, 1e-5), (10_001, 1e-6), (253_680, 1e-7)])
def test_delta_is_a_power_of_ten_below_a_tenth_per_row(rows: int, delta: float) -> None:
    raw = pd.DataFrame({"a": ["x", "y"] * rows, "died": ["no", "yes"] * rows}).iloc[:rows]
    assert draft(raw)[0].privacy.delta == delta


@pytest.mark.parametrize(
    ("target", "roles", "expected"),
    [
        ("dead", {}, "target 'dead' is not in the table; did you mean"),
        ("qqq", {}, "target 'qqq' is not in the table; choose one of its columns"),
        ("constant", {}, "target 'constant' cannot be predicted: it is constant"),
        ("empty", {}, "target 'empty' cannot be predicted: it is constant"),
        ("died", {"patient": "pat"}, "patient column 'pat' is not in the table"),
        ("died", {"site": "died"}, "target 'died' is also the site column"),
    ],
)
def test_a_draft_without_a_usable_target_is_refused(target: str, roles: dict[str, str], expected: str) -> None:
    with pytest.raises(StudyError, match=expected):
        draft(stays(), target, **roles)


def test_a_name_that_is_no_slug_is_refused() -> None:
    with pytest.raises(StudyError, match=r"the draft: \[study.name\]"):
        draft_study(stays(), "My Study", NamedColumns("died"))


@pytest.mark.parametrize("name", ["id", "patient_id", "PID", "subject", "mrn", "Patientennummer"])
@pytest.mark.parametrize("pattern", ["P-2025-{:03d}", "{}"])
def test_an_identifier_that_repeats_is_left_out(name: str, pattern: str) -> None:
    raw = stays().drop(columns=["stay", "patient"])
    raw[name] = [pattern.format(row // 5) for row in range(len(raw))]
    study, notices = draft(raw)
    assert name not in study.table.names
    told = "looks like an identifier of patients with several rows: --patient-column NAME keeps the first row of each"
    assert any(f"'{name}' is left out" in notice and told in notice for notice in notices)


def test_what_only_has_the_name_of_an_identifier_is_kept() -> None:
    raw = stays().drop(columns=["stay", "patient"])
    raw["subject"] = ["surgery" if row % 2 else "medicine" for row in range(len(raw))]
    raw["patient"] = [str(row % 2) for row in range(len(raw))]
    assert {"subject", "patient"} <= set(draft(raw)[0].table.names)


class TestDirectIdentifiers:
    PATIENTS = pd.DataFrame(
        {
            "e_mail": [f"p{row}@example.org" for row in range(60)],
            "v7": [f"+49 170 55{row:05}" for row in range(60)],
            "surname": ["Abel", "Brandt", "Celik"] * 20,
            "age": [str(20 + row) for row in range(60)],
            "sex": ["f", "m", "m"] * 20,
            "died": ["no", "yes"] * 30,
        }
    )

    def test_are_left_out_and_said_in_a_line(self) -> None:
        study, notices = draft(self.PATIENTS)
        assert study.table.written_names == ("age", "sex", "died")
        lines = [notice for notice in notices if "direct identifier" in notice]
        assert len(lines) == 3
        assert all(f"HIPAA Safe Harbor {letter}" in line for letter, line in zip("FDA", lines, strict=True))
        assert not any("@" in notice or "Abel" in notice for notice in notices)

    @pytest.mark.parametrize("kind", ["identifier", "text"])
    def test_may_be_declared_as_a_kind_that_is_never_read(self, kind: str) -> None:
        study, _ = draft(self.PATIENTS, kinds={"surname": kind})
        assert "surname" in study.table.written_names
        assert "surname" not in study.table.names

    def test_may_not_be_declared_as_a_kind_that_is_read(self) -> None:
        with pytest.raises(StudyError, match=r"direct identifier .HIPAA Safe Harbor A"):
            draft(self.PATIENTS, kinds={"surname": "categorical"})

    def test_that_only_counts_suggest_yield_to_a_person(self) -> None:
        table = self.PATIENTS.assign(token=[f"{row:02} of sixty" for row in range(60)])
        assert "token" not in draft(table)[0].table.names
        assert "token" in draft(table, kinds={"token": "categorical"})[0].table.names

    def test_cannot_be_the_target(self) -> None:
        with pytest.raises(
            StudyError, match="target 'surname' cannot be predicted: it has a name that suggests names of people"
        ):
            draft(self.PATIENTS, target="surname")


def test_what_is_true_of_several_columns_is_one_line() -> None:
    rows = range(18)
    levels = {name: [f"{row * step:.1f}" for row in rows] for name, step in (("crp", 0.7), ("ldl", 1.3), ("hdl", 0.9))}
    raw = pd.DataFrame({**levels, "same": ["x"] * 18, "died": ["no", "yes"] * 9})
    _, notices = draft(raw)
    assert "column 'same' is left out: it is constant" in notices
    assert [
        notice for notice in notices if "only 18 rows" in notice and "each of the columns 'crp', 'ldl', 'hdl'" in notice
    ]


def test_notices_that_differ_in_counts_are_one_line() -> None:
    notices = [
        (f"lab{number}", f"holds '.' in {number} row{'s' * (number > 1)}, declared as a code")
        for number in range(1, 24)
    ]
    assert in_few_lines([*notices, ("age", "is constant")]) == [
        "each of the columns 'lab1', 'lab2', 'lab3', 'lab4', 'lab5', 'lab6' and 17 more holds '.' in 1 to 23 rows, "
        "declared as a code",
        "column 'age' is constant",
    ]
