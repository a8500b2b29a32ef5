from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from common.arrays import Floats, Weights
from common.columns.base import Codes
from common.encoding import Encoder
from common.errors import StudyError
from common.model import load_model, model_card, save_model
from common.study.sections import HospitalFacts
from common.system.folder import RunFolder
from common.tables.checking import check_table
from common.tables.conforming import format_table
from tests.testbeds.clinic import clinic_model, clinic_study

MODEL = clinic_model()


def proportion(frame: pd.DataFrame, outcome: str = "yes") -> float:
    return float((frame["outcome"] == outcome).mean())


class TestSample:
    def test_conditions_hold_and_other_columns_follow(self) -> None:
        women, men = (MODEL.sample(2000, 1, given={"sex": sex}) for sex in ("female", "male"))
        assert set(women["sex"]) == {"female"}
        assert set(men["sex"]) == {"male"}
        # A woman is of the first prototype with probability 0.9: she falls ill with 0.9 x 0.9 + 0.1 x 0.1 = 0.82.
        assert proportion(women) == pytest.approx(0.82, abs=0.02)
        assert proportion(men) == pytest.approx(0.18, abs=0.02)
        assert proportion(MODEL.sample(2000, 1)) == pytest.approx(0.5, abs=0.02)

    def test_conditions_on_two_columns_hold(self) -> None:
        rare = MODEL.sample(50, 1, given={"sex": "female", "outcome": "no"})
        assert set(zip(rare["sex"], rare["outcome"], strict=True)) == {("female", "no")}

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"ward": "a"}, "column 'ward' is not in the model"),
            ({"age": "50"}, "column 'age' is numeric"),
            ({"sex": "canary"}, "column 'sex' has no such category; choose one of female, male"),
            ({"sex": ""}, "column 'sex' has no such category"),
        ],
    )
    def test_impossible_conditions_name_column_and_remedy(self, given: dict[str, str], words: str) -> None:
        with pytest.raises(StudyError, match=words) as problem:
            MODEL.sample(5, 1, given=given)
        assert "canary" not in str(problem.value)

    def test_a_rare_code_is_part_of_a_prefix(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Encoder, "code_of", lambda *_: None)
        with pytest.raises(
            StudyError, match=r"column 'sex': this code was too rare .* condition on a prefix"
        ) as problem:
            MODEL.sample(5, 1, given={"sex": "female"})
        assert "female" not in str(problem.value)

    def test_numbers_lie_within_bins_as_the_synthesizer_orders_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Ordering:
            def fit(self, weights: Weights, *_: object, **__: object) -> Weights:
                return weights

            def sample(self, weights: Weights, rows: int, seed: int, given: dict[int, int]) -> Codes:
                return np.zeros((rows, len(MODEL.study.table.names)), dtype=np.int16)

            def order_within(self, weights: Weights, codes: Codes, seed: int) -> Floats:
                return np.tile(np.arange(len(codes), dtype=np.float64)[:, None], codes.shape[1])

        def decode(encoder: Encoder, codes: Codes, rng: np.random.Generator, order: Floats) -> pd.DataFrame:
            orders.append(order)
            return real_decode(encoder, codes, rng, order)

        orders: list[Floats] = []
        real_decode = Encoder.decode
        monkeypatch.setattr("common.model.make_synthesizer", lambda *_: Ordering())
        monkeypatch.setattr(Encoder, "decode", decode)
        MODEL.sample(50, 1)
        assert orders[0][:, 0].tolist() == list(range(50))

    def test_without_prototypes_there_are_no_conditions(self) -> None:
        model = clinic_model(generator="mlp")
        assert len(model.sample(5, 1)) == 5
        with pytest.raises(StudyError, match="prototypes"):
            model.sample(5, 1, given={"sex": "female"})


class TestBalanced:
    @pytest.mark.parametrize("rows", [1, 2, 3, 100, 101])
    def test_each_category_comes_equally_often(self, rows: int) -> None:
        frame = MODEL.sample_balanced(rows, 1, "outcome", given={})
        counts = frame["outcome"].value_counts().reindex(["no", "yes"], fill_value=0)
        assert len(frame) == rows
        assert counts.max() - counts.min() == rows % 2
        assert list(frame.index) == list(range(rows))

    def test_conditions_hold_and_rows_are_mixed(self) -> None:
        frame = MODEL.sample_balanced(400, 1, "outcome", given={"sex": "female"})
        assert set(frame["sex"]) == {"female"}
        assert proportion(frame) == 0.5
        assert 0.35 < proportion(frame.iloc[:200]) < 0.65

    def test_rows_repeat_with_the_seed_and_fit_the_schema(self) -> None:
        one, again, other = (MODEL.sample_balanced(60, seed, "sex", given={"outcome": "yes"}) for seed in (1, 1, 2))
        assert one.equals(again)
        assert not one.equals(other)
        check_table(format_table(one, MODEL.study.table), MODEL.study.table, name="balanced")

    def test_numeric_and_unknown_columns_are_refused(self) -> None:
        for column in ("age", "ward"):
            with pytest.raises(StudyError, match=f"column '{column}'"):
                MODEL.sample_balanced(5, 1, column, given={})

    def test_a_column_both_given_and_balanced_is_refused(self) -> None:
        with pytest.raises(StudyError, match="column 'sex' is both given and balanced"):
            MODEL.sample_balanced(5, 1, "sex", given={"sex": "male"})


