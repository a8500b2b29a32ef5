"""A study and its hospitals' tables, checked together before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from client.consent.policy import MIN_ROWS
from common.errors import DataError, StudyError
from common.study.limits import rounded
from common.study.sections import HospitalFacts
from common.study.study import Study
from common.tables.conforming import conform
from common.tables.visits import check_records, patients_in
from simulations.federation.hospitals import Tables, called
from simulations.federation.patient_unit import patient_column_of

SmallHospitals = Literal["merge", "drop"]
"""What becomes of hospitals with fewer patients than `MIN_ROWS`."""

LEAST_TRAINED = 10
"""Fewest declared patients on whom a hospital trains: with fewer, the run would spend its budget on noise."""

MERGED = "merged-hospitals"
"""Name of the hospital into which small ones are merged."""

REMEDY = "simulate fewer hospitals, or give --small-hospitals merge or drop"
"""What helps where some hospitals are too small, and all of them together are not."""

MOST_NAMED = 12
"""Most hospitals below the minimum that a message names; of more, a wrong column is likelier than as many hospitals."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A study that fits its hospitals, and their checked tables."""

    study: Study
    tables: Tables
    patient_column: str | None
    notices: tuple[str, ...]

    @property
    def called(self) -> dict[str, str]:
        """Names of the hospitals as people write them, by their names in the study."""
        return {name: called(name, raw) for name, raw in self.tables.items()}


def prepare(
    study: Study,
    tables: Tables,
    *,
    patient_column: str | None = None,
    redeclare: bool = False,
    small_hospitals: SmallHospitals | None = None,
) -> Prepared:
    """Check every table before anything is written, and declare the hospitals where the study does not.

    Args:
        study: the study, with or without hospitals.
        tables: raw tables by hospital.
        patient_column: column that identifies the patient; None where every row is a patient.
        redeclare: let these hospitals replace those in the study.
        small_hospitals: merge hospitals below the minimum of patients into one, or drop them; None refuses them.

    Raises:
        DataError: all problems of all tables, one a line; or too few patients for any hospital.
        StudyError: the study lists other hospitals, its delta is too large for these, or it trains on too few.
    """
    patient_column = patient_column_of(study, patient_column)
    patients = {name: patients_in(raw, study, patient_column) for name, raw in tables.items()}
    _refuse_too_few(sum(patients.values()))
    tables, notices = _without_small(tables, patients, small_hospitals)
    if not tables:
        raise DataError(
            f"all hospitals have fewer than {MIN_ROWS} patients, so that --small-hospitals drop leaves none; simulate "
            "fewer, or give --small-hospitals merge"
        )
    redeclare = redeclare or bool(notices)
    if notices:  # a merged hospital counts a patient of several hospitals once
        patients = {name: patients_in(raw, study, patient_column) for name, raw in tables.items()}
    notices += _check_tables(study, tables, patients, patient_column)
    if patient_column is not None and not study.has_visits:
        study = study.amended(privacy={"unit": "patient"})
    declared = _declare(study, patients, redeclare=redeclare)
    _refuse_large_holdout(declared, tables)
    return Prepared(declared, tables, patient_column, tuple(notices))


def _check_tables(study: Study, tables: Tables, patients: Mapping[str, int], patient_column: str | None) -> list[str]:
    """Return the notices of all tables; raises `DataError` with every problem of every table, one a line."""
    _refuse_many_small(patients)
    notices, problems = list[str](), []
    for name, raw in tables.items():
        try:
            notices += check_records(raw, study, name=called(name, raw), patient_column=patient_column)
        except DataError as problem:
            problems.append(str(problem))
            continue
        if patients[name] < MIN_ROWS:
            problems.append(
                f"hospital '{called(name, raw)}' has {patients[name]} patients, below the minimum of {MIN_ROWS}; "
                f"{REMEDY}"
            )
    if problems:
        raise DataError("\n".join(problems))
    target = study.evaluation.target
    pooled = pd.concat([conform(raw, study.table)[target] for raw in tables.values()])
    if pooled.nunique() < 2:
        raise DataError(f"target '{target}' has fewer than 2 distinct values in all tables; choose another target")
    return notices


