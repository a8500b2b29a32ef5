"""Hourly vital signs of invented patients in intensive care: a study of visits on a regular clock."""

from __future__ import annotations

import numpy as np
import pandas as pd

from common.study.study import Study, parse_study

HOURS = 48

VITALS = f"""
[study]
name = "vitals"
[schema]
patient = "stay"
time = "hour"
most_visits = {HOURS}
interval = 1
[[schema.columns]]
name = "hour"
kind = "numeric"
lower = 0
upper = {HOURS}
[[schema.columns]]
name = "age"
kind = "numeric"
lower = 18
upper = 90
per = "patient"
[[schema.columns]]
name = "heart_rate"
kind = "numeric"
lower = 30
upper = 200
[[schema.columns]]
name = "pressure"
kind = "numeric"
lower = 30
upper = 150
missing = true
[[schema.columns]]
name = "vasopressor"
kind = "boolean"
[privacy]
epsilon = 10
unit = "patient"
[evaluation]
target = "vasopressor"
"""


def vitals_study() -> Study:
    """Return the study, without hospitals."""
    return parse_study(VITALS)


def invented_vitals(stays: int, seed: int = 0) -> pd.DataFrame:
    """Return raw hours of stays of 6 to 48 hours, in which pressure and vasopressors follow each other.

    Args:
        stays: number of patients.
        seed: of all draws.
    """
    rng, rows = np.random.default_rng(seed), list[tuple[str, ...]]()
    for stay in range(stays):
        age, heart, pressure, treated = int(rng.integers(30, 90)), rng.normal(90, 15), rng.normal(75, 12), False
        for hour in range(int(rng.integers(6, HOURS + 1))):
            noted = "" if rng.random() < 0.1 else f"{min(max(pressure, 30), 150):.0f}"
            rows.append(
                (f"s{stay}", f"{hour}", f"{age}", f"{min(max(heart, 30), 200):.0f}", noted, f"{treated}".lower())
            )
            treated = pressure < 62 if not treated else pressure < 75
            pressure += 0.2 * (75 - pressure) + 4 * treated + rng.normal(0, 5)
            heart += 0.2 * (90 + 10 * treated - heart) + rng.normal(0, 5)
    columns = ["stay", "hour", "age", "heart_rate", "pressure", "vasopressor"]
    return pd.DataFrame(rows, columns=columns, dtype=object)
