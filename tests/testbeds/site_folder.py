"""The folder of one hospital's site over an invented table, and a study that lists the hospital."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from client.site.config import Site
from client.site.creation import init_site
from common.planning.planner import make_plan
from common.protocol.messages import EnrollRequest
from common.study.sections import HospitalFacts
from tests.testbeds.clinic import clinic_study, clinic_table

FACTS = (HospitalFacts(name="north", declared_rows=100), HospitalFacts(name="south", declared_rows=80))
STUDY = clinic_study(training={"rounds": 0}).with_hospitals(FACTS)


def patients(rows: int = 100) -> pd.DataFrame:
    """A raw table with a patient column: p0, p1, ..."""
    table = clinic_table(rows, seed=0)
    table.insert(0, "patient", [f"p{row}" for row in range(rows)])
    return table


def make_site(folder: Path, raw: pd.DataFrame, *, patient_column: str | None = "patient") -> Site:
    """Create a site in `folder/site` over `folder/table.csv`; nothing is imported yet."""
    folder.mkdir(exist_ok=True)
    raw.to_csv(folder / "table.csv", index=False)
    settings = {"name": "north", "cohort": "north", "data": str(folder / "table.csv"), "patient_column": patient_column}
    return init_site(folder / "site", settings | {"declared_rows": 100, "max_epsilon": 5.0, "delta": 1e-4})


def enroll(run_id: str = "run-1") -> EnrollRequest:
    """The coordinator's request to enroll in a run of the study."""
    return EnrollRequest(run_id, STUDY.to_toml(), STUDY.fingerprint, make_plan(STUDY).to_json(), "{}")
