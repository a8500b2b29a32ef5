"""Pooling rules for synthetic data, and the estimates that are pooled."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from common.errors import StudyError
from common.inference.combining import pool
from common.inference.datasets import DatasetFacts, read_datasets, write_datasets
from common.inference.estimands import Estimand, log_odds_ratio, logistic_slope, parse_estimand
from common.planning.phases import PublicRun
from common.planning.planner import make_plan
from common.study.sections import HospitalFacts
from tests.testbeds.clinic import clinic_study
from tests.testbeds.visits import visits_study

SCHEMA = clinic_study().table


class TestPool:
    def test_variance_is_that_of_raghunathan_reiter_and_rubin(self) -> None:
        found = pool("x", [1.0, 2.0, 3.0, 6.0], [0.5, 0.5, 1.0, 1.0])
        # q = 3 and b = (4 + 1 + 0 + 9) / 3 = 4.667; T = 1.25 x 4.667 - 0.75 = 5.083 and
        # the degrees of freedom are 3 (1 - 0.75 / 5.833)^2 = 2.278.
        assert found.interval.value == 3.0
        assert found.variance == pytest.approx(5.08333, abs=1e-4)
        assert found.freedom == pytest.approx(2.278, abs=1e-3)
        assert found.interval.high - 3 == pytest.approx(3 - found.interval.low)

    def test_a_negative_variance_is_replaced(self) -> None:
        found = pool("x", [1.0, 1.0, 1.0], [0.3, 0.3, 0.3], ratio=4.0)
        assert found.variance == pytest.approx(1.2)
        assert found.freedom == 2

    def test_intervals_hold_the_truth(self) -> None:
        rng, datasets, hits = np.random.default_rng(3), 10, 0
        for _ in range(2000):  # posterior variance 1 around an estimate of variance 1, rows add 0.2
            center = rng.standard_normal()
            estimates = center + rng.standard_normal(datasets) + math.sqrt(0.2) * rng.standard_normal(datasets)
            interval = pool("x", estimates.tolist(), [0.2] * datasets).interval
            hits += interval.low <= 0 <= interval.high
        assert 0.94 < hits / 2000 < 0.99  # these degrees of freedom err on the safe side

    def test_too_few_or_unknown_numbers_are_refused(self) -> None:
        with pytest.raises(StudyError, match="pool at least 3"):
            pool("x", [1.0, 2.0], [1.0, 1.0])
        with pytest.raises(StudyError, match="not a finite number"):
            pool("x", [1.0, 2.0, math.nan], [1.0, 1.0, 1.0])


class TestEstimands:
    def test_an_estimand_is_named_by_its_columns(self) -> None:
        named = [("mean", "age"), ("proportion", "sex=female"), ("log-odds", "outcome=yes:age")]
        texts = [str(parse_estimand(kind, text, SCHEMA)) for kind, text in named]
        assert texts == ["mean age", "proportion sex=female", "log-odds outcome=yes by age"]

    def test_log_odds_ratio_is_woolfs(self) -> None:
        outcome, exposed = np.repeat([1.0, 1, 0, 0], [20, 10, 5, 40]), np.repeat([1.0, 0, 1, 0], [20, 10, 5, 40])
        value, variance = log_odds_ratio(outcome, exposed)
        assert value == pytest.approx(math.log(20.5 * 40.5 / (10.5 * 5.5)))
        assert variance == pytest.approx(1 / 20.5 + 1 / 40.5 + 1 / 10.5 + 1 / 5.5)

    def test_slope_of_two_values_is_the_log_odds_ratio(self) -> None:
        outcome, values = np.repeat([1.0, 1, 0, 0], [20, 10, 5, 40]), np.repeat([3.0, 1, 3, 1], [20, 10, 5, 40])
        value, variance = logistic_slope(outcome, values)
        # Two units apart: half of log(20 x 40 / (10 x 5)), a quarter of the sum of inverse cells.
        assert value == pytest.approx(math.log(16) / 2, abs=1e-6)
        assert variance == pytest.approx((1 / 20 + 1 / 40 + 1 / 10 + 1 / 5) / 4, rel=1e-4)
        assert math.isnan(logistic_slope(np.ones(5), np.arange(5.0))[0])

    def test_missing_values_are_left_out(self) -> None:
        frame = pd.DataFrame({"lab": [1.0, 3.0, np.nan], "sex": ["male", None, "female"]})
        assert Estimand("mean", "lab").estimate(frame) == (2.0, 1.0)
        assert Estimand("proportion", "sex", "male").estimate(frame) == (0.5, 0.125)

    def test_options_name_estimands(self) -> None:
        assert parse_estimand("mean", "age", SCHEMA) == Estimand("mean", "age")
        chosen = parse_estimand("log-odds", "outcome=yes:sex=male", SCHEMA)
        assert str(chosen) == "log-odds outcome=yes by sex=male"
        assert parse_estimand("log-odds", "outcome=yes:age", SCHEMA).other_label == ""

    @pytest.mark.parametrize(
        ("kind", "text", "words"),
        [
            ("mean", "sex", "holds labels; --proportion sex=LABEL"),
            ("mean", "ward", "column 'ward' is not in the tables"),
            ("proportion", "sex", "no such label; its labels are female, male"),
            ("proportion", "sex=male:age", "names one column"),
            ("log-odds", "outcome=yes", "takes OUTCOME=LABEL:COLUMN"),
            ("log-odds", "outcome=yes:sex", "holds labels; name one"),
            ("log-odds", "outcome=yes:outcome=yes", "names column 'outcome' twice"),
        ],
    )
    def test_other_texts_are_refused(self, kind: str, text: str, words: str) -> None:
        with pytest.raises(StudyError, match=words):
            parse_estimand(kind, text, SCHEMA)


def test_tables_of_visits_are_refused(tmp_path: Path) -> None:
    study = visits_study()
    public = PublicRun(study, make_plan(study))
    with pytest.raises(StudyError, match="one row for each patient"):
        list(write_datasets(public, DatasetFacts(study.fingerprint, 2, 10, 10, 0), tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_run_without_counted_tables_draws_none(tmp_path: Path) -> None:
    study = clinic_study().with_hospitals((HospitalFacts(name="north", declared_rows=90),), cap_minimum=True)
    public = PublicRun(study, make_plan(study))
    with pytest.raises(StudyError, match="this one counted none; leave --datasets out"):
        list(write_datasets(public, DatasetFacts(study.fingerprint, 3, 10, 10, 0), tmp_path / "out"))
    assert not (tmp_path / "out").exists()


class TestFolder:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """Three tables of two rows, as `sample --datasets` leaves them."""
        study = clinic_study()
        (tmp_path / "study.toml").write_text(study.to_toml(), encoding="utf-8")
        tables = {f"dataset-00{number}.csv": b"age,lab,sex,outcome\n1,2,male,no\n3,4,male,no\n" for number in (1, 2, 3)}
        for name, content in tables.items():
            (tmp_path / name).write_bytes(content)
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in tables.items()}
        self.change(tmp_path, **asdict(DatasetFacts(study.fingerprint, 3, 2, 10, 0)), files=digests)
        return tmp_path

    def change(self, folder: Path, **facts: object) -> None:
        path = folder / "datasets.json"
        record = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(record | facts))

    def test_tables_come_back_in_their_order(self, folder: Path) -> None:
        facts, schema, tables = read_datasets(folder)
        assert (facts.rows, schema.names[0]) == (2, "age")
        assert [table["age"].tolist() for table in tables] == [[18.0, 18.0]] * 3  # the lower bound

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("rows", 0),
            ("rows", -5),
            ("rows", "x"),
            ("rows", True),
            ("datasets", 0),
            ("datasets", "3"),
            ("patients", None),
        ],
    )
    def test_facts_that_are_no_numbers_are_refused(self, folder: Path, name: str, value: object) -> None:
        self.change(folder, **{name: value})
        with pytest.raises(StudyError, match=r"datasets.json in .* is damaged \(datasets, rows, patients and seed are"):
            read_datasets(folder)

    @pytest.mark.parametrize("rows", [1, 3, 10**400])
    def test_another_number_of_rows_is_refused(self, folder: Path, rows: int) -> None:
        self.change(folder, rows=rows)
        _, _, tables = read_datasets(folder)
        with pytest.raises(StudyError, match=r"dataset-001.csv' does not have as many rows as datasets.json names"):
            next(tables)

    def test_nested_lists_are_damage(self, folder: Path) -> None:
        (folder / "datasets.json").write_text("[" * 100_000)
        with pytest.raises(StudyError, match=r"datasets.json' is damaged"):
            read_datasets(folder)

    def test_the_study_of_another_folder_is_refused(self, folder: Path) -> None:
        self.change(folder, fingerprint="0" * 64)
        with pytest.raises(StudyError, match="are of different studies"):
            read_datasets(folder)

    @pytest.mark.parametrize(
        ("name", "value"), [("files", {}), ("files", []), ("datasets", 2), ("datasets", 4), ("datasets", 10**15)]
    )
    def test_other_numbers_of_tables_are_refused(self, folder: Path, name: str, value: object) -> None:
        self.change(folder, **{name: value})
        with pytest.raises(StudyError, match=r"does not list \d+ tables"):
            read_datasets(folder)

    @pytest.mark.parametrize("content", [None, b"", b"age,lab,sex,outcome\n1,2,male,no\n"])
    def test_a_table_that_was_changed_is_named(self, folder: Path, content: bytes | None) -> None:
        path = folder / "dataset-002.csv"
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        _, _, tables = read_datasets(folder)
        next(tables)
        with pytest.raises(StudyError, match=r"dataset-002.csv' is missing, or was changed after it was drawn"):
            next(tables)
