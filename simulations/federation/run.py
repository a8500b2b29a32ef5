"""A whole federation on one machine: check the tables, run the real apps on the local grid, measure, report."""

from __future__ import annotations

import json
import logging
import math
import resource
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import torch

from client.agent.transport import Transport, in_process
from client.app import app as client_app
from client.consent.policy import Policy
from client.hospital import Hospital
from client.shard import Shard
from common.errors import FedSynthError, StudyError
from common.evaluation.assessment import Evidence, assess
from common.evaluation.report.html import HospitalRun, RunFacts, render
from common.evaluation.statistics.data import DrawBalanced, EvaluationData, HospitalLabels
from common.ledger.ledger import History, Ledger, Line
from common.model import load_model
from common.planning.planner import make_plan
from common.privacy import accountant
from common.privacy.events import (
    DiscreteGaussianVector,
    DistributedGaussianVector,
    DpSgdRun,
    Event,
    SynchronousRun,
    Unprotected,
)
from common.privacy.mechanisms import SeededNoise
from common.protocol.messages import MaskingRequest, OpenRequest
from common.protocol.signing import Identity
from common.secagg.terms import simulated_identities
from common.seeds import seed_for, site_key
from common.study.study import Study
from common.system.files import writing
from common.system.folder import RunFolder
from common.system.logs import log_to
from common.tables.conforming import conform
from common.tables.reading import read_table
from server.app import app as server_app
from simulations.federation.local_grid import Config, LocalGrid, run_server_app
from simulations.federation.prepare import Prepared

log = logging.getLogger(__name__)

WRITTEN = ("synthetic.csv", "model", "report.html", "report.json", "run.json", "run.log", "sites", "checkpoints")
"""Everything a simulation writes into its output folder, and all that `force` may remove from it."""

Engine = Literal["local", "ray"]

Progress = Callable[[str, int, int], None]
"""Called with the phase, how much of it is done and how much there is."""

STEPS = frozenset(step.kind for step in get_args(MaskingRequest))
"""The exchanges of which each masked sum takes one after the other."""

