"""The tables of a benchmark: clinical tables known by name, the built-in table, or a reader's own."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import pandas as pd

from common.columns.cells import is_missing
from common.errors import DataError, StudyError, cause_of
from common.study.limits import largest_delta, rounded
from common.study.study import Study, read_study
from common.tables.checking import check_table
from common.tables.formats import read_table
from common.tables.patients import first_rows
from common.tables.raw import as_text
from simulations.drafting import NamedColumns, draft_study
from simulations.federation.hospitals import (
    built_in_hospitals,
    built_in_study,
    hospitals_from_column,
    hospitals_from_directory,
    slugify,
)
from simulations.federation.patient_unit import check_rows_are_patients

log = logging.getLogger(__name__)

SITE_COLUMN = "site"
"""Column that names a row's hospital; it comes last and is not synthesized."""

DELTA = 1e-5
"""Delta of every clinical table; large tables get 0.9 / rows, because 1 / rows or more is refused."""


@dataclass(frozen=True, slots=True, eq=False)
class LoadedTable:
    """One row per patient with a known target, and the study without hospitals that every arm amends."""

    frame: pd.DataFrame
    study: Study

    @property
    def target(self) -> str:
        return self.study.evaluation.target

    @property
    def strata(self) -> pd.Series | None:
        """Labels whose proportions a split keeps; None where the target is a number or a class has a single patient."""
        labels = self.frame[self.target]
        is_class = bool(self.study.table[self.target].labels)
        return labels if is_class and labels.value_counts().min() > 1 else None


class TableSource(Hashable, Protocol):
    """Where a table comes from. Workers receive it and load the table themselves."""

    @property
    def name(self) -> str: ...
    @property
    def has_sites(self) -> bool: ...
    def load(self) -> LoadedTable: ...


@dataclass(frozen=True, slots=True)
class ClinicalSpec:
    """How to read a clinical table.

    Attributes:
        file: name of the file in the folder of clinical tables.
        target: column to predict.
        drop: columns that give the target away.
        patient: column that identifies the patient.
        site: column that names the hospital.
        rows: number of rows to sample from a larger table.
        keep_default_na: read texts such as "NA" as missing.
        with_multiples: let the drafted schema say which values are multiples of larger steps.
    """

    file: str
    target: str
    drop: tuple[str, ...] = ()
    patient: str | None = None
    site: str | None = None
    rows: int | None = None
    keep_default_na: bool = True
    with_multiples: bool = True

    def read(self, folder: Path) -> pd.DataFrame:
        """Read one row per patient with a known target; the column of hospitals, if any, comes last."""
        frame = pd.read_csv(folder / self.file, keep_default_na=self.keep_default_na, low_memory=False)
        frame = frame.dropna(subset=[self.target])
        if self.patient:
            frame = frame.drop_duplicates(self.patient)
        if self.rows and len(frame) > self.rows:
            frame = frame.sample(self.rows, random_state=0)
        site = frame[self.site] if self.site else None
        frame = frame.drop(columns=[*self.drop, *filter(None, [self.patient, self.site])])
        return (frame if site is None else frame.assign(**{SITE_COLUMN: site})).reset_index(drop=True)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise `DataError` with the remedy where the file of a clinical table cannot be read."""
    try:
        yield
    except (OSError, ValueError, KeyError) as problem:
        raise DataError(f"cannot read '{path}': {cause_of(problem)}; name its folder with --data") from None


EICU_LEAKS = (
    "patientunitstayid", "hospitalid", "acutephysiologyscore", "apachescore", "actualicumortality", "actualiculos",
    "actualhospitallos", "unitdischargeoffset",
)  # fmt: skip
SUPPORT_LEAKS = ("surv2m", "surv6m", "prg2m", "prg6m", "sps", "aps", "dnr", "dnrday", "sfdm2", "totcst")

CLINICAL_TABLES: dict[str, ClinicalSpec] = {
    "heart-disease": ClinicalSpec("heart_disease.csv", "heart_disease", site="hospital"),
    "flchain": ClinicalSpec("flchain.csv", "death"),
    "flchain-no-futime": ClinicalSpec("flchain.csv", "death", drop=("futime",)),
    "eicu": ClinicalSpec(
        "eicu_demo_first24h.csv", "actualhospitalmortality", EICU_LEAKS, patient="uniquepid", site="region"
    ),
    "support2": ClinicalSpec("support2.csv.gz", "hospdead", SUPPORT_LEAKS),
    "diabetes130": ClinicalSpec(
        "diabetes130.csv.gz", "readmitted", ("encounter_id",), "patient_nbr", rows=20_000, keep_default_na=False
    ),
    "brfss": ClinicalSpec("brfss2015.csv.gz", "Diabetes_binary"),
    "brfss-60k": ClinicalSpec("brfss2015.csv.gz", "Diabetes_binary", rows=60_000),
}
CLINICAL_TABLES |= {
    f"{name}-no-multiples": replace(CLINICAL_TABLES[name], with_multiples=False) for name in ("flchain", "support2")
}

EVIDENCE = ("flchain", "heart-disease", "eicu", "support2")
"""Tables of the project's published results."""

