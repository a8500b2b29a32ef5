from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from dp_accounting import dp_event
from dp_accounting.pld import PLDAccountant

from common.errors import DataError, PolicyRefusal, Reason, StudyError
from common.evaluation.assessment import Assessment
from common.evaluation.measures.registry import CORE_MEASURES
from common.ledger.ledger import Ledger
from common.model import load_model
from common.planning.planner import make_plan
from common.privacy.events import DiscreteGaussianVector, DpSgdRun
from common.study.sections import HospitalFacts
from common.tables.checking import check_table
from common.tables.conforming import conform
from common.tables.formats import read_table
from simulations.federation.before_rounds import table_before_rounds
from simulations.federation.prepare import prepare
from simulations.federation.report import Result, rows_of_class
from simulations.federation.run import Options, simulate
from tests.testbeds.clinic import HOSPITALS, clinic_model, clinic_study, clinic_table, clinic_tables

pytestmark = pytest.mark.usefixtures("quick_learners")

NO_REPORT = Options(with_report=False)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `finished`."""
    return tmp_path_factory.mktemp("finished") / "out"


@pytest.fixture(scope="module")
def finished(out: Path) -> Result:
    """A run of the clinic's study with its report; tests read it and change nothing."""
    return simulate(prepare(clinic_study(), clinic_tables()), out, Options(rows=123))


def test_one_seed_gives_the_same_bytes_twice_another_others(tmp_path: Path) -> None:
    tables = clinic_tables()
    for name, seed, workers in (("first", 1, 1), ("second", 1, 3), ("other", 2, 3)):
        options = Options(workers=workers, with_report=False)
        simulate(prepare(clinic_study(study={"seed": seed}), tables), tmp_path / name, options)
    for file in ("synthetic.csv", "model/weights.safetensors", "model/released.safetensors"):
        first, second, other = ((tmp_path / name / file).read_bytes() for name in ("first", "second", "other"))
        assert first == second, file
        assert first != other, file


def test_a_simulation_leaves_what_a_reader_expects(out: Path, finished: Result) -> None:
    synthetic = read_table(out / "synthetic.csv")
    assert len(synthetic) == 123
    assert check_table(synthetic, clinic_study().table, name="synthetic") == []
    assert sorted(path.name for path in out.iterdir()) == [
        "checkpoints", "events.jsonl", "model", "report.html", "report.json", "run.json", "run.log", "sites",
        "synthetic.csv",
    ]  # fmt: skip
    assert isinstance(finished.evidence, Assessment)
    assert finished.evidence.rounds is not None
    assert set(finished.evidence.rounds.before) == set(CORE_MEASURES)
    assert "2 rounds took" in (out / "report.html").read_text()
    assert {path.suffix for path in (out / "model").iterdir()} == {".safetensors", ".toml", ".json", ".md"}
    assert finished.run["status"] == "finished"
    assert finished.run["peak_memory_mib"] > 0
    exchanged = {"enrollment", "histograms", "coarse", "pairs", "rounds"}
    assert set(finished.run["traffic"]) == exchanged
    assert set(finished.run["phases"]) == exchanged | {"fit", "refinement"}
    assert all(set(cells) == set(HOSPITALS) for cells in finished.run["traffic"].values())
    cells = [cell for by_hospital in finished.run["traffic"].values() for cell in by_hospital.values()]
    assert all(set(cell) == {"messages", "bytes_down", "bytes_up"} for cell in cells)  # no seconds of one hospital


@pytest.mark.usefixtures("finished")
def test_simulation_warns_in_every_artifact(out: Path) -> None:
    for file in ("report.html", "run.json", "model/README.md"):
        assert "protects no patient" in (out / file).read_text(), file


def test_without_noise_every_artifact_says_so(tmp_path: Path) -> None:
    bare = prepare(clinic_study(privacy={"noise": "none"}), clinic_tables())
    result = simulate(bare, tmp_path / "out", NO_REPORT)
    assert result.run["hospitals"]["north"]["epsilon"] is None
    assert "NO PRIVACY" in (tmp_path / "out" / "run.json").read_text()
    assert "NO PRIVACY" in (tmp_path / "out" / "model" / "README.md").read_text()


def test_epsilon_recomputed_from_the_ledger_meets_the_study(out: Path, finished: Result) -> None:
    study = clinic_study()
    for name in HOSPITALS:
        accountant = PLDAccountant()
        steps = 0
        for event in Ledger.view(out / "sites" / name / "ledger.sqlite").events():
            match event:
                case DiscreteGaussianVector(sigma, changed):
                    accountant.compose(dp_event.GaussianDpEvent(sigma / changed**0.5))
                case DpSgdRun(multiplier, rate, count):
                    step = dp_event.PoissonSampledDpEvent(rate, dp_event.GaussianDpEvent(multiplier))
                    accountant.compose(dp_event.SelfComposedDpEvent(step, count))
                    steps += count
        independent = accountant.get_epsilon(study.privacy.delta)
        assert steps == 2 * study.training.steps
        reported = finished.run["hospitals"][name]["epsilon"]
        assert reported <= 3.0
        assert independent == pytest.approx(reported, rel=0.01)


