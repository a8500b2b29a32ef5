"""Complete a finished run: its charges, the evaluation of its table, the full run.json and the report.

A run that was completed without a report gets one later from the same tables: `report_on`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from client.shard import Shard
from common.columns.base import Texts
from common.errors import StudyError
from common.evaluation.assessment import Assessment, assess
from common.evaluation.report.html import HospitalRun, RunSummary, render
from common.evaluation.report.visits import render_visits
from common.evaluation.statistics.data import DrawClass, EvaluationData, HospitalLabels
from common.evaluation.statistics.images import ComparedImages
from common.evaluation.statistics.values import labels
from common.evaluation.visits.analysis import VisitAnalysis
from common.evaluation.visits.evidence import VisitEvidence, assess_visits
from common.evaluation.visits.from_study import layout_of, measured_visits, with_patient_and_time
from common.ledger.ledger import History
from common.model import MODEL, Model, load_model
from common.planning.choice import choose
from common.planning.explain import about_rounds
from common.planning.plan import Plan
from common.run_events.events import Emit, ignore
from common.seeds import seed_for
from common.study.rules import warnings_of_rules
from common.study.schema import VISIT
from common.study.study import Study
from common.system.folder import RunFolder
from common.tables.conforming import conform
from common.tables.formats import read_table
from common.tables.image_files import read_images
from common.tables.visit_tables import joined_visits
from common.tables.visits import visit_rows
from simulations.federation.before_rounds import table_before_rounds
from simulations.federation.charges import charges_of
from simulations.federation.prepare import prepare
from simulations.federation.sites import Shards, open_shards
from simulations.federation.tables import TableSplit
from simulations.usage import peak_mib


@dataclass(frozen=True, slots=True, eq=False)
class FinishedRun:
    """A run that the coordinator has finished, with the records and ledgers of all simulated hospitals.

    Args:
        study: study of the run.
        plan: plan of the run.
        shards: the records of each hospital.
        ledgers: ledger of each hospital.
        run_folder: what the coordinator wrote.
        called: name of each hospital as people write it, by its name in the study; where absent, that name.
    """

    study: Study
    plan: Plan
    shards: Shards
    ledgers: Mapping[str, History]
    run_folder: RunFolder
    called: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """The result of a simulation; `run` is the content of run.json. `evidence` is None if no report was made."""

    out: Path
    run: dict[str, Any]
    evidence: Assessment | VisitEvidence | None


def complete(finished: FinishedRun, *, started: float, with_report: bool = True, emit: Emit = ignore) -> Result:
    """Add charges, scores and the report to a finished run's folder.

    Args:
        finished: the run.
        started: when it began, by the monotonic clock.
        with_report: evaluate the table; if not, `report_on` can do it later.
        emit: takes the events of the evaluation.
    """
    study, run_folder = finished.study, finished.run_folder
    record: dict[str, Any] = json.loads((run_folder.path / "run.json").read_text(encoding="utf-8"))
    record["hospitals"] = {
        name: {"called": finished.called.get(name, name)}
        | charges_of(study, finished.plan, name, ledger, record["run_id"])
        for name, ledger in finished.ledgers.items()
    }
    out = run_folder.path
    evidence = _measure(load_model(out / MODEL), finished.shards, out, record, emit) if with_report else None
    record["seconds"] = round(time.monotonic() - started, 3)
    record["peak_memory_mib"] = round(peak_mib(), 1)
    _write(run_folder, study, record, evidence)
    return Result(out, record, evidence)


def report_on(out: Path, data: Path | None, split: TableSplit, *, emit: Emit = ignore) -> Result:
    """Evaluate the table of a finished simulation and write its report, as the simulation would have.

    Args:
        out: output folder of the simulation.
        data: the tables that were simulated; None for the built-in ones.
        split: how they were split into hospitals.
        emit: takes the events of the evaluation.

    Raises:
        StudyError: the folder holds no finished simulation, or the tables are those of other hospitals.
        DataError: a table cannot be read or does not fit the study.
    """
    record = RunFolder(out).read_json("run.json") if out.is_dir() else None
    if not record or record["status"] != "finished" or not record["simulation"]:
        raise StudyError(f"'{out}' does not hold a finished simulation; give the --out of `fedsynth simulate`")
    model = load_model(out / MODEL)
    study = model.study
    tables, _ = split.open(study, data)
    prepared = prepare(study, tables, patient_column=split.patient_column, small_hospitals=split.small_hospitals)
    evidence = _measure(model, open_shards(prepared), out, record, emit)
    _write(RunFolder(out), study, record, evidence)
    return Result(out, record, evidence)


def _write(
    run_folder: RunFolder, study: Study, record: dict[str, Any], evidence: Assessment | VisitEvidence | None
) -> None:
    """Write the report, if there is evidence, and run.json with its verdict.

    Args:
        run_folder: folder of the run.
        study: its study.
        record: content of run.json.
        evidence: what was measured of the table; None for no report.
    """
    if evidence is not None:
        facts = _facts(study, record)
        record["verdict"] = evidence.verdict.headline
        if isinstance(evidence, VisitEvidence):
            page = render_visits(evidence, facts, title=study.name)
        else:
            page = render(evidence, facts, title=study.name)
        run_folder.write("report.json", evidence.to_json())
        run_folder.write("report.html", page)
    run_folder.write_json("run.json", record)


def _measure(
    model: Model, shards: Shards, out: Path, record: Mapping[str, Any], emit: Emit
) -> Assessment | VisitEvidence:
    """Measure the table of a finished run against the records of its hospitals.

    Args:
        model: the model that the run released.
        shards: the records of each hospital.
        out: folder of the run.
        record: content of run.json.
        emit: takes the progress.
    """
    study = model.study
    charged = [hospital["epsilon"] for hospital in record["hospitals"].values()]
    opened = {name: open_shard() for name, open_shard in shards.items()}
    called: dict[str, str] = {name: facts["called"] for name, facts in record["hospitals"].items()}
    parts = {called[name]: (shard.training, shard.holdout) for name, shard in opened.items()}
    train, holdout = (pd.concat(tables, ignore_index=True) for tables in zip(*parts.values(), strict=True))
    if study.has_visits:
        return _measure_visits(model, out, train, holdout)
    owners = [np.repeat(np.array(list(parts), dtype=object), [len(pair[k]) for pair in parts.values()]) for k in (0, 1)]
    raw = read_images(read_table(out / "synthetic.csv"), study.images, out, "synthetic.csv")
    synthetic = conform(raw, study.table)
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
        draw_class=rows_of_class(model, synthetic),
        before_rounds=table_before_rounds(model, out, len(synthetic)),
        images=ComparedImages.of(study, (train, holdout, synthetic), _image_cells(study, list(opened.values()), raw)),
        epsilon=None if None in charged else max(charged),
        delta=study.privacy.delta,
    )
    return assess(data, emit=emit)


def _image_cells(study: Study, shards: Sequence[Shard], raw: pd.DataFrame) -> list[Texts]:
    """Return the cells of images of training and held-out patients, and of the synthetic table.

    Args:
        study: study of the run.
        shards: the records of the hospitals.
        raw: the synthetic table with pixels in its cells.
    """
    real = [
        np.concatenate(sides) for sides in zip(*((s.training_images, s.holdout_images) for s in shards), strict=True)
    ]
    return [*real, *(raw[image.name].to_numpy(dtype=object) for image in study.images)]


def _measure_visits(model: Model, out: Path, train: pd.DataFrame, holdout: pd.DataFrame) -> VisitEvidence:
    """Measure the visits of a finished run, and those that it gives without its training rounds, where it had any.

    Args:
        model: the model that the run released.
        out: folder of the run.
        train, holdout: conformed visits of all hospitals.
    """
    study, layout = model.study, layout_of(model.study)
    rows = visit_rows(joined_visits(out, study.declared), study.declared)
    before = table_before_rounds(model, out, int((rows[VISIT] == "1").sum()))
    real, unseen = (with_patient_and_time(table, study) for table in (train, holdout))
    analysis = VisitAnalysis.of(real, unseen, measured_visits(rows, study), layout)
    if before is None:
        return assess_visits(analysis)
    without = VisitAnalysis.of(real, unseen, with_patient_and_time(before, study), layout)
    return assess_visits(analysis, before_rounds=without)


def rows_of_class(model: Model, synthetic: pd.DataFrame) -> DrawClass | None:
    """Return a function that draws rows of one category of the target; None without categories.

    `synthetic` stands in where the model gives a category no weight.
    """
    study, target = model.study, model.study.evaluation.target
    categories = study.table[target].labels
    if not categories:
        return None
    category_of = dict(zip(labels(pd.Series(categories, dtype=object)), categories, strict=True))

    def draw(label: str, rows: int) -> pd.DataFrame:
        try:
            seed = seed_for(study.seed, "augmentation", label)
            return model.sample(rows, seed, given={target: category_of.get(label, label)})
        except StudyError:
            return synthetic

    return draw


def _facts(study: Study, record: Mapping[str, Any]) -> RunSummary:
    """Return what the report says about the run."""
    traffic, choice = record["traffic"], choose(study)
    hospitals = tuple(
        HospitalRun(
            name=facts["called"],
            declared_rows=facts["declared_rows"],
            epsilon=facts["epsilon"],
            delta=facts["delta"],
            traffic_bytes=sum(
                cells[name]["bytes_up"] + cells[name]["bytes_down"] for cells in traffic.values() if name in cells
            ),
            released=tuple(facts["released"]),
        )
        for name, facts in record["hospitals"].items()
    )
    return RunSummary(
        fingerprint=study.fingerprint,
        simulation=bool(record["simulation"]) or study.about.rehearsal,
        noise=study.privacy.noise,
        drafted=study.about.origin == "drafted",
        epsilon=study.privacy.epsilon,
        hospitals=hospitals,
        seconds=record["seconds"],
        peak_memory_mib=record["peak_memory_mib"],
        phases=record["phases"],
        versions=record["versions"],
        warnings=tuple(warnings_of_rules(record["redrawn"])),
        rounds_note=about_rounds(choice),
        has_encoder_rounds=choice.classes.rounds > 0,
        evaluation=record.get("evaluation"),
    )
