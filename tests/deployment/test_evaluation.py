"""A deployment evaluates its table: privately over all sites, and at one site beside its running agent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simulations.rehearsal.deployment import Deployment
from tests.testbeds.command_line import fedsynth, output_of
from tests.testbeds.deployment import charges, on_the_local_grid, rehearsal_study, results, running

pytestmark = pytest.mark.slow

PRIVATE = {"evaluation": {"private": True}}


def test_sites_count_held_out_patients_and_evaluate_alone(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    with running(tmp_path / "d", **PRIVATE) as deployment:
        study = deployment.identified(rehearsal_study(deployment.public, **PRIVATE))
        run_id = deployment.propose(study)
        deployment.run(run_id)
        folder = deployment.run_folder(run_id)
        assert results(folder) == on_the_local_grid(study, tmp_path / "local")
        figures = [json.loads((path / "run.json").read_text())["evaluation"] for path in (folder, tmp_path / "local")]
        assert figures[0] == figures[1]
        assert (folder / "evaluation.md").read_bytes() == (tmp_path / "local" / "evaluation.md").read_bytes()
        assert charges(deployment, run_id) == {"north": 5, "south": 5}  # three of counts, one round, the evaluation
        assert_site_evaluates(deployment, run_id)


def assert_site_evaluates(deployment: Deployment, run_id: str) -> None:
    site = deployment.site("north")
    table = deployment.run_folder(run_id) / "synthetic.csv"
    printed = fedsynth("site", "evaluate", run_id, table, "--site", site)
    assert printed.exit_code == 0, output_of(printed)
    document = json.loads((site / "evaluations" / run_id / "report.json").read_text())
    assert document["train_rows"] + document["holdout_rows"] == 90
