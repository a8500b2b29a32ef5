"""Synthetic tables to export: of every kind of column, and of visits; with studies and mappings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tomli_w

from common.export.mapping import ExportMapping, parse_mapping
from common.export.provenance import Provenance
from common.study.study import Study, parse_study
from common.tables.conforming import invented
from tests.testbeds.all_kinds import COLUMNS

LONG_LABEL = "a label of more than sixty characters, which no source value of OMOP can hold"
LONG_NAME = "a column whose name has more than the fifty characters of a source value"

FURTHER = (
    {"name": "crp %", "kind": "numeric", "lower": -1, "upper": 9, "decimals": 2, "decimal": ",", "missing": True},
    {"name": "lactate", "kind": "numeric", "lower": 0, "upper": 30, "decimals": 1, "stored": "float32",
     "written_decimals": 9, "missing": True},
    {"name": LONG_NAME, "kind": "categorical", "categories": ["a  b", LONG_LABEL], "missing": True},
    {"name": "stroke", "kind": "categorical", "categories": ["no", "ischemic", LONG_LABEL], "missing": True},
    {"name": "allergies", "kind": "set", "items": ["nuts", "mites"], "separator": ", "},
    {"name": "sex", "kind": "categorical", "categories": ["female", "male"], "missing": True},
    {"name": "arrived", "kind": "datetime", "lower": "01/02/2020 07h", "upper": "05/02/2020 09h",
     "date_format": "%d/%m/%Y %Hh", "resolution": "hours", "missing": True},
)  # fmt: skip

FLAT_MAPPING = """
index_date = "2021-05-01"
[[columns]]
name = "age"
to = "age"
[[columns]]
name = "sex"
to = "gender"
values = { female = 8532, male = 8507 }
[[columns]]
name = "arrived"
to = "visit_start"
[[columns]]
name = "seen"
to = "visit_end"
[[columns]]
name = "crp"
to = "measurement"
concept = 3020460
system = "loinc"
code = "1988-5"
unit = "mg/L"
unit_concept = 8751
[[columns]]
name = "stroke"
to = "condition"
[columns.values]
ischemic = { concept = 443454, system = "snomed", code = "422504002", display = "Ischemic stroke" }
[[columns]]
name = "smoker"
to = "condition"
concept = 4209423
[[columns]]
name = "icd"
to = "condition"
system = "icd10"
values = { "I10" = 320128 }
[[columns]]
name = "drugs"
to = "drug"
system = "rxnorm"
values = { aspirin = { concept = 1112807, code = "1191" } }
"""

VISITS_STUDY = """
[study]
name = "clinic"
[schema]
patient = "id"
time = "day"
most_visits = 3
[[schema.columns]]
name = "sex"
kind = "categorical"
categories = ["f", "m"]
per = "patient"
[[schema.columns]]
name = "day"
kind = "date"
lower = "2020-01-01"
upper = "2024-12-31"
[[schema.columns]]
name = "weight"
kind = "numeric"
lower = 40
upper = 140
missing = true
[[schema.columns]]
name = "note"
kind = "text"
template = "{weight} kg"
[privacy]
epsilon = 3
unit = "patient"
[evaluation]
target = "sex"
"""

VISITS = """id,visit,day,weight,note
1,1,2020-01-05,70,70 kg
1,2,2020-03-05,71,71 kg
1,3,2020-03-05,,no weight
2,1,2021-01-01,90,90 kg
3,1,2022-12-31,55,55 kg
3,2,2024-02-29,54,54 kg
"""

PATIENTS = """id,visits,sex
1,3,f
2,1,m
3,2,f
"""

LONG = """id,visit,sex,day,weight,note
1,1,f,2020-01-05,70,70 kg
1,2,f,2020-03-05,71,71 kg
1,3,f,2020-03-05,,no weight
2,1,m,2021-01-01,90,90 kg
3,1,f,2022-12-31,55,55 kg
3,2,f,2024-02-29,54,54 kg
"""
"""The same visits in one table, as `fedsynth sample` writes them."""


def flat_study() -> Study:
    """Return a study with a column of every kind."""
    document = {
        "study": {"name": "all-kinds"},
        "schema": {"columns": [*COLUMNS, *FURTHER]},
        "privacy": {"epsilon": 3.0},
        "evaluation": {"target": "smoker"},
    }
    return parse_study(tomli_w.dumps(document))


def flat_mapping() -> ExportMapping:
    """Return a mapping of `flat_study` with every kind of destination."""
    return parse_mapping(FLAT_MAPPING, "a mapping")


def write_flat_table(folder: Path, rows: int = 120, seed: int = 0) -> Path:
    """Write a synthetic table of `flat_study` in which values are missing where they may be; return its path."""
    study, rng = flat_study(), np.random.default_rng(seed)
    table = invented(study.declared, rows, rng)
    texts = {"age": ["999", ".", "> 89"], "crp": ["ND", "<0.1", "300.0"], "drugs": ["none"], "icd": ["I25", "other"]}
    for column in study.declared.columns:
        for text in [*texts.get(column.name, []), *([""] if column.missing else [])]:
            table.loc[rng.random(rows) < 0.15, column.name] = text
    path = folder / "synthetic.csv"
    table.to_csv(path, index=False, lineterminator="\n")
    return path


def write_visits(folder: Path, visits: str = VISITS, patients: str = PATIENTS) -> Path:
    """Write the tables of a study of visits; return their folder."""
    (folder / "visits.csv").write_text(visits)
    (folder / "patients.csv").write_text(patients)
    return folder


def visits_provenance() -> Provenance:
    """Return the provenance of `write_visits`."""
    return Provenance(parse_study(VISITS_STUDY), 2.5, "run-1", is_simulation=True)