@pytest.mark.slow
def test_counting_by_roundness_is_charged_and_shows_in_the_rows(tmp_path: Path) -> None:
    lab = {"kind": "numeric", "name": "lab", "lower": 0, "upper": 20, "decimals": 3, "missing": True}
    outcome = {"kind": "categorical", "name": "outcome", "categories": ["no", "yes"]}
    tables = {name: table[["lab", "outcome"]] for name, table in clinic_tables().items()}
    changed, is_round = [], []
    for multiples in ([], [0.01]):
        study = clinic_study(
            schema={"columns": [lab | {"multiples": multiples}, outcome]},
            evaluation={"sensitive": []},
            training={"rounds": 0},
            privacy={"epsilon": 30.0, "allow_large_epsilon": True},
        )
        out = tmp_path / str(len(multiples))
        simulate(prepare(study, tables), out, Options(rows=500))
        for name in HOSPITALS:
            first = Ledger.view(out / "sites" / name / "ledger.sqlite").events()[0]
            assert isinstance(first, DiscreteGaussianVector)
            changed.append(first.squared_sensitivity)
        thousandths = pd.read_csv(out / "synthetic.csv")["lab"].dropna() * 1000
        is_round.append(float((thousandths.round() % 10 == 0).mean()))
    assert changed == [4, 4, 4, 5, 5, 5]  # levels, one label, and one class
    assert is_round[0] < 0.2
    assert is_round[1] > 0.8  # all of them are in the tables


def test_weighted_vectors_are_charged_as_planned(tmp_path: Path) -> None:
    prepared = prepare(clinic_study(training={"rounds": 0}), clinic_tables())
    result, plan = simulate(prepared, tmp_path / "out", NO_REPORT), make_plan(prepared.study)
    assert [vector.has_weights for vector in plan.vectors] == [False, True, True]
    for name in HOSPITALS:
        events = Ledger.view(tmp_path / "out" / "sites" / name / "ledger.sqlite").events()
        assert events == tuple(
            DiscreteGaussianVector(
                result.run["hospitals"][name]["sigmas"][vector.name], vector.squared_sensitivity, vector.largest_weight
            )
            for vector in plan.vectors
        )


def test_ledgers_kept_elsewhere_survive_and_accumulate(tmp_path: Path) -> None:
    prepared = prepare(clinic_study(), clinic_tables())
    options = Options(sites=tmp_path / "sites", force=True, with_report=False)
    spent = [simulate(prepared, tmp_path / "out", options).run["hospitals"]["north"] for _ in range(2)]
    assert spent[0]["epsilon"] == spent[1]["epsilon"]
    assert spent[1]["epsilon_of_all_runs"] > 1.2 * spent[0]["epsilon_of_all_runs"]


def test_a_run_beyond_the_cap_is_refused_before_records_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(clinic_study(), clinic_tables())
    sites = tmp_path / "sites"
    simulate(prepared, tmp_path / "first", Options(sites=sites, max_epsilon=4.0, with_report=False))
    before = {name: Ledger.view(sites / name / "ledger.sqlite").lines() for name in HOSPITALS}

    def opened(*_: object, **__: object) -> None:
        raise AssertionError("records were opened")

    monkeypatch.setattr("simulations.federation.sites.Shard", opened)
    with pytest.raises(
        PolicyRefusal, match="refused by 3 of 3 hospitals: north: the cohort's lifetime budget"
    ) as refusal:
        simulate(prepared, tmp_path / "second", Options(sites=sites, max_epsilon=4.0))
    assert refusal.value.reason == Reason.BUDGET_EXHAUSTED
    assert {name: Ledger.view(sites / name / "ledger.sqlite").lines() for name in HOSPITALS} == before
    record = json.loads((tmp_path / "second" / "run.json").read_text())
    assert record["status"] == "failed"
    assert "lifetime budget" in record["reason"]
    assert not (tmp_path / "second" / "synthetic.csv").exists()


def test_a_run_without_noise_is_refused_under_any_cap(tmp_path: Path) -> None:
    bare = prepare(clinic_study(privacy={"noise": "none"}), clinic_tables())
    with pytest.raises(PolicyRefusal, match="more epsilon than the hospital allows"):
        simulate(bare, tmp_path / "out", Options(max_epsilon=100.0))


