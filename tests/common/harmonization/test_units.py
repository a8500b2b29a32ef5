"""Units: conversions against values worked out by hand, and texts that are no units."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.harmonization.units import UnitProblem, conversion, is_same, is_unit

PAIRS = [("mg/dL", "mmol/L", 180.156), ("degF", "degC", None), ("lb", "kg", None), ("µmol/L", "mg/dL", 113.12),
         ("months", "years", None), ("mmHg", "kPa", None)]  # fmt: skip


class TestConversion:
    @pytest.mark.parametrize(
        ("unit", "target", "molar_mass", "value", "expected"),
        [
            ("mg/dL", "mmol/L", 180.156, 90.0, 4.99567),  # 900 mg/L / 180.156 g/mol
            ("mmol/L", "mg/dl", 180.156, 5.0, 90.078),
            ("degF", "degC", None, 98.6, 37.0),
            ("°F", "°C", None, 212.0, 100.0),
            ("µmol/l", "mg/dL", 113.12, 88.4, 0.99998),  # 88.4e-6 mol/L x 113.12 g/mol = 10 mg/L
            ("lb", "kg", None, 100.0, 45.359237),
            ("10^9/L", "1/µL", None, 7.2, 7200.0),
            ("Jahre", "months", None, 2.0, 24.0),
            ("mm[Hg]", "kPa", None, 120.0, 15.99868),
            ("%", "1", None, 42.0, 0.42),
            ("g/dL", "g/L", None, 13.5, 135.0),
        ],
    )
    def test_equals_the_value_by_hand(
        self, unit: str, target: str, molar_mass: float | None, value: float, expected: float
    ) -> None:
        assert conversion(unit, target, molar_mass)(value) == pytest.approx(expected, rel=1e-5)

    @given(st.sampled_from(PAIRS), st.floats(-1e6, 1e6))
    def test_back_and_forth_is_the_value(self, pair: tuple[str, str, float | None], value: float) -> None:
        unit, target, molar_mass = pair
        there, back = conversion(unit, target, molar_mass), conversion(target, unit, molar_mass)
        assert back(there(value)) == pytest.approx(value, rel=1e-9, abs=1e-6)

    @pytest.mark.parametrize(
        ("unit", "target", "molar_mass"),
        [("mg/dL", "mmol/L", None), ("kg", "cm", None), ("kg", "cm", 18.0), ("degC", "kg", None)],
    )
    def test_units_that_do_not_fit_are_refused(self, unit: str, target: str, molar_mass: float | None) -> None:
        with pytest.raises(UnitProblem, match="cannot be converted"):
            conversion(unit, target, molar_mass)


class TestUnit:
    @pytest.mark.parametrize(
        "text", ["", "blood", "9^9^9", "9**9**9", "10000000000 m", "open()", "x" * 50, "'m'", "-1 m"]
    )
    def test_other_texts_are_none(self, text: str) -> None:
        assert not is_unit(text)
        with pytest.raises(UnitProblem, match="is not a unit"):
            conversion(text, "kg")

    def test_is_the_same_however_it_is_written(self) -> None:
        assert is_same("mg/dl", "mg/dL")
        assert is_same("µmol/L", "umol/l")
        assert not is_same("mg/dL", "mmol/L")
        assert not is_same("kg", "g")
        assert is_same("drops", "drops")  # known to nobody, and the same text
