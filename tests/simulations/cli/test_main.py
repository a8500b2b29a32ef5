"""The commands as a person types them: exit codes, messages without cell values, nothing half-written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from common.study.study import parse_study, read_study
from common.version import VERSION
from simulations.cli.console import announce
from simulations.federation.hospitals import built_in_study
from simulations.federation.prepare import prepare
from tests.testbeds.clinic import STUDY, clinic_study, clinic_table, clinic_tables
from tests.testbeds.command_line import fedsynth, output_of

pytestmark = pytest.mark.usefixtures("quick_learners")

CANARY = "4711.25"

ONE_EACH = "--one-row-per-patient"
"""What a study about patients needs where the table has no column of patients."""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return path


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    folder = tmp_path / "shards"
    folder.mkdir()
    for name, table in clinic_tables().items():
        table.to_csv(folder / f"{name}.csv", index=False)
    return folder


def one_table(tmp_path: Path, spoil: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
    path = tmp_path / "table.csv"
    spoil(clinic_table(200, 3)).to_csv(path, index=False)
    return path


def with_cell(column: str, value: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def spoil(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[7, column] = value
        return table

    return spoil


BAD_TABLES: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "missing column": (lambda table: table.drop(columns="lab"), "column 'lab' is not in the table"),
    "header only": (lambda table: table.iloc[:0], "no rows"),
    "constant target": (lambda table: table.assign(outcome="yes"), "target 'outcome' has fewer than 2"),
    "duplicate column": (
        lambda table: table.rename(columns={"sex": "age"}),
        "columns 1 and 3 have the same name",
    ),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_bad_table_is_refused_before_anything_is_written(case: str, study: Path, tmp_path: Path) -> None:
    spoil, words = BAD_TABLES[case]
    table = one_table(tmp_path, spoil)
    result = fedsynth(
        "simulate", "--study", study, "--data", table, ONE_EACH, "--hospitals", 2, "--out", tmp_path / "out"
    )
    assert result.exit_code == 5
    assert words in output_of(result)
    assert CANARY not in output_of(result)
    assert "canary" not in output_of(result)
    assert not (tmp_path / "out").exists()


MISFITS: dict[str, tuple[str, str, str]] = {
    "value out of bounds": ("age", CANARY, "column 'age' is outside [18, 100] in 1 row, clamped"),
    "unlisted category": ("sex", CANARY, "column 'sex' holds unlisted labels in 1 row, counted as the last category"),
    "text in a numeric column": ("age", "canary", "column 'age' holds text that is not a number in 1 row"),
    "missing where not allowed": ("age", "", "column 'age' is missing in 1 row where missing = false"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_a_cell_outside_the_schema_is_a_notice(case: str, study: Path, tmp_path: Path) -> None:
    column, value, words = MISFITS[case]
    table = one_table(tmp_path, with_cell(column, value))
    result = fedsynth("study", "check", study, "--data", table, ONE_EACH)
    assert result.exit_code == 0
    assert f"note table.csv: {words}" in output_of(result)
    assert "a fact about your patients: do not pass it on" in output_of(result)
    assert CANARY not in output_of(result)
    assert "canary" not in output_of(result)


def test_a_table_with_misfits_is_simulated_with_notices(study: Path, tmp_path: Path) -> None:
    def spoil(table: pd.DataFrame) -> pd.DataFrame:
        for row, (column, value, _) in enumerate(MISFITS.values()):
            table.loc[row, column] = value
        return table

    table, out = one_table(tmp_path, spoil), tmp_path / "out"
    options = (ONE_EACH, "--hospitals", 2, "--no-report")
    result = fedsynth("simulate", "--study", study, "--data", table, *options, "--out", out)
    assert result.exit_code == 0, output_of(result)
    for _, _, words in MISFITS.values():
        assert words in output_of(result)
    assert CANARY not in output_of(result)
    assert (out / "synthetic.csv").exists()


def test_an_empty_file_and_an_unreadable_path_are_refused(study: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.touch()
    for path in (empty, tmp_path / "nowhere.csv"):
        result = fedsynth("simulate", "--study", study, "--data", path, ONE_EACH, "--out", tmp_path / "out")
        assert result.exit_code == 5
        assert path.name in output_of(result)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("epsilon = 3.0", "epsilon = 3.0\nclipnorm = 1.0", "unknown key 'clipnorm' in [privacy]; did you mean 'clip'?"),
        ("upper = 100", "upper = 10", "column 'age': lower must be below upper"),
        ("epsilon = 3.0", "epsilon = 0", "[privacy.epsilon] input should be greater than 0"),
        ('target = "outcome"', 'target = "death"', "target 'death' is not in the schema"),
        ("[study]", "[study", "not valid TOML"),
    ],
)
def test_a_study_error_names_section_key_and_remedy(
    before: str, after: str, words: str, study: Path, shards: Path, tmp_path: Path
) -> None:
    study.write_text(STUDY.replace(before, after))
    result = fedsynth("simulate", "--study", study, "--data", shards, ONE_EACH, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert words in output_of(result)
    assert not (tmp_path / "out").exists()


def test_a_delta_above_a_tenth_of_a_row_is_refused(study: Path, shards: Path, tmp_path: Path) -> None:
    study.write_text(STUDY.replace("delta = 1e-4", "delta = 0.002"))
    result = fedsynth("simulate", "--study", study, "--data", shards, ONE_EACH, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "delta = 0.002 is above 1 / (10 x declared_rows) of hospital 'north'" in output_of(result)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--epsilon", "-1"),
        ("--noise", "quantum"),
        ("--noise", "distributed", "--hospitals", "1"),
        ("--skew", "0.5"),
        ("--hospitals", "0"),
        ("--holdout-fraction", "1"),
        ("--data", "somewhere"),
        ("--site-column", "sex"),
        ("--no-such-option",),
    ],
)
def test_wrong_usage_ends_with_code_two(arguments: tuple[str, ...], tmp_path: Path) -> None:
    assert fedsynth("simulate", *arguments, "--out", tmp_path / "out").exit_code == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--epsilon", "0"), "error --epsilon 0 is not a number above 0; give"),
        (("--epsilon", "nan"), "error --epsilon nan is not a number above 0; give"),
        (("--holdout-fraction", "1"), "error --holdout-fraction 1 is not from 0 to below 1; give"),
    ],
)
def test_a_number_out_of_range_names_its_option(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    refused = fedsynth("simulate", *arguments, "--out", tmp_path / "out")
    assert refused.exit_code == 2
    assert words in output_of(refused)


def test_pooled_tables_of_a_folder_are_announced(study: Path, shards: Path, tmp_path: Path) -> None:
    refused = fedsynth(
        "simulate", "--study", study, "--data", shards, ONE_EACH, "--hospitals", 1, "--noise", "distributed",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert refused.exit_code == 2
    assert "note --hospitals 1 puts the tables of" in output_of(refused)


@pytest.mark.parametrize("arguments", [(), ("--noise", "distributed")])
def test_one_hospital_cannot_share_noise(arguments: tuple[str, ...], tmp_path: Path) -> None:
    refused = fedsynth("simulate", "--hospitals", 1, *arguments, "--out", tmp_path / "out")
    assert refused.exit_code == 2
    assert "one hospital has no other to share its noise with; add --noise local" in output_of(refused)
    assert not (tmp_path / "out").exists()


def test_the_output_folder_is_checked_before_study_and_data(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").touch()
    absent = ("--study", tmp_path / "none.toml", "--data", tmp_path / "none.csv", "--out", tmp_path / "out")
    assert "is not empty; choose another" in output_of(fedsynth("simulate", *absent))
    assert "holds 'notes.txt', which is not from" in output_of(fedsynth("simulate", *absent, "--force"))


def test_a_full_output_folder_needs_force(study: Path, shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "run.json").write_text("{}")
    refused = fedsynth("simulate", "--study", study, "--data", shards, ONE_EACH, "--out", out)
    assert refused.exit_code == 2
    assert "--force" in output_of(refused)
    assert (out / "run.json").read_text() == "{}"
    forced = fedsynth("simulate", "--study", study, "--data", shards, ONE_EACH, "--no-report", "--out", out, "--force")
    assert forced.exit_code == 0
    assert json.loads((out / "run.json").read_text())["status"] == "finished"


@pytest.mark.slow
def test_a_skewed_split_of_a_parquet_file_with_extra_columns(study: Path, tmp_path: Path) -> None:
    path, out = tmp_path / "table.parquet", tmp_path / "out"
    table = clinic_table(400, 3).astype({"age": int})
    table.assign(ward="a", patient=[f"p{row // 2}" for row in range(len(table))]).to_parquet(path)
    result = fedsynth(
        "simulate", "--study", study, "--data", path, "--hospitals", 2, "--skew", 2.0,
        "--patient-column", "patient", "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0
    assert "'ward'" in output_of(result)
    assert "ward" not in pd.read_csv(out / "synthetic.csv")
    assert "only the first of each patient is used" in output_of(result)
    run = json.loads((out / "run.json").read_text())
    assert sum(facts["declared_rows"] for facts in run["hospitals"].values()) == pytest.approx(200, abs=10)  # rounded


def test_a_table_is_split_by_a_column_that_is_left_out(study: Path, tmp_path: Path) -> None:
    table = one_table(tmp_path, lambda table: table.assign(site=["East [Wing]", "Süd"] * 100))
    result = fedsynth(
        "simulate",
        "--study",
        study,
        "--data",
        table,
        ONE_EACH,
        "--site-column",
        "site",
        "--rows",
        50,
        "--no-report",
        "--out",
        tmp_path / "out",
    )
    assert result.exit_code == 0
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert {name: facts["called"] for name, facts in run["hospitals"].items()} == {
        "east-wing": "East [Wing]",
        "sud": "Süd",
    }
    assert all(name in output_of(result) for name in ("East [Wing]", "Süd"))
    assert len(pd.read_csv(tmp_path / "out" / "synthetic.csv")) == 50


def test_one_hospital_is_the_centralized_case(study: Path, tmp_path: Path) -> None:
    table = one_table(tmp_path, lambda table: table)
    result = fedsynth(
        "simulate", "--study", study, "--data", table, ONE_EACH, "--hospitals", 1, "--holdout-fraction", 0,
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert result.exit_code == 0
    assert json.loads((tmp_path / "out" / "report.json").read_text())["holdout_rows"] == 0


@pytest.mark.slow
def test_runs_add_up_and_one_beyond_the_cap_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, sites = tmp_path / "study.toml", tmp_path / "sites"
    small = {"synthesizer": {"prototypes": 50, "fit_steps": 50}, "training": {"rounds": 1, "steps": 2}}
    study.write_text(built_in_study().amended(**small).to_toml())
    spent = []
    for out in ("first", "second"):
        done = fedsynth("simulate", "--study", study, "--sites", sites, "--max-epsilon", 5.5, "--out", tmp_path / out)
        assert done.exit_code == 0, output_of(done)
        run = json.loads((tmp_path / out / "run.json").read_text())
        spent.append({name: facts["epsilon_of_all_runs"] for name, facts in run["hospitals"].items()})
    assert all(1.2 * spent[0][name] < spent[1][name] <= 5.5 for name in spent[0])

    def opened(*_: object, **__: object) -> None:
        raise AssertionError("records were opened")

    monkeypatch.setattr("simulations.federation.sites.Shard", opened)
    third = fedsynth("simulate", "--study", study, "--sites", sites, "--max-epsilon", 5.5, "--out", tmp_path / "third")
    assert third.exit_code == 3
    assert "refused by 4 of 4 hospitals" in output_of(third)
    assert "cleveland: the cohort's lifetime budget cannot pay for this run" in output_of(third)
    assert not (tmp_path / "third" / "synthetic.csv").exists()
    shown = fedsynth("site", "ledger", "show", "--site", sites / "cleveland")
    assert shown.exit_code == 0
    assert "heart-disease" in output_of(shown)


@pytest.mark.parametrize("cap", ["0", "-1", "nan"])
def test_a_cap_that_is_not_above_0_is_refused(cap: str, tmp_path: Path) -> None:
    refused = fedsynth("simulate", "--max-epsilon", cap, "--out", tmp_path / "out")
    assert refused.exit_code == 2
    assert "is not above 0" in output_of(refused)


def test_a_run_that_all_refuse_ends_with_code_three(study: Path, shards: Path, tmp_path: Path) -> None:
    refused = fedsynth(
        "simulate", "--study", study, "--data", shards, ONE_EACH, "--max-epsilon", 1, "--out", tmp_path / "out"
    )
    assert refused.exit_code == 3
    assert "refused by 3 of 3 hospitals" in output_of(refused)
    assert "north: the plan costs more epsilon than the hospital allows" in output_of(refused)


def test_from_a_table_to_a_study_to_rows_to_an_evaluation(tmp_path: Path) -> None:
    table = one_table(tmp_path, lambda table: table)
    study, out, rows = tmp_path / "drafted.toml", tmp_path / "out", tmp_path / "rows.csv"
    drafted = fedsynth("study", "draft", table, "--target", "outcome", "--out", study)
    assert drafted.exit_code == 0
    assert read_study(study).about.origin == "drafted"
    assert "fit_steps = 200" in study.read_text()
    study.write_text(study.read_text().replace("fit_steps = 200", "fit_steps = 20"))
    assert fedsynth("study", "check", study, "--data", table, ONE_EACH).exit_code == 0
    assert (
        fedsynth("simulate", "--study", study, "--data", table, ONE_EACH, "--hospitals", 2, "--out", out).exit_code == 0
    )
    assert "drafted from records" in (out / "report.html").read_text()
    assert fedsynth("sample", out / "model", "--rows", 25, "--out", rows).exit_code == 0
    assert len(pd.read_csv(rows)) == 25
    again = fedsynth("sample", out / "model", "--rows", 25, "--out", rows)
    assert again.exit_code == 2
    assert "exists" in output_of(again)
    pd.read_csv(rows, dtype=str).assign(sex="unlisted").to_csv(rows, index=False)
    measured = fedsynth(
        "evaluate", "--study", study, "--train", table, "--holdout", table, "--synthetic", rows,
        "--out", tmp_path / "measured",
    )  # fmt: skip
    assert measured.exit_code == 0
    assert "note rows.csv: column 'sex' holds unlisted labels in 25 rows, counted as the last category" in output_of(
        measured
    )
    assert (tmp_path / "measured" / "report.html").exists()


def test_draft_overwrites_nothing(study: Path, tmp_path: Path) -> None:
    table, before = one_table(tmp_path, lambda table: table), study.read_text()
    refused = fedsynth("study", "draft", table, "--target", "outcome", "--out", study)
    assert refused.exit_code == 2
    assert "exists; choose another --out or remove it" in output_of(refused)
    assert study.read_text() == before


@pytest.fixture
def labels_only(tmp_path: Path) -> tuple[Path, Path]:
    """A table without a number, and a study of it that trains in a second."""
    table, study = tmp_path / "labels.csv", tmp_path / "labels.toml"
    rng = np.random.default_rng(3)
    cells = {"sex": ["F", "M"], "smoking": ["never", "former", "current"], "diabetes": ["no", "yes"]}
    pd.DataFrame({name: rng.choice(labels, 200) for name, labels in cells.items()}).to_csv(table, index=False)
    columns = [{"kind": "categorical", "name": name, "categories": labels} for name, labels in cells.items()]
    agreed = clinic_study(schema={"columns": columns}, evaluation={"target": "diabetes", "sensitive": ["sex"]})
    study.write_text(agreed.to_toml())
    return table, study


def test_a_table_without_a_numeric_column_gets_its_report(labels_only: tuple[Path, Path], tmp_path: Path) -> None:
    (table, study), out, measured = labels_only, tmp_path / "out", tmp_path / "measured"
    made = fedsynth("simulate", "--study", study, "--data", table, ONE_EACH, "--hospitals", 2, "--out", out)
    assert made.exit_code == 0, output_of(made)
    again = fedsynth(
        "evaluate", "--study", study, "--train", table, "--holdout", table, "--synthetic", out / "synthetic.csv",
        "--out", measured,
    )  # fmt: skip
    assert again.exit_code == 0, output_of(again)
    for folder in (out, measured):
        assert (folder / "report.html").exists()
        measures = json.loads((folder / "report.json").read_text())["measures"]
        assert measures["cramers_v"] is not None
        assert [measures[name] for name in ("pearson", "spearman", "correlation_ratio")] == [None] * 3


@pytest.mark.slow
def test_a_run_without_a_report_gets_the_same_one_later(labels_only: tuple[Path, Path], tmp_path: Path) -> None:
    (table, study), plain, later = labels_only, tmp_path / "plain", tmp_path / "later"
    arguments = ("simulate", "--study", study, "--data", table, ONE_EACH, "--hospitals", 2, "--rows", 60)
    assert fedsynth(*arguments, "--out", plain).exit_code == 0
    made = fedsynth(*arguments, "--no-report", "--out", later)
    assert made.exit_code == 0, output_of(made)
    assert not list(later.glob("report.*"))
    assert "verdict" not in json.loads((later / "run.json").read_text())
    command = output_of(made).partition("To make it: fedsynth ")[2].split()[:8]
    assert command == ["evaluate", "--run", str(later), "--data", str(table), "--hospitals", "2", ONE_EACH]
    assert fedsynth(*command).exit_code == 0
    assert (later / "report.json").read_bytes() == (plain / "report.json").read_bytes()
    assert (later / "report.html").exists()
    assert json.loads((later / "run.json").read_text())["verdict"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--study", "s.toml"), "--train is not given"),
        (("--run", "out", "--train", "t.csv"), "--run names a simulation, which knows its --train"),
        (("--hospitals", 2), "add --run"),
        (("--run", "nowhere"), "'nowhere' does not hold a finished simulation"),
    ],
)
def test_evaluate_names_the_option_that_does_not_fit(arguments: tuple[object, ...], problem: str) -> None:
    refused = fedsynth("evaluate", *arguments)
    assert refused.exit_code == 2
    assert problem in output_of(refused)


def test_one_synthetic_row_gets_a_report_without_attacks(labels_only: tuple[Path, Path], tmp_path: Path) -> None:
    (table, study), out = labels_only, tmp_path / "out"
    made = fedsynth(
        "simulate", "--study", study, "--data", table, ONE_EACH, "--hospitals", 2, "--rows", 1, "--out", out
    )  # fmt: skip
    assert made.exit_code == 0, output_of(made)
    privacy = json.loads((out / "report.json").read_text())["privacy"]
    assert privacy["attacks"] == []
    assert "need 2 synthetic rows; there are 1" in privacy["notes"][0]
    assert json.loads((out / "run.json").read_text())["status"] == "finished"


def test_study_check_takes_a_folder_of_hospitals(study: Path, tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    for seed, name in enumerate(("north", "south")):
        clinic_table(40, seed).to_csv(tmp_path / "tables" / f"{name}.csv", index=False)
    result = fedsynth("study", "check", study, "--data", tmp_path / "tables", ONE_EACH)
    assert result.exit_code == 0, output_of(result)
    assert "north fits the schema. south fits the schema." in output_of(result)


def test_a_holdout_that_leaves_nobody_is_refused_before_a_run(study: Path, tmp_path: Path) -> None:
    table, out = one_table(tmp_path, lambda raw: raw), tmp_path / "out"
    refused = fedsynth(
        "simulate", "--study", study, "--data", table, ONE_EACH, "--holdout-fraction", 0.99, "--out", out
    )  # fmt: skip
    assert refused.exit_code == 2
    assert "--holdout-fraction 0.99 leaves hospital" in output_of(refused)
    assert not out.exists()


def test_study_check_shows_what_each_hospital_would_release(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    hospitals = '[[hospitals]]\nname = "north"\ndeclared_rows = 90\n[[hospitals]]\nname = "south"\ndeclared_rows = 90\n'
    path.write_text(STUDY + hospitals)
    result = fedsynth("study", "check", path)
    assert result.exit_code == 0
    assert parse_study(path.read_text()).fingerprint in output_of(result)
    assert "multiplier" in output_of(result)
    assert "3.000" in output_of(result)


def test_study_check_without_hospitals_says_there_is_no_plan(study: Path) -> None:
    result = fedsynth("study", "check", study)
    assert result.exit_code == 0
    assert "note the study lists no [[hospitals]], so there is no plan yet; add each" in output_of(result)


def test_the_version_is_shown() -> None:
    result = fedsynth("--version")
    assert (result.exit_code, result.output) == (0, f"fedsynth {VERSION}\n")


@pytest.mark.parametrize(
    ("noise", "words"),
    [
        ("local", "3 hospitals, epsilon 3 each, each hospital's own noise"),
        ("distributed", "3 hospitals, epsilon 3 each, shared noise"),
        ("none", "3 hospitals, no privacy at all, no noise"),
    ],
)
def test_the_announced_study_names_its_noise(noise: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    agreed = clinic_study(privacy={"noise": noise})
    announce(prepare(agreed, clinic_tables()))
    assert words in " ".join(capsys.readouterr().out.split())


def test_every_command_explains_itself() -> None:
    site = (("site", "init"), ("site", "check"), ("site", "approve"), ("site", "ledger"))
    for command in ((), ("simulate",), ("study", "draft"), ("study", "check"), ("sample",), ("evaluate",), *site):
        result = fedsynth(*command, "--help")
        assert result.exit_code == 0
        assert len(result.output) > 200


def test_help_of_study_check_names_folders_and_mappings() -> None:
    shown = output_of(fedsynth("study", "check", "--help"))
    assert all(word in shown for word in ("folder", "north.toml", "mapping"))


def test_sql_is_that_of_a_study_on_omop_databases(study: Path) -> None:
    assert "study clinic has no [source] kind = " in output_of(fedsynth("study", "sql", study))


def test_a_mapping_is_that_of_a_table(study: Path) -> None:
    refused = fedsynth("study", "check", study, "--mapping", study)
    assert "--mapping is of a table; name it with --data" in output_of(refused)
