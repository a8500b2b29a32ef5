"""What the benchmark does with a peer that fails; the peer's environment is a shell script here."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from common.errors import DataError, StudyError
from simulations.benchmark.peers import PeerEnvironment, PeerFailed, _without_gaps, run_peer
from tests.testbeds.clinic import clinic_study, clinic_table


def environment(folder: Path, program: str) -> Path:
    """A virtual environment whose interpreter knows every package and runs `program` in the folder of the request."""
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(
        "#!/bin/sh\n"
        'if [ "$2" = "-c" ]; then echo \'{"ctgan": "0", "smartnoise-synth": "0"}\'; exit 0; fi\n'
        f'cd "$3"\n{program}\n'
    )
    python.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("name", "program", "reason"),
    [
        ("ctgan", """echo '{"exception": "KeyError"}' > failure.json; echo canary >&2; exit 1""", "it raised KeyError"),
        ("ctgan", "echo canary >&2; exit 3", "it ended with exit code 3"),
        ("ctgan", "exit 0", "it ended with exit code 0"),
        ("ctgan", "head -n 3 given.csv > made.csv", "it returned 2 rows instead of 50"),
        ("dp-ctgan", "sed '2,$s/[0-9][0-9]*/9999/g' given.csv > made.csv", "it returned codes outside its grid"),
        ("ctgan", "sleep 9", "not within 0.05 minutes"),
    ],
)
def test_a_peer_that_fails_gives_its_reason(name: str, program: str, reason: str, tmp_path: Path) -> None:
    rows = clinic_table(50, 1)
    with pytest.raises(PeerFailed) as failed:
        run_peer(name, rows, clinic_study(), 0, PeerEnvironment(environment(tmp_path, program), 3.0))
    assert str(failed.value) == reason


def test_an_interpreter_that_does_not_run_is_refused(tmp_path: Path) -> None:
    folder = environment(tmp_path, "exit 0")
    (folder / "bin" / "python").write_text("#!/bin/sh\nexit 1\n")
    rows = clinic_table(50, 1)
    with pytest.raises(StudyError, match="does not run; name a virtual environment with --peers"):
        run_peer("ctgan", rows, clinic_study(), 0, PeerEnvironment(folder))


def test_a_column_named_like_an_indicator_is_refused() -> None:
    columns = [
        {"kind": "numeric", "name": "lab", "lower": 0, "upper": 20, "missing": True},
        {"kind": "categorical", "name": "lab is missing", "categories": ["no", "yes"]},
    ]
    study = clinic_study(schema={"columns": columns}, evaluation={"target": "lab is missing", "sensitive": []})
    rows = pd.DataFrame({"lab": [1.0, None], "lab is missing": ["no", "yes"]})
    with pytest.raises(DataError, match="the name of column 'lab is missing' ends in ' is missing'"):
        _without_gaps(rows, study.table)
