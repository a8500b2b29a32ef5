"""Measure what an evaluation with its report costs, in CPU seconds and memory, on a wide table and on a long one.

    python -m simulations.experiments.evaluation_costs [--table laboratory|brfss] [--rows N] [--data FOLDER]
    python -m simulations.experiments.evaluation_costs --write laboratory.csv

`laboratory` is made here: 823 patients of four clinics and 171 columns, most of them laboratory values with gaps and
some text cells. `brfss` is the survey of the clinical tables, split over 25 hospitals. The synthetic table is a
stand-in: real rows in which every fifth cell is that of another row. With `--write` the laboratory table is written,
with its clinics, for `fedsynth study draft` and `fedsynth simulate`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from common.evaluation.assessment import assess
from common.evaluation.report.html import render
from common.evaluation.statistics.data import EvaluationData, HospitalLabels
from common.study.study import Study
from common.tables.conforming import conform
from common.tables.raw import as_text
from simulations.benchmark.tables import SITE_COLUMN, ClinicalTable
from simulations.drafting import NamedColumns, draft_study
from simulations.usage import cpu_seconds, peak_mib

PATIENTS = 823
CLINICS = 4
MEASUREMENTS = 145
LABELED = 25
"""Columns of the laboratory table beside its target: laboratory values, and findings with labels."""

HOSPITALS = {"laboratory": CLINICS, "brfss": 25}
"""Hospitals that each table is split over."""

HELD_OUT = 5
"""Every fifth row is held out."""

REPLACED = 0.2
"""Fraction of the cells of the stand-in that come from another row."""

TEXT_CELLS = ("<0.1", "hemolyzed", "not done")
"""Cells of laboratory columns that are no numbers."""


def laboratory(patients: int = PATIENTS, seed: int = 0) -> pd.DataFrame:
    """Return a raw table of 171 columns and a column of clinics, all cells as text; "" is missing.

    Six latent traits of a patient make columns depend on each other; a trait decides whether a panel was measured.
    """
    rng = np.random.default_rng(seed)
    traits = rng.normal(size=(patients, 6))
    columns = {"died": np.where(traits[:, 0] + rng.normal(size=patients) > 1.3, "yes", "no")}
    for index in range(MEASUREMENTS):
        signal = traits @ rng.normal(scale=0.4, size=6) + rng.normal(scale=0.6, size=patients)
        decimals = index % 3
        values = np.round(np.exp(signal * rng.uniform(0.1, 0.5)) * 10.0 ** rng.integers(1, 3), decimals)
        cells = np.array([f"{value:.{decimals}f}" for value in values], dtype=object)
        is_measured = traits[:, index % 6] + rng.normal(size=patients) > rng.uniform(-2.5, 0.5)
        cells[~is_measured] = ""
        odd = rng.choice(patients, 4, replace=False)
        cells[odd] = rng.choice(TEXT_CELLS, 4)
        columns[f"lab_{index + 1:03d}"] = cells
    for index in range(LABELED):
        level = traits @ rng.normal(scale=0.5, size=6) + rng.normal(size=patients)
        cuts = np.quantile(level, np.linspace(0, 1, 2 + index % 4 + 1))[1:-1]
        labels = np.array(["none", "mild", "moderate", "severe", "critical"], dtype=object)
        columns[f"finding_{index + 1:02d}"] = labels[np.searchsorted(cuts, level)]
    return pd.DataFrame({**columns, SITE_COLUMN: np.array([f"clinic-{1 + k % CLINICS}" for k in range(patients)])})


def load(table: str, folder: Path | None) -> tuple[pd.DataFrame, Study]:
    """Return a raw table without its hospitals, and a study drafted from it.

    Args:
        table: a key of `HOSPITALS`.
        folder: folder of the clinical tables; the laboratory table needs none.
    """
    if table == "laboratory":
        raw = laboratory().drop(columns=SITE_COLUMN)
        return raw, draft_study(raw, table, NamedColumns("died")).study
    assert folder is not None, "checked by main"
    loaded = ClinicalTable(table, folder).load()
    return as_text(loaded.frame.drop(columns=SITE_COLUMN, errors="ignore")), loaded.study


def stand_in(rows: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Return the rows in another order with `REPLACED` of the cells of each column taken from random rows."""
    rng = np.random.default_rng(seed)
    mixed = rows.iloc[rng.permutation(len(rows))].reset_index(drop=True)
    for name in mixed.columns:
        replaced = np.flatnonzero(rng.random(len(mixed)) < REPLACED)
        cells = mixed[name].to_numpy(copy=True)
        cells[replaced] = rows[name].to_numpy()[rng.integers(len(rows), size=len(replaced))]
        mixed[name] = cells
    return mixed


def tables(table: str, rows: int | None, folder: Path | None) -> EvaluationData:
    """Return the input of an evaluation.

    Args:
        table: a key of `HOSPITALS`.
        rows: number of rows to keep; None for all.
        folder: folder of the clinical tables.
    """
    raw, study = load(table, folder)
    frame = conform(raw[list(study.table.names)], study.table)
    frame = frame.sample(min(rows or len(frame), len(frame)), random_state=0).reset_index(drop=True)
    is_held_out = np.arange(len(frame)) % HELD_OUT == 0
    train, holdout = (frame[chosen].reset_index(drop=True) for chosen in (~is_held_out, is_held_out))
    names = np.array([f"hospital-{1 + number:02d}" for number in range(HOSPITALS[table])], dtype=object)
    owners = [names[np.random.default_rng(1).integers(len(names), size=len(part))] for part in (train, holdout)]
    target = study.evaluation.target
    return EvaluationData(
        train, holdout, stand_in(train), study.table, target, hospitals=HospitalLabels(*owners), epsilon=3.0, delta=1e-5
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate one table and print what it costs, or write the laboratory table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=sorted(HOSPITALS), default="laboratory")
    parser.add_argument("--rows", type=int, help="rows to keep of a longer table")
    parser.add_argument("--data", type=Path, default=os.environ.get("FEDSYNTH_DATA"), help="folder of the tables")
    parser.add_argument("--write", type=Path, help="write the laboratory table to this CSV file, and stop")
    options = parser.parse_args(arguments)
    if options.write is not None:
        laboratory().to_csv(options.write, index=False)
        return
    if options.table != "laboratory" and options.data is None:
        parser.error("--data names the folder of the tables (or set FEDSYNTH_DATA)")
    data = tables(options.table, options.rows, options.data and Path(options.data))
    before, cpu, started = peak_mib(), cpu_seconds(), time.monotonic()
    evidence = assess(data)
    assessed = cpu_seconds()
    page = render(evidence, None, title=options.table)
    sys.stdout.write(
        f"{options.table}: {len(data.train):,} training rows, {len(data.schema.names)} columns, "
        f"{HOSPITALS[options.table]} hospitals\n"
        f"evaluation {assessed - cpu:.1f} CPU seconds, page {cpu_seconds() - assessed:.1f}, "
        f"{time.monotonic() - started:.1f} seconds in all\n"
        f"peak {peak_mib():,.0f} MiB ({before:,.0f} before), page of {len(page) / 2**20:.1f} MiB, "
        f"report.json of {len(evidence.to_json()) / 2**20:.1f} MiB\n"
    )


if __name__ == "__main__":
    main()
