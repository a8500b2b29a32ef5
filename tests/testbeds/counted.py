"""Runs of one hospital that counted a table in this process, for estimates from released sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from common.planning.phases import PublicRun
from common.planning.plan import Plan
from common.planning.planner import make_plan
from common.study.study import Study
from common.study.synthesizers import MaximumEntropySettings
from common.synthesizers.model_rows import ModelRows
from common.tables.conforming import conform
from simulations.experiments.one_hospital import FrameRecords, alone, count_vectors
from tests.testbeds.clinic import clinic_study, clinic_table


def survival_study(epsilon: float | None = None) -> Study:
    """The clinic's study, in which age is the time to the outcome and one triple is counted; noise where epsilon is."""
    study = clinic_study(
        privacy={"noise": "none"} if epsilon is None else {"epsilon": epsilon},
        evaluation={"time": "age", "sensitive": ["sex"], "holdout_fraction": 0.0},
        training={"rounds": 0},
    )
    settings = MaximumEntropySettings(triples=1, votes=False, fit_steps=10, chains=64)
    return study.model_copy(update={"synthesizer": settings})


WARDS = tuple(f"ward{number}" for number in range(10))


def wards_run(frame: pd.DataFrame, kept: Sequence[str]) -> PublicRun:
    """Return an exact run that counted ten wards in place of the sexes, and released only some of its vectors."""
    study = survival_study()
    columns = study.model_dump(mode="json", by_alias=True, exclude_none=True)["schema"]["columns"]
    for column in columns:
        if column["name"] == "sex":
            column["categories"] = list(WARDS)
    study = study.amended(schema={"columns": columns})
    wards = np.array(WARDS)[np.arange(len(frame)) % len(WARDS)]
    public = counted_run(conform(frame.assign(sex=wards), study.table), study)
    return replace(public, released=public.released.only(kept))


def clinic_frame(study: Study, rows: int = 600, seed: int = 0) -> pd.DataFrame:
    """A conformed table of the clinic."""
    return conform(clinic_table(rows, seed), study.table)


def counted_run(frame: pd.DataFrame, study: Study, seed: int = 0, plan: Plan | None = None) -> PublicRun:
    """The run of one hospital with that table; the plan is that of the study if none is given."""
    study = alone(study, len(frame))
    return count_vectors(FrameRecords(frame, study.table), study, plan or make_plan(study), seed, ModelRows())
