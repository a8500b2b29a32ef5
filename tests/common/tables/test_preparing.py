"""Preparing a table: what is dropped, what becomes coarser, and what stays."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pytest

from common.columns.roles.categories import Role
from common.errors import StudyError
from common.tables.preparing import SMALL_PREFIXES, prepare_table
from tests.testbeds.invented_patients import TABLES, labelled_columns


def coarse(name: str, cells: Sequence[str]) -> list[str] | None:
    """Return the prepared cells of a column, None where it is dropped."""
    raw = pd.DataFrame({name: list(cells), "sex": ["f"] * len(cells)}, dtype=object)
    prepared, _ = prepare_table(raw, this_year=2026)
    return prepared[name].tolist() if name in prepared.columns else None


@pytest.mark.parametrize("table", TABLES)
def test_direct_identifiers_are_dropped_and_others_kept(table: str) -> None:
    columns = labelled_columns([table])
    raw = pd.DataFrame({column.name: column.cells for column in columns}, dtype=object)
    prepared, steps = prepare_table(raw, this_year=2026)
    assert [step.column for step in steps] == list(raw.columns)
    assert not set(prepared.columns) & {column.name for column in columns if column.label == "D"}
    for column in columns:
        if column.label == "O":
            assert prepared[column.name].tolist() == list(column.cells)


class TestDates:
    @pytest.mark.parametrize(
        ("cells", "years"),
        [
            (["2021-03-04", "1999-12-31", ""], ["2021", "1999", ""]),
            (["04.03.2021 11:15", "31.12.1999 09:00", "NA"], ["2021", "1999", ""]),
            (["04.03.21", "31.12.99", "31.12.05"], ["2021", "1999", "2005"]),
            (["2021-03", "1999-12", "2005-01"], ["2021", "1999", "2005"]),
        ],
    )
    def test_are_cut_to_the_year(self, cells: list[str], years: list[str]) -> None:
        assert coarse("admitted", cells) == years

    def test_that_are_no_dates_are_emptied(self) -> None:
        cells = [f"2021-03-{day:02}" for day in range(1, 25)]
        assert coarse("admitted", [*cells, "unknown"]) == ["2021"] * 24 + [""]

    def test_of_birth_hide_ages_above_89(self) -> None:
        assert coarse("birth_date", ["1920-05-06", "1936-01-01", "1937-01-01"]) == ["1936", "1936", "1937"]
        assert coarse("birthday", ["05/06/1920", "01/31/1990", "born 1937"]) == ["1936", "1990", "1937"]
        assert coarse("Geburtsjahr", ["1920", "1936", "1980"]) == ["1936", "1936", "1980"]

    def test_of_birth_in_months_hide_ages_above_89(self) -> None:
        assert coarse("birth_month", ["1920-05", "1936-01", "1980-12"]) == ["1936", "1936", "1980"]


class TestMonths:
    @pytest.mark.parametrize(
        "name",
        ["Month of Birth", "birth_month", "BirthMonth", "Geburtsmonat", "mois de naissance", "mes de nacimiento",
         "day of birth", "Monat der Geburt", "weekday of death", "death_month", "Todestag", "mois du décès",
         "dia de nacimiento", "admission_month", "Month of Admission", "discharge month", "Aufnahmemonat",
         "Entlassungsmonat", "mois d'entrée", "mes de alta", "Month", "Wochentag", "patient birth month",
         "nacimiento_mes", "naissance_mois", "Wochentag der Aufnahme", "dob_month"],
    )  # fmt: skip
    @pytest.mark.parametrize("cells", [["February", "May", "June"] * 8, ["2", "5", "12"] * 8, ["02", "11", ""] * 8])
    def test_without_a_year_are_dropped(self, name: str, cells: list[str]) -> None:
        assert coarse(name, cells) is None

    @pytest.mark.parametrize(
        ("name", "cells"),
        [
            ("month", ["0", "6", "24"] * 8),
            ("readmission within 1 month of discharge", ["yes", "no", "no"] * 8),
            ("30 day death", ["0", "1", "0"] * 8),
            ("months_since_admission", ["3", "6", "11"] * 8),
            ("death_1_month", ["yes", "no", "no"] * 8),
            ("mesures", ["2", "5", "12"] * 8),
            ("birth_weight", ["3100", "2800", "3550"] * 8),
        ],
    )
    def test_of_other_things_stay(self, name: str, cells: list[str]) -> None:
        assert coarse(name, cells) == cells


class TestAges:
    def test_above_89_become_90_plus(self) -> None:
        cells = ["89", "90", "97.0", "> 89", ">= 90", "34", "80-89", "[90-100)", ""]
        assert coarse("age", cells) == ["89", "90+", "90+", "90+", "90+", "34", "80-89", "90+", ""]

    def test_above_89_with_a_unit_become_90_plus(self) -> None:
        cells = ["95 years", "95y", "aged 91", "101,5", "P95Y", "34 years", "adult"]
        assert coarse("age", cells) == [*["90+"] * 5, "34 years", "adult"]

    def test_in_months_stay(self) -> None:
        assert coarse("age_months", ["120", "3", "14"]) == ["120", "3", "14"]


class TestPostalCodes:
    def test_keep_three_digits(self) -> None:
        assert coarse("zip", ["02139", "94110-1234", "941101234", "10001"]) == ["021", "941", "941", "100"]

    def test_of_few_people_become_000(self) -> None:
        assert len(SMALL_PREFIXES) == 17
        assert coarse("zip", ["03601", "89301", "10001"]) == ["000", "000", "100"]

    def test_that_lost_their_zero_get_it_back(self) -> None:
        assert coarse("zip", ["2139", "94110", "601"]) == ["021", "941", "006"]

    def test_of_other_countries_keep_two_characters(self) -> None:
        assert coarse("postcode", ["SW1A 1AA", "EC2 4XY", "W1 2AB"]) == ["SW", "EC", "W1"]
        assert coarse("PLZ", ["8001", "3011", "1200"]) == ["80", "30", "12"]

    def test_that_are_missing_become_empty(self) -> None:
        assert coarse("postcode", ["SW1A 1AA", "EC2 4XY", "NA", " "]) == ["SW", "EC", "", ""]


class TestKeeping:
    RAW = pd.DataFrame({"surname": ["Abel", "Brandt", "Celik"], "city": ["Ulm", "Bonn", "Kiel"]}, dtype=object)

    def test_a_person_may_keep_a_column(self) -> None:
        prepared, steps = prepare_table(self.RAW, keep=["surname"])
        assert list(prepared.columns) == ["surname"]
        assert (steps[0].role.role, steps[0].action) == (Role.DIRECT, "kept, as asked")
        assert steps[1].action.startswith("dropped")

    @pytest.mark.parametrize(
        ("keep", "message"), [(["name"], "--keep 'name' is not a column"), ([], "nothing is left")]
    )
    def test_errors_name_the_remedy(self, keep: list[str], message: str) -> None:
        with pytest.raises(StudyError, match=message):
            prepare_table(self.RAW, keep=keep)
