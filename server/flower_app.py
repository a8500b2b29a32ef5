"""The Flower ServerApp: reads the run's configuration, runs the federation, writes the run folder.

If the run folder holds checkpoints of this run, the run continues from them.
"""

from __future__ import annotations

import logging
import platform
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from typing import Any

import pandas as pd
import torch
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from common.errors import FedSynthError, StudyError
from common.evaluation.private.page import EVALUATION_PAGE, to_markdown
from common.evaluation.private.results import evaluate_privately
from common.model import Model, release_seed, save_model, warnings_of
from common.planning.choice import choose
from common.planning.explain import explain
from common.planning.plan import Plan
from common.planning.planner import make_plan
from common.planning.public_run import PublicRun
from common.protocol.seals import seal_request
from common.protocol.signing import Identity
from common.release import digests_of, draw_images, written_table
from common.run_events.events import (
    Emit,
    ReleaseWritten,
    RepliesUnchecked,
    RunFailed,
    RunFinished,
    RunStarted,
    to_all,
)
from common.run_events.file import EVENTS, JsonLines, read_events
from common.secagg.terms import listed_identities, simulated_identities
from common.study.rules import warnings_of_rules
from common.study.study import Study
from common.system.folder import RunFolder
from common.system.logs import log_to
from common.system.processes import end_with_parent
from common.tables.visit_tables import visit_tables
from server.receipts import Receipts
from server.run.agreed_run import AgreedRun, Resources
from server.run.checkpoints import Checkpoints
from server.run.config import RunConfig
from server.run.exchange import MESSAGE_LIFETIME_S, Exchange, Seal
from server.run.federation import Federation, RunOutcome
from server.run.observers import Costs, write_log

PACKAGES = ("fedsynth", "flwr", "torch", "opacus", "dp-accounting", "opendp", "numpy", "pandas", "scikit-learn")
"""Packages whose versions run.json names."""

log = logging.getLogger(__name__)


