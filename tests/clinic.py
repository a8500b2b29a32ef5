"""A small invented clinic for tests: three hospitals, four columns, a study that trains in a second."""

from __future__ import annotations

import numpy as np
import pandas as pd

from common.study import Study, parse_study

STUDY = """
[study]
name = "clinic"
seed = 11
[[schema.columns]]
name = "age"
kind = "numeric"
lower = 18
upper = 100
[[schema.columns]]
name = "lab"
kind = "numeric"
lower = 0
upper = 20
decimals = 1
missing = true
[[schema.columns]]
name = "sex"
kind = "categorical"
categories = ["female", "male"]
[[schema.columns]]
name = "outcome"
kind = "categorical"
categories = ["no", "yes"]
[synthesizer]
prototypes = 40
bins = 6
hidden = 16
fit_steps = 60
[training]
rounds = 2
steps = 3
batch = 32
[privacy]
epsilon = 3.0
delta = 1e-4
[federation]
min_hospitals = 2
round_deadline_s = 60
[evaluation]
target = "outcome"
sensitive = ["sex"]
"""

HOSPITALS = ("north", "south", "west")


def clinic_study(**sections: dict[str, object]) -> Study:
    return parse_study(STUDY).amended(**sections)


def clinic_table(rows: int, seed: int) -> pd.DataFrame:
    """A raw table: the outcome follows age and lab."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 101, rows)
    lab = np.round(rng.gamma(2.0, 2.0, rows).clip(0, 20), 1)
    sick = rng.random(rows) < 1 / (1 + np.exp(-(age - 60) / 10 - (lab - 4) / 2))
    return pd.DataFrame(
        {
            "age": age.astype(str),
            "lab": np.where(rng.random(rows) < 0.1, "", lab.astype(str)),
            "sex": np.where(rng.random(rows) < 0.5, "female", "male"),
            "outcome": np.where(sick, "yes", "no"),
        }
    )


def clinic_tables(rows: int = 90) -> dict[str, pd.DataFrame]:
    return {name: clinic_table(rows, seed) for seed, name in enumerate(HOSPITALS)}