Shards = Mapping[str, Callable[[], Shard]]
"""How to open each hospital's records; opened once, and not before they are needed."""


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What a simulation found: `run` is the content of run.json."""

    out: Path
    run: dict[str, Any]
    evidence: Evidence


def simulate(
    prepared: Prepared,
    out: Path,
    *,
    sites: Path | None = None,
    max_epsilon: float = math.inf,
    rows: int | None = None,
    force: bool = False,
    progress: Progress = lambda phase, done, total: None,
    wrap: Callable[[Hospital], Transport] = lambda hospital: hospital,
    workers: int | None = None,
    engine: Engine = "local",
) -> Result:
    """Run the study over simulated hospitals and write everything that a reader of the output folder expects.

    Args:
        out: made; must be empty unless `force`.
        sites: keeps the hospitals' ledgers, `<sites>/<hospital>/ledger.sqlite`, and the server's receipts for them,
            `<sites>/receipts.json`; inside `out` by default.
        max_epsilon: cap on what every hospital's ledger may ever hold, at the study's delta.
        rows: synthetic rows; as many as were declared for training by default.
        wrap: puts something between the relay and each hospital, for fault injection.
        workers: hospitals that compute at once; one per processor by default.
        engine: what delivers the messages; `wrap` and `workers` are the local grid's.

    Raises:
        StudyError: the output folder cannot be used, or the engine is not installed.
        PolicyRefusal: so many hospitals refused that too few are left; no record was opened.
        LedgerError: a ledger in `sites` is in use, altered, or of another delta.
        FederationError: too few hospitals were left; run.json says `"status": "failed"`.
    """
    make_plan(prepared.study)  # a study that cannot be planned fails before anything is written
    run_folder = _open_folder(out, force=force)
    started = time.monotonic()
    torch.set_num_threads(1)  # results do not depend on the machine's processors; hospitals run side by side
    with ExitStack() as stack:
        stack.enter_context(log_to(out / "run.log", "client", "server", "simulations", "common"))
        shards = open_shards(prepared)
        try:
            kept = sites or out / "sites"
            if engine == "ray":
                from simulations.federation.ray_grid import federate_on_ray

                federate_on_ray(prepared, out, kept, rows=rows or 0, max_epsilon=max_epsilon, progress=progress)
            hospitals = open_hospitals(prepared.study, shards, kept, stack, max_epsilon=max_epsilon)
            try:
                if engine == "local":
                    federate(
                        prepared.study, hospitals, out, kept,
                        rows=rows or 0, progress=progress, wrap=wrap, workers=workers,
                    )  # fmt: skip
            finally:  # the run is over, late hospitals too: what it reserved and did not use is free again
                for hospital in hospitals.values():
                    hospital.ledger.close_open_runs()
            ledgers = {name: hospital.ledger for name, hospital in hospitals.items()}
            return complete(prepared.study, shards, ledgers, run_folder, started=started, progress=progress)
        except FedSynthError as problem:
            log.error("%s", problem)
            failed = {"status": "failed", "simulation": True, "study": prepared.study.name, "reason": str(problem)}
            run_folder.write_json("run.json", failed)
            raise


def complete(
    study: Study,
    shards: Shards,
    ledgers: Mapping[str, History],
    run_folder: RunFolder,
    *,
    started: float,
    progress: Progress = lambda phase, done, total: None,
) -> Result:
    """Add to a finished run's folder what only the owner of all sites can know: charges, scores, the report.

    Args:
        started: of the run, by the monotonic clock.
    """
    record = _complete_record(study, ledgers, run_folder)
    charged = [facts["epsilon"] for facts in record["hospitals"].values()]
    epsilon = None if None in charged else max(charged)
    evidence = _measure(study, shards, run_folder.path, epsilon, progress)
    record["seconds"] = round(time.monotonic() - started, 3)
    record["peak_memory_mib"] = _peak_memory_mib()
    record["verdict"] = evidence.verdict.headline
    run_folder.write("report.json", evidence.to_json())
    run_folder.write("report.html", render(evidence, _facts(study, record), title=study.name))
    run_folder.write_json("run.json", record)
    return Result(run_folder.path, record, evidence)


def _open_folder(out: Path, *, force: bool) -> RunFolder:
    with writing(out):
        present = sorted(path.name for path in out.iterdir()) if out.exists() else []
        if present and not force:
            raise StudyError(f"output folder '{out}' is not empty; choose another with --out or empty it with --force")
        foreign = [name for name in present if name not in WRITTEN]
        if foreign:
            raise StudyError(
                f"output folder '{out}' holds '{foreign[0]}', which no simulation wrote; choose another with --out"
            )
        for name in present:
            path = out / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return RunFolder(out)


def open_shards(prepared: Prepared) -> dict[str, Callable[[], Shard]]:
    """How to open every hospital's records, prepared for the study."""
    study = prepared.study
    return {
        name: cache(partial(Shard, raw, study, key=site_key(study.seed, name), patient_column=prepared.patient_column))
        for name, raw in prepared.tables.items()
    }


def open_hospitals(
    study: Study, shards: Shards, sites: Path, stack: ExitStack, *, max_epsilon: float = math.inf
) -> dict[str, Hospital]:
    """Simulated hospitals with seeded noise; their ledgers close with the stack."""
    delta = study.privacy.delta
    hospitals = {}
    for name, open_shard in shards.items():
        ledger = Ledger(sites / name / "ledger.sqlite", cohort=name, delta=delta)
        stack.callback(ledger.close)
        policy = Policy(name, max_epsilon=max_epsilon, delta=delta, is_simulation=True)
        hospitals[name] = Hospital(
            policy,
            _ignoring_study(open_shard),
            ledger,
            SeededNoise(study.seed),
            identity=Identity.simulated(study.seed, name),
            identities=simulated_identities,
        )
    return hospitals


def _ignoring_study(open_shard: Callable[[], Shard]) -> Callable[[Study], Shard]:
    return lambda study: open_shard()


