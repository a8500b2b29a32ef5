from __future__ import annotations

import math
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from common.errors import DataError, StudyError
from common.evaluation.measures.registry import CORE_MEASURES
from common.run_events.events import Progressed, RunEvent
from common.tables.conforming import conform, format_table
from common.tables.raw import as_text
from simulations.benchmark.arms import ARMS, DEFAULT_ARMS, GROUPS, VARIANTS, resolve
from simulations.benchmark.curves import curves
from simulations.benchmark.gaps import SeedMean, gaps, paired_p
from simulations.benchmark.markdown import gap_table, markdown, shadow_markdown
from simulations.benchmark.peers import PEERS, PeerEnvironment, PeerFailed, _with_gaps, _without_gaps, run_peer
from simulations.benchmark.planner_constants import leave_one_out
from simulations.benchmark.questions import MEMBERSHIP, QUALITY, CaseOptions
from simulations.benchmark.results import COLUMNS, COMPARED, Case, CaseFailure, ResultsFile, absent
from simulations.benchmark.runner import CaseWork, attempt, cases_of, run_cases
from simulations.benchmark.synthesis import partition
from simulations.benchmark.tables import SITE_COLUMN, BuiltInTable, ClinicalTable, OwnTable, load, pooled
from simulations.cli.main import app
from tests.testbeds.clinic import clinic_study, clinic_table

SCORES = dict.fromkeys(CORE_MEASURES, 0.25)
RESULTS = Path("out/results.csv")


def row(arm: str, seed: int, *, epsilon: float = 3.0, table: str = "clinic", **scores: float) -> dict[str, object]:
    return {"table": table, "arm": arm, "epsilon": epsilon, "seed": seed} | SCORES | scores


def frame(*rows: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(COLUMNS))


def test_a_word_stands_for_the_arm_that_fits_the_table() -> None:
    assert resolve("federated", has_sites=True) == "by-site"
    assert resolve("federated", has_sites=False) == "local-4"
    assert resolve("local-4", has_sites=True) == "local-4"
    assert set(DEFAULT_ARMS) <= {*GROUPS, *ARMS}


def test_an_arm_without_a_budget_has_one_case_per_seed() -> None:
    folder = Path()
    sources = [ClinicalTable("flchain", folder), ClinicalTable("heart-disease", folder)]
    cases = cases_of(sources, ["bootstrap", "federated", "by-site"], [1, 3], [0, 1])
    assert cases[:3] == [
        Case("flchain", "bootstrap", 0.0, 0), Case("flchain", "local-4", 1.0, 0), Case("flchain", "local-4", 3.0, 0),
    ]  # fmt: skip
    # A seed: 1 + 2 of flchain, which has no sites; 1 + 2 of heart-disease, where two words are one arm.
    assert len(cases) == len(set(cases)) == 2 * (3 + 3)


def test_an_unknown_arm_is_named_with_those_there_are() -> None:
    with pytest.raises(StudyError, match="unknown arm 'centrl'; choose from centralized, federated"):
        cases_of([BuiltInTable()], ["centrl"], [1], [0])


def test_hospitals_share_the_rows_out_without_losing_any() -> None:
    rows = pd.DataFrame({"age": range(10), SITE_COLUMN: ["A b"] * 4 + ["c"] * 6})
    assert {name: len(part) for name, part in partition(rows, None, 0).items()} == {"a-b": 4, "c": 6}
    random = partition(rows, 3, 0)
    assert sorted(age for part in random.values() for age in part.age) == list(range(10))


def test_results_of_earlier_versions_are_read_and_kept(tmp_path: Path) -> None:
    path = tmp_path / QUALITY.file
    path.write_text(
        "table,arm,epsilon,seed,tvd1,tvd2,tvd3,auc_lr,auc_gb,c2st,seconds\n"
        "flchain,central,3.0,0,0.01,0.06,0.14,0.95,0.95,0.8,12.5\n"
        "flchain,bootstrap,0.0,0,0.01,0.04,0.08,0.95,0.97,0.36,0.0\n",
        encoding="utf-8",
    )
    results = ResultsFile(path)
    wanted = cases_of([ClinicalTable("flchain", tmp_path)], ["bootstrap", "centralized"], [3], [0, 1])
    todo = absent(wanted, results)
    assert todo == [Case("flchain", "bootstrap", 0.0, 1), Case("flchain", "central", 3.0, 1)]
    results.keep(todo[1], SCORES | {"seconds": 1.0, "bytes": 7})
    again = ResultsFile(path).frame()
    assert list(again.columns) == list(COLUMNS)
    assert again.loc[again.seed == 1, "bytes"].item() == 7
    assert again.seconds.max() == 12.5
    assert not list(tmp_path.glob("*.partial"))


