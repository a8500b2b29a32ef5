from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from common.errors import DataError, StudyError
from common.evaluation.visits.measures import VISIT_MEASURES
from common.tables.raw import as_text
from simulations.benchmark.questions import CaseOptions
from simulations.benchmark.results import Case, ResultsFile
from simulations.benchmark.runner import cases_of
from simulations.benchmark.visits.arms import VISIT_ARMS
from simulations.benchmark.visits.page import HEADINGS, visits_markdown
from simulations.benchmark.visits.questions import VISITS, PatientSplit, measure_visits
from simulations.benchmark.visits.tables import (
    VISIT_TABLES,
    ClinicalVisits,
    OwnVisits,
    VisitSpec,
    drafted_visits,
    visit_sources,
)
from simulations.cli.main import app
from tests.testbeds.visits import TEXT, invented_visits

SPEC = VisitSpec("", "id", "day", "stage", ("sex",), ("stage", "weight"), most_visits=3)


@pytest.fixture
def source(tmp_path: Path) -> OwnVisits:
    invented_visits(500).to_csv(tmp_path / "visits.csv", index=False)
    (tmp_path / "study.toml").write_text(TEXT)
    return OwnVisits(tmp_path / "visits.csv", tmp_path / "study.toml")


class TestSplit:
    def test_patients_are_split_and_not_visits(self, source: OwnVisits) -> None:
        split = PatientSplit.of(source, Case("visits", "bootstrap", 0.0, 0), CaseOptions())
        train, test = set(split.train["id"]), set(split.test["id"])
        assert not train & test
        assert (len(train), len(test)) == (400, 100)

    def test_seed_decides_the_split(self, source: OwnVisits) -> None:
        first, second, again = (
            PatientSplit.of(source, Case("visits", "bootstrap", 0.0, seed), CaseOptions()).test for seed in (0, 1, 0)
        )
        assert first.equals(again)
        assert set(first["id"]) != set(second["id"])


class TestArms:
    def test_bootstrap_is_close_to_real_patients(self, source: OwnVisits) -> None:
        values = measure_visits(source, Case("visits", "bootstrap", 0.0, 0), CaseOptions())
        assert values.keys() == set(VISITS.columns) - {"table", "arm", "epsilon", "seed"}
        assert values["visits_per_patient"] < 0.2
        assert values["spent"] is None

    @pytest.mark.slow
    @pytest.mark.parametrize("arm", [name for name, arm in VISIT_ARMS.items() if arm.has_budget])
    def test_private_arm_spends_its_epsilon(self, source: OwnVisits, arm: str) -> None:
        values = measure_visits(source, Case("visits", arm, 3.0, 0), CaseOptions(is_smoke=True))
        assert 2.5 < values["spent"] <= 3.0
        assert values["hospitals"] == (4 if arm.endswith("-4") else 1)
        assert all(values[key] is not None for key in VISIT_MEASURES)


class TestTables:
    def test_drafted_study_says_whose_a_column_is(self) -> None:
        study = drafted_visits(as_text(invented_visits(200)), SPEC, "invented")
        assert (study.declared.patient, study.declared.time, study.declared.most_visits) == ("id", "day", 3)
        assert {column.name: column.per for column in study.declared.columns} == {
            "sex": "patient", "day": None, "stage": None, "weight": None
        }  # fmt: skip

    def test_clinical_tables_have_the_columns_of_the_issue(self) -> None:
        assert (len(VISIT_TABLES["diabetes130"].static), len(VISIT_TABLES["diabetes130"].visit)) == (2, 16)

    def test_absent_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"pbcseq\.csv.*name its folder with --data"):
            ClinicalVisits("pbcseq", tmp_path).load()

    def test_too_few_patients_are_refused(self, source: OwnVisits) -> None:
        invented_visits(9).to_csv(source.path, index=False)
        with pytest.raises(DataError, match="fewer than 10 patients, too few to hold some out; add patients"):
            source.load()

    def test_flat_study_is_refused(self, source: OwnVisits) -> None:
        source.study.write_text(
            TEXT.replace('patient = "id"\ntime = "day"\nmost_visits = 4\n', "").replace('per = "patient"\n', "")
        )
        with pytest.raises(StudyError, match="not a study of visits"):
            source.load()

    def test_contradicting_options_are_refused(self) -> None:
        for arguments in ((None, (), None), (Path("x"), ("pbcseq",), Path("y")), (Path("x"), ("pbc",), None)):
            with pytest.raises(StudyError):
                visit_sources(*arguments)


class TestPage:
    def test_page_lists_arms_and_what_is_missing(self) -> None:
        row = {"table": "pbcseq", "arm": "bootstrap", "epsilon": 0.0, "seed": 0} | dict.fromkeys(VISIT_MEASURES, 0.25)
        frame = pd.DataFrame([row], columns=list(VISITS.columns))
        text = visits_markdown(frame, [Case("pbcseq", "flattened", 3.0, 0)], [])
        assert "| real patients, resampled | - | 1 | 0.250 |" in text
        assert "| pbcseq | flattened | 3 / 0 | not run yet |" in text
        assert HEADINGS.keys() == VISIT_MEASURES.keys()

    def test_cells_are_those_of_visit_arms(self) -> None:
        source = ClinicalVisits("pbcseq", Path())
        cases = cases_of([source], ["bootstrap", "flattened"], [3, 10], [0], among=VISIT_ARMS)
        assert [(case.arm, case.epsilon) for case in cases] == [
            ("bootstrap", 0), ("flattened", 3), ("flattened", 10)
        ]  # fmt: skip
        with pytest.raises(StudyError, match="unknown arm 'central'"):
            cases_of([source], ["central"], [3], [0], among=VISIT_ARMS)

    @pytest.mark.slow
    def test_command_writes_results_and_page(self, source: OwnVisits, tmp_path: Path) -> None:
        out = tmp_path / "out"
        arguments = ["--data", str(source.path), "--study", str(source.study), "--arms", "bootstrap", "--seeds", "0"]
        done = CliRunner().invoke(app, ["benchmark", "visits", *arguments, "--processes", "1", "--out", str(out)])
        assert done.exit_code == 0, done.output
        assert len(ResultsFile(out / VISITS.file, VISITS.columns).cases()) == 1
        assert "real patients, resampled" in (out / "visits.md").read_text()
