"""Four hospitals with invented patients: their tables as a study has them, and as each hospital stores them.

The harmonized table and the hospital's own hold the same patients. Names, languages, units, labels, separators, decimal
marks, date formats, missing codes and encodings differ, and a mapping of each hospital brings them back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from common.harmonization.conventions import text_of_number
from common.study.study import Study, parse_study

PATIENTS = 80
"""Patients of each hospital."""

STUDY = """
[study]
name = "four-hospitals"
seed = 7
[privacy]
epsilon = 5.0
[federation]
[training]
rounds = 0
[evaluation]
target = "died"
[[schema.columns]]
name = "age"
kind = "numeric"
lower = 0
upper = 110
unit = "years"
[[schema.columns]]
name = "sex"
kind = "categorical"
categories = ["female", "male", "other"]
missing = true
[[schema.columns]]
name = "smoker"
kind = "boolean"
missing = true
[[schema.columns]]
name = "glucose"
kind = "numeric"
lower = 1
upper = 40
decimals = 1
unit = "mmol/L"
missing = true
[[schema.columns]]
name = "temperature"
kind = "numeric"
lower = 33
upper = 43
decimals = 1
unit = "degC"
missing = true
[[schema.columns]]
name = "weight"
kind = "numeric"
lower = 2
upper = 250
decimals = 1
unit = "kg"
[[schema.columns]]
name = "admitted"
kind = "date"
lower = "2019-01-01"
upper = "2024-12-31"
[[schema.columns]]
name = "stay"
kind = "numeric"
lower = 0
upper = 60
unit = "days"
[[schema.columns]]
name = "died"
kind = "boolean"
"""


def four_hospitals_study() -> Study:
    """The study of the four hospitals; it lists none."""
    return parse_study(STUDY, source="four hospitals")


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


GERMAN = """
missing = ["k.A.", "unbekannt"]
date_format = "%d.%m.%Y"

[columns.patient]
from = "Fallnummer"
[columns.age]
operation = "age_at"
from = ["Geburtsdatum", "Aufnahmedatum"]
[columns.sex]
operation = "labels"
from = "Geschlecht"
labels = { weiblich = "female", "männlich" = "male", divers = "other" }
[columns.smoker]
operation = "labels"
from = "Raucher"
labels = { ja = "yes", nein = "no" }
[columns.glucose]
operation = "number"
from = "Glukose [mg/dL]"
unit = "mg/dL"
study_unit = "mmol/L"
molar_mass = 180.156
decimals = 1
[columns.temperature]
operation = "number"
from = "Körpertemperatur (°C)"
decimals = 1
[columns.weight]
operation = "number"
from = "Gewicht_kg"
decimals = 1
[columns.admitted]
operation = "date"
from = "Aufnahmedatum"
[columns.stay]
operation = "time_between"
from = ["Aufnahmedatum", "Entlassdatum"]
[columns.died]
operation = "labels"
from = "Verstorben"
labels = { ja = "yes", nein = "no" }
"""


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


AMERICAN = """
missing = ["-9"]

[columns.patient]
from = "MRN"
[columns.age]
from = "Age (y)"
[columns.sex]
operation = "labels"
from = "Gender"
labels = { F = "female", M = "male", X = "other" }
[columns.smoker]
operation = "labels"
from = "Current Smoker"
labels = { 1 = "yes", 0 = "no" }
[columns.glucose]
operation = "number"
from = "GLU_MGDL"
unit = "mg/dL"
study_unit = "mmol/L"
molar_mass = 180.156
decimals = 1
[columns.temperature]
operation = "number"
from = "Temp F"
unit = "degF"
study_unit = "degC"
decimals = 1
[columns.weight]
operation = "number"
from = "Weight (lb)"
unit = "lb"
study_unit = "kg"
decimals = 1
[columns.admitted]
operation = "date"
from = "Admit Date"
date_format = "%m/%d/%Y"
[columns.stay]
from = "LOS"
[columns.died]
operation = "labels"
from = "Alive"
labels = { 1 = "no", 0 = "yes" }
"""


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


FRENCH = """
missing = ["NSP"]
decimal = ","
date_format = ["%d/%m/%Y", "%d/%m/%Y %H:%M"]

[columns.patient]
from = "identifiant"
[columns.age]
operation = "age_at"
from = ["né(e) le", "entrée"]
[columns.sex]
operation = "labels"
from = "sexe"
labels = { femme = "female", homme = "male", autre = "other" }
[columns.smoker]
operation = "labels"
from = "tabac"
labels = { oui = "yes", non = "no" }
[columns.glucose]
operation = "number"
from = "glycémie (g/L)"
unit = "g/L"
study_unit = "mmol/L"
molar_mass = 180.156
decimals = 1
[columns.temperature]
operation = "number"
from = "température"
unit = "°C"
decimals = 1
[columns.weight]
operation = "number"
from = "poids (g)"
factor = 0.001
decimals = 1
[columns.admitted]
operation = "date"
from = "entrée"
[columns.stay]
operation = "time_between"
from = ["entrée", "sortie"]
[columns.died]
operation = "is_present"
from = "décès"
"""


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


SPANISH = """
date_format = "%Y%m%d"

[intermediate.any_glucose]
operation = "first_present"
from = ["glucosa urgencias", "glucosa planta"]
[columns.patient]
operation = "join"
from = ["centro", "nº historia"]
separator = "-"
[columns.age]
operation = "number"
from = "edad (meses)"
unit = "months"
study_unit = "years"
decimals = 0
[columns.sex]
operation = "labels"
from = "sexo"
labels = { Mujer = "female", "Varón" = "male", Otro = "other" }
[columns.smoker]
operation = "labels"
from = "fumador"
labels = { "Sí" = "yes", No = "no" }
[columns.glucose]
operation = "number"
from = "any_glucose"
unit = "µmol/L"
study_unit = "mmol/L"
decimals = 1
[columns.temperature]
operation = "number"
from = "temperatura K"
offset = -273.15
decimals = 1
[columns.weight]
operation = "number"
from = "peso"
unit = "kg"
decimals = 1
[columns.admitted]
operation = "date"
from = "ingreso"
[columns.stay]
operation = "time_between"
from = ["ingreso", "alta"]
[columns.died]
operation = "labels"
from = "exitus"
labels = { "Sí" = "yes", No = "no" }
"""


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