def test_a_file_that_holds_no_results_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / QUALITY.file
    path.write_text("age,sex\n63,male\n", encoding="utf-8")
    with pytest.raises(StudyError, match="does not contain a benchmark's results"):
        ResultsFile(path)
    assert path.read_text(encoding="utf-8") == "age,sex\n63,male\n"


@pytest.mark.slow
def test_a_benchmark_resumes_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEDSYNTH_PEERS", raising=False)
    source = BuiltInTable()
    cases = cases_of([source], ["bootstrap", "ctgan"], [3], [0])
    events: list[RunEvent] = []
    for _ in range(2):
        failures = run_cases([source], cases, tmp_path, CaseWork(), emit=events.append)
        assert [failure.case.arm for failure in failures] == ["ctgan"]
        assert failures[0].is_excused
    # The bootstrap was drawn once; the peer without an environment is tried in both sittings.
    shown = [event for event in events if isinstance(event, Progressed)]
    assert [event.done for event in shown if not event.item] == [0, 1]
    assert sum("bootstrap" in event.item for event in shown) == 1
    found = ResultsFile(tmp_path / QUALITY.file).frame()
    assert list(found.arm) == ["bootstrap"]
    assert found.tvd1.item() < 0.1
    assert found.auc_lr.item() > 0.8


def test_a_benchmark_with_all_results_starts_no_worker(tmp_path: Path) -> None:
    assert run_cases([BuiltInTable()], [], tmp_path, CaseWork()) == []


def test_two_benchmarks_do_not_share_a_folder(tmp_path: Path) -> None:
    from common.system.files import locked

    with locked(tmp_path / "lock"), pytest.raises(StudyError, match=f"in use by process {os.getpid()}"):
        run_cases([BuiltInTable()], [], tmp_path, CaseWork())


def test_a_case_that_breaks_is_reported_by_its_kind_alone(tmp_path: Path) -> None:
    clinic_table(200, 1).drop(columns="lab").to_csv(tmp_path / "clinic.csv", index=False)
    (tmp_path / "study.toml").write_text(clinic_study().to_toml(), encoding="utf-8")
    source = OwnTable(tmp_path / "clinic.csv", tmp_path / "study.toml", one_row_per_patient=True)
    found = attempt(QUALITY, source, Case(source.name, "central", 3.0, 0), CaseOptions())
    assert isinstance(found, CaseFailure)
    assert "column 'lab' is not in the table" in found.reason
    assert not found.is_excused


@pytest.mark.parametrize("arm", ["centralized", "federated", "local-only"])
def test_an_own_table_goes_through_every_kind_of_arm(tmp_path: Path, arm: str) -> None:
    study = clinic_study(training={"rounds": 0}, synthesizer={"fit_steps": 5}).with_hospitals(())
    (tmp_path / "study.toml").write_text(study.to_toml(), encoding="utf-8")
    clinic_table(600, 1).assign(ward=["east", "west"] * 300).to_csv(tmp_path / "clinic.csv", index=False)
    source = OwnTable(tmp_path / "clinic.csv", tmp_path / "study.toml", site_column="ward", one_row_per_patient=True)
    name = resolve(arm, has_sites=source.has_sites)
    found = attempt(QUALITY, source, Case(source.name, name, 2.0, 0), CaseOptions())
    assert not isinstance(found, CaseFailure), found.reason
    assert found["hospitals"] == (1 if arm == "centralized" else 2)
    assert 1.9 < found["spent"] <= 2.0
    assert (found["bytes"] == 0) == (arm == "local-only")
    assert found["delta"] == study.privacy.delta
    assert 0 < found["tvd1"] < 0.5


