"""What a study of visits costs: the fit of its model, and a site with a million visits.

    python -m simulations.experiments.visits_costs [--parts fit,usual-fit,write,import,count] [--visits 1000000]

The study is the built-in `follow-up`: at most 8 visits of a patient and 36 modeled columns. The model is fitted to its
400 invented patients, at one hospital: `fit` takes the steps that the study sets, `usual-fit` those of a study that
sets none. For the site, visits are drawn uniformly from the study's columns and written as
Parquet; one process imports the file as `fedsynth site import` does, and another orders the frozen visits and counts
what an agent counts in the study. Each part runs in a process of its own, whose peak memory it prints.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch

from client.selftest.reader import import_at_new_site
from client.site.config import read_site
from client.site.imported import FrozenTable
from client.site.opening import open_records
from common.planning.planner import make_plan
from common.seeds import seed_for
from common.study.study import Study
from common.study.synthesizers import MaximumEntropySettings
from common.synthesizers.maximum_entropy.histories import STEPS
from common.synthesizers.model_rows import ModelRows
from common.synthesizers.registry import make_synthesizer
from common.tables.conforming import conform
from common.tables.visits import visit_rows
from simulations.audit.histories import invented_histories
from simulations.experiments.one_hospital import alone, count_marginals, count_vectors
from simulations.follow_up.table import SEED, follow_up_clinics, follow_up_study
from simulations.usage import cpu_seconds, peak_mib

TABLE, SITE = "visits.parquet", "visits.parquet.site"
"""File of the visits, and the site that imports it."""

VISITS_OF_A_PATIENT = 4.5
"""Mean number of visits of an invented patient, who has 1 to 8."""


def study_of(patients: int) -> Study:
    """Return the study of one hospital that holds no patient out."""
    privacy = {"noise": "local", "delta": min(1e-5, 1 / (20 * patients))}
    study = follow_up_study().amended(evaluation={"holdout_fraction": 0.0}, privacy=privacy)
    return alone(study, patients)


def fit(_: Path, __: int, *, fit_steps: int | None = None) -> dict[str, float]:
    """Return visits, columns, sweeps, histories and processor seconds of the fit to the invented patients.

    Args:
        fit_steps: of the synthesizer; None for those of the study.
    """
    raw = pd.concat(follow_up_clinics(SEED).values(), ignore_index=True)
    study = study_of(raw[follow_up_study().declared.patient].nunique())
    study = study.amended(synthesizer={"fit_steps": fit_steps})
    settings = study.synthesizer
    assert isinstance(settings, MaximumEntropySettings), "the built-in study has the maximum-entropy model"
    frame = conform(visit_rows(raw, study.declared), study.table)
    encoder, measurements = count_marginals(frame, study, make_plan(study), SEED)
    synthesizer = make_synthesizer(study.synthesizer, encoder)
    started = cpu_seconds()
    synthesizer.fit({}, measurements, seed_for(SEED, "fit"), rounds=0)
    seconds = cpu_seconds() - started
    return {
        "visits": len(frame),
        "columns": len(study.table.columns),
        "sweeps": round(STEPS * settings.fit_steps),
        "histories": settings.chains or 0,
        "fit_seconds": seconds,
    }


def write_visits(folder: Path, visits: int) -> dict[str, float]:
    """Write invented visits, about as many as asked for, and return how many."""
    patients = round(visits / VISITS_OF_A_PATIENT)
    raw = invented_histories(study_of(patients), patients, SEED)
    raw.to_parquet(folder / TABLE, index=False)
    return {"visits": len(raw)}


def import_visits(folder: Path, _: int) -> dict[str, float]:
    """Return the visits that the site imported."""
    patient = follow_up_study().declared.patient
    return {"visits": import_at_new_site(folder / TABLE, name="north", patient_column=patient, visits=True).rows}


def count(folder: Path, visits: int) -> dict[str, float]:
    """Return how many numbers the site counts from its frozen visits."""
    site = read_site(folder / SITE)
    study = study_of(round(visits / VISITS_OF_A_PATIENT))
    records = open_records(site, FrozenTable(site), study)
    public = count_vectors(records, study, make_plan(study), SEED, ModelRows())
    return {"numbers": sum(len(vector.counts) for vector in public.released.vectors.values())}


PARTS: dict[str, Callable[[Path, int], dict[str, float]]] = {
    "fit": fit,
    "usual-fit": partial(fit, fit_steps=MaximumEntropySettings().fit_steps),
    "write": write_visits,
    "import": import_visits,
    "count": count,
}
"""What is measured, each from a folder and a number of visits."""


def measured(part: str, folder: Path, visits: int) -> dict[str, float | str]:
    """Return what a part did in this process, with the process's processor seconds and peak memory (MiB).

    Args:
        part: of `PARTS`.
        folder: holds the visits and the site.
        visits: about how many there are.
    """
    torch.set_num_threads(1)
    figures = PARTS[part](folder, visits)
    return {"part": part, **figures, "process_seconds": cpu_seconds(), "mib": peak_mib()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line of JSON for each part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--visits", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.folder is not None:
        figures = measured(options.parts, options.folder, options.visits)
        rounded = {name: round(value, 1) if isinstance(value, float) else value for name, value in figures.items()}
        sys.stdout.write(json.dumps(rounded) + "\n")
        return
    with TemporaryDirectory(prefix="fedsynth-visits-") as folder:
        for part in options.parts.split(","):
            command = [sys.executable, "-m", "simulations.experiments.visits_costs", "--parts", part]
            more = ["--visits", str(options.visits), "--folder", folder]
            done = subprocess.run([*command, *more], check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
            sys.stdout.write(done.stdout)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
