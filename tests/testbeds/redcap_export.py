"""An invented export of a German REDCap project, with labels instead of codes, and the study that it is for."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np

STUDY = """
[study]
name = "heart-failure"
description = "Stays for heart failure"
seed = 5
[privacy]
unit = "patient"
epsilon = 5.0
[federation]
[training]
rounds = 0
[evaluation]
target = "died"
[[schema.columns]]
name = "age"
kind = "numeric"
lower = 18
upper = 100
unit = "years"
[[schema.columns]]
name = "sex"
kind = "categorical"
categories = ["female", "male", "other"]
[[schema.columns]]
name = "admitted"
kind = "date"
lower = "2021-01-01"
upper = "2024-12-31"
[[schema.columns]]
name = "length_of_stay"
kind = "numeric"
lower = 0
upper = 60
unit = "days"
[[schema.columns]]
name = "ward"
kind = "categorical"
categories = ["cardiology", "internal medicine", "intensive care", "other"]
fallback = "other"
[[schema.columns]]
name = "weight"
kind = "numeric"
lower = 30
upper = 200
decimals = 1
unit = "kg"
missing = true
[[schema.columns]]
name = "creatinine"
kind = "numeric"
lower = 20
upper = 900
unit = "umol/L"
missing = true
[[schema.columns]]
name = "crp"
kind = "numeric"
lower = 1
upper = 400
decimals = 1
unit = "mg/L"
below = "<1"
missing = true
[[schema.columns]]
name = "smoking"
kind = "categorical"
categories = ["never", "former", "current"]
missing = true
[[schema.columns]]
name = "comorbidities"
kind = "set"
items = ["diabetes", "hypertension", "cancer"]
separator = "; "
empty = "none"
[[schema.columns]]
name = "died"
kind = "boolean"
"""

HEADER = ["Patienten-ID", "Geburtsdatum", "Geschlecht", "Aufnahmedatum", "Entlassdatum", "Station", "Gewicht (kg)",
          "Kreatinin [mg/dl]", "CRP (mg/l)", "Raucherstatus", "Vorerkrankungen (choice=Diabetes mellitus)",
          "Vorerkrankungen (choice=Arterielle Hypertonie)", "Vorerkrankungen (choice=Krebserkrankung)",
          "Im Krankenhaus verstorben?", "Bemerkung", "Complete?"]  # fmt: skip


def write_redcap(folder: Path, patients: int = 300) -> tuple[Path, Path]:
    """Write `study.toml` and `klinikum.csv`; return both."""
    folder.mkdir(parents=True, exist_ok=True)
    study, table = folder / "study.toml", folder / "klinikum.csv"
    study.write_text(STUDY.lstrip(), encoding="utf-8")
    rng = np.random.default_rng(3)
    rows = [HEADER, *(_row(number, rng) for number in range(1, patients + 1))]
    text = "".join(";".join(f'"{cell}"' for cell in row) + "\r\n" for row in rows)
    table.write_text(text, encoding="cp1252", newline="")
    return study, table


def _row(number: int, rng: np.random.Generator) -> list[str]:
    def comma(value: float, decimals: int) -> str:
        return f"{value:.{decimals}f}".replace(".", ",")

    admitted = date(2021, 1, 1) + timedelta(days=int(rng.integers(0, 1400)))
    age_days, stay = int(rng.normal(71, 11) * 365.25), int(rng.gamma(2.0, 4.0))
    born = admitted - timedelta(days=int(np.clip(age_days, 19 * 366, 99 * 365)))
    crp = float(rng.lognormal(2.0, 1.3))
    dies = rng.random() < 0.05 + 0.002 * min(crp, 100)
    measured = rng.random(3) < 0.93
    return [
        f"HF-{number:04d}",
        born.strftime("%d.%m.%Y"),
        str(rng.choice(["weiblich", "männlich", "divers"], p=[0.46, 0.53, 0.01])),
        admitted.strftime("%d.%m.%Y"),
        (admitted + timedelta(days=min(stay, 60))).strftime("%d.%m.%Y"),
        str(rng.choice(["Kardiologie", "Innere Medizin", "Intensivstation", "Geriatrie"], p=[0.5, 0.3, 0.12, 0.08])),
        comma(float(np.clip(rng.normal(80, 16), 40, 160)), 1) if measured[0] else "",
        comma(float(np.clip(rng.lognormal(0.15, 0.35), 0.5, 8)), 2) if measured[1] else "n.b.",
        ("<1" if crp < 1 else comma(min(crp, 380), 1)) if measured[2] else "n.b.",
        str(rng.choice(["nie", "ehemalig", "aktuell", "keine Angabe"], p=[0.4, 0.35, 0.2, 0.05])),
        *(str(rng.choice(["Checked", "Unchecked"], p=[part, 1 - part])) for part in (0.35, 0.7, 0.12)),
        "Ja" if dies else "Nein",
        str(rng.choice(["", "Angehörige informiert; Rückruf erbeten"])),
        "Complete",
    ]


RAW_HEADER = ["patid", "gebdat", "geschl", "aufn_dat", "entl_dat", "station", "gewicht", "krea", "crp", "rauchen",
              "vorerk___1", "vorerk___2", "vorerk___3", "tod_kh", "bemerk", "basis_complete"]  # fmt: skip

CODES = {
    2: {"weiblich": "1", "männlich": "2", "divers": "3"},
    5: {"Kardiologie": "1", "Innere Medizin": "2", "Intensivstation": "3", "Geriatrie": "4"},
    9: {"nie": "0", "ehemalig": "1", "aktuell": "2", "keine Angabe": "9"},
    **{index: {"Checked": "1", "Unchecked": "0"} for index in (10, 11, 12)},
    13: {"Ja": "1", "Nein": "0"},
    15: {"Complete": "2"},
}
"""Codes of the raw export by the index of their column."""

FIELDS = """\
patid,basis,,text,Patienten-ID,,,,,,,,
gebdat,basis,,text,Geburtsdatum,,,date_dmy,,,,,y
geschl,basis,,radio,Geschlecht,"1, weiblich | 2, männlich | 3, divers",,,,,,,y
aufn_dat,basis,,text,Aufnahmedatum,,,date_dmy,,,,,y
entl_dat,basis,,text,Entlassdatum,,,date_dmy,,,,,y
station,basis,,dropdown,Station,"1, Kardiologie | 2, Innere Medizin | 3, Intensivstation | 4, Geriatrie",,,,,,,
gewicht,basis,,text,Gewicht,,kg,number_1dp,30,200,,,
krea,basis,,text,Kreatinin,,mg/dL,number_2dp,,,,,
crp,basis,,text,CRP,,mg/L,,,,,,
rauchen,basis,,radio,Raucherstatus,"0, nie | 1, ehemalig | 2, aktuell | 9, keine Angabe",,,,,,,
vorerk,basis,,checkbox,Vorerkrankungen,"1, Diabetes mellitus | 2, Arterielle Hypertonie | 3, Krebserkrankung",,,,,,,
tod_kh,basis,,yesno,Im Krankenhaus verstorben?,,,,,,,,y
bemerk,basis,,notes,Bemerkung,,,,,,,,
"""
"""The fields of the project's data dictionary."""