def test_rows_without_target_and_repeated_patients_are_dropped(tmp_path: Path) -> None:
    raw = clinic_table(100, 1).assign(id=[str(place // 2) for place in range(100)])
    raw.loc[0, "outcome"] = ""
    raw.to_csv(tmp_path / "clinic.csv", index=False)
    loaded = load(OwnTable(tmp_path / "clinic.csv", target="outcome", patient_column="id"))
    # 50 patients, of whom the first has no outcome in the first row.
    assert len(loaded.frame) == 49
    assert "id" not in loaded.study.table.names


def test_an_own_table_logs_what_the_check_notices(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "study.toml").write_text(clinic_study().to_toml(), encoding="utf-8")
    clinic_table(100, 1).assign(note="x").to_csv(tmp_path / "noted.csv", index=False)
    load(OwnTable(tmp_path / "noted.csv", tmp_path / "study.toml", one_row_per_patient=True))
    assert "noted.csv: columns not in the schema are ignored: 'note'" in caplog.messages


def test_the_built_in_table_keeps_its_hospitals() -> None:
    loaded = load(BuiltInTable())
    assert loaded.frame[SITE_COLUMN].value_counts().to_dict() == {
        "cleveland": 303, "hungary": 294, "va-long-beach": 200, "switzerland": 123,
    }  # fmt: skip


def test_a_mean_has_students_interval_over_seeds() -> None:
    mean = SeedMean.of([0.1, 0.2, 0.3])
    assert mean is not None
    # Standard deviation 0.1, error 0.1 / sqrt(3) = 0.0577; t of 0.975 with 2 degrees of freedom is 4.303.
    assert mean.value == pytest.approx(0.2)
    assert mean.half_width == pytest.approx(4.303 * 0.0577, rel=1e-3)
    assert str(SeedMean.of([0.1])) == "0.100"
    assert SeedMean.of([math.nan]) is None


def test_the_gap_pairs_the_seeds_that_both_arms_have() -> None:
    results = frame(
        row("central", 0, tvd1=0.10), row("central", 1, tvd1=0.20), row("central", 2, tvd1=0.30),
        row("local-4", 0, tvd1=0.13), row("local-4", 1, tvd1=0.22), row("alone-4", 0, tvd1=0.9),
        row("by-site", 0, epsilon=1.0),
    )  # fmt: skip
    found = gaps(results)
    assert {(gap.arm, gap.epsilon) for gap in found} == {("local-4", 3.0)}
    gap = next(gap for gap in found if gap.metric == "tvd1")
    # Differences 0.03 and 0.02: mean 0.025, error 0.005, t = 5 with 1 degree of freedom, p = 2 (1/2 - atan(5) / pi).
    assert gap.mean.value == pytest.approx(0.025)
    assert gap.mean.seeds == 2
    assert gap.p == pytest.approx(1 - 2 * math.atan(5) / math.pi, rel=1e-6)


def test_a_measure_without_pairs_has_no_gap() -> None:
    found = gaps(frame(row("central", 0, tvd1=0.1), row("local-4", 0, tvd1=0.2)))
    (line,) = (
        text for text in gap_table([gap for gap in found if gap.metric == "tvd1"]).splitlines() if "+0.1" in text
    )
    assert line.count("| - ") == len(COMPARED) - 1


def test_a_test_needs_two_seeds() -> None:
    assert paired_p([0.1]) is None
    assert paired_p([0.0, 0.0]) == 1.0


def test_the_summary_names_every_case_that_was_not_run() -> None:
    results = frame(row("central", 0), row("local-4", 0, tvd1=0.35), row("ctgan", 0, epsilon=0.0))
    cases = [Case("clinic", "aim", 3.0, 0), Case("clinic", "central", 3.0, 1), Case("clinic", "dp-ctgan", 3.0, 0)]
    failures = [CaseFailure(cases[2], "not within 60 minutes", is_excused=True)]
    text = markdown(results, cases, failures)
    assert "| centralized | 3 | 1 | 0.250 |" in text
    assert "| CTGAN, centralized, NOT private | - | 1 |" in text
    assert "| clinic | federated, 4 random hospitals, local noise | 3 | 1 | +0.100 |" in text
    last = text.split("## Not run")[1]
    assert "| clinic | centralized | 3 / 1 | not run yet |" in last
    assert "| 3 / 0 | not within 60 minutes |" in last
    assert "aim" in last.lower()


def test_the_curves_load_nothing_from_a_server() -> None:
    page = curves(frame(row("central", 0), row("central", 0, epsilon=1.0), row("bootstrap", 0, epsilon=0.0)))
    assert "default-src 'none'" in page
    assert "<script src" not in page
    assert "<link" not in page
    assert '"centralized"' in page


def test_constants_are_judged_by_the_other_tables() -> None:
    better = next(iter(VARIANTS))
    rows = [
        row(arm, 0, table=table, tvd1=error, auc_lr=0.5, auc_gb=0.5, c2st=0.75, tvd2=0.2, tvd3=0.2)
        for table in ("one", "two")
        for arm, error in (("central", 0.2), (better, 0.1))
    ]
    # One of six errors is halved: 2 ** (1 / 6) - 1 = 12.2 %.
    assert f"one: the others choose {better} (gain +12.2%); here it gains +12.2%" in leave_one_out(
        frame(*rows), RESULTS
    )


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "no row of arm 'central'"),
        ([row("more-pairs", 0)], "no row of arm 'central'"),
        ([row("central", 0)], "no row of an arm with other constants (fewer-histograms, "),
        ([row("central", 0), row("more-pairs", 1)], "no table, epsilon and seed with both"),
    ],
)
def test_constants_without_results_name_the_command(rows: list[dict[str, object]], words: str) -> None:
    with pytest.raises(StudyError) as refused:
        leave_one_out(frame(*rows), RESULTS)
    assert f"'out/results.csv' has {words}" in str(refused.value)
    assert "`fedsynth benchmark run --arms central,fewer-histograms," in str(refused.value)
    assert str(refused.value).endswith("--out out`")


