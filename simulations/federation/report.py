"""Complete a finished run: its charges, the evaluation of its table, the full run.json and the report."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.errors import StudyError
from common.evaluation.assessment import Evidence, assess
from common.evaluation.report.html import HospitalRun, RunFacts, render
from common.evaluation.statistics.data import DrawBalanced, EvaluationData, HospitalLabels
from common.ledger.ledger import History
from common.model import load_model
from common.planning.plan import Plan
from common.run_events.events import Emit, ignore
from common.seeds import seed_for
from common.study.study import Study
from common.system.folder import RunFolder
from common.tables.conforming import conform
from common.tables.formats import read_table
from simulations.federation.charges import charges_of
from simulations.federation.sites import Shards


@dataclass(frozen=True, slots=True, eq=False)
class FinishedRun:
    """A run that the coordinator has finished, with the records and ledgers of all simulated hospitals.

    Args:
        study: study of the run.
        plan: plan of the run.
        shards: the records of each hospital.
        ledgers: ledger of each hospital.
        run_folder: what the coordinator wrote.
    """

    study: Study
    plan: Plan
    shards: Shards
    ledgers: Mapping[str, History]
    run_folder: RunFolder


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """The result of a simulation; `run` is the content of run.json."""

    out: Path
    run: dict[str, Any]
    evidence: Evidence


def complete(finished: FinishedRun, *, started: float, emit: Emit = ignore) -> Result:
    """Add charges, scores and the report to a finished run's folder.

    Args:
        finished: the run.
        started: when it began, by the monotonic clock.
        emit: takes the events of the evaluation.
    """
    study, run_folder = finished.study, finished.run_folder
    record: dict[str, Any] = json.loads((run_folder.path / "run.json").read_text(encoding="utf-8"))
    record["hospitals"] = {
        name: charges_of(study, finished.plan, name, ledger, record["run_id"])
        for name, ledger in finished.ledgers.items()
    }
    charged = [hospital["epsilon"] for hospital in record["hospitals"].values()]
    epsilon = None if None in charged else max(charged)
    evidence = _measure(study, finished.shards, run_folder.path, epsilon, emit)
    record["seconds"] = round(time.monotonic() - started, 3)
    record["peak_memory_mib"] = _peak_memory_mib()
    record["verdict"] = evidence.verdict.headline
    run_folder.write("report.json", evidence.to_json())
    run_folder.write("report.html", render(evidence, _facts(study, record), title=study.name))
    run_folder.write_json("run.json", record)
    return Result(run_folder.path, record, evidence)


def _measure(study: Study, shards: Shards, out: Path, epsilon: float | None, emit: Emit) -> Evidence:
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
    return assess(data, emit=emit)


def balanced_rows(study: Study, model: Path, synthetic: pd.DataFrame) -> DrawBalanced | None:
    """Return a function that draws equally many rows of each category of the target; None without categories.

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
    """Return what the report says about the run."""
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
