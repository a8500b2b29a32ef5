"""Limits of what a study and a site may declare, worked out by hand."""

from __future__ import annotations

import pytest

from common.errors import StudyError
from common.study.limits import delta_problem, epsilon_problem, rounded, warnings
from common.study.sections import HospitalFacts
from tests.testbeds.clinic import clinic_study


@pytest.mark.parametrize("rows", [1, 7, 96, 100, 120, 1200, 99_000, 1_000_000])
def test_two_significant_digits_are_allowed(rows: int) -> None:
    assert HospitalFacts(name="north", declared_rows=rows).declared_rows == rounded(rows) == rows


@pytest.mark.parametrize(
    ("rows", "nearest"),
    [(103, "100 or 110"), (1234, "1200 or 1300"), (9_950, "9900 or 10000"), (101_000, "100000 or 110000")],
)
def test_more_digits_are_refused_with_the_nearest_numbers(rows: int, nearest: str) -> None:
    with pytest.raises(ValueError, match=f"must not be a count: write {nearest}"):
        HospitalFacts(name="north", declared_rows=rows)


def test_delta_is_at_most_a_tenth_of_one_row() -> None:
    assert delta_problem(1e-4, 1000, "") is None  # 1 / (10 x 1000)
    assert delta_problem(0.000_333_333_333_3, 300, "") is None
    problem = delta_problem(1.01e-4, 1000, " of hospital 'north'")
    assert problem == (
        "delta = 0.000101 is above 1 / (10 x declared_rows) of hospital 'north' (0.0001); choose a smaller delta"
    )


def test_an_epsilon_above_20_must_be_meant() -> None:
    assert epsilon_problem("max_epsilon", 20.0, is_allowed=False) is None
    assert epsilon_problem("max_epsilon", 21.0, is_allowed=True) is None
    assert "allow_large_epsilon = true in site.toml" in str(epsilon_problem("max_epsilon", 21.0, is_allowed=False))
    problem = str(epsilon_problem("[privacy] epsilon", 21.0, is_allowed=False))
    assert "allow_large_epsilon = true in section [privacy] of the study file" in problem


def test_warnings_begin_at_epsilon_10_and_at_n_to_minus_1_5() -> None:
    assert warnings("epsilon", 10.0, 1e-3, 100) == []  # 100^-1.5 = 0.001
    assert len(warnings("epsilon", 10.1, 1e-3, 100)) == 1
    (delta,) = warnings("epsilon", 3.0, 1.1e-3, 100)
    assert "delta = 0.0011 is above 100^-1.5 = 0.001 for 100 declared rows" in delta


class TestStudy:
    FACTS = (HospitalFacts(name="north", declared_rows=1000), HospitalFacts(name="south", declared_rows=80))

    def test_without_the_flag_refuses_an_epsilon_above_20(self) -> None:
        with pytest.raises(StudyError, match=r"\[privacy\] epsilon = 21 is above 20"):
            clinic_study(privacy={"epsilon": 21.0})
        assert clinic_study(privacy={"epsilon": 21.0, "allow_large_epsilon": True}).privacy.epsilon == 21.0
        assert clinic_study(privacy={"epsilon": 21.0, "noise": "none"}).warnings == []

    def test_warns_for_its_smallest_hospital(self) -> None:
        study = clinic_study(privacy={"epsilon": 11.0, "delta": 1e-4}).with_hospitals(self.FACTS)
        assert [text.partition(" is above")[0] for text in study.warnings] == ["[privacy] epsilon = 11"]
        many = (HospitalFacts(name="north", declared_rows=1000), HospitalFacts(name="south", declared_rows=500))
        (delta,) = clinic_study(privacy={"delta": 9.9e-5}).with_hospitals(many).warnings
        assert "500^-1.5 = 9e-05" in delta  # 500^-1.5 = 0.0000894

    def test_that_does_not_say_patient_is_about_records(self) -> None:
        document = clinic_study().model_dump(mode="json", by_alias=True, exclude_none=True)
        del document["privacy"]["unit"]
        assert type(clinic_study()).model_validate(document).privacy.unit == "record"


@pytest.mark.parametrize("epsilon", [1e-9, 0.005, 1e3, 1e6])
def test_an_epsilon_that_cannot_be_planned_is_refused(epsilon: float) -> None:
    with pytest.raises(StudyError, match=r"is outside 0\.01 to 100, the values for which noise can be planned"):
        clinic_study(privacy={"epsilon": epsilon, "allow_large_epsilon": True})