def test_constants_of_an_absent_folder_end_with_code_two(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["benchmark", "constants", "--out", str(tmp_path / "none")])
    assert result.exit_code == 2
    assert "results.csv' has no row of arm 'central'" in result.stderr


def test_a_failed_case_ends_the_command_with_code_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = CaseFailure(Case("built-in", "central", 3.0, 0), "out of memory", is_excused=False)
    monkeypatch.setattr("simulations.benchmark.runner.run_cases", lambda *_, **__: [failed])
    words = ["benchmark", "run", "--arms", "central", "--seeds", "0", "--out", str(tmp_path)]
    done = CliRunner(env={"FEDSYNTH_DATA": ""}).invoke(app, words)
    assert done.exit_code == 1
    assert "built-in central epsilon 3 seed 0: out of memory" in done.stderr


def test_noise_does_not_favor_constants() -> None:
    # Each arm errs twice as much as the other in one of two seeds, and C2ST is about a half: no gain either way.
    better = next(iter(VARIANTS))
    rows = [
        row(arm, seed, table=table, tvd1=error, auc_lr=0.5, auc_gb=0.5, c2st=told, tvd2=0.2, tvd3=0.2)
        for table in ("one", "two")
        for arm, errors in (("central", (0.1, 0.2)), (better, (0.2, 0.1)))
        for seed, (error, told) in enumerate(zip(errors, (0.5001, 0.48), strict=True))
    ]
    assert "one: the others choose central (gain +0.0%); here it gains +0.0%" in leave_one_out(frame(*rows), RESULTS)


def test_shadows_refuse_an_arm_with_own_hospitals() -> None:
    source = BuiltInTable()
    failure = attempt(MEMBERSHIP, source, Case(source.name, "by-site", 3.0, 0), CaseOptions(shadows=4))
    assert isinstance(failure, CaseFailure)
    assert "choose local-4" in failure.reason


@pytest.mark.slow
def test_shadows_recognize_the_patients_of_real_rows(tmp_path: Path) -> None:
    source = BuiltInTable()
    cases = cases_of([source], ["bootstrap", "by-site"], [3], [0])
    failures = run_cases([source], cases, tmp_path, CaseWork(MEMBERSHIP, CaseOptions(shadows=4)))
    assert [failure.case.arm for failure in failures] == ["by-site"]
    assert "choose local-4" in failures[0].reason
    results = ResultsFile(tmp_path / MEMBERSHIP.file, MEMBERSHIP.columns)
    (found,) = results.frame().to_dict("records")
    # A resampled table holds 63 % of the training rows themselves.
    assert found["auroc"] > 0.7
    assert found["flagged"] == 1
    assert math.isnan(found["bound"])
    assert not (tmp_path / QUALITY.file).exists()
    text = shadow_markdown(results.frame(), absent(cases, results), failures)
    assert f"| built-in | real rows, resampled | - | 0 | 4 | {found['auroc']:.3f} (" in text
    assert "| built-in | federated by hospital, local noise | 3 / 0 |" in text


