"""Proposals of a mapping: what they find in four languages, what they mark, and that they harmonize as they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.harmonization.evidence import Described
from common.harmonization.harmonizing import Unread, harmonized
from common.harmonization.mapping import parse_mapping
from common.harmonization.proposal_text import proposal_text
from common.harmonization.proposing import MappingProposal, propose
from common.harmonization.suggestion import Proposed
from common.study.schema import Schema
from common.tables.formats import read_table
from common.tables.parts import Part, join
from tests.testbeds import four_hospitals
from tests.testbeds.four_hospitals import four_hospitals_study, write_local

SCHEMA = four_hospitals_study().table
SEX: dict[str, object] = {"name": "sex", "kind": "categorical", "categories": ["f", "m"]}
DAY: dict[str, object] = {"name": "admitted", "kind": "date", "lower": "2000-01-01", "upper": "2030-12-31"}


def raw(**columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame({name: list(cells) for name, cells in columns.items()}, dtype=object)


def schema(*columns: dict[str, object]) -> Schema:
    return Schema.model_validate({"columns": [*columns, {"name": "rest", "kind": "boolean"}]})


def item(proposal: MappingProposal, name: str) -> Proposed:
    return next(proposed for proposed in proposal.columns if proposed.name == name)


def settings_of(proposal: MappingProposal, name: str) -> dict[str, object]:
    suggestion = item(proposal, name).suggestion
    assert suggestion is not None
    return suggestion.settings


def checks_of(proposal: MappingProposal, name: str) -> str:
    suggestion = item(proposal, name).suggestion
    assert suggestion is not None
    return "; ".join(suggestion.checks)


def applied(table: pd.DataFrame, proposal: MappingProposal) -> pd.DataFrame:
    mapping = parse_mapping(proposal_text(proposal, "study"), Path("mapping.toml"))
    return join(list(harmonized([Part.of(table)], mapping, Unread(), source=Path("mapping.toml"))))


class TestFourHospitals:
    @pytest.mark.parametrize("name", ["north", "south", "east"])
    def test_an_unedited_proposal_harmonizes_the_table(self, tmp_path: Path, name: str) -> None:
        table = read_table(write_local(tmp_path, [name]) / f"{name}.csv")
        proposal = propose(table, SCHEMA)
        pd.testing.assert_frame_equal(applied(table, proposal), four_hospitals.harmonized(name))

    def test_two_columns_with_one_name_are_for_a_person(self, tmp_path: Path) -> None:
        table = read_table(write_local(tmp_path, ["west"]) / "west.csv")
        proposal = propose(table, SCHEMA)
        assert "'glucosa planta' has a similar name" in checks_of(proposal, "glucose")
        assert not item(proposal, "glucose").is_sure
        assert proposal.unused == ("centro", "glucosa planta")


class TestUnits:
    def test_a_unit_is_guessed_from_the_bounds_and_marked(self) -> None:
        table = raw(Glukose=[str(90 + row) for row in range(40)])
        proposal = propose(table, SCHEMA)
        assert settings_of(proposal, "glucose")["unit"] == "mg/dL"
        assert "mg/dL is guessed from the values" in checks_of(proposal, "glucose")

    def test_values_within_the_bounds_keep_their_unit(self) -> None:
        proposal = propose(raw(Glukose=["5.1", "6.2", "4.9"]), SCHEMA)
        assert "unit" not in settings_of(proposal, "glucose")

    def test_another_dimension_is_for_a_person(self) -> None:
        proposal = propose(raw(**{"Glukose [kg]": ["5.1", "6.2"]}), SCHEMA)
        assert "declare the conversion" in checks_of(proposal, "glucose")

    def test_a_number_for_missing_is_marked(self) -> None:
        proposal = propose(raw(**{"Gewicht kg": ["70", "80", "999", "-9"]}), SCHEMA)
        assert settings_of(proposal, "weight")["missing"] == ["-9", "999"]
        assert "taken for missing" in checks_of(proposal, "weight")

    @pytest.mark.parametrize(
        ("wanted", "cells"),
        [
            ({"name": "glucose", "lower": 2, "upper": 20}, [str(80 + row) for row in range(40)]),
            ({"name": "glucose", "lower": 2, "upper": 20}, ["70", "80", "75", "99"]),
            ({"name": "age", "lower": 18, "upper": 89, "above": "90+"}, ["34", "88", "71", "99"]),
            ({"name": "age", "lower": 18, "upper": 89}, [str(18 + row) for row in range(70)] + ["99"]),
        ],
    )
    def test_a_number_that_may_be_a_value_stays(self, wanted: dict[str, object], cells: list[str]) -> None:
        table = raw(**{str(wanted["name"]): cells, "rest": ["yes"] * len(cells)})
        proposal = propose(table, schema({"kind": "numeric", **wanted}))
        assert "missing" not in settings_of(proposal, str(wanted["name"]))
        assert '# CHECK: a value, or a number for missing? Then write missing = ["99"]' in proposal_text(proposal, "s")

    def test_a_number_within_the_bounds_is_no_question(self) -> None:
        table = raw(age=["34", "88", "99"], rest=["yes", "no", "no"])
        proposal = propose(table, schema({"name": "age", "kind": "numeric", "lower": 0, "upper": 120}))
        assert "99" not in proposal_text(proposal, "study")


class TestLabels:
    @pytest.mark.parametrize("name", ["Expired", "Deceased", "hospital_expire_flag"])
    def test_words_of_hospitals_for_death_are_known(self, name: str) -> None:
        died: dict[str, object] = {"name": "died", "kind": "boolean"}
        table = raw(**{name: ["Expired", "Alive", "Deceased"], "rest": ["yes", "no", "no"]})
        assert settings_of(propose(table, schema(died)), "died")["labels"] == {
            "Alive": "no", "Expired": "yes", "Deceased": "yes",
        }  # fmt: skip

    def test_numbers_are_not_guessed(self) -> None:
        proposal = propose(raw(Geschlecht=["1", "2", "1", "2"], rest=["yes", "no", "yes", "no"]), schema(SEX))
        text = proposal_text(proposal, "study")
        assert '"m"' not in text
        assert "labels that are not mapped: 2" in text

    def test_spanish_letters_are_not_english_ones(self) -> None:
        proposal = propose(raw(sexo=["H", "M", "M"], rest=["yes", "no", "no"]), schema(SEX))
        assert settings_of(proposal, "sex")["labels"] == {"M": "f", "H": "m"}

    def test_a_label_that_looks_alike_is_marked(self) -> None:
        ward: dict[str, object] = {"name": "ward", "kind": "categorical", "categories": ["cardiology", "neurology"]}
        table = raw(Station=["Cardiologie", "neurology", "Kardiologie", "Küche"], rest=["yes", "no", "no", "no"])
        proposal = propose(table, schema(ward))
        found = item(proposal, "ward").suggestion
        assert found is not None
        assert found.settings["labels"] == {
            "Cardiologie": "cardiology",
            "Kardiologie": "cardiology",
            "neurology": "neurology",
        }
        assert list(found.unmapped) == ["Küche"]
        assert '# "Küche" = ""   # CHECK:' in proposal_text(proposal, "study")
        assert "'Kardiologie' is taken for 'cardiology'" in checks_of(proposal, "ward")

    def test_codes_are_not_taken_for_similar_ones(self) -> None:
        code: dict[str, object] = {"name": "icd", "kind": "code", "codes": ["I25.11", "I25.12"], "prefixes": [1, 3]}
        table = raw(ICD=["I25.11", "I25.13", "J44.00"], rest=["yes", "no", "no"])
        proposal = propose(table, schema(code))
        assert settings_of(proposal, "icd").get("labels", {}) in ({}, {"I25.11": "I25.11"})

    def test_answers_of_redcap_become_a_list(self) -> None:
        conditions: dict[str, object] = {"name": "comorbidities", "kind": "set", "separator": ";"}
        conditions |= {"items": ["diabetes", "hypertension"]}
        table = raw(
            **{
                "Vorerkrankungen (choice=Diabetes)": ["Checked", "Unchecked"],
                "Vorerkrankungen (choice=Bluthochdruck)": ["Checked", "Unchecked"],
                "rest": ["yes", "no"],
            }
        )
        proposal = propose(table, schema(conditions))
        assert applied(table, proposal)["comorbidities"].tolist() == ["diabetes;hypertension", ""]

    def test_columns_of_no_answer_become_no_list(self) -> None:
        conditions: dict[str, object] = {"name": "comorbidities", "kind": "set", "separator": ";"}
        table = raw(**{"Vorerkrankungen (choice=Asthma)": ["Checked", "Unchecked"], "rest": ["yes", "no"]})
        proposal = propose(table, schema(conditions | {"items": ["diabetes", "hypertension"]}))
        suggestion = item(proposal, "comorbidities").suggestion
        assert suggestion is None or suggestion.settings.get("operation") != "checked"

    def test_a_decoded_label_beside_very_many_has_no_nearest(self) -> None:
        wards = [f"ward {number}" for number in range(61)]
        table = raw(Station=["1", "2"], rest=["yes", "no"])
        described = {"Station": Described(meanings={"1": "ward 7", "2": "Küche"})}
        proposal = propose(
            table, schema({"name": "ward", "kind": "categorical", "categories": wards}), described=described
        )
        suggestion = item(proposal, "ward").suggestion
        assert suggestion is not None
        assert suggestion.unmapped == {"2": "Küche; not mapped"}


class TestDates:
    def test_a_date_is_a_label_only_for_yes_and_no(self) -> None:
        seen: dict[str, object] = {"name": "admitted", "kind": "categorical", "categories": ["spring", "autumn"]}
        proposal = propose(raw(admitted=["2020-03-01", "2020-10-01"], rest=["yes", "no"]), schema(seen))
        assert settings_of(proposal, "admitted").get("operation") != "is_present"

    def test_day_and_month_that_may_be_exchanged_are_marked(self) -> None:
        proposal = propose(raw(Aufnahme=["01/02/2020", "03/04/2021"], rest=["yes", "no"]), schema(DAY))
        assert "which of the two is day, which month" in checks_of(proposal, "admitted")

    def test_months_with_a_local_name_are_read(self) -> None:
        table = raw(Aufnahme=["1. Mai 2020", "24. Dezember 2021"], rest=["yes", "no"])
        assert applied(table, propose(table, schema(DAY)))["admitted"].tolist() == ["2020-05-01", "2021-12-24"]

    def test_text_that_is_no_date_is_marked(self) -> None:
        proposal = propose(raw(admitted=["spring", "fall"], rest=["yes", "no"]), schema(DAY))
        assert "declare date_format" in checks_of(proposal, "admitted")


class TestVisits:
    def test_patient_and_time_have_the_studys_names(self) -> None:
        columns = [
            {"name": "rest", "kind": "boolean"},
            {"name": "sex", "kind": "categorical", "categories": ["f", "m"]},
        ]
        visits = Schema.model_validate(
            {"columns": columns, "patient": "person", "time": "date_of_visit", "most_visits": 4}
        )
        table = raw(Fallnummer=["1", "2"], Besuchsdatum=["01.02.2020", "13.02.2020"], Geschlecht=["m", "w"])
        proposal = propose(table, visits)
        assert item(proposal, "person").sources == ("Fallnummer",)
        assert applied(table, proposal)["date_of_visit"].tolist() == ["2020-02-01", "2020-02-13"]


class TestText:
    def test_unlike_columns_are_comments(self) -> None:
        text = proposal_text(propose(raw(Gewicht=["70"], Notiz=["x\ny"]), SCHEMA), "study")
        assert "# CHECK: no local column resembles 'glucose'" in text
        assert "#   Notiz" in text

    def test_a_named_patient_column_comes_first(self) -> None:
        proposal = propose(raw(Nummer=["1", "2"], Gewicht=["70", "80"]), SCHEMA, patient_column="Nummer")
        assert proposal.columns[0].name == "patient"
        assert proposal.columns[0].is_sure

    @settings(max_examples=40)
    @given(
        st.dictionaries(
            st.text(min_size=1, max_size=15).filter(lambda name: bool(name.strip())),
            st.lists(st.text(max_size=10), min_size=3, max_size=3),
            min_size=1,
            max_size=4,
        )
    )
    def test_any_table_gives_a_mapping_that_applies(self, columns: dict[str, list[str]]) -> None:
        table = raw(**(columns | {"Geschlecht": ["m", "w", "\n#x"], 'Gewicht "kg"': ["70", "\\", '"']}))
        made = applied(table, propose(table, SCHEMA))
        assert {"sex", "weight"} <= set(made.columns)
