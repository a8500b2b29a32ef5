"""The arms of a benchmark of visits. An arm is an entry in `VISIT_ARMS`.

An arm gets raw visits of the training patients and returns visits of as many synthetic patients, both as
`common.tables.visits.visit_rows` returns them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from common.evaluation.visits.histories import OrderedVisits, VisitLayout, bootstrap_of
from common.seeds import seed_for
from common.study.schema import DERIVED
from common.tables.raw import as_text
from common.tables.visits import moment, visit_rows
from simulations.benchmark.arms import BenchmarkArm
from simulations.benchmark.peers import PAR_PACKAGE, PROGRAM, ask, python_with
from simulations.benchmark.synthesis import GAN, Sections, SynthesisResult, SynthesisTask, federate_parts, federated
from simulations.benchmark.visits.wide import flatten, unflatten, wide_study

SHARED: Sections = {"privacy": {"noise": "distributed"}, "federation": {"dropouts": 0, "colluders": 1}}


def bootstrap_patients(task: SynthesisTask) -> SynthesisResult:
    """Draw as many training patients with replacement, each with all visits."""
    patient = task.study.declared.patient
    assert patient is not None, "a study of visits"
    columns = tuple(name for name in task.train.columns if name != patient)
    rows = task.train.assign(order=np.arange(len(task.train)))
    histories = OrderedVisits.of(rows, VisitLayout(patient, "order", (), columns), "training")
    drawn = bootstrap_of(histories, histories.patients, task.seed)
    return SynthesisResult(drawn.table.assign(**{patient: drawn.patient_of_visit.astype(str)}))


def flattened(task: SynthesisTask, *, hospitals: int, settings: Sections) -> SynthesisResult:
    """Make one wide row per patient, synthesize wide rows as a flat table, and take them apart.

    Args:
        task: what to train on.
        hospitals: number of random hospitals of equal size.
        settings: sections of the study to change.
    """
    wide = replace(task, train=flatten(task.train, task.study), study=wide_study(task.study))
    result = federated(wide, hospitals=hospitals, settings=settings)
    return replace(result, synthetic=unflatten(as_text(result.synthetic), task.study))


def whole_histories(task: SynthesisTask, *, hospitals: int, settings: Sections) -> SynthesisResult:
    """Fit the model of whole histories to the visits of some hospitals.

    Args:
        task: what to train on.
        hospitals: number of random hospitals with equally many patients.
        settings: sections of the study to change.
    """
    declared = task.study.declared
    raw = task.train.drop(columns=list(DERIVED), errors="ignore")
    patients, _ = pd.factorize(raw[declared.patient])
    assigned = np.random.default_rng(task.seed).permutation(patients.max() + 1) % hospitals
    parts = {f"hospital-{index + 1}": raw[assigned[patients] == index] for index in range(hospitals)}
    result = federate_parts(task, parts, settings)
    return replace(result, synthetic=visit_rows(as_text(result.synthetic), declared))


def par(task: SynthesisTask) -> SynthesisResult:
    """Run PAR of SDV on the training visits: every column is a context of the patient or a part of the sequence."""
    declared = task.study.declared
    assert declared.patient is not None, "a study of visits"
    assert declared.time is not None, "a study of visits"
    columns = [column for column in declared.columns if column.name != declared.time]
    numbers = [declared.time, *(column.name for column in task.study.table.with_grid)]
    given = task.train[[declared.patient, declared.time, *(column.name for column in columns)]].copy()
    for name in given:
        if name in numbers:
            given[name] = pd.Series([moment(cell) for cell in given[name]], given.index)
        else:
            given[name] = "=" + given[name]  # so that a label that looks like a number stays one
    request = {
        "program": "par",
        "patients": int(given[declared.patient].nunique()),
        "seed": seed_for(task.seed, "peer", "par") % 2**31,
        "patient": declared.patient,
        "time": declared.time,
        "context": [column.name for column in columns if column.per == "patient"],
        "numbers": numbers,
    }
    command: list[str | Path] = [python_with(PAR_PACKAGE, task.peers.folder), "-I", PROGRAM]
    visits = as_text(ask(command, request, given, task.peers.limit_s))
    for name in visits.columns.difference(numbers):
        visits[name] = visits[name].str.removeprefix("=")
    return SynthesisResult(visit_rows(visits, declared))


def _private(run: Callable[..., SynthesisResult], label: str, hospitals: int, settings: Sections) -> BenchmarkArm:
    """Return the arm of hospitals that each promise epsilon to their patients.

    Args:
        run: makes the table.
        label: its name for readers.
        hospitals: number of random hospitals.
        settings: sections of the study to change.
    """
    return BenchmarkArm(partial(run, hospitals=hospitals, settings=settings), label, "each hospital")


VISIT_ARMS: dict[str, BenchmarkArm] = {
    "bootstrap": BenchmarkArm(bootstrap_patients, "real patients, resampled", "none"),
    "histories": _private(whole_histories, "whole histories, centralized", 1, {}),
    "histories-4": _private(whole_histories, "whole histories, 4 random hospitals, shared noise", 4, SHARED),
    "flattened": _private(flattened, "flattened to one wide row, centralized", 1, {}),
    "flattened-gan": _private(flattened, "flattened, the GAN instead of the maximum-entropy model", 1, GAN),
    "par": BenchmarkArm(par, "PAR (SDV), centralized, NOT private", "none"),
    "flattened-4": _private(flattened, "flattened, 4 random hospitals, shared noise", 4, SHARED),
}
