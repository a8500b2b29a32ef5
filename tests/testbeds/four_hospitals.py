"""Four hospitals with invented patients: their tables as a study has them, and as each hospital stores them.

The harmonized table and the hospital's own hold the same patients. Names, languages, units, labels, separators, decimal
marks, date formats, missing codes and encodings differ, and a mapping of each hospital brings them back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w

from common.harmonization.conventions import text_of_number
from common.study.study import Study, parse_study

PATIENTS = 80
"""Patients of each hospital."""

STUDY: dict[str, Any] = {
    "study": {"name": "four-hospitals", "seed": 7},
    "privacy": {"epsilon": 5.0},
    "federation": {},
    "training": {"rounds": 0},
    "evaluation": {"target": "died"},
    "schema": {
        "columns": [
            {"name": "age", "kind": "numeric", "lower": 0, "upper": 110, "unit": "years"},
            {"name": "sex", "kind": "categorical", "categories": ["female", "male", "other"], "missing": True},
            {"name": "smoker", "kind": "boolean", "missing": True},
            {"name": "glucose", "kind": "numeric", "lower": 1, "upper": 40, "decimals": 1, "unit": "mmol/L",
             "missing": True},
            {"name": "temperature", "kind": "numeric", "lower": 33, "upper": 43, "decimals": 1, "unit": "degC",
             "missing": True},
            {"name": "weight", "kind": "numeric", "lower": 2, "upper": 250, "decimals": 1, "unit": "kg"},
            {"name": "admitted", "kind": "date", "lower": "2019-01-01", "upper": "2024-12-31"},
            {"name": "stay", "kind": "numeric", "lower": 0, "upper": 60, "unit": "days"},
            {"name": "died", "kind": "boolean"},
        ]
    },
}  # fmt: skip


def four_hospitals_study() -> Study:
    """The study of the four hospitals; it lists none."""
    return parse_study(tomli_w.dumps(STUDY), source="four hospitals")


@dataclass(frozen=True)
class Patient:
    """One patient, from whom every hospital's row is written."""

    number: str
    born: date
    admitted: date
    discharged: date
    sex: str
    smoker: str
    glucose: float | None
    temperature: float | None
    weight: float
    died: str

    @property
    def age(self) -> int:
        return self.admitted.year - self.born.year - (
            (self.admitted.month, self.admitted.day) < (self.born.month, self.born.day)
        )  # fmt: skip


def patients(hospital: str) -> list[Patient]:
    """The patients of one hospital; the same at every call."""
    rng = np.random.default_rng(sum(map(ord, hospital)))

    def one(number: int) -> Patient:
        admitted = date(2019, 1, 1) + timedelta(days=int(rng.integers(0, 2000)))
        age_days, stay = int(rng.integers(18 * 366, 90 * 365)), int(rng.integers(0, 40))
        glucose = round(float(rng.gamma(6, 1.1)) + 2, 1)
        return Patient(
            f"{hospital}-{number}",
            admitted - timedelta(days=age_days),
            admitted,
            admitted + timedelta(days=stay),
            str(rng.choice(["female", "male", "other", ""], p=[0.45, 0.45, 0.05, 0.05])),
            str(rng.choice(["yes", "no", ""], p=[0.3, 0.6, 0.1])),
            None if rng.random() < 0.1 else glucose,
            None if rng.random() < 0.1 else round(float(rng.normal(37, 0.7)), 1),
            round(float(rng.normal(75, 14)), 1),
            "yes" if rng.random() < 0.1 + 0.02 * glucose else "no",
        )

    return [one(number) for number in range(PATIENTS)]


def harmonized(hospital: str) -> pd.DataFrame:
    """The hospital's table as the study has it."""

    def number(value: float | None) -> str:
        return "" if value is None else text_of_number(value, 1)

    rows = [
        {
            "patient": patient.number,
            "age": str(patient.age),
            "sex": patient.sex,
            "smoker": patient.smoker,
            "glucose": number(patient.glucose),
            "temperature": number(patient.temperature),
            "weight": number(patient.weight),
            "admitted": patient.admitted.isoformat(),
            "stay": str((patient.discharged - patient.admitted).days),
            "died": patient.died,
        }
        for patient in patients(hospital)
    ]
    return pd.DataFrame(rows, dtype=object)


def _mapping(columns: dict[str, dict[str, Any]], **settings: Any) -> str:
    """Return the text of a mapping with these recipes and settings of the whole mapping."""
    return tomli_w.dumps({**settings, "columns": columns})


def _number(source: str, *, decimals: int = 1, **settings: Any) -> dict[str, Any]:
    return {"operation": "number", "from": source, "decimals": decimals, **settings}


