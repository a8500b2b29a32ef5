"""Tables of visits: clinical tables known by name, the invented diabetics, or a reader's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import tomli_w

from common.errors import DataError, StudyError
from common.study.limits import largest_delta, rounded
from common.study.study import Study, parse_study, read_study
from common.tables.formats import read_table
from common.tables.raw import as_text
from common.tables.visits import check_records, patients_in
from simulations.benchmark.tables import DELTA, LoadedTable, TableSource, reading
from simulations.drafting import NamedColumns, draft_study


@dataclass(frozen=True, slots=True)
class VisitSpec:
    """How to read a clinical table of visits.

    Attributes:
        file: name of the file in the folder of clinical tables.
        patient: column that identifies the patient.
        time: column that orders the visits.
        target: visit column to predict at the next visit.
        static: columns of the patient.
        visit: columns of the visit, without the time.
        most_visits: most visits of a patient, the first ones.
        is_measured_time: the time is a measurement to synthesize; otherwise it only orders the visits.
        keep_default_na: read texts such as "NA" as missing.
    """

    file: str
    patient: str
    time: str
    target: str
    static: tuple[str, ...]
    visit: tuple[str, ...]
    most_visits: int
    is_measured_time: bool = True
    keep_default_na: bool = True


VISIT_TABLES: dict[str, VisitSpec] = {
    "diabetes130": VisitSpec(
        "diabetes130.csv.gz",
        "patient_nbr",
        "encounter_id",
        "readmitted",
        ("race", "gender"),
        (
            "age", "time_in_hospital", "num_lab_procedures", "num_procedures", "num_medications", "number_outpatient",
            "number_emergency", "number_inpatient", "number_diagnoses", "max_glu_serum", "A1Cresult", "metformin",
            "insulin", "change", "diabetesMed", "readmitted",
        ),
        most_visits=4,
        is_measured_time=False,
        keep_default_na=False,
    ),
    "pbcseq": VisitSpec(
        "pbcseq.csv",
        "id",
        "day",
        "hepato",
        ("trt", "age", "sex", "futime", "status"),
        (
            "ascites", "hepato", "spiders", "edema", "bili", "chol", "albumin", "alk.phos", "ast", "platelet",
            "protime", "stage",
        ),
        most_visits=16,
    ),
}  # fmt: skip
"""Clinical tables of visits. `encounter_id` of diabetes130 grows with time, and no date is known."""


@dataclass(frozen=True, slots=True)
class ClinicalVisits:
    """A table of `VISIT_TABLES` in a folder; its schema is drafted from all of its visits."""

    name: str
    folder: Path
    has_sites: bool = False

    def load(self) -> LoadedTable:
        """Raises `DataError` where the file cannot be read."""
        spec = VISIT_TABLES[self.name]
        names = [spec.patient, spec.time, *spec.static, *spec.visit]
        path = self.folder / spec.file
        with reading(path):
            frame = pd.read_csv(path, usecols=names, keep_default_na=spec.keep_default_na, low_memory=False)[names]
        raw = as_text(frame)
        return LoadedTable(raw, drafted_visits(raw, spec, self.name))


def drafted_visits(raw: pd.DataFrame, spec: VisitSpec, name: str) -> Study:
    """Return a study of visits without hospitals.

    Args:
        raw: all visits.
        spec: which columns are what.
        name: name of the study.
    """
    time = [spec.time] if spec.is_measured_time else []
    columns = [*spec.static, *time, *spec.visit]
    rows = raw[[cell != "" for cell in raw[spec.target]]] if spec.is_measured_time else raw
    drafted = draft_study(rows[columns], name, NamedColumns(spec.target)).study
    document = drafted.model_dump(mode="json", by_alias=True, exclude_none=True)
    declared = document["schema"]["columns"]
    for column in declared:
        if column["name"] in spec.static:
            column["per"] = "patient"
        if column["name"] == spec.target and len(rows) < len(raw):
            column["missing"] = True
        if column["name"] == spec.time:
            for key in ("multiples", "missing"):
                column.pop(key, None)
    document["schema"] = {
        "patient": spec.patient, "time": spec.time, "most_visits": spec.most_visits, "columns": declared
    }  # fmt: skip
    patients = raw[spec.patient].nunique()
    document["privacy"] |= {"unit": "patient", "delta": min(DELTA, largest_delta(rounded(patients)))}
    return parse_study(tomli_w.dumps(document), source="the draft")


@dataclass(frozen=True, slots=True)
class OwnVisits:
    """A reader's table of visits under a study with `[schema] patient`, `time` and `most_visits`."""

    path: Path
    study: Path
    has_sites: bool = False

    @property
    def name(self) -> str:
        return self.path.name.split(".")[0]

    def load(self) -> LoadedTable:
        """Raises `DataError` or `StudyError` where table and study do not fit."""
        study = read_study(self.study)
        if not study.has_visits:
            raise StudyError(f"'{self.study}' is not a study of visits; add patient, time and most_visits to [schema]")
        raw = read_table(self.path)
        check_records(raw, study, name=self.path.name)
        if patients_in(raw, study, None) < 10:
            raise DataError(f"'{self.path}' has fewer than 10 patients, too few to hold some out; add patients")
        return LoadedTable(raw, study)


def visit_sources(data: Path | None, names: tuple[str, ...], study: Path | None) -> list[TableSource]:
    """Return the selected tables, unread.

    Args:
        data: the reader's own table of visits, with `study`; or the folder of clinical tables.
        names: clinical tables; empty for all of them.
        study: study file of the reader's own table.

    Raises:
        StudyError: the options contradict each other, or a table is unknown or not named.
    """
    if data is None:
        raise StudyError("name the folder of clinical tables, or your table of visits, with --data or FEDSYNTH_DATA")
    if study is not None:
        if names:
            raise StudyError("--study describes your own table; give it as --data, without --tables")
        return [OwnVisits(data, study)]
    if unknown := [name for name in names if name not in VISIT_TABLES]:
        raise StudyError(f"unknown table of visits '{unknown[0]}'; choose from {', '.join(VISIT_TABLES)}")
    return [ClinicalVisits(name, data) for name in names or VISIT_TABLES]
