"""The tables of a benchmark: clinical ones known by name, the built-in one, or a reader's own."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import pandas as pd

from common.columns.cells import is_missing
from common.errors import DataError, StudyError
from common.study.study import Study, read_study
from common.tables.checking import check_table
from common.tables.patients import first_rows
from common.tables.raw import as_text
from common.tables.reading import read_table
from simulations.drafting import draft_study
from simulations.federation.hospitals import (
    built_in_hospitals,
    built_in_study,
    hospitals_from_column,
    hospitals_from_directory,
    slugify,
)

SITE = "site"
"""The column that names a row's hospital; it comes last and is not synthesised."""

DELTA = 1e-5
"""Of every table; below 1 / rows where these are more, as a larger one is refused."""


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """One row per patient with a known target, and the study without hospitals that every arm amends."""

    frame: pd.DataFrame
    study: Study

    @property
    def target(self) -> str:
        return self.study.evaluation.target

    @property
    def strata(self) -> pd.Series | None:
        """What a split keeps in proportion; None where the target is a number or a class has one patient."""
        labels = self.frame[self.target]
        is_class = bool(self.study.table[self.target].labels)
        return labels if is_class and labels.value_counts().min() > 1 else None


class Source(Hashable, Protocol):
    """Where a table comes from. Workers are handed it, and load it themselves."""

    @property
    def name(self) -> str: ...
    @property
    def has_sites(self) -> bool: ...
    def load(self) -> Loaded: ...


@dataclass(frozen=True, slots=True)
class Table:
    """A clinical table: where it is, what to predict, what gives the target away or names a patient."""

    file: str
    target: str
    drop: tuple[str, ...] = ()
    patient: str | None = None
    site: str | None = None
    rows: int | None = None
    keep_default_na: bool = True
    with_multiples: bool = True

    def read(self, folder: Path) -> pd.DataFrame:
        """One row per patient with a known target; the site column comes last where there is one."""
        frame = pd.read_csv(folder / self.file, keep_default_na=self.keep_default_na, low_memory=False)
        frame = frame.dropna(subset=[self.target])
        if self.patient:
            frame = frame.drop_duplicates(self.patient)
        if self.rows and len(frame) > self.rows:
            frame = frame.sample(self.rows, random_state=0)
        site = frame[self.site] if self.site else None
        frame = frame.drop(columns=[*self.drop, *filter(None, [self.patient, self.site])])
        return (frame if site is None else frame.assign(**{SITE: site})).reset_index(drop=True)


EICU_LEAKS = (
    "patientunitstayid", "hospitalid", "acutephysiologyscore", "apachescore", "actualicumortality", "actualiculos",
    "actualhospitallos", "unitdischargeoffset",
)  # fmt: skip
SUPPORT_LEAKS = ("surv2m", "surv6m", "prg2m", "prg6m", "sps", "aps", "dnr", "dnrday", "sfdm2", "totcst")

TABLES: dict[str, Table] = {
    "heart-disease": Table("heart_disease.csv", "heart_disease", site="hospital"),
    "flchain": Table("flchain.csv", "death"),
    "flchain-no-futime": Table("flchain.csv", "death", drop=("futime",)),
    "eicu": Table("eicu_demo_first24h.csv", "actualhospitalmortality", EICU_LEAKS, patient="uniquepid", site="region"),
    "support2": Table("support2.csv.gz", "hospdead", SUPPORT_LEAKS),
    "diabetes130": Table(
        "diabetes130.csv.gz", "readmitted", ("encounter_id",), "patient_nbr", rows=20_000, keep_default_na=False
    ),
    "brfss": Table("brfss2015.csv.gz", "Diabetes_binary"),
    "brfss-60k": Table("brfss2015.csv.gz", "Diabetes_binary", rows=60_000),
}
TABLES |= {f"{name}-no-multiples": replace(TABLES[name], with_multiples=False) for name in ("flchain", "support2")}

EVIDENCE = ("flchain", "heart-disease", "eicu", "support2")
"""The tables that the project's results are about."""

BUILT_IN = "built-in"


@dataclass(frozen=True, slots=True)
class ClinicalTable:
    """A table of `TABLES` in a folder; its schema is drafted from the whole of it."""

    name: str
    folder: Path

    @property
    def has_sites(self) -> bool:
        return TABLES[self.name].site is not None

    def load(self) -> Loaded:
        """Raises `DataError` where the file cannot be read."""
        spec = TABLES[self.name]
        try:
            frame = spec.read(self.folder)
        except (OSError, ValueError, KeyError) as problem:
            cause = type(problem).__name__
            raise DataError(f"cannot read '{self.folder / spec.file}' ({cause}); name its folder with --data") from None
        columns = [name for name in frame.columns if name != SITE]
        study, _ = draft_study(
            as_text(frame[columns]), target=spec.target, name=self.name, with_multiples=spec.with_multiples
        )
        return Loaded(frame, study.amended(privacy={"delta": min(DELTA, 0.9 / len(frame))}))


@dataclass(frozen=True, slots=True)
class BuiltInTable:
    """The heart patients of the built-in study, under its written schema."""

    name: str = BUILT_IN
    has_sites: bool = True

    def load(self) -> Loaded:
        return Loaded(_pooled(built_in_hospitals()), built_in_study())


@dataclass(frozen=True, slots=True)
class OwnTable:
    """A reader's table: one file, or a folder with one per hospital.

    Args:
        study: its schema and settings; drafted from the table where there is none, and then `target` is needed.
        site_column: names each row's hospital.
    """

    path: Path
    study: Path | None = None
    target: str | None = None
    patient_column: str | None = None
    site_column: str | None = None

    @property
    def name(self) -> str:
        return slugify(self.path.name.split(".")[0]) or "table"

    @property
    def has_sites(self) -> bool:
        return self.site_column is not None or self.path.is_dir()

    def load(self) -> Loaded:
        """Raises `DataError` or `StudyError` where table and study do not fit."""
        if self.path.is_dir():
            if self.site_column is not None:
                raise StudyError("--site-column splits one table; a folder has a table per hospital already")
            raw = _pooled(hospitals_from_directory(self.path))
        else:
            raw = read_table(self.path)
            if self.site_column is not None:
                raw = _pooled(hospitals_from_column(raw, self.site_column))
        if self.study is not None:
            study = read_study(self.study)
            target = study.evaluation.target
            check_table(raw, study.table, name=self.path.name, patient_column=self.patient_column, target=target)
        elif self.target is not None:
            columns = [name for name in raw.columns if name != SITE or not self.has_sites]
            study, _ = draft_study(raw[columns], target=self.target, name=self.name, patient_column=self.patient_column)
        else:
            raise StudyError("--data with a table needs --study, or --target to draft one from that table")
        rows = first_rows(raw, self.patient_column)
        known = rows[[not is_missing(cell) for cell in rows[study.evaluation.target]]]
        kept = [*study.table.names, *([SITE] if self.has_sites else [])]
        return Loaded(known[kept].reset_index(drop=True), study)


def _pooled(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """All hospitals' rows in one table, with their hospital last."""
    if any(SITE in raw.columns for raw in tables.values()):
        raise DataError(f"a column is called '{SITE}', which the benchmark uses for the hospital; rename it")
    parts = [raw.assign(**{SITE: name}) for name, raw in tables.items()]
    return pd.concat(parts, ignore_index=True).fillna("")


@lru_cache(maxsize=2)
def load(source: Source) -> Loaded:
    """The table, read once per process."""
    return source.load()
