"""Evaluate a synthetic table at the site, against the same training and held-out patients that the run had.

The report is computed from real rows without noise. It is written for this account alone, and stays at the hospital.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from client.shard import Shard
from client.site.config import Site
from client.site.imported import open_frozen
from client.site.state import check_own_state, split_key
from common.errors import DataError, SiteError
from common.evaluation.assessment import Assessment, assess
from common.evaluation.report.html import render
from common.evaluation.report.visits import render_visits
from common.evaluation.statistics.data import EvaluationData
from common.evaluation.statistics.images import ComparedImages
from common.evaluation.visits.analysis import VisitAnalysis
from common.evaluation.visits.evidence import VisitEvidence, assess_visits
from common.evaluation.visits.from_study import layout_of, measured_visits, with_patient_and_time
from common.ledger.history import History
from common.ledger.ledger import Ledger
from common.privacy import accountant
from common.privacy.events import Event
from common.study.schema import VISIT, VISITS
from common.study.study import Study, parse_study
from common.system.files import write_synced, writing
from common.tables.checking import check_table
from common.tables.conforming import conform
from common.tables.formats import read_table
from common.tables.image_files import read_images
from common.tables.parts import join
from common.tables.visit_tables import read_visits
from common.tables.visits import check_records, visit_rows

EVALUATIONS = "evaluations"
"""Folder of the reports in the state folder, one folder for each run."""


@dataclass(frozen=True, slots=True)
class SiteReport:
    """A report that stays at the hospital.

    Attributes:
        folder: holds `report.html` and `report.json`.
        evidence: what they show.
        notices: what the schema changed in the synthetic table, one text each.
    """

    folder: Path
    evidence: Assessment | VisitEvidence
    notices: tuple[str, ...]


def evaluate_run(site: Site, run_id: str, synthetic: Path, out: Path | None = None) -> SiteReport:
    """Measure a run's synthetic table against this site's patients and write the report. The agent may run meanwhile.

    Args:
        site: the site; its frozen table is read.
        run_id: the run that made the table, as the ledger names it.
        synthetic: the synthetic table that the coordinator sent; the paths of its images are relative to its folder.
            Of a study of visits: one table with a row per visit, or a folder with `visits.csv` and `patients.csv`.
        out: folder for the report, which no other account may write to; None writes it into the state folder.

    Raises:
        SiteError: the run is not in the ledger, was answered from another table, or held out no patient; or the report
            cannot be written, or not without other accounts.
        DataError: the synthetic table or one of its images cannot be read, or its columns are not those of the study.
    """
    check_own_state(site)
    folder = site.state / EVALUATIONS / run_id if out is None else out
    if folder.exists():
        _check_folder(folder)  # again before it writes: the evaluation in between takes a while
    history = Ledger.view(site.ledger)
    study = _study_of(site, history, run_id)
    shard = _open_split(site, history, study, run_id)
    if study.has_visits:
        evaluation = _of_visits(shard, study, synthetic)
    else:
        evaluation = _of_rows(shard, study, synthetic, history.spent_on(run_id))
    _write(folder, {"report.json": evaluation.evidence.to_json(), "report.html": evaluation.page})
    return SiteReport(folder, evaluation.evidence, evaluation.notices)


@dataclass(frozen=True, slots=True)
class _Evaluation:
    """What is written about a synthetic table: its evidence, the page, and what the schema changed in the table."""

    evidence: Assessment | VisitEvidence
    page: str
    notices: tuple[str, ...]


def _of_rows(shard: Shard, study: Study, synthetic: Path, events: Sequence[Event]) -> _Evaluation:
    """Measure a table with one row per patient.

    Args:
        shard: training and held-out rows.
        study: study of the run.
        synthetic: the synthetic table.
        events: what the run was charged here.
    """
    raw = read_table(synthetic)
    _check_columns(list(raw.columns), study.table.read_names, study.table.written_names, synthetic)
    raw = read_images(raw, study.images, synthetic.parent, synthetic.name)
    notices = tuple(check_table(raw, study.table, name=synthetic.name))
    tables = (shard.training, shard.holdout, conform(raw, study.table))
    cells = [shard.training_images, shard.holdout_images]
    cells += [raw[image.name].to_numpy(dtype=object) for image in study.images]
    data = EvaluationData(
        *tables,
        study.table,
        target=study.evaluation.target,
        time=study.evaluation.time,
        rules=tuple(study.rules),
        sensitive=tuple(study.evaluation.sensitive),
        is_one_hospital=True,
        images=ComparedImages.of(study, tables, cells),
        epsilon=accountant.epsilon(events, study.privacy.delta) if study.privacy.noise != "none" else None,
        delta=study.privacy.delta,
    )
    evidence = assess(data)
    return _Evaluation(evidence, render(evidence, None, title=study.name), notices)


def _of_visits(shard: Shard, study: Study, synthetic: Path) -> _Evaluation:
    """Measure synthetic visits.

    Args:
        shard: kept visits of training and of held-out patients.
        study: study of the run.
        synthetic: a table with a row per visit, or a folder with `visits.csv` and `patients.csv`.
    """
    declared = study.declared
    raw = read_visits(synthetic, declared)
    required = (str(declared.patient), str(declared.time), *declared.read_names)
    _check_columns(list(raw.columns), required, (*required, *declared.written_names, VISIT, VISITS), synthetic)
    notices = tuple(check_records(raw, study, name=synthetic.name))
    real, unseen = (with_patient_and_time(side, study) for side in (shard.training, shard.holdout))
    drawn = measured_visits(visit_rows(raw, declared), study)
    evidence = assess_visits(VisitAnalysis.of(real, unseen, drawn, layout_of(study)))
    return _Evaluation(evidence, render_visits(evidence, None, title=study.name), notices)


def _study_of(site: Site, history: History, run_id: str) -> Study:
    """Return the study of a run that this site answered.

    Raises:
        SiteError: the run was never approved here, or the agent has answered nothing about it yet.
    """
    enrollment = history.enrollment(run_id)
    if enrollment is not None and history.charged(run_id):
        return parse_study(enrollment.study)
    if enrollment is not None or site.approvals.of(run_id):
        raise SiteError(f"run '{run_id}' has released nothing here, so no table comes from it; evaluate it afterwards")
    raise SiteError(f"run '{run_id}' was never approved at this site; `fedsynth site ledger show` lists the runs")


def _open_split(site: Site, history: History, study: Study, run_id: str) -> Shard:
    """Return training and held-out rows as the run had them.

    Raises:
        SiteError: another table was imported since, or there are no held-out rows.
    """
    table = open_frozen(site)
    if table.imported.sha256 != history.table(run_id):
        raise SiteError(
            f"run '{run_id}' was answered from another table than the one imported on {table.imported.time[:10]}; "
            "evaluate it on a copy of the state folder from that time"
        )
    if not study.evaluation.holdout_fraction:
        raise SiteError(
            f"run '{run_id}' held out no patient ([evaluation] holdout_fraction = 0): its table was trained on every "
            "row, and nothing is left to evaluate it with; agree on a fraction in the next study"
        )
    raw = join(list(table.parts_for(study)))
    shard = Shard(raw, study, key=split_key(site, study), patient_column=site.patient_column)
    if not len(shard.holdout) or not len(shard.training):
        raise SiteError(
            f"run '{run_id}' left no patient for training or none held out, at [evaluation] holdout_fraction = "
            f"{study.evaluation.holdout_fraction:g}; import more patients, or agree on another fraction"
        )
    return shard


def _check_columns(columns: list[str], required: Sequence[str], known: Sequence[str], synthetic: Path) -> None:
    """Raise `DataError` unless the synthetic table has the study's columns and no others.

    Args:
        columns: those of the table.
        required: columns without which it cannot be compared.
        known: all columns that a table of the study may have.
        synthetic: the table, for messages.
    """
    absent = [name for name in required if name not in columns]
    surplus = [name for name in columns if name not in known]
    if not absent and not surplus:
        return
    difference = (
        f"lacks column '{absent[0]}'" if absent else f"has a column '{surplus[0]}', which the study does not have"
    )
    raise DataError(f"'{synthetic}' {difference}; give the table that the coordinator's run of this study wrote")


def _check_folder(folder: Path) -> None:
    """Raise `SiteError` if another account could replace what is written into this folder."""
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise SiteError(f"'{folder}' belongs to account {status.st_uid}; choose a folder of this account for --out")
    if stat.S_IMODE(status.st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
        raise SiteError(f"other accounts can write to '{folder}'; run `chmod go-w {folder}`, or choose another --out")


def _write(folder: Path, texts: dict[str, str]) -> None:
    """Write files that only this account can read."""
    with writing(folder, error=SiteError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_folder(folder)
        for name, text in texts.items():
            write_synced(folder / name, text.encode(), mode=0o600)