class TestFolder:
    @pytest.mark.parametrize("file", ["weights.safetensors", "released.safetensors", "plan.json", "study.toml"])
    @pytest.mark.parametrize("fault", ["missing", "damaged"])
    def test_incomplete_folders_are_refused(self, tmp_path: Path, file: str, fault: str) -> None:
        save_model(MODEL, RunFolder(tmp_path), is_simulation=True)
        path = tmp_path / "model" / file
        path.unlink()
        if fault == "damaged":
            path.write_bytes(b"{ not what it was")
        with pytest.raises(StudyError):
            load_model(tmp_path / "model")

    def test_released_sums_of_another_run_are_refused(self, tmp_path: Path) -> None:
        save_model(MODEL, RunFolder(tmp_path), is_simulation=True)
        save_file({"records": np.zeros(3)}, tmp_path / "model" / "released.safetensors")
        with pytest.raises(StudyError, match="not a complete model folder"):
            load_model(tmp_path / "model")

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda weights: {},
            lambda weights: {name: value[:-1] for name, value in weights.items()},
            lambda weights: {name: np.full_like(value, np.nan) for name, value in weights.items()},
        ],
        ids=["missing", "too short", "not finite"],
    )
    def test_weights_that_do_not_fit_are_refused(self, spoil: Callable[[Weights], Weights], tmp_path: Path) -> None:
        save_model(MODEL, RunFolder(tmp_path), is_simulation=True)
        spoilt = {name: np.ascontiguousarray(value) for name, value in spoil(dict(MODEL.weights)).items()}
        save_file(spoilt, tmp_path / "model" / "weights.safetensors")
        with pytest.raises(StudyError, match="not a complete model folder"):
            load_model(tmp_path / "model")

    @pytest.mark.parametrize(
        "changes",
        [{"cells": "512"}, {"cells": -5}, {"bins": 2.5}, {"fingerprint": "0" * 64}],
        ids=["text", "negative", "fraction", "another study"],
    )
    def test_a_plan_that_does_not_fit_is_refused(self, changes: dict[str, object], tmp_path: Path) -> None:
        save_model(MODEL, RunFolder(tmp_path), is_simulation=True)
        path = tmp_path / "model" / "plan.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
        with pytest.raises(StudyError, match="not a complete model folder"):
            load_model(tmp_path / "model")

    @pytest.mark.parametrize("content", [b"\xff\xfe", b"[" * 100_000], ids=["not text", "too deep"])
    def test_a_plan_that_cannot_be_read_is_refused(self, content: bytes, tmp_path: Path) -> None:
        save_model(MODEL, RunFolder(tmp_path), is_simulation=True)
        (tmp_path / "model" / "plan.json").write_bytes(content)
        with pytest.raises(StudyError, match="not a"):
            load_model(tmp_path / "model")

    def test_a_saved_model_draws_the_same_rows(self, tmp_path: Path) -> None:
        save_model(MODEL, RunFolder(tmp_path), is_simulation=True)
        again = load_model(tmp_path / "model")
        assert again.plan == MODEL.plan
        assert again.sample(40, 3, given={"sex": "male"}).equals(MODEL.sample(40, 3, given={"sex": "male"}))
        (tmp_path / "model" / "plan.json").write_text("{}")
        with pytest.raises(StudyError, match="not a plan"):
            load_model(tmp_path / "model")


class TestCard:
    def test_rehearsals_are_named(self) -> None:
        assert "REHEARSAL" not in model_card(clinic_study(), is_simulation=False)
        assert "REHEARSAL" in model_card(clinic_study(study={"rehearsal": True}), is_simulation=False)

    def test_shared_noise_names_its_assumption(self) -> None:
        facts = tuple(HospitalFacts(name=name, declared_rows=90) for name in ("north", "south", "west", "east"))
        study = clinic_study(privacy={"noise": "distributed"}, federation={"dropouts": 1}).with_hospitals(facts)
        assert "at least 2 of the hospitals in every sum kept their part of the noise secret" in model_card(
            study, is_simulation=False
        )
        assert "in every sum" not in model_card(clinic_study(), is_simulation=False)

    def test_every_warning_is_on_the_card(self) -> None:
        study = clinic_study(privacy={"noise": "none"}, study={"origin": "drafted"})
        card = model_card(study, is_simulation=True)
        for warning in ("SIMULATION", "NO PRIVACY", "drafted from records"):
            assert warning in card

    def test_own_epsilons_are_listed(self) -> None:
        facts = (
            HospitalFacts(name="north", declared_rows=90, epsilon=1.5),
            HospitalFacts(name="south", declared_rows=90),
        )
        card = model_card(clinic_study().with_hospitals(facts), is_simulation=False)
        assert "smaller epsilon of their own: north 1.5." in card

    def test_it_is_about_records_unless_the_study_says_patients(self) -> None:
        for unit in ("patient", "record"):
            card = model_card(clinic_study(privacy={"unit": unit}), is_simulation=False)
            assert f"differential privacy for each {unit} of each hospital" in card
            assert ("A patient with several records is protected less" in card) == (unit == "record")