BUILT_IN = "built-in"


@dataclass(frozen=True, slots=True)
class ClinicalTable:
    """A table of `CLINICAL_TABLES` in a folder; its schema is drafted from the whole of it."""

    name: str
    folder: Path

    @property
    def has_sites(self) -> bool:
        return CLINICAL_TABLES[self.name].site is not None

    def load(self) -> LoadedTable:
        """Raises `DataError` where the file cannot be read."""
        spec = CLINICAL_TABLES[self.name]
        with reading(self.folder / spec.file):
            frame = spec.read(self.folder)
        columns = [name for name in frame.columns if name != SITE_COLUMN]
        named = NamedColumns(spec.target)
        study = draft_study(as_text(frame[columns]), self.name, named, with_multiples=spec.with_multiples).study
        return LoadedTable(frame, study.amended(privacy={"delta": min(DELTA, largest_delta(rounded(len(frame))))}))


@dataclass(frozen=True, slots=True)
class BuiltInTable:
    """The heart patients of the built-in study, under its written schema."""

    name: str = BUILT_IN
    has_sites: bool = True

    def load(self) -> LoadedTable:
        return LoadedTable(pooled(built_in_hospitals()), built_in_study())


@dataclass(frozen=True, slots=True)
class OwnTable:
    """A reader's table: one file, or a folder with one file per hospital.

    Attributes:
        study: study file; None drafts a study from the table, which needs `target`.
        patient_column: column that identifies the patient; the first row of each is used.
        site_column: column that names each row's hospital.
        one_row_per_patient: a person declares that every row is another patient.
    """

    path: Path
    study: Path | None = None
    target: str | None = None
    patient_column: str | None = None
    site_column: str | None = None
    one_row_per_patient: bool = False

    @property
    def name(self) -> str:
        return slugify(self.path.name.split(".")[0]) or "table"

    @property
    def has_sites(self) -> bool:
        return self.site_column is not None or self.path.is_dir()

    def agreed(self) -> Study | None:
        """Return the study of the study file, if there is one.

        Raises:
            StudyError: the file is no study, or nothing says whether the rows are patients, which its unit needs.
        """
        if self.study is None:
            return None
        study = read_study(self.study)
        check_rows_are_patients(study, self.patient_column, one_row_per_patient=self.one_row_per_patient)
        return study

    def load(self) -> LoadedTable:
        """Raises `DataError` or `StudyError` where table and study do not fit."""
        if self.path.is_dir():
            if self.site_column is not None:
                raise StudyError("--site-column splits one table; a folder has a table per hospital already")
            raw = pooled(hospitals_from_directory(self.path))
        else:
            raw = read_table(self.path)
            if self.site_column is not None:
                raw = pooled(hospitals_from_column(raw, self.site_column))
        if (study := self.agreed()) is not None:
            target = study.evaluation.target
            name, patients = self.path.name, self.patient_column
            for notice in check_table(raw, study.table, name=name, patient_column=patients, target=target):
                log.warning("%s", notice)
        elif self.target is not None:
            columns = [name for name in raw.columns if name != SITE_COLUMN or not self.has_sites]
            drafted = draft_study(raw[columns], self.name, NamedColumns(self.target, self.patient_column))
            study = drafted.study
            for notice in drafted.notices:
                log.warning("%s", notice)
        else:
            raise StudyError("--data with a table needs --study, or --target to draft one from that table")
        rows = first_rows(raw, self.patient_column)
        known = rows[[not is_missing(cell) for cell in rows[study.evaluation.target]]]
        kept = [*study.table.read_names, *([SITE_COLUMN] if self.has_sites else [])]
        return LoadedTable(known[kept].reset_index(drop=True), study)


def pooled(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Concatenate the hospitals' rows; the last column names the hospital."""
    if any(SITE_COLUMN in raw.columns for raw in tables.values()):
        raise DataError(f"a column is called '{SITE_COLUMN}', which the benchmark uses for the hospital; rename it")
    parts = [raw.assign(**{SITE_COLUMN: name}) for name, raw in tables.items()]
    return pd.concat(parts, ignore_index=True).fillna("")


@lru_cache(maxsize=2)
def load(source: TableSource) -> LoadedTable:
    """Load a table, once per process."""
    return source.load()
