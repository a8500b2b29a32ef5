"""A small study of visits, and tables of invented patients for it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from client.shard import Shard
from common.study.sections import HospitalFacts
from common.study.study import Study, parse_study
from common.tables.conforming import conform
from common.tables.visits import visit_rows

MOST_VISITS = 4

TEXT = f"""
[study]
name = "follow-up"
[schema]
patient = "id"
time = "day"
most_visits = {MOST_VISITS}
[[schema.columns]]
name = "sex"
kind = "categorical"
categories = ["f", "m"]
per = "patient"
[[schema.columns]]
name = "day"
kind = "numeric"
lower = 0
upper = 1000
[[schema.columns]]
name = "stage"
kind = "categorical"
categories = ["1", "2", "3"]
[[schema.columns]]
name = "weight"
kind = "numeric"
lower = 40
upper = 140
missing = true
[privacy]
epsilon = 3
unit = "patient"
[evaluation]
target = "stage"
"""

FACTS = (HospitalFacts(name="north", declared_rows=400), HospitalFacts(name="south", declared_rows=300))


def visits_study(**sections: dict[str, object]) -> Study:
    """Return the study of two hospitals, with some keys replaced."""
    return parse_study(TEXT).amended(**sections).with_hospitals(FACTS)


def invented_visits(patients: int, seed: int = 0, *, most: int = MOST_VISITS) -> pd.DataFrame:
    """Return raw visits of patients whose stage mostly stays or grows, and whose weight follows their sex.

    Args:
        patients: number of patients.
        seed: of all draws.
        most: largest number of visits of a patient.
    """
    rng, rows = np.random.default_rng(seed), []
    for patient in range(patients):
        sex, day, stage = rng.choice(["f", "m"]), int(rng.integers(0, 300)), int(rng.integers(1, 4))
        weight = (65 if sex == "f" else 85) + rng.normal(0, 8)
        for _ in range(int(rng.integers(1, most + 1))):
            noted = "" if rng.random() < 0.1 else str(round(weight + rng.normal(0, 1)))
            rows.append((f"p{patient}", str(day), sex, str(stage), noted))
            day += int(rng.integers(10, 200))
            stage = min(3, stage + int(rng.random() < 0.2))
    return pd.DataFrame(rows, columns=["id", "day", "sex", "stage", "weight"], dtype=object)


def conformed_visits(raw: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Return the kept visits of a raw table as training sees them."""
    return conform(visit_rows(raw, study.declared), study.table)


def with_and_without_a_history(study: Study) -> tuple[Shard, Shard]:
    """Return the records of one hospital, with and without a patient who has as many visits as are kept."""
    raw = invented_visits(120)
    canary = pd.DataFrame(
        [("canary", str(900 + number), "m", "3", "140") for number in range(MOST_VISITS)],
        columns=raw.columns,
        dtype=object,
    )
    with_canary, without = (
        Shard(table, study.amended(evaluation={"holdout_fraction": 0.0}), key=b"visits")
        for table in (pd.concat([raw, canary], ignore_index=True), raw)
    )
    return with_canary, without