def make_app(*observers: Emit, plan: Plan | None = None) -> ServerApp:
    """Return the ServerApp.

    Args:
        observers: take the events of the run, besides the run's log and its `events.jsonl`.
        plan: plan of the study; None to compute it.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        """Run once, at a coordinator or in a simulation; `RunConfig` says what the configuration holds.

        Raises:
            FedSynthError: the run cannot continue; outside a simulation run.json then says why.
        """
        config = RunConfig.of(context.run_config)
        if config.is_simulation:
            coordinate(grid, config, to_all(*observers), plan=plan)
        else:
            coordinate_alone(grid, config, to_all(*observers))

    return app


app = make_app()


def coordinate_alone(grid: Grid, config: RunConfig, observe: Emit) -> None:
    """Run the federation in a process of its own, which holds the run folder's lock and writes its log.

    Args:
        grid: Flower's transport.
        config: settings of the run.
        observe: takes the events of the run.

    Raises:
        FedSynthError: the run cannot continue; run.json then says why.
    """
    # Flower lets a ServerApp outlive a killed SuperLink; it would keep the run from being resumed.
    end_with_parent(signal.SIGKILL)
    run_folder = RunFolder(config.out)
    with run_folder.lock(), log_to(run_folder.path / "run.log", "server", "common"):
        try:
            torch.set_num_threads(1)  # a resumed run must find the same sums, whatever else the machine does
            assert config.key is not None, "a coordinator signs its requests"
            key = Identity.load(config.key)
            if config.study.federation.coordinator != key.public:
                raise StudyError(
                    "the study names another coordinator key; write this one into [federation] coordinator"
                )
            lifetime_s = config.study.federation.round_deadline_s + MESSAGE_LIFETIME_S
            seal = partial(seal_request, key, lifetime_s=lifetime_s)
            coordinate(grid, config, observe, seal=seal)
        except Exception as problem:
            reason = str(problem) if isinstance(problem, FedSynthError) else type(problem).__name__
            run_folder.write_json("run.json", {"status": "failed", "study": config.study.name, "reason": reason})
            failed = RunFailed(reason=reason)
            with suppress(OSError):  # that events cannot be written may be what ended the run
                JsonLines(run_folder.path / EVENTS)(failed)
            to_all(write_log, observe)(failed)
            raise


def coordinate(
    grid: Grid,
    config: RunConfig,
    observe: Emit,
    *,
    seal: Seal = lambda request: b"",
    plan: Plan | None = None,
) -> None:
    """Run the federation to its end, from its last checkpoint on, and write the release and run.json.

    Args:
        grid: Flower's transport.
        config: settings of the run.
        observe: takes the events of the run, besides the log and `events.jsonl`.
        seal: seals every request.
        plan: plan of the study; None to compute it.

    Raises:
        FedSynthError: the run cannot continue.
    """
    started, study = time.monotonic(), config.study
    plan = plan or make_plan(study)
    run_folder = RunFolder(config.out)
    costs, emit = observed(run_folder, observe)
    log.info("%s", " ".join(explain(choose(study))))
    checkpoints = Checkpoints(run_folder, config.run_id, plan)
    emit(_start(config, plan, checkpoints))
    identities = {} if config.is_simulation else signing_identities(study, emit)
    exchange = Exchange(
        grid,
        study.federation.round_deadline_s,
        seal=seal,
        hospitals={facts.name: identities.get(facts.name, "") for facts in study.hospitals},
        emit=emit,
    )
    agreed = AgreedRun(config.run_id, study, plan, _masking_identities(config, plan))
    outcome = Federation(agreed, Resources(exchange, checkpoints, Receipts(config.receipts), emit)).run()

    model = Model(study, plan, outcome.released, outcome.weights)
    rows = config.rows or model.default_rows()
    record = run_record(study, plan, outcome, is_simulation=config.is_simulation)
    table = release(model, run_folder, rows, is_simulation=config.is_simulation)
    record |= {"run_id": config.run_id} | about_rules(record, model.rule_violations(rows, release_seed(study)))
    record["files"] = digests_of(run_folder.path)
    record |= evaluate(model, run_folder, table)
    emit(ReleaseWritten(rows=rows))
    seconds = round(time.monotonic() - started, 3)
    run_folder.write_json("run.json", record | {"seconds": seconds, "phases": costs.seconds, "traffic": costs.traffic})
    checkpoints.forget_rounds()
    emit(RunFinished(run_id=config.run_id, seconds=seconds))


def _masking_identities(config: RunConfig, plan: Plan) -> Mapping[str, str]:
    """Return the public key of each hospital that signs masking keys; none where nothing is masked."""
    if not plan.honest_hospitals:
        return {}
    return simulated_identities(config.study) if config.is_simulation else listed_identities(config.study)


def observed(run_folder: RunFolder, observe: Emit) -> tuple[Costs, Emit]:
    """Return the costs of the run so far, and the function that emits to them, the log and `events.jsonl`.

    Args:
        run_folder: folder of the run; it holds the events of earlier attempts.
        observe: also takes the events.
    """
    costs = Costs()
    for event in read_events(run_folder.path / EVENTS):
        costs(event)
    return costs, to_all(JsonLines(run_folder.path / EVENTS), write_log, costs, observe)


def _start(config: RunConfig, plan: Plan, checkpoints: Checkpoints) -> RunStarted:
    study = config.study
    return RunStarted(
        run_id=config.run_id,
        study=study.name,
        fingerprint=study.fingerprint,
        hospitals=tuple(facts.name for facts in study.hospitals),
        phases=plan.phases,
        rounds=plan.rounds,
        is_simulation=config.is_simulation,
        is_resumed=checkpoints.is_resumed,
        done=checkpoints.steps() if checkpoints.is_resumed else (),
    )


def signing_identities(study: Study, emit: Emit) -> dict[str, str]:
    """Return the keys that replies are checked with; emit an event for every hospital without one."""
    for facts in study.hospitals:
        if facts.identity is None:
            emit(RepliesUnchecked(hospital=facts.name))
    return {facts.name: facts.identity for facts in study.hospitals if facts.identity is not None}


def release(model: Model, run_folder: RunFolder, rows: int, *, is_simulation: bool) -> pd.DataFrame:
    """Write the model and a synthetic table, and return the table, conformed.

    Args:
        model: the trained model.
        run_folder: folder for `model` and `synthetic.csv` with `images`, or `visits.csv` and `patients.csv`.
        rows: number of rows of the table; of patients where rows are visits.
        is_simulation: whether the hospitals are simulated; the model says so.
    """
    save_model(model, run_folder, is_simulation=is_simulation)
    table = model.sample(rows, release_seed(model.study))
    images = draw_images(model, table, release_seed(model.study))
    written = {"synthetic.csv": written_table(model, table, images)}
    if model.study.has_visits:
        tables = visit_tables(table, model.study.declared)
        written = {"visits.csv": tables.visits, "patients.csv": tables.patients}
    for name, content in images.files().items() if images else ():
        run_folder.write(name, content)
    for name, raw in written.items():
        run_folder.write(name, raw.to_csv(index=False, lineterminator="\n"))
    return table


def evaluate(model: Model, run_folder: RunFolder, table: pd.DataFrame) -> dict[str, Any]:
    """Write the page on the private evaluation, and return its part of run.json; nothing for a run without.

    Args:
        model: the trained model, with all released sums.
        run_folder: folder for the page.
        table: the synthetic table, conformed.
    """
    public = PublicRun(model.study, model.plan, model.released)
    evaluation = evaluate_privately(public, public.encoder.encode(table))
    if evaluation is None:
        return {}
    document = evaluation.as_document()
    run_folder.write(EVALUATION_PAGE, to_markdown(document, model.study.name))
    return {"evaluation": document}


def about_rules(record: Mapping[str, Any], redrawn: dict[str, float]) -> dict[str, Any]:
    """Return what run.json says of broken rules: the warnings, which are logged too, after those it has already.

    Args:
        record: the content so far.
        redrawn: fraction of drawn patients that broke each rule.
    """
    warnings = warnings_of_rules(redrawn)
    for warning in warnings:
        log.warning("%s", warning)
    return {"redrawn": redrawn, "warnings": [*record["warnings"], *warnings]}


def run_record(study: Study, plan: Plan, outcome: RunOutcome, *, is_simulation: bool) -> dict[str, Any]:
    """Return the part of run.json that does not depend on time: versions, fingerprint, hospitals.

    Args:
        study: study of the run.
        plan: plan of the run.
        outcome: what the run left.
        is_simulation: whether the hospitals are simulated.
    """
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
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
    }
