"""`fedsynth simulate` as a person types it: exit codes, messages without cell values, nothing half-written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from simulations.cli.console import announce
from simulations.federation.hospitals import built_in_study
from simulations.federation.prepare import prepare
from tests.testbeds.clinic import STUDY, clinic_study, clinic_table, clinic_tables
from tests.testbeds.clinic_files import CANARY, MISFITS, ONE_EACH, one_table
from tests.testbeds.command_line import fedsynth, output_of

pytestmark = pytest.mark.usefixtures("quick_learners")


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


def test_a_holdout_that_leaves_nobody_is_refused_before_a_run(study: Path, tmp_path: Path) -> None:
    table, out = one_table(tmp_path, lambda raw: raw), tmp_path / "out"
    refused = fedsynth(
        "simulate", "--study", study, "--data", table, ONE_EACH, "--holdout-fraction", 0.99, "--out", out
    )  # fmt: skip
    assert refused.exit_code == 2
    assert "--holdout-fraction 0.99 leaves hospital" in output_of(refused)
    assert not out.exists()


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
