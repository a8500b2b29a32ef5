"""Names of columns: their words in one language, and their units."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.harmonization.headers import folded, header_of, meanings_of


class TestHeader:
    @pytest.mark.parametrize(
        ("name", "words", "unit"),
        [
            ("Glukose [mg/dL]", "glucose", "mg/dL"),
            ("glycémie (g/L)", "glucose", "g/L"),
            ("GLU_MGDL", "glucose", "mg/dL"),
            ("weight_kg", "weight", "kg"),
            ("Körpergewicht in kg", "weight", "kg"),
            ("Groesse_cm", "height", "cm"),
            ("edad (meses)", "age", "months"),
            ("Age (y)", "age", "years"),
            ("Temp F", "temperature", "degF"),
            ("vitamin k", "vitamin potassium", None),
            ("Aufnahmedatum", "admission date", None),
            ("fecha de nacimiento", "birth date", None),
            ("heartRate", "heart rate", None),
            ("HbA1c (%)", "hba1c", "%"),
            ("Krea µmol/l", "creatinine", "µmol/L"),
            ("systolischer Blutdruck (mmHg)", "systolic pressure", "mmHg"),
            ("Diagnose (choice=Diabetes)", "diagnosis choice diabetes", None),
            ("Patient", "patient", None),
        ],
    )
    def test_is_translated(self, name: str, words: str, unit: str | None) -> None:
        header = header_of(name)
        assert (header.words, header.unit) == (
            {"heart rate"} if words == "heart rate" else frozenset(words.split()),
            unit,
        )

    @given(st.text(max_size=30))
    def test_any_name_has_an_answer(self, name: str) -> None:
        assert header_of(name).text == " ".join(sorted(header_of(name).words))

    @pytest.mark.parametrize("spellings", [("Größe", "Groesse", "grosse"), ("décès", "deces"), ("nº", "no")])
    def test_spellings_agree(self, spellings: tuple[str, ...]) -> None:
        assert len(set(map(folded, spellings))) == 1


class TestMeanings:
    @pytest.mark.parametrize(
        ("label", "meaning"),
        [("weiblich", "female"), ("Sí", "yes"), ("décédé", "dead"), ("NEIN", "no"), ("Notfall", "emergency")],
    )
    def test_are_found_in_four_languages(self, label: str, meaning: str) -> None:
        assert meaning in meanings_of(label)

    def test_an_unknown_label_has_none(self) -> None:
        assert meanings_of("ward 7") == frozenset()
