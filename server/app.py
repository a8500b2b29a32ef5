"""The Flower ServerApp: reads the run's configuration, runs the federation, writes the run folder.

A run folder that holds checkpoints of this run is where the run goes on.
"""

from __future__ import annotations

import logging
import platform
import signal
import time
from collections import defaultdict
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from common.errors import FedSynthError, StudyError
from common.model import Model, save_model, warnings_of
from common.planning.choice import choose
from common.planning.explain import explain
from common.planning.plan import Plan
from common.planning.planner import make_plan
from common.protocol.signing import Identity, sign_request
from common.secagg.terms import listed_identities, simulated_identities
from common.seeds import seed_for
from common.study.study import Study, parse_study
from common.system.folder import RunFolder
from common.system.logs import log_to
from common.system.processes import end_with_parent
from common.tables.conforming import format_table
from server.receipts import Receipts
from server.run.agreement import Agreement, Resources
from server.run.checkpoints import Checkpoints
from server.run.exchange import Exchange, Sign
from server.run.federation import Federation, Outcome

PACKAGES = ("fedsynth", "flwr", "torch", "opacus", "dp-accounting", "opendp", "numpy", "pandas", "scikit-learn")

log = logging.getLogger(__name__)

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """One run at a coordinator, or in a simulation.

    Configuration: `study` (TOML text), `run-id`, `out` (folder), `receipts` (file, kept across runs), `simulation`,
    `rows` (0: as declared), `key` (file of the coordinator's signing key; empty in a simulation).

    Raises:
        FedSynthError: the run cannot go on; outside a simulation run.json then says why.
    """
    config = context.run_config
    study, run_id = parse_study(str(config["study"])), str(config["run-id"])
    run_folder = RunFolder(Path(str(config["out"])))
    rows, is_simulation = int(str(config["rows"])), bool(config["simulation"])
    held = Path(str(config["receipts"]))
    if is_simulation:
        coordinate(grid, study, run_id, run_folder, Receipts(held), rows=rows, is_simulation=True)
        return
    # Flower lets a ServerApp outlive a killed SuperLink; it would keep the run from being resumed.
    end_with_parent(signal.SIGKILL)
    with run_folder.lock(), log_to(run_folder.path / "run.log", "server", "common"):
        try:
            torch.set_num_threads(1)  # a resumed run must find the same sums, whatever else the machine does
            key = Identity.load(Path(str(config["key"])))
            if study.federation.coordinator != key.public:
                raise StudyError(
                    "the study names another coordinator key; write this one into [federation] coordinator"
                )
            sign: Sign = lambda request: sign_request(key, request)  # noqa: E731
            coordinate(grid, study, run_id, run_folder, Receipts(held), rows=rows, sign=sign, is_simulation=False)
        except Exception as problem:
            reason = str(problem) if isinstance(problem, FedSynthError) else type(problem).__name__
            log.error("run %s failed: %s", run_id, reason)
            run_folder.write_json("run.json", {"status": "failed", "study": study.name, "reason": reason})
            raise


def coordinate(
    grid: Grid,
    study: Study,
    run_id: str,
    run_folder: RunFolder,
    receipts: Receipts,
    *,
    rows: int,
    is_simulation: bool,
    sign: Sign = lambda request: b"",
) -> None:
    """Run the federation to its end, from its last checkpoint on, and write the release and run.json."""
    started = time.monotonic()
    plan = make_plan(study)
    log.info("%s", " ".join(explain(choose(study))))
    checkpoints = Checkpoints(run_folder, run_id, plan)
    if checkpoints.is_resumed:
        log.info("run %s resumed; done already: %s", run_id, ", ".join(checkpoints.steps()) or "nothing")
    signing = {} if is_simulation else signing_identities(study)
    exchange = Exchange(grid, study.federation.round_deadline_s, sign=sign, identities=signing)
    identities: Mapping[str, str] = {}
    if plan.honest_hospitals:
        identities = simulated_identities(study) if is_simulation else listed_identities(study)
    agreement = Agreement(run_id, study, plan, identities)
    outcome = Federation(agreement, Resources(exchange, checkpoints, receipts)).run()

    model = Model(study, plan, outcome.released, outcome.weights)
    save_model(model, run_folder, is_simulation=is_simulation)
    wanted = rows or model.default_rows()
    seed = seed_for(study.seed, "release")
    table = format_table(model.sample(wanted, seed), study.table)
    run_folder.write("synthetic.csv", table.to_csv(index=False, lineterminator="\n"))
    record = run_record(study, plan, outcome, is_simulation=is_simulation)
    seconds = round(time.monotonic() - started, 3)
    record |= {"run_id": run_id, "seconds": seconds, "redrawn": model.rule_violations(wanted, seed)}
    run_folder.write_json("run.json", record)
    checkpoints.forget_rounds()
    log.info("run %s finished in %.1f s; %d synthetic rows", run_id, seconds, wanted)


def signing_identities(study: Study) -> dict[str, str]:
    """The keys by which replies are checked; whose cannot be, the log says once."""
    for facts in study.hospitals:
        if facts.identity is None:
            log.warning("%s: no identity listed, so its replies are not checked", facts.name)
    return {facts.name: facts.identity for facts in study.hospitals if facts.identity is not None}


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
        "warnings": warnings_of(study, is_simulation=is_simulation),
        "study": study.name,
        "fingerprint": study.fingerprint,
        "noise": study.privacy.noise,
        "plan": plan.digest,
        "choice": choose(study).to_fields(),
        "delta": study.privacy.delta,
        "hospitals": list(outcome.members),
        "phases": phases,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
    }
