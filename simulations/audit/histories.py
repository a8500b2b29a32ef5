"""Invented histories for an audit of a study of visits, with and without one patient who has as many as are kept.

They go the way of a site's visits: a file, the code of `fedsynth site import`, the frozen table, and the reader that an
agent answers with.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from client.selftest.reader import import_at_new_site
from client.site.config import HOLDOUT_KEY
from client.site.imported import FrozenTable
from client.site.opening import open_records
from common.planning.phases import Records
from common.study.study import Study
from common.tables.conforming import invented
from simulations.audit.site import KEY, canary_name, outlier

SURPLUS = 3
"""Visits of the canary beyond those that are kept: which ones are left out must not show."""


def invented_histories(study: Study, patients: int, seed: int) -> pd.DataFrame:
    """Return raw visits drawn uniformly from the schema, of patients with 1 to `most_visits` visits.

    Args:
        study: a study of visits.
        patients: number of patients.
        seed: seed of the draws.
    """
    declared, rng = study.declared, np.random.default_rng(seed)
    assert declared.most_visits is not None, "a study of visits"
    owners = np.repeat(np.arange(patients), rng.integers(1, declared.most_visits + 1, patients))
    return _with_patients(invented(declared, len(owners), rng), study, [f"p{owner}" for owner in owners])


def histories_with_and_without(study: Study, hospital: str, patients: int) -> tuple[Records, Records]:
    """Return a hospital's records with and without one patient; both went through an import.

    The patient has more visits than are kept, with the largest number or last category in every column. They stand
    amid the others', and one of them at the end.

    Args:
        study: a study of visits.
        hospital: name of the hospital.
        patients: number of patients.
    """
    raw = invented_histories(study, patients, 0)
    whole = with_history(raw, study)
    return _imported(whole, study, hospital), _imported(raw, study, hospital)


def with_history(raw: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Return raw visits with those of the canary, a patient who trains.

    Args:
        raw: from `invented_histories`.
        study: gives the schema and the fraction of patients that is held out.
    """
    assert study.declared.most_visits is not None, "a study of visits"
    visits, name = study.declared.most_visits + SURPLUS, canary_name(study)
    rows = pd.concat([outlier(study.declared)] * visits, ignore_index=True)
    canary, middle = _with_patients(rows, study, [name] * visits), len(raw) // 2
    return pd.concat([raw[:middle], canary[1:], raw[middle:], canary[:1]], ignore_index=True)[list(raw.columns)]


def _with_patients(rows: pd.DataFrame, study: Study, patients: list[str]) -> pd.DataFrame:
    """Return rows with their patients, a time where none is declared, and what is the same at a patient's visits."""
    declared = study.declared
    assert declared.patient is not None, "a study of visits"
    assert declared.time is not None, "a study of visits"
    numbers = [str(number) for number in range(len(rows))]
    raw = rows.assign(**{declared.patient: patients} | dict.fromkeys({declared.time} - {*rows.columns}, numbers))
    of_patient = [column.name for column in declared.columns if column.per == "patient" and column.name in rows.columns]
    raw[of_patient] = raw.groupby(declared.patient)[of_patient].transform("first")
    return raw


def _imported(raw: pd.DataFrame, study: Study, name: str) -> Records:
    """Return raw visits as a site has them."""
    with TemporaryDirectory(prefix="fedsynth-audit-") as folder:
        path = Path(folder) / "table.csv"
        raw.to_csv(path, index=False)
        site = import_at_new_site(path, name=name, patient_column=study.declared.patient, visits=True).site
        (site.state / HOLDOUT_KEY).write_bytes(KEY)
        return open_records(site, FrozenTable(site), study)
