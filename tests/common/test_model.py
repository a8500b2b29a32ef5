from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from common.errors import StudyError
from common.model import load_model, model_card, save_model
from common.study.sections import HospitalFacts
from common.system.folder import RunFolder
from common.tables.checking import check_table
from common.tables.conforming import format_table
from tests.testbeds.clinic import clinic_model, clinic_study

MODEL = clinic_model()


def share(frame: pd.DataFrame, outcome: str = "yes") -> float:
    return float((frame["outcome"] == outcome).mean())


def test_rows_given_a_category_all_have_it_and_the_others_follow() -> None:
    women, men = (MODEL.sample(2000, 1, given={"sex": sex}) for sex in ("female", "male"))
    assert set(women["sex"]) == {"female"}
    assert set(men["sex"]) == {"male"}
    # A woman is of the first prototype with probability 0.9: she falls ill with 0.9 x 0.9 + 0.1 x 0.1 = 0.82.
    assert share(women) == pytest.approx(0.82, abs=0.02)
    assert share(men) == pytest.approx(0.18, abs=0.02)
    assert share(MODEL.sample(2000, 1)) == pytest.approx(0.5, abs=0.02)


def test_a_condition_on_both_columns_holds() -> None:
    rare = MODEL.sample(50, 1, given={"sex": "female", "outcome": "no"})
    assert set(zip(rare["sex"], rare["outcome"], strict=True)) == {("female", "no")}


@pytest.mark.parametrize("rows", [1, 2, 3, 100, 101])
def test_balanced_rows_are_of_each_category_equally_often(rows: int) -> None:
    frame = MODEL.sample_balanced(rows, 1, "outcome", given={})
    counts = frame["outcome"].value_counts().reindex(["no", "yes"], fill_value=0)
    assert len(frame) == rows
    assert counts.max() - counts.min() == rows % 2
    assert list(frame.index) == list(range(rows))


def test_balanced_rows_keep_the_condition_and_come_in_mixed_order() -> None:
    frame = MODEL.sample_balanced(400, 1, "outcome", given={"sex": "female"})
    assert set(frame["sex"]) == {"female"}
    assert share(frame) == 0.5
    assert 0.35 < share(frame.iloc[:200]) < 0.65


def test_conditioned_and_balanced_rows_repeat_with_the_seed_and_fit_the_schema() -> None:
    one, again, other = (MODEL.sample_balanced(60, seed, "sex", given={"outcome": "yes"}) for seed in (1, 1, 2))
    assert one.equals(again)
    assert not one.equals(other)
    check_table(format_table(one, MODEL.study.table), MODEL.study.table, name="balanced")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"ward": "a"}, "column 'ward' is not in the model"),
        ({"age": "50"}, "column 'age' is numeric"),
        ({"sex": "canary"}, "column 'sex' has no such category; choose one of female, male"),
        ({"sex": ""}, "column 'sex' has no such category"),
    ],
)
def test_a_condition_that_cannot_be_met_names_the_column_and_the_remedy(given: dict[str, str], words: str) -> None:
    with pytest.raises(StudyError, match=words) as problem:
        MODEL.sample(5, 1, given=given)
    assert "canary" not in str(problem.value)


def test_a_numeric_or_unknown_column_cannot_be_balanced() -> None:
    for column in ("age", "ward"):
        with pytest.raises(StudyError, match=f"column '{column}'"):
            MODEL.sample_balanced(5, 1, column, given={})


def test_a_model_without_prototypes_draws_without_conditions_only() -> None:
    model = clinic_model(generator="mlp")
    assert len(model.sample(5, 1)) == 5
    with pytest.raises(StudyError, match="prototypes"):
        model.sample(5, 1, given={"sex": "female"})


def test_a_saved_model_keeps_its_plan_and_draws_the_same_rows(tmp_path: Path) -> None:
    save_model(MODEL, RunFolder(tmp_path), is_simulation=True)
    again = load_model(tmp_path / "model")
    assert again.plan == MODEL.plan
    assert again.sample(40, 3, given={"sex": "male"}).equals(MODEL.sample(40, 3, given={"sex": "male"}))
    (tmp_path / "model" / "plan.json").write_text("{}")
    with pytest.raises(StudyError, match="not a plan"):
        load_model(tmp_path / "model")


def test_a_rehearsal_says_so_on_the_card() -> None:
    assert "REHEARSAL" not in model_card(clinic_study(), is_simulation=False)
    assert "REHEARSAL" in model_card(clinic_study(study={"rehearsal": True}), is_simulation=False)


def test_a_model_made_under_shared_noise_says_whom_its_promise_supposes() -> None:
    facts = tuple(HospitalFacts(name=name, declared_rows=90) for name in ("north", "south", "west", "east"))
    study = clinic_study(privacy={"noise": "distributed"}, federation={"dropouts": 1}).with_hospitals(facts)
    assert "at least 2 of the hospitals in every sum kept their part" in model_card(study, is_simulation=False)
    assert "in every sum" not in model_card(clinic_study(), is_simulation=False)