def _refuse_many_small(patients: Mapping[str, int]) -> None:
    """Refuse many hospitals below the minimum before any is named: the names may be patients'."""
    small = [name for name, count in patients.items() if count < MIN_ROWS]
    if len(small) > MOST_NAMED:
        raise DataError(
            f"{len(small)} of {len(patients)} hospitals have fewer than {MIN_ROWS} patients each; where --site-column "
            f"names a column that numbers patients, choose another, else {REMEDY}"
        )


def _refuse_too_few(patients: int) -> None:
    """Refuse tables with fewer patients together than one hospital needs, which no split and no merger helps."""
    if patients < MIN_ROWS:
        raise DataError(
            f"all hospitals are below the minimum of {MIN_ROWS} patients, and together they have {patients}: neither "
            "fewer hospitals nor --small-hospitals helps; add patients"
        )


def _refuse_large_holdout(study: Study, tables: Tables) -> None:
    """Refuse a study whose holdout leaves a hospital fewer than `LEAST_TRAINED` patients to train on."""
    for hospital in study.hospitals:
        trained = study.training_rows(hospital)
        if trained < LEAST_TRAINED and study.evaluation.holdout_fraction:
            raise StudyError(
                f"--holdout-fraction {study.evaluation.holdout_fraction:g} leaves hospital "
                f"'{called(hospital.name, tables[hospital.name])}' {trained} of {hospital.declared_rows} declared "
                f"patients to train on, below {LEAST_TRAINED}; hold out a smaller fraction"
            )


def _declare(study: Study, rows: Mapping[str, int], *, redeclare: bool) -> Study:
    """Return the study with these hospitals; hospitals that the study lists are kept, unless `redeclare`."""
    listed = {facts.name for facts in study.hospitals}
    if listed and not redeclare:
        if listed != set(rows):
            raise StudyError(
                f"the study lists the hospitals {', '.join(sorted(listed))}, the data holds {', '.join(sorted(rows))}; "
                "rename them or remove [[hospitals]] from the study"
            )
        return study
    facts = tuple(HospitalFacts(name=name, declared_rows=rounded(count)) for name, count in rows.items())
    return study.with_hospitals(facts, cap_minimum=True)


def _without_small(tables: Tables, patients: Mapping[str, int], how: SmallHospitals | None) -> tuple[Tables, list[str]]:
    """Return the tables without hospitals below the minimum of patients, and what was done to them.

    Args:
        tables: raw tables by hospital.
        patients: number of patients of each hospital.
        how: merge them into one hospital, which takes the smallest other one in where they are too few; or drop them.
            None leaves them.
    """
    if how is None:
        return tables, []
    small = [name for name in tables if patients[name] < MIN_ROWS]
    kept = {name: raw for name, raw in tables.items() if name not in small}
    if not small:
        return tables, []
    if how == "drop":
        return kept, [
            f"{len(small)} hospitals with fewer than {MIN_ROWS} patients are left out: {_listed(small, tables)}"
        ]
    merged, others = list(small), sorted(kept, key=lambda name: patients[name])
    while others and sum(patients[name] for name in merged) < MIN_ROWS:
        merged.append(others.pop(0))
        kept.pop(merged[-1])
    kept[MERGED] = pd.concat([tables[name] for name in merged], ignore_index=True).fillna("")
    kept[MERGED].attrs.clear()  # concat may keep the name of one hospital
    return dict(sorted(kept.items())), [f"hospitals are merged into '{MERGED}': {_listed(merged, tables)}"]


def _listed(names: Sequence[str], tables: Tables) -> str:
    """Return hospitals as people write them, in words; of many their number."""
    if len(names) > MOST_NAMED:
        return f"{len(names)} of {len(tables)}"
    return ", ".join(called(name, tables[name]) for name in names)
