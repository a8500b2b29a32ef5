from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from common.errors import StudyError
from simulations.benchmark.augmentation import question
from simulations.benchmark.augmentation.images import ImageTable, frequencies_of, sources_of
from simulations.benchmark.augmentation.page import TOO_FEW, augmentation_markdown
from simulations.benchmark.augmentation.question import (
    AUGMENTATION,
    MEASURED,
    SplitExamples,
    measure_augmentation,
    small_hospital,
)
from simulations.benchmark.questions import CaseOptions, TrainTestSplit
from simulations.benchmark.results import Case, ResultsFile
from simulations.benchmark.selection import TableSelection
from simulations.benchmark.tables import BuiltInTable
from simulations.cli.main import app


class TestSmallHospital:
    @pytest.mark.parametrize(("size", "ill"), [(20, 2), (100, 10)])
    def test_one_in_ten_has_the_rarest_outcome(self, size: int, ill: int) -> None:
        classes = np.array(["yes"] * 60 + ["no"] * 140, dtype=object)
        rows = small_hospital(classes, size, np.random.default_rng(0))
        assert len(set(rows)) == size
        assert (classes[rows] == "yes").sum() == ill

    def test_rarer_outcome_stays_rarer(self) -> None:
        classes = np.array(["yes"] * 4 + ["no"] * 96, dtype=object)  # 4 % of 50 are two
        assert (classes[small_hospital(classes, 50, np.random.default_rng(0))] == "yes").sum() == 2


class TestImages:
    def test_images_become_low_frequencies(self) -> None:
        loaded = ImageTable("digits").load()
        features = frequencies_of(loaded.frame.head(3), loaded.study)
        assert features.shape == (3, loaded.study.images[0].frequencies)

    def test_names_of_image_studies_are_tables(self) -> None:
        assert [source.name for source in sources_of(TableSelection(None, ("built-in", "digits")))] == [
            "digits", "built-in"
        ]  # fmt: skip
        with pytest.raises(StudyError, match="without --tables"):
            sources_of(TableSelection(Path("x.csv"), ("digits",), target="died"))


def test_a_target_that_is_a_number_is_refused() -> None:
    split = TrainTestSplit.of(BuiltInTable(), Case("built-in", "bootstrap", 0.0, 100), CaseOptions())
    number = next(column.name for column in split.study.table.each() if column.grid is not None)
    study = split.study.amended(evaluation={"target": number})
    with pytest.raises(StudyError, match=rf"target '{number}' is a number; .*: choose a target of labels"):
        SplitExamples.of(replace(split, study=study, target=number), split.test)


def test_real_rows_of_others_help_few_patients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(question, "DRAWS", 2)
    monkeypatch.setattr(question, "SIZES", (20,))
    found = measure_augmentation(BuiltInTable(), Case("built-in", "bootstrap", 0.0, 100), CaseOptions())
    assert found["gain_20"] == pytest.approx(found["both_20"] - found["own_20"], abs=1e-3)
    assert found["gain_20"] > 0
    assert found["own_20_low"] <= found["own_20"] <= found["own_20_high"]
    assert found["synthetic"] > 0.8


@pytest.mark.slow
def test_command_writes_results_and_page(tmp_path: Path) -> None:
    arguments = ["--tables", "built-in", "--arms", "bootstrap", "--seeds", "100", "--processes", "1"]
    done = CliRunner().invoke(app, ["benchmark", "augmentation", *arguments, "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    found = ResultsFile(tmp_path / "augmentation.csv", AUGMENTATION.columns).frame()
    assert found.gain_20[0] > 0
    assert "| real rows, resampled | - | 1 | 20 |" in (tmp_path / "augmentation.md").read_text()


def test_page_lists_sizes_that_were_measured() -> None:
    row = {"table": "heart", "arm": "bootstrap", "epsilon": 0.0, "seed": 0} | dict.fromkeys(MEASURED, 0.25)
    for name in MEASURED:
        if "_100" in name:
            row[name] = float("nan")
    frame = pd.DataFrame([row], columns=list(AUGMENTATION.columns))
    text = augmentation_markdown(frame, [Case("heart", "central", 3.0, 0)], [])
    measured = "| 50 | 0.250 (0.250 to 0.250) | 0.250 (0.250 to 0.250) | 0.250 | 0.250 | 25% "
    assert measured + "| own rows, by 0.000 over own and synthetic |" in text
    assert f"| 0 | 100 | {TOO_FEW} | {TOO_FEW} | 0.250 | not measured | not measured | not measured |" in text
    assert "| heart | centralized | 3 / 0 | not run yet |" in text


def test_page_says_what_did_best_and_its_lead() -> None:
    common = {"table": "heart", "arm": "bootstrap", "epsilon": 0.0} | dict.fromkeys(MEASURED, 0.5)
    rows = [
        common | {"seed": seed, "both_20": 0.8, "synthetic": alone, "own_50": 0.9}
        for seed, alone in ((0, 0.7), (1, 0.6))
    ]
    text = augmentation_markdown(pd.DataFrame(rows, columns=list(AUGMENTATION.columns)), [], [])
    # leads of .1 and .2: mean .15, t(1) = 12.706 times .0707 / sqrt 2 = .05
    assert "own and synthetic, by 0.150 ± 0.635 over synthetic alone |" in text
    assert "own rows, by 0.250 ± 0.635 over synthetic alone |" in text  # of 50 patients: leads of .2 and .3


@pytest.mark.slow
def test_images_of_a_federation_help() -> None:
    found = measure_augmentation(ImageTable("digits"), Case("digits", "distributed-by-site", 3.0, 100), CaseOptions())
    assert found["gain_20"] > 0
