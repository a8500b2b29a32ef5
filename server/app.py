"""The Flower ServerApp: reads the run's configuration, runs the federation, writes the run folder."""

from __future__ import annotations

import logging
import platform
import time
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from common.privacy.plan import Plan
from common.privacy.planner import make_plan
from common.seeds import seed_for
from common.study import Study, parse_study
from common.tables import format_table
from server.receipts import Receipts
from server.release import Model, save_model, warnings_of
from server.rounds import Exchange, Federation, Outcome
from server.run_dir import RunDir

PACKAGES = ("fedsynth", "flwr", "torch", "opacus", "dp-accounting", "opendp", "numpy", "pandas", "scikit-learn")

log = logging.getLogger(__name__)

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """One run.

    Configuration: `study` (TOML text), `run-id`, `out` (folder), `receipts` (file, kept across runs), `simulation`,
    `rows` (0: as declared).
    """
    config = context.run_config
    study = parse_study(str(config["study"]))
    run_dir = RunDir(Path(str(config["out"])))
    is_simulation = bool(config["simulation"])
    started = time.monotonic()
    plan = make_plan(study)
    log.info("%s", plan.why)
    exchange = Exchange(grid, study.federation.round_deadline_s)
    receipts = Receipts(Path(str(config["receipts"])))
    outcome = Federation(exchange, study, plan, str(config["run-id"]), run_dir, receipts).run()

    model = Model(study, plan, outcome.released, outcome.weights)
    save_model(model, run_dir, is_simulation=is_simulation, rehearsing=outcome.rehearsing)
    rows = int(str(config["rows"])) or model.default_rows()
    seed = seed_for(study.seed, "release")
    table = format_table(model.sample(rows, seed), study.table)
    run_dir.write("synthetic.csv", table.to_csv(index=False, lineterminator="\n"))
    record = run_record(study, plan, outcome, is_simulation=is_simulation)
    seconds = round(time.monotonic() - started, 3)
    record |= {"run_id": str(config["run-id"]), "seconds": seconds, "redrawn": model.rule_violations(rows, seed)}
    run_dir.write_json("run.json", record)


def run_record(study: Study, plan: Plan, outcome: Outcome, *, is_simulation: bool) -> dict[str, Any]:
    """`run.json`: versions, fingerprint, seconds and bytes by phase and hospital, as the coordinator measured them."""
    phases: dict[str, dict[str, dict[str, float]]] = defaultdict(
        lambda: defaultdict(lambda: {"messages": 0, "bytes_down": 0, "bytes_up": 0, "seconds": 0.0})
    )
    for traffic in outcome.traffic:
        cell = phases[traffic.phase][traffic.hospital]
        cell["messages"] += 1
        cell["bytes_down"] += traffic.bytes_down
        cell["bytes_up"] += traffic.bytes_up
        cell["seconds"] = round(cell["seconds"] + traffic.seconds, 3)
    return {
        "status": "finished",
        "simulation": is_simulation,
        "warnings": warnings_of(study, is_simulation=is_simulation, rehearsing=outcome.rehearsing),
        "study": study.name,
        "fingerprint": study.fingerprint,
        "noise": study.privacy.noise,
        "plan": plan.why,
        "delta": study.privacy.delta,
        "hospitals": list(outcome.members),
        "phases": phases,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
    }
