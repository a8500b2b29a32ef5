"""A study as a form, and back: what comes back unchanged is the study, and every problem is at its field."""

from __future__ import annotations

from typing import Any

import pytest

from common.study.study import Study, parse_study
from simulations.console.fields import FormField
from simulations.console.form import StudyForm, form_of
from tests.simulations.test_drafting import draft, stays
from tests.testbeds.clinic import clinic_study
from tests.testbeds.visits import visits_study


@pytest.fixture(scope="module")
def study() -> Study:
    return draft(stays(), patient="patient")[0]


def document_of(study: Study) -> dict[str, Any]:
    return study.model_dump(mode="json", by_alias=True, exclude_none=True)


def filled(form: StudyForm) -> dict[str, str]:
    """What a browser sends of a form that nobody changed."""
    fields: list[FormField] = [*form.settings]
    for column in form.columns:
        fields += column.fields
    boxes = {column.keep.key for column in form.columns} | {column.missing.key for column in form.columns}
    return {field.key: field.value for field in fields if field.value or field.key not in boxes}


def key_of(form: StudyForm, column: str, setting: str) -> str:
    (found,) = (each for each in form.columns if each.name == column)
    return found.keep.key.replace("keep", setting)


def with_courses() -> Study:
    return Study.model_validate(document_of(visits_study()) | {"courses": [{"column": "stage", "never": "decreases"}]})


@pytest.mark.parametrize("make", [lambda: draft(stays())[0], clinic_study, with_courses])
def test_an_unchanged_form_is_the_same_study(make: Any) -> None:
    study = make()
    form = form_of(document_of(study))
    again = form_of(document_of(study), filled(form))
    assert again.is_valid
    assert Study.model_validate(again.document) == study


def test_a_field_changes_its_setting(study: Study) -> None:
    form = form_of(document_of(study))
    given = filled(form) | {
        "epsilon": "1.5",
        key_of(form, "age", "upper"): "120",
        key_of(form, "age", "missing"): "yes",
    }
    changed = Study.model_validate(form_of(document_of(study), given).document)
    assert changed.privacy.epsilon == 1.5
    (age,) = (column for column in changed.declared.columns if column.name == "age")
    assert age.model_dump()["upper"] == 120
    assert age.missing


def test_an_unticked_column_is_not_in_the_study(study: Study) -> None:
    form = form_of(document_of(study))
    given = filled(form)
    del given[key_of(form, "stage", "keep")]
    changed = form_of(document_of(study), given)
    assert changed.dropped == ("stage",)
    assert "stage" not in Study.model_validate(changed.document).table.names


@pytest.mark.parametrize(
    ("column", "setting", "value"),
    [
        ("age", "upper", "old"),
        ("age", "upper", ""),
        ("age", "decimals", "1.5"),
        ("age", "upper", "nan"),
        ("age", "upper", "9" * 5000),
        ("age", "more", "unit"),
        ("age", "more", 'name = "other"'),
        ("stage", "categories", ""),
    ],
)
def test_a_problem_is_at_its_field(study: Study, column: str, setting: str, value: str) -> None:
    form = form_of(document_of(study))
    key = key_of(form, column, setting)
    wrong = form_of(document_of(study), filled(form) | {key: value})
    assert not wrong.is_valid
    (found,) = (each for each in wrong.columns if each.name == column)
    assert [field.key for field in (*found.settings, found.kind, found.more) if field.problem] == [key]
    assert wrong.problems == ()


def test_a_problem_stays_at_its_column_when_others_are_unticked(study: Study) -> None:
    form = form_of(document_of(study))
    given = filled(form) | {key_of(form, "creatinine", "upper"): "x"}
    del given[form.columns[0].keep.key]
    wrong = form_of(document_of(study), given)
    assert [each.name for each in wrong.columns if each.has_problem] == ["creatinine"]


@pytest.mark.parametrize(
    ("key", "value"), [("epsilon", "0"), ("epsilon", "1e9"), ("delta", "2"), ("holdout", "1"), ("seed", "-1")]
)
def test_a_problem_of_the_study_is_at_its_field(study: Study, key: str, value: str) -> None:
    wrong = form_of(document_of(study), filled(form_of(document_of(study))) | {key: value})
    assert [field.key for field in wrong.settings if field.problem] == [key]


def test_a_problem_without_a_field_is_said(study: Study) -> None:
    form = form_of(document_of(study))
    given = filled(form)
    del given[key_of(form, "died", "keep")]
    (problem,) = form_of(document_of(study), given).problems
    assert "died" in problem


def test_further_settings_are_added(study: Study) -> None:
    form = form_of(document_of(study))
    given = filled(form) | {key_of(form, "age", "more"): 'unit = "years"'}
    changed = form_of(document_of(study), given)
    assert changed.is_valid
    again = form_of(changed.document)
    (age,) = (each for each in again.columns if each.name == "age")
    assert "years" in [field.value for field in age.settings]
    assert parse_study(Study.model_validate(changed.document).to_toml())


class TestVisits:
    def test_a_column_is_of_patient_or_visit(self) -> None:
        form = form_of(document_of(visits_study()))
        assert {column.name: column.per and column.per.value for column in form.columns} == {
            "sex": "patient", "day": None, "stage": "visit", "weight": "visit"
        }  # fmt: skip
        given = filled(form) | {key_of(form, "sex", "per"): "visit", key_of(form, "weight", "per"): "patient"}
        changed = Study.model_validate(form_of(document_of(visits_study()), given).document)
        assert [column.per for column in changed.declared.columns] == [None, None, None, "patient"]

    def test_visits_are_kept_as_the_form_says(self) -> None:
        given = filled(form_of(document_of(visits_study()))) | {"most_visits": "6", "keep_visits": "thinned"}
        changed = Study.model_validate(form_of(document_of(visits_study()), given).document)
        assert (changed.declared.most_visits, changed.declared.keep_visits) == (6, "thinned")
        (field,) = (
            field
            for field in form_of(document_of(visits_study()), given | {"most_visits": "1"}).settings
            if field.key == "most_visits"
        )
        assert "greater than or equal to 2" in field.problem

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("stage decreases", "is no rule"),
            ("sex never decreases", "not a column of the visit"),
            ("stage ends with 9", "no such label"),
        ],
    )
    def test_a_wrong_rule_is_said(self, text: str, said: str) -> None:
        document = document_of(visits_study())
        again = form_of(document, filled(form_of(document)) | {"rules": text})
        assert not again.is_valid
        problems = [field.problem for field in again.settings if field.key == "rules"] + list(again.problems)
        assert said in " ".join(problems)