def _labels(source: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"operation": "labels", "from": source, "labels": labels}


def _from(source: str | list[str], operation: str | None = None, **settings: Any) -> dict[str, Any]:
    """Return a recipe; without an operation the cells are taken as they are."""
    return ({} if operation is None else {"operation": operation}) | {"from": source, **settings}


MOLAR: dict[str, Any] = {"study_unit": "mmol/L", "molar_mass": 180.156}
"""Glucose by its mass becomes glucose by its amount of substance."""


def _german(patient: Patient) -> dict[str, str]:
    def comma(value: float | None, factor: float = 1.0) -> str:
        return "k.A." if value is None else f"{value * factor:.1f}".replace(".", ",")

    return {
        "Fallnummer": patient.number,
        "Geburtsdatum": patient.born.strftime("%d.%m.%Y"),
        "Geschlecht": {"female": "weiblich", "male": "männlich", "other": "divers", "": "k.A."}[patient.sex],
        "Raucher": {"yes": "ja", "no": "nein", "": "unbekannt"}[patient.smoker],
        "Glukose [mg/dL]": comma(patient.glucose, 18.0156),
        "Körpertemperatur (°C)": comma(patient.temperature),
        "Gewicht_kg": comma(patient.weight),
        "Aufnahmedatum": patient.admitted.strftime("%d.%m.%Y"),
        "Entlassdatum": patient.discharged.strftime("%d.%m.%Y"),
        "Verstorben": {"yes": "ja", "no": "nein"}[patient.died],
        "Bemerkung": "Größe; nicht gemessen",
    }


GERMAN = _mapping(
    {
        "patient": _from("Fallnummer"),
        "age": _from(["Geburtsdatum", "Aufnahmedatum"], "age_at"),
        "sex": _labels("Geschlecht", {"weiblich": "female", "männlich": "male", "divers": "other"}),
        "smoker": _labels("Raucher", {"ja": "yes", "nein": "no"}),
        "glucose": _number("Glukose [mg/dL]", unit="mg/dL", **MOLAR),
        "temperature": _number("Körpertemperatur (°C)"),
        "weight": _number("Gewicht_kg"),
        "admitted": _from("Aufnahmedatum", "date"),
        "stay": _from(["Aufnahmedatum", "Entlassdatum"], "time_between"),
        "died": _labels("Verstorben", {"ja": "yes", "nein": "no"}),
    },
    missing=["k.A.", "unbekannt"],
    date_format="%d.%m.%Y",
)


def _american(patient: Patient) -> dict[str, str]:
    fahrenheit = None if patient.temperature is None else patient.temperature * 1.8 + 32
    return {
        "MRN": patient.number,
        "Age (y)": str(patient.age),
        "Gender": {"female": "F", "male": "M", "other": "X", "": "-9"}[patient.sex],
        "Current Smoker": {"yes": "1", "no": "0", "": "-9"}[patient.smoker],
        "GLU_MGDL": "-9" if patient.glucose is None else f"{patient.glucose * 18.0156:.1f}",
        "Temp F": "-9.0" if fahrenheit is None else f"{fahrenheit:.1f}",
        "Weight (lb)": f"{patient.weight / 0.45359237:.1f}",
        "Admit Date": patient.admitted.strftime("%m/%d/%Y"),
        "LOS": str((patient.discharged - patient.admitted).days),
        "Alive": {"yes": "0", "no": "1"}[patient.died],
    }


AMERICAN = _mapping(
    {
        "patient": _from("MRN"),
        "age": _from("Age (y)"),
        "sex": _labels("Gender", {"F": "female", "M": "male", "X": "other"}),
        "smoker": _labels("Current Smoker", {"1": "yes", "0": "no"}),
        "glucose": _number("GLU_MGDL", unit="mg/dL", **MOLAR),
        "temperature": _number("Temp F", unit="degF", study_unit="degC"),
        "weight": _number("Weight (lb)", unit="lb", study_unit="kg"),
        "admitted": _from("Admit Date", "date", date_format="%m/%d/%Y"),
        "stay": _from("LOS"),
        "died": _labels("Alive", {"1": "no", "0": "yes"}),
    },
    missing=["-9"],
)