def federate(
    study: Study,
    hospitals: Mapping[str, Hospital],
    out: Path,
    sites: Path,
    *,
    rows: int = 0,
    progress: Progress = lambda phase, done, total: None,
    wrap: Callable[[Hospital], Transport] = lambda hospital: hospital,
    workers: int | None = None,
    run_id: str | None = None,
) -> None:
    """Run the server's and the hospitals' apps against each other; the server writes its part of the output folder.

    Args:
        sites: where the coordinator keeps the hospitals' receipts.
        run_id: of a run that shall be resumed from the checkpoints in `out`; a fresh one by default.
    """
    run_id = run_id or secrets.token_hex(8)
    addresses = {f"{run_id}/{name}": wrap(hospital) for name, hospital in hospitals.items()}
    nodes: list[Config] = [{"agent": address} for address in addresses]
    with in_process(addresses):
        grid = partial(LocalGrid, client_app, workers=workers)
        drive(study, nodes, grid, out, sites, rows=rows, progress=progress, run_id=run_id)


def drive(
    study: Study,
    nodes: list[Config],
    make_grid: Callable[..., LocalGrid],
    out: Path,
    sites: Path,
    *,
    rows: int = 0,
    progress: Progress = lambda phase, done, total: None,
    run_id: str | None = None,
) -> None:
    """Run the ServerApp against a grid over these nodes, which `make_grid` makes."""
    # Fresh each time: ledgers that outlive the run must not mistake it for another.
    run_id = run_id or secrets.token_hex(8)
    texts = {"study": study.to_toml(), "run-id": run_id, "out": str(out), "receipts": str(sites / "receipts.json")}
    config: Config = {**texts, "simulation": True, "rows": rows}
    plan = make_plan(study)
    rounds, sums = plan.rounds, len(plan.vectors) + (plan.rounds if plan.quantization else 0)
    done = opened = 0

    def on_push(kind: str, messages: int) -> None:
        nonlocal done, opened
        if kind in STEPS:
            progress("masked sums", min(opened, sums), sums)
            opened += kind == OpenRequest.kind
        elif kind == "train.round":
            progress("rounds", done, rounds)
            done += 1
        else:
            progress(kind.removeprefix("query."), 0, 1)

    with make_grid(nodes, config, on_push=on_push) as grid:
        run_server_app(server_app, grid, config)
    progress("release", 1, 1)


def _complete_record(study: Study, ledgers: Mapping[str, History], run_folder: RunFolder) -> dict[str, Any]:
    """run.json with what only the owner of all ledgers can know: epsilon as charged, recomputed from the lines."""
    record: dict[str, Any] = json.loads((run_folder.path / "run.json").read_text(encoding="utf-8"))
    plan = make_plan(study)
    record["hospitals"] = {}
    for name, ledger in ledgers.items():
        lines = ledger.lines()
        facts, mine = study.hospital(name), plan.of(name)
        assert facts is not None, "a hospital outside the study"
        assert mine is not None, "a hospital outside the plan"
        mine_alone = [line for line in lines if line.slot.run_id == record["run_id"]]
        this_run = [line.event for line in mine_alone]
        record["hospitals"][name] = {
            "declared_rows": facts.declared_rows,
            "epsilon": _finite(accountant.epsilon(this_run, study.privacy.delta)),
            "epsilon_rdp": _finite(accountant.epsilon_rdp(this_run, study.privacy.delta)),
            "epsilon_of_all_runs": _finite(accountant.epsilon([line.event for line in lines], study.privacy.delta)),
            "delta": study.privacy.delta,
            "sigmas": {phase.name: mine.sigmas[place] for place, phase in enumerate(plan.vectors)},
            "noise_multiplier": mine.noise_multiplier,
            "sample_rate": mine.sample_rate,
            "steps": plan.rounds * mine.steps,
            "released": _released(mine_alone),
        }
    return record


def _released(lines: Sequence[Line]) -> list[str]:
    """What a ledger says that a hospital released, in sentences: one a phase, all rounds together."""
    told: dict[str, list[Event]] = {}
    for line in lines:
        told.setdefault("training" if line.slot.round else line.slot.words, []).append(line.event)
    return [_sentence(name, events) for name, events in told.items()]


