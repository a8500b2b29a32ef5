"""The dossier of a run: its facts are the run's, its boxes are empty, and it is the same bytes whenever it is made."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyshacl import validate
from rdflib import Graph, URIRef

from common.columns.date import Date
from common.dossier import card, law
from common.dossier.dossier import NAMES, sections_of, to_html, write_dossier
from common.dossier.facts import Cohort, RunFacts, read_audit, read_run
from common.dossier.parts import Item
from common.dossier.turtle import LEFT_TO_HOLDER, turtle
from common.errors import StudyError
from common.omop.sql import digest, queries
from common.system.folder import RunFolder
from simulations.audit.run import Report
from simulations.audit.trials import Finding
from simulations.federation.hospitals import built_in_hospitals, built_in_study
from simulations.federation.prepare import prepare
from simulations.federation.run import simulate
from tests.testbeds.command_line import fedsynth, output_of
from tests.testbeds.healthdcat_shapes import SHAPES
from tests.testbeds.omop_database import omop_study

pytestmark = pytest.mark.usefixtures("quick_learners")

ROOT = Path(__file__).parents[3]
FINDING = {"name": "pairs", "target": "counts", "claimed": 3.0, "epsilon_lower": 1.25, "is_refuted": False}
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


def test_a_deployment_says_what_a_suspicion_becomes(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = read_run(run)
    deployed = replace(facts, record=facts.record | {"simulation": False})
    monkeypatch.setattr(card, "highest_epsilon", lambda facts: 2.8)
    answers = " ".join(item.answer for item in card.summary(deployed).items)
    assert "raises the suspicion to at most 15 in 100" in answers


def test_a_run_without_noise_claims_nothing(run: Path) -> None:
    facts = read_run(run)
    study = facts.study.model_copy(update={"privacy": facts.study.privacy.model_copy(update={"noise": "none"})})
    deployed = replace(facts, study=study, record=facts.record | {"simulation": False})
    answers = {item.question: item.answer for item in items(deployed)}
    assert answers["How are patients protected?"].startswith("No noise was added: nothing protects a patient")
    assert answers["Expert Determination: bound on any recipient"] == "none: no noise was added"
    assert "hospitals sent sums without noise" in answers["What was made?"]
    assert answers["Art. 35(7)(d): measures"].startswith("no noise; a charge to a ledger")


def test_what_omop_studies_read_besides_columns_is_said(run: Path) -> None:
    facts = replace(read_run(run), study=omop_study())
    (minimum,) = (item for item in law.european(facts).items if item.question.startswith("EHDS Art. 66"))
    assert "3 columns are made by the SQL texts of the data card, which also read identifiers, dates" in minimum.answer


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


def test_without_sensitive_columns_no_groups_are_compared(run: Path) -> None:
    facts = read_run(run)
    assert facts.report is not None
    answers = {item.answer for item in items(replace(facts, report=facts.report | {"fairness": None}))}
    assert "The study names no sensitive column, so groups were not compared" in answers


def test_a_report_of_visits_has_a_verdict_and_no_attack(run: Path) -> None:
    verdict = {"headline": "Usable with care.", "findings": ["Steps differ by 12%."]}
    facts = replace(read_run(run), report={"kind": "visits", "measures": {}, "verdict": verdict})
    page = to_html(facts, sections_of(facts))
    assert "Usable with care." in page
    assert "Steps differ by 12%." in page
    assert "No attack was run" in page


def test_a_simulation_claims_no_bound(run: Path) -> None:
    (bound,) = (item for item in items(read_run(run)) if item.question.endswith("bound on any recipient"))
    assert bound.answer.startswith("none in this simulation")


def test_safe_harbor_finds_what_a_column_declares(run: Path) -> None:
    (hipaa,) = (section for section in sections_of(read_run(run)) if section.key == "hipaa")
    assert {row[0]: row[2] for row in hipaa.grids[0].rows}["C"] == "age"


def test_the_data_card_names_the_released_table_by_its_digest(run: Path) -> None:
    sha256 = hashlib.sha256((run / "synthetic.csv").read_bytes()).hexdigest()
    assert f"synthetic.csv {sha256}" in [item.answer for item in card.data_card(read_run(run)).items]


def test_a_table_that_was_changed_is_refused(copy: Path, tmp_path: Path) -> None:
    with (copy / "synthetic.csv").open("a") as file:
        file.write("\n")
    with pytest.raises(StudyError, match=r"synthetic\.csv' was changed"):
        write_dossier(read_run(copy), tmp_path / "changed")
    assert not (tmp_path / "changed").exists()


def test_the_data_card_says_what_is_taken_from_omop(run: Path) -> None:
    facts = read_run(run)
    assert len(card.data_card(facts).grids) == 2
    study = omop_study()
    assert study.extraction is not None
    grids = card._source_grids(study)
    assert [row[0] for row in grids[0].rows] == ["[study_cohort]", "sex", "glucose", "bleed"]
    assert [row[2] for row in grids[0].rows] == [query.sha256 for query in queries(study.extraction)]
    assert grids[0].rows[3][1] == "condition of [20] or below on day 1 to 90: whether there is one"
    (source,) = (item for item in card._table_items(replace(facts, study=study)) if item.source == "model/study.toml")
    assert digest(study.extraction) in source.answer


def test_a_hospital_adds_its_ledger(run: Path) -> None:
    answers = [item.answer for item in items(replace(read_run(run), cohort=COHORT))]
    assert "epsilon 2.500 of 5 at delta 1e-05 (Renyi bounds)" in answers
    assert "approved by Kari, officer, until 2027-01-01" in answers


class TestCatalogEntry:
    """dossier.ttl: valid Turtle, and what HealthDCAT-AP asks for but for what only people know."""

    @pytest.fixture
    def graph(self, run: Path) -> Any:
        return Graph().parse(data=turtle(read_run(run)), format="turtle", publicID="file:///run/dossier.ttl")

    def test_texts_come_back_as_they_were(self, graph: Any) -> None:
        texts = [str(value) for value in graph.objects()]
        assert any(text.endswith("<script>alert(1)</script> & more") for text in texts)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pyshacl uses names that rdflib gave up
    def test_it_lacks_what_only_the_holder_knows(self, graph: Any) -> None:
        _, results, _ = validate(graph, shacl_graph=SHAPES, shacl_graph_format="turtle")
        shacl = "http://www.w3.org/ns/shacl#"
        missing = {str(path) for path in results.objects(predicate=URIRef(f"{shacl}resultPath"))}
        assert missing == {
            "http://purl.org/dc/terms/accessRights",
            "http://data.europa.eu/r5r/applicableLegislation",
            "http://healthdataportal.eu/ns/health#hdab",
            "http://healthdataportal.eu/ns/health#healthCategory",
        }
        names = {path.replace("/", "#").split("#")[-1] for path in missing}
        assert names <= {name.split(":")[1] for name in LEFT_TO_HOLDER}

    def test_it_counts_the_rows_of_the_table(self, run: Path, graph: Any) -> None:
        (rows,) = graph.objects(predicate=URIRef("http://healthdataportal.eu/ns/health#numberOfRecords"))
        assert int(rows) == len((run / "synthetic.csv").read_text().splitlines()) - 1

    def test_it_names_every_column(self, run: Path, graph: Any) -> None:
        named = {str(name) for name in graph.objects(predicate=URIRef("http://www.w3.org/ns/csvw#name"))}
        assert named == {column.name for column in read_run(run).study.declared.columns}

    def test_a_date_has_its_own_type(self, copy: Path) -> None:
        day = Date(name="day", lower="2020-01-01", upper="2020-12-31", date_format="%Y-%m-%d")
        other = day.model_copy(update={"name": "other", "date_format": "%d.%m.%Y"})
        path = copy / "synthetic.csv"
        path.write_text("day,other\n2020-01-02,02.01.2020\n", encoding="utf-8")
        facts = read_run(copy)
        columns = (*facts.study.declared.columns, day, other)
        declared = facts.study.declared.model_copy(update={"columns": columns})
        text = turtle(replace(facts, study=facts.study.model_copy(update={"declared": declared})))
        types = re.findall(r'csvw:title "(\w+)"@en ; csvw:datatype "(\w+)"', text)
        assert types == [("day", "date"), ("other", "string")]

    def test_without_a_table_there_is_no_distribution(self, copy: Path) -> None:
        (copy / "synthetic.csv").unlink()
        text = turtle(read_run(copy))
        assert "dcat:distribution" not in text
        assert "hasStructuredData false" in text


class TestLinks:
    def test_a_source_in_the_run_is_a_link(self, run: Path, tmp_path: Path) -> None:
        page = write_dossier(read_run(run), tmp_path / "there")[0]
        links = re.findall(r'href="([^"#]+)"', page.read_text())
        assert {"run.json", "study.toml"} <= {link.rpartition("/")[2] for link in links}
        assert all((page.parent / link).is_file() for link in links)

    def test_a_module_is_no_link(self, run: Path) -> None:
        facts = read_run(run)
        assert 'href="common/' not in to_html(facts, sections_of(facts))


class TestAudit:
    def facts(self, run: Path, folder: Path, **changes: object) -> RunFacts:
        facts = read_run(run)
        document = {"fingerprint": facts.study.fingerprint, "confidence": 0.999, "verdict": "not refuted: no attack"}
        path = folder / "audit.json"
        path.write_text(json.dumps(document | {"findings": [FINDING]} | changes))
        return replace(facts, audit=read_audit(path, facts.study))

    def test_its_findings_stand_in_a_table(self, run: Path, tmp_path: Path) -> None:
        facts = self.facts(run, tmp_path)
        page = to_html(facts, sections_of(facts))
        assert "<td>pairs</td><td>counts</td><td>3.000</td><td>1.250</td><td>no</td>" in page
        assert "at 99.9 % confidence" in page

    def test_one_as_the_audit_writes_it_is_accepted(self, run: Path, tmp_path: Path) -> None:
        facts = read_run(run)
        known = Finding(
            name="pairs", target="counts", delta=1e-5, claimed=3.0, family_claimed=2.0, direct=1.5, implied=1.25,
            one_run=None, one_run_delta=None, one_run_claimed=None, confidence=0.999, trials=9, seconds=0.1,
        )  # fmt: skip
        unbounded = replace(known, name="rounds", claimed=math.inf)
        report = Report(facts.study.name, facts.study.fingerprint, "north", 0, 0.999, 1.0, 1.0, (known, unbounded))
        path = RunFolder(tmp_path).write_json("audit.json", report.as_document())
        result = fedsynth("dossier", str(run), "--audit", str(path), "--out", str(tmp_path / "out"))
        assert result.exit_code == 0, output_of(result)
        page = (tmp_path / "out" / "dossier.html").read_text()
        assert "<td>pairs</td><td>counts</td><td>3.000</td><td>1.500</td><td>no</td>" in page
        assert "<td>rounds</td><td>counts</td><td>infinite</td><td>1.500</td><td>no</td>" in page

    @pytest.mark.parametrize("changes", [{"findings": [{}]}, {"findings": [3]}, {"verdict": None}, {"confidence": 1}])
    def test_one_that_lacks_something_is_named(self, run: Path, tmp_path: Path, changes: dict[str, object]) -> None:
        with pytest.raises(StudyError, match="name that file"):
            self.facts(run, tmp_path, **changes)

    def test_one_of_another_study_is_refused(self, run: Path, tmp_path: Path) -> None:
        with pytest.raises(StudyError, match="about another study"):
            self.facts(run, tmp_path, fingerprint="0" * 64)

    def test_a_file_that_is_none_is_named(self, run: Path, tmp_path: Path) -> None:
        with pytest.raises(StudyError, match="name that file"):
            read_audit(tmp_path / "audit.json", read_run(run).study)


def test_the_ai_act_is_gone_through_point_by_point(run: Path) -> None:
    (section,) = (section for section in sections_of(read_run(run)) if section.key == "ehds-ai-act")
    asked = " ".join(item.question for item in section.items)
    assert all(f"({letter})" in asked for letter in "abcdefgh")
    assert all(f"EHDS Art. {article}" in asked for article in (51, 53, 66, 68, 77, 78))


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
