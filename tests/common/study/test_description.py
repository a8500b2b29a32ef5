"""What a study is, in words."""

from __future__ import annotations

from common.study.description import MOST_NAMES, describe_study
from common.study.study import Study
from tests.testbeds.clinic import clinic_study
from tests.testbeds.images import images_study
from tests.testbeds.omop_database import omop_study
from tests.testbeds.visits import visits_study


def said(study: Study, **sections: object) -> str:
    """What is said of the study with whole sections replaced."""
    document = study.model_dump(mode="json", by_alias=True, exclude_none=True)
    return "\n".join(describe_study(Study.model_validate(document | sections)))


def test_a_study_of_rows_says_what_a_row_is() -> None:
    text = said(clinic_study(), rules=[{"left": "lab", "relation": "<=", "right": "age"}])
    assert text.splitlines() == [
        "A row is a patient.", "Models are to predict 'outcome'.", "In every synthetic row: lab <= age."
    ]  # fmt: skip
    assert "A row is a record, and a patient may have several." in said(clinic_study(privacy={"unit": "record"}))


def test_a_study_of_visits_says_what_is_counted() -> None:
    text = said(visits_study(), courses=[{"column": "stage", "never": "decreases"}])
    assert "'id' says whose it is, and 'day' when; the time is synthesized too." in text
    clock = said(visits_study(schema={"interval": 100.0}))
    assert "the time of the first visit is synthesized, and the others follow every 100." in clock
    assert "At most 4 visits of a patient are counted, the first ones where there are more." in text
    assert "The same at all visits of a patient: sex." in text
    assert "Of each visit: stage, weight." in text
    assert "From visit to visit: stage never decreases." in text


def test_images_say_that_none_leaves() -> None:
    text = said(images_study())
    assert "'film' is up to 3 images of each patient, gray, 8 x 10 pixels. No image leaves a hospital" in text
    assert "noisy sums of 10 coarse features" in text


def test_a_study_on_omop_says_who_and_what_is_taken() -> None:
    text = said(omop_study())
    assert "taken from the hospital's OMOP database" in text
    assert '"glucose": ' in text


def test_long_lists_are_cut() -> None:
    columns = [{"name": f"c{number}", "kind": "text"} for number in range(MOST_NAMES + 3)]
    document = clinic_study().model_dump(mode="json", by_alias=True, exclude_none=True)
    schema = {"columns": [*document["schema"]["columns"], *columns]}
    assert "c11, and 3 more: the study says" in said(clinic_study(), schema=schema)
