"""Coverage of intervals from released sums: the study that measures it, and a small run of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from common.inference.survival import SurvivalCurves, SurvivalOutcome
from common.planning.planner import make_plan
from simulations.experiments.combining_coverage import NULL, estimands_of
from simulations.experiments.inference_coverage import (
    CoverageTally,
    Population,
    greenwood,
    survival_coverage,
    table_one_coverage,
)
from simulations.experiments.one_hospital import alone
from tests.testbeds.counted import clinic_frame, survival_study

RUNS = range(200)
"""Of each study; they take 40 processor seconds."""


@pytest.fixture(scope="module")
def population() -> Population:
    study = survival_study(3.0)
    frame = clinic_frame(study, rows=1000)
    study = alone(study, len(frame))
    return Population(frame, study, make_plan(study))


@pytest.mark.slow
def test_table_one_covers_the_population(population: Population) -> None:
    (_, tally), _ = table_one_coverage(population, "outcome", RUNS, naive=0)
    hits = [hit for found in tally.hits.values() for hit in found]
    assert len(hits) > 500
    assert np.mean(hits) >= 0.93


@pytest.mark.slow
def test_survival_bands_cover_the_population(population: Population) -> None:
    (_, tally), _ = survival_coverage(population, SurvivalOutcome("age", "outcome", by="sex"), RUNS, naive=0)
    assert np.mean([hit for found in tally.hits.values() for hit in found]) >= 0.93


def test_greenwood_is_the_textbooks() -> None:
    # Of 4 patients one has the event at 1, one is censored at 2, one has the event at 3: S = 3/4 and 3/4 x 1/2.
    frame = pd.DataFrame({"time": [1.0, 2.0, 3.0, 4.0], "event": ["yes", "no", "yes", "no"]})
    curves = SurvivalCurves("time", "event", "yes", None, (), None, ())
    value, deviation = greenwood(frame, curves, np.array([1.0, 3.0]))
    assert value == pytest.approx([0.75, 0.375])
    assert deviation**2 == pytest.approx([0.75**2 / 12, 0.375**2 * (1 / 12 + 1 / 2)])


def test_tally_names_the_worst_figure() -> None:
    tally = CoverageTally()
    for low in (0.0, 0.0, 2.0, 2.0):
        tally.note(("mean", "age"), 1.0, low, 3.0)
        tally.note(("mean", "lab"), 1.0, 0.0, 3.0)
    row = tally.table().loc["mean"]
    assert (row["figures"], row["coverage"], row["least"], row["of"]) == (2, 0.75, 0.5, "age")


def test_estimands_hold_those_of_the_shuffled_column() -> None:
    kinds = [kind for kind, _ in estimands_of(survival_study().table, "outcome", "sex")]
    # Two means, two proportions; the outcome and the shuffled column each by age and lab.
    assert sorted(kinds) == ["log-odds"] * 2 + [NULL] * 2 + ["mean"] * 2 + ["proportion"] * 2
