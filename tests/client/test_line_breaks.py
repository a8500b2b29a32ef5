"""Line breaks in quotation marks: check, simulation and agent read the same patients from one file."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from client.agent.agent import Agent
from client.shard import Shard
from client.site.config import read_site
from client.site.opening import open_agent, open_hospital
from common.errors import SiteError
from common.planning.phases import Records
from common.planning.planner import make_plan
from common.study.sections import HospitalFacts
from simulations.cli.main import app
from simulations.federation.hospitals import hospitals_from_directory
from simulations.federation.prepare import prepare
from tests.testbeds.clinic import clinic_study
from tests.testbeds.released import made_up_run

PATIENTS, DEATHS = 160, 71
FACTS = (HospitalFacts(name="north", declared_rows=160), HospitalFacts(name="south", declared_rows=160))
STUDY = clinic_study(evaluation={"holdout_fraction": 0.0}, training={"rounds": 0}).with_hospitals(FACTS)
PLAN = make_plan(STUDY)

HEADER = ["age", "sex", "note", "lab", "outcome"]
PASTED = "pasted:\n" + "99,male,x,19.0,yes\n" * 39


def records(kind: str) -> list[list[str]]:
    """A header and 160 patients, of whom 71 died, with line breaks where the kind says."""
    rng = np.random.default_rng(2)
    rows = []
    for number in range(PATIENTS):
        died = number % 2 == 1 and number < 2 * DEATHS
        note = "died on the ward\nfamily informed" if died and kind == "in many notes" else "ok"
        sex = ("female", "male")[number % 3 == 0]
        rows.append([str(rng.integers(18, 100)), sex, note, f"{rng.uniform(0, 20):.1f}", ("no", "yes")[died]])
    if kind == "in one note":
        rows[5][2] = PASTED
    header = ["age", "sex", "lab\n(high sensitivity)", "lab", "outcome"] if kind == "in the header" else HEADER
    return [header, *rows]


KINDS = ("in many notes", "in one note", "in the header")


@pytest.fixture
def data(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / "tables" / "north.csv"
    path.parent.mkdir()
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(records(getattr(request, "param", "in one note")))
    return path


@pytest.fixture
def site(tmp_path: Path, data: Path) -> Path:
    arguments = ["site", "init", str(tmp_path / "site"), "--name", "north", "--data", str(data)]
    limits = ["--declared-rows", "160", "--max-epsilon", "5", "--delta", "1e-4", "--one-row-per-patient"]
    made = CliRunner().invoke(app, [*arguments, *limits])
    assert made.exit_code == 0
    return tmp_path / "site"


def freeze(site: Path, *more: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["site", "import", "--site", str(site), *more])
    return result.exit_code, " ".join((result.output + result.stderr).split())


def patients_and_deaths(shard: Records) -> tuple[int, int]:
    codes = shard.encoded(made_up_run(STUDY, PLAN))
    return len(codes), int((codes[:, -1] == 1).sum())


def check(site: Path) -> tuple[int, str]:
    study = site.parent / "study.toml"
    study.write_text(STUDY.to_toml(), encoding="utf-8")
    result = CliRunner().invoke(app, ["site", "check", str(study), "--site", str(site)])
    return result.exit_code, " ".join((result.output + result.stderr).split())


@pytest.mark.parametrize("data", KINDS, indirect=True)
def test_check_simulation_and_agent_read_the_same_patients(site: Path, data: Path) -> None:
    assert freeze(site)[0] == 0
    code, said = check(site)
    assert code == 0
    assert "the table fits study clinic" in said
    assert "declares" not in said  # 160 patients, as declared
    simulated = prepare(STUDY, hospitals_from_directory(data.parent), redeclare=True).tables["north"]
    with open_hospital(read_site(site)) as north:
        agent = north._open_shard(STUDY)
    assert patients_and_deaths(Shard(simulated, STUDY, key=b"k")) == (PATIENTS, DEATHS)
    assert patients_and_deaths(agent) == (PATIENTS, DEATHS)


def test_import_counts_line_breaks_and_the_agent_starts(site: Path) -> None:
    code, said = freeze(site)
    assert code == 0
    assert "160 rows" in said
    assert "note 1 cell holds line breaks, which belong to the cell and start no row" in said
    with open_agent(read_site(site)) as agent:
        assert isinstance(agent, Agent)


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (b'40,male,"ok,5.0,no\n', "quotation marks do not pair up in the record that starts in line"),
        (b"40,male\n", "has 2 fields where the header has 5"),
        (b"40,male,\x81,5.0,no\n", "it is not cp1252 text in line"),
    ],
)
def test_malformed_table_is_refused_at_import_only(site: Path, data: Path, end: bytes, words: str) -> None:
    whole = data.read_bytes()
    data.write_bytes(whole + end)
    code, said = freeze(site)
    assert code == 5
    assert words in said
    with pytest.raises(SiteError, match="no table is imported yet"), open_agent(read_site(site)):
        pass
    data.write_bytes(whole)
    assert freeze(site)[0] == 0
    data.write_bytes(whole + end)
    assert freeze(site, "--replace")[0] == 5
    assert check(site)[0] == 0  # the earlier table is in use
    with open_agent(read_site(site)):
        pass


def test_the_agent_does_not_start_before_an_import(site: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from simulations.cli.main import main; main()", "site", "agent"]
    socket = tmp_path / "socket" / "agent.sock"
    ended = subprocess.run(
        [*command, "--site", str(site), "--socket", str(socket)], capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 2
    assert "no table is imported yet; run `fedsynth site import`" in ended.stderr
    assert not socket.exists()
