"""A table in which a parity of columns carries all dependence, so that no pair of columns shows any.

`relapse` is `smoker XOR hypertension` (with `order=4`: `XOR ward in a, b` as well), flipped for one patient in twenty;
no other column depends on any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from common.columns.base import Codes
from common.columns.categorical import Categorical
from common.columns.numeric import Numeric
from common.marginals.queries import Domain, Query, count, split
from common.seeds import seed_for
from common.study.limits import largest_delta, rounded
from common.study.schema import Schema
from common.study.sections import About, EvaluationSettings, Privacy
from common.study.study import Study
from simulations.experiments.one_hospital import alone

ROWS = 20_000
"""Patients of a trial's hospital."""

FLIPPED = 0.05
"""Fraction of patients whose relapse is flipped."""

YES_NO = ("no", "yes")
PARITIES = {3: Query((0, 1, 2)), 4: Query((0, 1, 2, 5))}
"""The columns whose parity carries the dependence, by their number. Only votes lead to counts of four."""

SCHEMA = Schema(
    columns=(
        Categorical(name="smoker", categories=YES_NO),
        Categorical(name="hypertension", categories=YES_NO),
        Categorical(name="relapse", categories=YES_NO),
        Numeric(name="age", lower=18, upper=100, unit="years"),
        Numeric(name="creatinine", lower=0, upper=30, decimals=1, unit="mg/dl"),
        Categorical(name="ward", categories=("a", "b", "c", "d")),
        Categorical(name="sex", categories=("f", "m")),
    )
)


def parity_study(epsilon: float, rows: int) -> Study:
    """Return the study of one hospital with all rows, at the largest delta that they allow."""
    study = Study(
        study=About(name="parity"),
        schema=SCHEMA,
        privacy=Privacy(epsilon=epsilon, delta=largest_delta(rounded(rows))),
        evaluation=EvaluationSettings(target="relapse", holdout_fraction=0.0),
    )
    return alone(study, rows)


def draw_patients(rows: int, seed: int, order: int = 3) -> pd.DataFrame:
    """Draw the table: three or four columns that depend on each other by their parity alone, others independent.

    Args:
        rows: number of patients.
        seed: the same seed gives the same table.
        order: number of columns in the parity, 3 or 4.
    """
    rng = np.random.default_rng(seed_for(seed, "patients"))
    words = np.array(YES_NO, dtype=object)
    smoker, hypertension = rng.integers(0, 2, rows), rng.integers(0, 2, rows)
    relapse = smoker ^ hypertension ^ (rng.random(rows) < FLIPPED)
    frame = pd.DataFrame(
        {
            "smoker": words[smoker],
            "hypertension": words[hypertension],
            "relapse": words[relapse],
            "age": rng.normal(60, 12, rows).round().clip(18, 100),
            "creatinine": rng.gamma(2, 2, rows).round(1).clip(0, 30),
            "ward": rng.choice(np.array(["a", "b", "c", "d"], dtype=object), rows),
            "sex": rng.choice(np.array(["f", "m"], dtype=object), rows),
        }
    )
    if order == 3:
        return frame
    in_first_wards = frame.ward.isin(["a", "b"]).to_numpy(np.int64)
    return frame.assign(relapse=words[relapse ^ in_first_wards])


def means_by(cells: Sequence[Mapping[str, Any]], arm: str, measures: Sequence[str]) -> str:
    """Return the mean of every measure over seeds as text, a line for each epsilon and arm, with the worst parity.

    Args:
        cells: one mapping for each run: epsilon, arm, seed and measures.
        arm: the key that tells the arms apart.
        measures: keys of the measures, "parity" first.
    """
    grouped = pd.DataFrame(cells).groupby(["epsilon", arm], sort=False)
    table = grouped[list(measures)].mean()
    table.insert(1, "worst", grouped["parity"].max())
    return table.assign(seeds=grouped.size()).round(4).to_string() + "\n"


def distances(codes: Codes, drawn: Codes, domain: Domain, order: int = 3) -> dict[str, float]:
    """Return total variation distances: of the parity's columns together, and the means over columns and over pairs.

    Args:
        codes: real rows, (rows, columns).
        drawn: synthetic rows, (rows, columns).
        domain: number of codes of each column, the same for both.
        order: number of columns in the parity.
    """
    columns = range(len(domain.sizes))
    pairs = [Query(pair) for pair in combinations(columns, 2)]
    queries = [PARITIES[order], *(Query((column,)) for column in columns), *pairs]
    real, synthetic = (split(count(rows, queries, domain), queries, domain) for rows in (codes, drawn))
    by_query = [
        0.5 * float(np.abs(counts / len(codes) - drawn_counts / len(drawn)).sum())
        for counts, drawn_counts in zip(real, synthetic, strict=True)
    ]
    return {
        "parity": by_query[0],
        "tvd1": float(np.mean(by_query[1 : -len(pairs)])),
        "tvd2": float(np.mean(by_query[-len(pairs) :])),
    }
