"""The dossier of a run: its facts are the run's, its boxes are empty, and it is the same bytes whenever it is made."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from common.dossier import card
from common.dossier.dossier import NAMES, sections_of, to_html, write_dossier
from common.dossier.facts import Cohort, RunFacts, read_run
from common.dossier.parts import Item
from common.errors import StudyError
from simulations.federation.hospitals import built_in_hospitals, built_in_study
from simulations.federation.prepare import prepare
from simulations.federation.run import simulate
from tests.testbeds.command_line import fedsynth, output_of

ROOT = Path(__file__).parents[3]
COHORT = Cohort("north", 2.5, 5.0, 1e-5, 12, "ab" * 32, ("approved by Kari, officer, until 2027-01-01",), "cd" * 32)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dossier") / "out"
    study = built_in_study().amended(
        study={"description": "<script>alert(1)</script> & more"},
        training={"rounds": 0},
        synthesizer={"prototypes": 50, "fit_steps": 60},
    )
    return simulate(prepare(study, built_in_hospitals()), out).out


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


def items(facts: RunFacts) -> Iterator[Item]:
    for section in sections_of(facts):
        yield from section.items


def test_a_dossier_is_the_same_bytes_twice(run: Path, tmp_path: Path) -> None:
    first, second = (write_dossier(read_run(run), tmp_path / name) for name in ("a", "b"))
    assert [path.name for path in first] == list(NAMES)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_every_answer_has_a_source_that_exists(run: Path) -> None:
    named = {part for item in items(read_run(run)) if item.answer for part in item.source.split(", ")}
    for source in named:
        assert (run / source).exists() or (ROOT / source).exists() or source == "dossier.ttl", source


def test_a_box_has_neither_answer_nor_source(run: Path) -> None:
    boxes = [item for item in items(read_run(run)) if item.is_for_people]
    assert len(boxes) >= 10
    assert all(not box.source for box in boxes)


@pytest.mark.parametrize("word", ["compliant", "anonymous data", "complies", "guarantees privacy", "fully", "safe to"])
def test_no_sentence_judges(run: Path, word: str) -> None:
    answers = " ".join(item.answer for item in items(read_run(run))).lower()
    assert word not in answers


def test_epsilon_is_that_of_the_run(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    page = to_html(read_run(run), sections_of(read_run(run)))
    for name, facts in record["hospitals"].items():
        assert re.search(rf"<td>{name}</td><td>[\d,]+</td><td>{facts['epsilon']:.3f}</td>", page), name


def test_a_simulation_says_that_it_protects_nobody(run: Path) -> None:
    facts = read_run(run)
    assert facts.is_simulation
    page = to_html(facts, sections_of(facts))
    assert "protects nobody" in page


def test_a_bound_on_suspicion_is_not_rounded_down(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = read_run(run)
    deployed = replace(facts, record=facts.record | {"simulation": False})
    monkeypatch.setattr(card, "highest_epsilon", lambda facts: 2.8)  # from 1 in 100 to 14.24 in 100
    answers = " ".join(item.answer for item in card.summary(deployed).items)
    assert "raise this to at most 15 in 100" in answers


def test_what_a_study_says_is_escaped(run: Path) -> None:
    facts = read_run(run)
    assert "<script>" not in to_html(facts, sections_of(facts))


def test_attacks_stand_with_control_and_baseline(run: Path) -> None:
    facts = read_run(run)
    page = to_html(facts, sections_of(facts))
    for attack in facts.attacks:
        assert attack["title"] in page
    assert "on patients held out" in page


def test_safe_harbor_has_all_items(run: Path) -> None:
    (hipaa,) = (section for section in sections_of(read_run(run)) if section.key == "hipaa")
    assert [row[0] for row in hipaa.grids[0].rows] == list("ABCDEFGHIJKLMNOPQR")


def test_without_a_report_no_figure_is_invented(copy: Path) -> None:
    (copy / "report.json").unlink()
    facts = read_run(copy)
    page = to_html(facts, sections_of(facts))
    assert "No report is in this folder" in page
    assert "AUROC 0" not in page


def test_a_report_of_visits_has_no_verdict_and_no_attack(run: Path) -> None:
    facts = replace(read_run(run), report={"kind": "visits", "measures": {}})
    page = to_html(facts, sections_of(facts))
    assert "and no verdict" in page
    assert "No attack was run" in page


def test_a_simulation_claims_no_bound(run: Path) -> None:
    (bound,) = (item for item in items(read_run(run)) if item.question.endswith("bound on any recipient"))
    assert bound.answer.startswith("none in this simulation")


def test_safe_harbor_finds_what_a_column_declares(run: Path) -> None:
    (hipaa,) = (section for section in sections_of(read_run(run)) if section.key == "hipaa")
    assert {row[0]: row[2] for row in hipaa.grids[0].rows}["C"] == "age"


def test_a_hospital_adds_its_ledger(run: Path) -> None:
    answers = [item.answer for item in items(replace(read_run(run), cohort=COHORT))]
    assert "epsilon 2.500 of 5 at delta 1e-05 (Renyi bounds)" in answers
    assert "approved by Kari, officer, until 2027-01-01" in answers


def test_a_catalog_entry_is_turtle(run: Path, tmp_path: Path) -> None:
    text = write_dossier(read_run(run), tmp_path)[2].read_text()
    assert "a dcat:Dataset ;" in text
    assert '<script>alert(1)</script> & more"@en' in text
    body = "".join(line for line in text.splitlines() if not line.startswith("#"))
    assert body.count('"') % 2 == 0
    assert body.count("[") == body.count("]")


class TestReadRun:
    def test_a_folder_that_is_no_run_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(StudyError, match="is not the folder of a run"):
            read_run(tmp_path)

    def test_a_failed_run_has_no_dossier(self, copy: Path) -> None:
        (copy / "run.json").write_text('{"status": "failed", "reason": "no"}')
        with pytest.raises(StudyError, match="is not finished"):
            read_run(copy)

    def test_files_of_different_runs_are_refused(self, copy: Path) -> None:
        record = json.loads((copy / "run.json").read_text())
        (copy / "run.json").write_text(json.dumps(record | {"plan": "0" * 64}))
        with pytest.raises(StudyError, match="are of different runs"):
            read_run(copy)

    @pytest.mark.parametrize("text", ["{", "[]", "\ufffd"])
    def test_a_damaged_record_is_said(self, copy: Path, text: str) -> None:
        (copy / "run.json").write_text(text)
        with pytest.raises(StudyError):
            read_run(copy)


class TestCommand:
    def test_three_files_are_written_and_kept(self, copy: Path, tmp_path: Path) -> None:
        made = fedsynth("dossier", copy)
        assert made.exit_code == 0, output_of(made)
        assert all((copy / name).is_file() for name in NAMES)
        again = fedsynth("dossier", copy)
        assert again.exit_code == 2
        assert "people may have written into it" in output_of(again)
        assert fedsynth("dossier", copy, "--force").exit_code == 0
        assert fedsynth("dossier", copy, "--out", tmp_path / "elsewhere").exit_code == 0