def test_a_hospital_with_a_smaller_epsilon_spends_no_more(tmp_path: Path) -> None:
    tables = clinic_tables()
    facts = tuple(
        HospitalFacts(name=name, declared_rows=90, epsilon=1.0 if name == "west" else None) for name in HOSPITALS
    )
    study = clinic_study().with_hospitals(facts)
    result = simulate(prepare(study, tables), tmp_path / "out", NO_REPORT)
    spent = {name: result.run["hospitals"][name]["epsilon"] for name in HOSPITALS}
    assert 0.98 <= spent["west"] <= 1.0
    assert 2.9 <= spent["north"] == spent["south"] <= 3.0
    assert "smaller epsilon of their own: west 1." in (tmp_path / "out" / "model" / "README.md").read_text()


@pytest.mark.usefixtures("finished")
def test_a_finished_run_gives_back_what_it_did_not_use(out: Path) -> None:
    for name in HOSPITALS:
        history = Ledger.view(out / "sites" / name / "ledger.sqlite")
        assert all(history.is_closed(run_id) for run_id in history.runs())
        assert len(history.runs()) == 1


@pytest.mark.usefixtures("finished")
def test_the_table_before_rounds_is_that_of_the_fit(out: Path, tmp_path: Path) -> None:
    table = clinic_study().table
    before = table_before_rounds(load_model(out / "model"), out, 123)
    assert before is not None
    assert before.shape == (123, len(table.names))
    assert not before.equals(conform(read_table(out / "synthetic.csv"), table))
    plain = tmp_path / "plain"
    simulate(prepare(clinic_study(training={"rounds": 0}), clinic_tables()), plain, NO_REPORT)
    assert table_before_rounds(load_model(plain / "model"), plain, 123) is None


@pytest.mark.usefixtures("finished")
def test_a_saved_model_gives_the_table_again(out: Path) -> None:
    model = load_model(out / "model")
    assert model.sample(50, seed=3).equals(model.sample(50, seed=3))
    assert not model.sample(50, seed=3).equals(model.sample(50, seed=4))


def test_a_study_that_lists_other_hospitals_is_refused() -> None:
    listed = prepare(clinic_study(), clinic_tables()).study
    with pytest.raises(StudyError, match=r"the study lists the hospitals north, south, west"):
        prepare(listed, {"north": clinic_table(90, 0), "east": clinic_table(90, 1)})


def test_a_hospital_below_its_minimum_is_named_with_the_limit() -> None:
    with pytest.raises(DataError, match=r"hospital 'south' has 12 patients, below the minimum of 30"):
        prepare(clinic_study(), {"north": clinic_table(90, 0), "south": clinic_table(12, 1)})


def test_every_problem_of_every_table_is_reported_at_once() -> None:
    tables = clinic_tables()
    tables["north"] = tables["north"].drop(columns="age")
    tables["west"] = tables["west"].drop(columns="sex")
    with pytest.raises(DataError) as problem:
        prepare(clinic_study(), tables)
    assert "north: column 'age'" in str(problem.value)
    assert "west: column 'sex'" in str(problem.value)


def test_a_value_out_of_bounds_is_a_notice_of_its_hospital() -> None:
    tables = clinic_tables()
    tables["north"].loc[0, "age"] = "4711"
    (notice,) = prepare(clinic_study(), tables).notices
    assert notice.startswith("north: column 'age' is outside [18, 100] in 1 row, clamped to the bounds;")


def test_output_of_an_earlier_run_stays_without_force(tmp_path: Path) -> None:
    (tmp_path / "run.log").write_text("earlier")
    with pytest.raises(StudyError, match="is not empty"):
        simulate(prepare(clinic_study(), clinic_tables()), tmp_path)
    assert (tmp_path / "run.log").read_text() == "earlier"


def test_a_foreign_file_in_the_output_folder_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").write_text("years of work")
    for force in (False, True):
        with pytest.raises(StudyError, match=r"choose another"):
            simulate(prepare(clinic_study(), clinic_tables()), tmp_path, Options(force=force))
    assert (tmp_path / "thesis.docx").read_text() == "years of work"


def test_the_run_record_holds_no_row_count_of_a_hospital(tmp_path: Path) -> None:
    tables = clinic_tables(97)  # declared as 97: two digits; so use a count that rounding changes
    tables["north"] = clinic_table(123, 5)
    simulate(prepare(clinic_study(), tables), tmp_path / "out", NO_REPORT)
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["hospitals"]["north"]["declared_rows"] == 120
    assert "123" not in json.dumps(run["hospitals"])


def test_a_target_of_numbers_has_no_classes_to_draw() -> None:
    of_numbers = clinic_study(evaluation={"target": "age", "sensitive": ["sex"]})
    assert rows_of_class(replace(clinic_model(), study=of_numbers), clinic_table(9, 0)) is None