DICTIONARY_HEADER = (
    '"Variable / Field Name","Form Name","Section Header","Field Type","Field Label",'
    '"Choices, Calculations, OR Slider Labels","Field Note","Text Validation Type OR Show Slider Number",'
    '"Text Validation Min","Text Validation Max",Identifier?,"Branching Logic (Show field only if...)",'
    '"Required Field?"\n'
)


def write_raw_redcap(folder: Path, patients: int = 300) -> tuple[Path, Path, Path]:
    """Write `study.toml`, the raw export of the same patients, and the project's data dictionary; return all three."""
    study, _ = write_redcap(folder, patients)
    table, dictionary = folder / "rohdaten.csv", folder / "datendictionary.csv"
    rng = np.random.default_rng(3)
    rows = [RAW_HEADER, *(_raw(_row(number, rng)) for number in range(1, patients + 1))]
    table.write_text("".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in rows), encoding="utf-8")
    dictionary.write_text(DICTIONARY_HEADER + FIELDS, encoding="utf-8")
    return study, table, dictionary


def _raw(row: list[str]) -> list[str]:
    """Return a row as a raw export has it: codes, decimal points, dates as YYYY-MM-DD."""
    raw = [CODES[index][cell] if index in CODES else cell.replace(",", ".") for index, cell in enumerate(row)]
    for index in (1, 3, 4):
        raw[index] = "-".join(reversed(row[index].split(".")))
    return raw