def _french(patient: Patient) -> dict[str, str]:
    return {
        "identifiant": patient.number,
        "né(e) le": patient.born.strftime("%d/%m/%Y"),
        "sexe": {"female": "femme", "male": "homme", "other": "autre", "": ""}[patient.sex],
        "tabac": {"yes": "oui", "no": "non", "": "NSP"}[patient.smoker],
        "glycémie (g/L)": "" if patient.glucose is None else f"{patient.glucose * 0.180156:.3f}".replace(".", ","),
        "température": "" if patient.temperature is None else f"{patient.temperature} °C".replace(".", ","),
        "poids (g)": f"{patient.weight * 1000:.0f}",
        "entrée": patient.admitted.strftime("%d/%m/%Y %H:%M"),
        "sortie": patient.discharged.strftime("%d/%m/%Y"),
        "décès": {"yes": patient.discharged.strftime("%d/%m/%Y"), "no": ""}[patient.died],
    }


FRENCH = _mapping(
    {
        "patient": _from("identifiant"),
        "age": _from(["né(e) le", "entrée"], "age_at"),
        "sex": _labels("sexe", {"femme": "female", "homme": "male", "autre": "other"}),
        "smoker": _labels("tabac", {"oui": "yes", "non": "no"}),
        "glucose": _number("glycémie (g/L)", unit="g/L", **MOLAR),
        "temperature": _number("température", unit="°C"),
        "weight": _number("poids (g)", factor=0.001),
        "admitted": _from("entrée", "date"),
        "stay": _from(["entrée", "sortie"], "time_between"),
        "died": _from("décès", "is_present"),
    },
    missing=["NSP"],
    decimal=",",
    date_format=["%d/%m/%Y", "%d/%m/%Y %H:%M"],
)


def _spanish(patient: Patient) -> dict[str, str]:
    clinic, number = patient.number.split("-")
    kelvin = "" if patient.temperature is None else f"{patient.temperature + 273.15:.2f}"
    return {
        "centro": clinic,
        "nº historia": number,
        "edad (meses)": str(patient.age * 12),
        "sexo": {"female": "Mujer", "male": "Varón", "other": "Otro", "": "?"}[patient.sex],
        "fumador": {"yes": "Sí", "no": "No", "": ""}[patient.smoker],
        "glucosa urgencias": "" if patient.glucose is None or int(number) % 2 else f"{patient.glucose * 1000:.0f}",
        "glucosa planta": "" if patient.glucose is None or not int(number) % 2 else f"{patient.glucose * 1000:.0f}",
        "temperatura K": kelvin,
        "peso": f"{patient.weight:.2f} kg",
        "ingreso": patient.admitted.strftime("%Y%m%d"),
        "alta": patient.discharged.strftime("%Y%m%d"),
        "exitus": {"yes": "Sí", "no": "No"}[patient.died],
    }


SPANISH = _mapping(
    {
        "patient": _from(["centro", "nº historia"], "join", separator="-"),
        "age": _number("edad (meses)", decimals=0, unit="months", study_unit="years"),
        "sex": _labels("sexo", {"Mujer": "female", "Varón": "male", "Otro": "other"}),
        "smoker": _labels("fumador", {"Sí": "yes", "No": "no"}),
        "glucose": _number("any_glucose", unit="µmol/L", study_unit="mmol/L"),
        "temperature": _number("temperatura K", offset=-273.15),
        "weight": _number("peso", unit="kg"),
        "admitted": _from("ingreso", "date"),
        "stay": _from(["ingreso", "alta"], "time_between"),
        "died": _labels("exitus", {"Sí": "yes", "No": "no"}),
    },
    date_format="%Y%m%d",
    intermediate={"any_glucose": _from(["glucosa urgencias", "glucosa planta"], "first_present")},
)


@dataclass(frozen=True)
class Hospital:
    """How one hospital stores its patients, and its mapping."""

    row: Callable[[Patient], dict[str, str]]
    separator: str
    encoding: str
    mapping: str


HOSPITALS = {
    "east": Hospital(_french, "\t", "utf-16", FRENCH),
    "north": Hospital(_german, ";", "cp1252", GERMAN),
    "south": Hospital(_american, ",", "utf-8", AMERICAN),
    "west": Hospital(_spanish, "|", "utf-8-sig", SPANISH),
}


def write_harmonized(folder: Path, hospitals: Sequence[str] = tuple(HOSPITALS)) -> Path:
    """Write the tables as the study has them; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in hospitals:
        harmonized(name).to_csv(folder / f"{name}.csv", index=False)
    return folder


def write_local(folder: Path, hospitals: Sequence[str] = tuple(HOSPITALS)) -> Path:
    """Write the tables as the hospitals store them, with a mapping beside each; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in hospitals:
        hospital = HOSPITALS[name]
        frame = pd.DataFrame([hospital.row(patient) for patient in patients(name)], dtype=object)
        frame.to_csv(folder / f"{name}.csv", sep=hospital.separator, index=False, encoding=hospital.encoding)
        (folder / f"{name}.toml").write_text(hospital.mapping, encoding="utf-8")
    return folder
