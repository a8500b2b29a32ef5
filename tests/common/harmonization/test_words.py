"""Names of columns in four languages: each finds its column of the study among thirty."""

from __future__ import annotations

import pytest

from common.columns.kinds import parse_column
from common.harmonization.suggestion import POSSIBLE, similarity

NAMES: dict[str, tuple[str, str, str, str]] = {
    "age": ("Alter bei Aufnahme", "âge (ans)", "edad", "age_years"),
    "sex": ("Geschlecht", "sexe", "género", "gender"),
    "height": ("Körpergröße [cm]", "taille (cm)", "talla_cm", "ht_cm"),
    "weight": ("Gewicht (kg)", "poids", "peso kg", "BodyWeight"),
    "bmi": ("BMI", "IMC", "imc", "body mass index"),
    "systolic_pressure": ("RR systolisch", "pression artérielle systolique", "presión arterial sistólica", "SBP"),
    "diastolic_pressure": ("Blutdruck diastolisch", "PA diastolique", "TA diastólica", "dbp"),
    "heart_rate": ("Herzfrequenz", "fréquence cardiaque", "frecuencia cardíaca", "pulse"),
    "temperature": ("Körpertemperatur", "température corporelle", "temperatura", "temp_c"),
    "oxygen_saturation": ("SpO2", "saturation O2", "saturación de oxígeno", "O2 sat"),
    "glucose": ("Nüchternglukose", "glycémie à jeun", "glucemia basal", "fasting glucose"),
    "hba1c": ("HbA1c", "HbA1c (%)", "hemoglobina glicada", "A1C"),
    "creatinine": ("Serumkreatinin", "créatinine", "creatinina sérica", "crea"),
    "sodium": ("Natrium", "natrémie", "sodio", "Na"),
    "potassium": ("Kalium", "kaliémie", "potasio", "K"),
    "hemoglobin": ("Hämoglobin", "hémoglobine", "hemoglobina", "Hgb"),
    "platelets": ("Thrombozyten", "plaquettes", "plaquetas", "PLT"),
    "leukocytes": ("Leukozyten", "leucocytes", "leucocitos", "WBC"),
    "crp": ("CRP", "CRP", "PCR", "C-reactive protein"),
    "cholesterol": ("Gesamtcholesterin", "cholestérol total", "colesterol total", "chol"),
    "admission_date": ("Aufnahmedatum", "date d'entrée", "fecha de ingreso", "admit_dt"),
    "discharge_date": ("Entlassungsdatum", "date de sortie", "fecha de alta", "disch date"),
    "length_of_stay": ("Verweildauer", "durée de séjour", "días de estancia", "LOS"),
    "diagnosis": ("Hauptdiagnose (ICD-10)", "diagnostic principal", "diagnóstico principal", "dx_code"),
    "smoking": ("Raucherstatus", "tabagisme", "hábito tabáquico", "smoker"),
    "diabetes": ("Diabetes mellitus", "diabète", "diabetes", "DM"),
    "hypertension": ("arterielle Hypertonie", "HTA", "hipertensión arterial", "htn"),
    "died_in_hospital": ("im KH verstorben", "décès à l'hôpital", "exitus hospitalario", "hospital mortality"),
    "ward": ("Station", "service", "servicio", "unit"),
    "insurance": ("Versicherung", "assurance", "seguro", "insurer"),
}
"""Names that hospitals give a column: German, French, Spanish, and another English one, by the study's name."""


@pytest.mark.parametrize("language", range(4), ids=["german", "french", "spanish", "english"])
def test_names_find_their_column_in_each_language(language: int) -> None:
    local = [names[language] for names in NAMES.values()]
    lost = []
    for name, names in NAMES.items():
        column = parse_column({"name": name, "kind": "numeric", "lower": 0, "upper": 1})
        best = max(local, key=lambda other: similarity(column, (other,)))
        if best != names[language] or similarity(column, (best,)) < POSSIBLE:
            lost.append(f"{name}: {names[language]} (found {best})")
    assert lost == []