def _sentence(name: str, events: Sequence[Event]) -> str:
    match events[0]:
        case DiscreteGaussianVector(sigma=sigma):
            return f"{name}: noisy counts; the noise of each has a standard deviation of {sigma:.1f} patients"
        case DistributedGaussianVector(share_sigma=sigma, honest_hospitals=honest):
            spread = sigma * math.sqrt(honest)
            return (
                f"{name}: counts under a mask; only the sum over hospitals was opened, and the noise of at least "
                f"{honest} honest hospitals in it has a standard deviation of {spread:.1f} patients"
            )
        case SynchronousRun(sample_rate=rate) as run:
            return (
                f"training: {len(events)} gradients under masks, each of one patient in {1 / rate:.0f} with noise "
                f"multiplier {run.central_multiplier:.2f} in the sum"
            )
        case DpSgdRun(noise_multiplier=multiplier, sample_rate=rate, steps=steps):
            rounds = f"{len(events)} round{'s' if len(events) > 1 else ''}"
            return (
                f"training: weights after each of {rounds}, {steps} steps a round, each on one patient in "
                f"{1 / rate:.0f} with noise multiplier {multiplier:.2f}"
            )
        case Unprotected():
            return f"{name}: exact, without noise"


def _finite(epsilon: float) -> float | None:
    """JSON knows no infinity: None means that nothing protects the patients."""
    return None if epsilon == float("inf") else round(epsilon, 6)


def _measure(study: Study, shards: Shards, out: Path, epsilon: float | None, progress: Progress) -> Evidence:
    parts = {name: (open_shard().training, open_shard().holdout) for name, open_shard in shards.items()}
    train, holdout = (pd.concat(tables, ignore_index=True) for tables in zip(*parts.values(), strict=True))
    owners = [np.repeat(np.array(list(parts), dtype=object), [len(pair[k]) for pair in parts.values()]) for k in (0, 1)]
    synthetic = conform(read_table(out / "synthetic.csv"), study.table)
    data = EvaluationData(
        train,
        holdout,
        synthetic,
        study.table,
        target=study.evaluation.target,
        time=study.evaluation.time,
        rules=tuple(study.rules),
        sensitive=tuple(study.evaluation.sensitive),
        hospitals=HospitalLabels(owners[0], owners[1]),
        draw_balanced=balanced_rows(study, out / "model", synthetic),
        epsilon=epsilon,
        delta=study.privacy.delta,
    )
    return assess(data, progress=progress)


def balanced_rows(study: Study, model: Path, synthetic: pd.DataFrame) -> DrawBalanced | None:
    """Draws rows with equally many of each category of the target; None where the target has no categories.

    `synthetic` stands in where the model gives a category no weight.
    """
    target = study.evaluation.target
    if not study.table[target].labels:
        return None
    loaded = load_model(model)

    def draw(rows: int) -> pd.DataFrame:
        try:
            return loaded.sample_balanced(rows, seed_for(study.seed, "augmentation"), target, given={})
        except StudyError:
            return synthetic

    return draw


def _facts(study: Study, record: Mapping[str, Any]) -> RunFacts:
    """What the report says about the run."""
    phases = record["phases"]
    seconds = {phase: max(cell["seconds"] for cell in cells.values()) for phase, cells in phases.items() if cells}
    hospitals = tuple(
        HospitalRun(
            name=name,
            declared_rows=facts["declared_rows"],
            epsilon=facts["epsilon"],
            delta=facts["delta"],
            seconds=sum(cells[name]["seconds"] for cells in phases.values() if name in cells),
            traffic_bytes=sum(
                cells[name]["bytes_up"] + cells[name]["bytes_down"] for cells in phases.values() if name in cells
            ),
            released=tuple(facts["released"]),
        )
        for name, facts in record["hospitals"].items()
    )
    return RunFacts(
        fingerprint=study.fingerprint,
        simulation=bool(record["simulation"]) or study.about.rehearsal,
        noise=study.privacy.noise,
        drafted=study.about.origin == "drafted",
        epsilon=study.privacy.epsilon,
        hospitals=hospitals,
        seconds=record["seconds"],
        peak_memory_mib=record["peak_memory_mib"],
        phases=seconds,
        versions=record["versions"],
    )


def _peak_memory_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024 if sys.platform == "linux" else 1024**2), 1)