def test_every_peer_is_an_arm_that_says_whether_it_is_private() -> None:
    for name, peer in PEERS.items():
        assert ARMS[name].has_budget == peer.is_private
        assert ("NOT private" in ARMS[name].label) != peer.is_private


def test_a_peer_that_is_not_installed_says_what_to_do() -> None:
    rows, study = clinic_table(50, 1), clinic_study()
    with pytest.raises(PeerFailed, match="make peers"):
        run_peer("dp-ctgan", rows, study, 0, PeerEnvironment(Path("nowhere")))
    with pytest.raises(PeerFailed, match="'smartnoise-synth' is not installed"):
        run_peer("dp-ctgan", rows, study, 0, PeerEnvironment(Path(sys.prefix)))


def test_missing_numbers_survive_a_peer_without_them() -> None:
    schema = clinic_study().table
    rows = conform(clinic_table(200, 3), schema)
    given, discrete = _without_gaps(rows, schema)
    assert not given.isna().any().any()
    assert discrete == ["lab is missing", "sex", "outcome"]
    pd.testing.assert_frame_equal(_with_gaps(given, schema), rows)


needs_peers = pytest.mark.skipif(not os.environ.get("FEDSYNTH_PEERS"), reason="FEDSYNTH_PEERS names no environment")


@needs_peers
@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
def test_peers_draw_a_table_that_the_schema_allows(name: str) -> None:
    rows, study = clinic_table(400, 1), clinic_study(synthesizer={"bins": 4})
    made = run_peer(name, rows, study, 0, PeerEnvironment(Path(os.environ["FEDSYNTH_PEERS"])))
    assert len(made) == len(rows)
    conformed = conform(as_text(made), study.table)
    pd.testing.assert_frame_equal(format_table(conformed, study.table), made)
    assert np.unique(made.outcome).tolist() == ["no", "yes"]


def test_report_renders_results_without_running_a_case(tmp_path: Path) -> None:
    results = ResultsFile(tmp_path / QUALITY.file)
    results.keep(Case("built-in", "central", 3.0, 0), SCORES | {"cpu_seconds": 2.0, "bytes": 5_000_000})
    words = ["benchmark", "report", "--tables", "built-in", "--arms", "centralized,federated", "--epsilons", "3"]
    done = CliRunner().invoke(app, [*words, "--seeds", "0", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| centralized | 3 | 1 | 0.250 |" in text
    assert "| centralized | 2.0, 5.0 |" in text
    assert "| built-in | federated by hospital, local noise | 3 / 0 | not run yet |" in text
    assert (tmp_path / "curves.html").exists()
    assert len(ResultsFile(tmp_path / QUALITY.file).cases()) == 1


@pytest.mark.slow
def test_the_smoke_benchmark_leaves_no_case_out(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["benchmark", "run", "--smoke", "--processes", "1", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert text.startswith("SMOKE TEST")
    assert "Nothing: every case has a result." in text
    found = ResultsFile(tmp_path / QUALITY.file).frame()
    assert set(found.arm) == {"bootstrap", "central", "by-site", "alone-by-site"}
    assert found.spent[found.arm != "bootstrap"].between(2.9, 3.0).all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--tables", "flchian"], "unknown table 'flchian'"),
        (["run", "--tables", "flchain"], "name its folder with --data or FEDSYNTH_DATA"),
        (["run", "--seeds", "a"], "--seeds takes numbers separated by commas"),
        (["attack", "--shadows", "3"], "--shadows 3 is below 4"),
        (["run", "--epsilons", "0"], "--epsilons must be above 0"),
        (["run", "--site-column", "ward"], "your own table needs --study, or --target"),
    ],
)
def test_a_wrong_word_is_a_usage_error_with_a_remedy(words: list[str], message: str) -> None:
    done = CliRunner(env={"FEDSYNTH_DATA": ""}).invoke(app, ["benchmark", *words])
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())


def test_a_folder_has_its_hospitals_already(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="--site-column splits one table; a folder has a table per hospital already"):
        OwnTable(tmp_path, target="outcome", site_column="ward").load()


def test_a_column_of_the_benchmarks_own_name_is_refused() -> None:
    with pytest.raises(DataError, match=f"a column is called '{SITE_COLUMN}', .*; rename it"):
        pooled({"north": clinic_table(5, 0).assign(**{SITE_COLUMN: "a"})})
