"""Tables of invented patients in four languages, every column with its role: no row is of a person.

`D` marks a direct identifier, `Q` a quasi-identifier, `O` a column that is neither. Names of columns and forms of cells
are those of hospital exports; check digits fit.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.testbeds.invented_cells import (
    Cell,
    choice,
    day,
    decimal,
    form,
    french_number,
    german_iban,
    insured,
    joined,
    nhs_number,
    sometimes,
    spanish_number,
    whole,
)

ROWS = 120


@dataclass(frozen=True)
class Labelled:
    """A column of a fixture.

    Attributes:
        table: which table it is of.
        name: its name.
        label: D, Q or O.
        cells: its cells.
    """

    table: str
    name: str
    label: str
    cells: tuple[str, ...]


Columns = Mapping[str, tuple[str, Cell]]

EN_FIRST = choice(
    "James", "Mary", "Robert", "Linda", "William", "Susan", "Thomas", "Karen", "Daniel", "Nancy", "Oluwaseun", "Xiu"
)
EN_LAST = choice(
    "Smith", "Johnson", "Okafor", "Brown", "Garcia", "Miller", "Davis", "Nguyen", "Lopez", "Wilson", "Moore"
)
DE_FIRST = choice("Hans", "Ursula", "Jürgen", "Monika", "Lukas", "Jörg", "Anke", "Ayşe", "Karl-Heinz", "Lena", "Uwe")
DE_LAST = choice("Müller", "Schmidt", "Weiß", "Fischer", "Weber", "Schäfer", "Wagner", "Becker", "Yilmaz", "Hoffmann")
FR_FIRST = choice("Jean", "Marie", "François", "Hélène", "Chloé", "Michel", "Nathalie", "Rémi", "Zoé", "Pierre")
FR_LAST = choice("Martin", "Lefèvre", "Dubois", "Moreau", "Roux", "Fournier", "Girard", "Mercier", "Blanc")
ES_FIRST = choice("José", "María", "Carmen", "Antonio", "Íñigo", "Lucía", "Javier", "Pilar", "Álvaro")
ES_LAST = choice("García", "Muñoz", "Fernández", "López", "Sánchez", "Romero", "Iglesias", "Peña")
SENTENCES = (
    "Patient seen with her daughter and doing well.", "Complains of pain in the left knee since Tuesday.",
    "Moved to ward four, wife was informed.", "No fever, wound is dry.", "Works at the harbor and lives alone.",
    "Asks for a letter to his employer.", "Sleeps badly since the fall in March.", "Repeat laboratory next week.",
)  # fmt: skip


def note(rng: random.Random) -> str:
    return " ".join(rng.sample(SENTENCES, rng.randint(2, 4))) + f" Next visit in {rng.randint(2, 60)} days."


def drugs(rng: random.Random) -> str:
    return "; ".join(rng.sample(("aspirin", "statin", "insulin", "metformin", "ramipril"), rng.randint(1, 4)))


SEX, YES = choice("F", "M"), choice("yes", "no")

AMERICAN: Columns = {
    "Id": ("D", lambda rng: str(uuid.UUID(int=rng.getrandbits(128)))),
    "BIRTHDATE": ("Q", day("Y-M-D")),
    "DEATHDATE": ("Q", sometimes(day("Y-M-D", 2015), 0.8)),
    "SSN": ("D", form("999-##-####")),
    "DRIVERS": ("D", sometimes(form("S999#####"), 0.2)),
    "PASSPORT": ("D", sometimes(form("X#######?"), 0.2)),
    "PREFIX": ("O", choice("Mr.", "Mrs.", "Ms.")),
    "FIRST": ("D", joined(EN_FIRST, form("###"))),
    "LAST": ("D", joined(EN_LAST, form("###"))),
    "MAIDEN": ("D", sometimes(joined(EN_LAST, form("###")), 0.7)),
    "MARITAL": ("Q", choice("M", "S", "D", "W")),
    "RACE": ("Q", choice("white", "black", "asian")),
    "ETHNICITY": ("Q", choice("hispanic", "nonhispanic")),
    "GENDER": ("Q", SEX),
    "BIRTHPLACE": ("Q", joined(choice("Boston", "Quincy", "Lowell"), "  Massachusetts  US")),
    "ADDRESS": ("D", joined(whole(100, 999), " ", EN_LAST, " ", choice("Avenue", "Street", "Lane Suite 3", "Key"))),
    "CITY": ("Q", choice("Boston", "Quincy", "Lowell", "Salem")),
    "STATE": ("Q", choice("Massachusetts", "Vermont")),
    "COUNTY": ("Q", choice("Suffolk County", "Essex County", "Norfolk County")),
    "FIPS": ("Q", choice("25025", "25009", "25021")),
    "ZIP": ("Q", form("0####")),
    "LAT": ("D", decimal(41.6, 42.8, 12)),
    "LON": ("D", decimal(-72.9, -70.1, 12)),
    "HEALTHCARE_EXPENSES": ("O", decimal(1000, 900000, 2)),
    "HEALTHCARE_COVERAGE": ("O", decimal(1000, 900000, 2)),
    "INCOME": ("Q", whole(9000, 250000)),
    "phone_home": ("D", form("(617) 555-####")),
    "Email Address": ("D", joined(whole(1, 9999), "@example.org")),
    "MRN": ("D", form("00######")),
    "health_plan_beneficiary_number": ("D", form("?###-##-####")),
    "Fax": ("D", form("617-555-####")),
    "admit_dt": ("Q", day("M/D/Y", 2018)),
    "age_at_admission": ("Q", whole(18, 99)),
    "systolic": ("O", whole(90, 200)),
    "creatinine": ("O", decimal(0.4, 3.0, 2)),
    "attending_physician_name": ("D", joined("Dr. ", EN_FIRST, " ", EN_LAST)),
    "nursing_note": ("D", note),
    "icd10": ("O", choice("I10", "E11.9", "J44.1", "I25.10", "N18.3")),
    "pacemaker serial number": ("D", sometimes(form("PM######?"), 0.6)),
    "dischargeDisposition": ("O", choice("home", "rehab", "died")),
}  # fmt: skip

GERMAN: Columns = {
    "Patientennummer": ("D", form("4#######")),
    "Fall-Nr.": ("D", form("77######")),
    "Nachname": ("D", DE_LAST),
    "Vorname": ("D", DE_FIRST),
    "Geb.-Dat.": ("Q", day("D.M.Y")),
    "Straße": ("D", joined(choice("Garten", "Schul", "Berg", "Linden"), "straße ", whole(1, 120))),
    "Hausnummer": ("D", whole(1, 120)),
    "PLZ": ("Q", form("0####")),
    "Wohnort": ("Q", choice("Leipzig", "Görlitz", "Chemnitz", "Pirna")),
    "Telefon privat": ("D", form("0341/######")),
    "Handynr": ("D", form("0171 #######")),
    "E-Mail": ("D", joined(DE_LAST, whole(1, 999), "@beispiel.de")),
    "KV-Nummer": ("D", insured),
    "Krankenkasse": ("O", choice("AOK", "TK", "Barmer", "privat")),
    "Hausarzt": ("D", joined("Dr. med. ", DE_LAST)),
    "Sozialversicherungsnummer": ("D", form("65######?###")),
    "Alter": ("Q", whole(18, 88)),
    "Geschlecht": ("Q", choice("m", "w", "d")),
    "Aufnahmedatum": ("Q", day("D.M.Y", 2019)),
    "Entlassung": ("Q", day("D.M.Y H:15".replace("H", "11"), 2019)),
    "CRP (mg/l)": ("O", decimal(0.3, 280, 1, mark=",")),
    "Kreatinin": ("O", decimal(0.4, 5, 2, mark=",")),
    "Diagnose": ("O", choice("I10.90", "E11.90", "J44.19", "I25.11")),
    "Freitext": ("D", note),
    "Raucher": ("O", choice("ja", "nein")),
    "Note": ("O", whole(1, 6)),
    "Größe": ("O", whole(150, 200)),
    "Station": ("Q", choice("A1", "A2", "ITS")),
    "Ansprechpartner": ("D", joined(DE_FIRST, " ", DE_LAST)),
}  # fmt: skip

FRENCH: Columns = {
    "N° dossier": ("D", form("DOS-#####")),
    "nom": ("D", FR_LAST),
    "prénom": ("D", FR_FIRST),
    "nom de jeune fille": ("D", sometimes(FR_LAST)),
    "sexe": ("Q", choice("H", "F")),
    "date de naissance": ("Q", day("D/M/Y")),
    "adresse": ("D", joined(whole(1, 99), " rue ", FR_LAST)),
    "code postal": ("Q", form("69###")),
    "ville": ("Q", choice("Lyon", "Villeurbanne", "Bron")),
    "téléphone": ("D", form("04 ## ## ## ##")),
    "courriel": ("D", joined(whole(1, 9999), "@exemple.fr")),
    "numéro de sécurité sociale": ("D", french_number),
    "médecin traitant": ("D", joined("Dr ", FR_LAST)),
    "nombre d'enfants": ("O", whole(0, 5)),
    "nombre": ("O", whole(0, 9)),
    "poids": ("O", decimal(45, 120, 1)),
    "tension": ("O", joined(whole(100, 180), "/", whole(60, 99))),
    "diagnostic": ("O", choice("I10", "E11", "J44", "K35")),
    "commentaire": ("D", note),
    "groupe sanguin": ("O", choice("A+", "O-", "B+", "AB+")),
    "service": ("Q", choice("cardiologie", "urgences")),
    "date d'entrée": ("Q", day("D/M/Y", 2020)),
    "IPP": ("D", form("8########")),
    "nom du médicament": ("O", choice("paracétamol", "amoxicilline", "oméprazole", "ramipril")),
}  # fmt: skip

SPANISH: Columns = {
    "nº historia clínica": ("D", form("HC######")),
    "nombre": ("D", ES_FIRST),
    "apellidos": ("D", joined(ES_LAST, " ", ES_LAST)),
    "DNI": ("D", spanish_number),
    "fecha_nacimiento": ("Q", day("D/M/Y")),
    "dirección": ("D", joined("Calle ", ES_LAST, ", ", whole(1, 90))),
    "código postal": ("Q", form("280##")),
    "ciudad": ("Q", choice("Madrid", "Getafe", "Alcalá")),
    "móvil": ("D", form("6## ### ###")),
    "correo electrónico": ("D", joined(whole(1, 9999), "@ejemplo.es")),
    "nº tarjeta sanitaria": ("D", form("????##########")),
    "sexo": ("Q", choice("hombre", "mujer")),
    "glucosa": ("O", whole(60, 300)),
    "observaciones": ("D", note),
    "número de hijos": ("O", whole(0, 6)),
    "peso": ("O", decimal(40, 130, 1)),
    "edad": ("Q", whole(0, 88)),
    "persona de contacto": ("D", joined(ES_FIRST, " ", ES_LAST)),
    "vía de administración": ("O", choice("oral", "iv", "sc")),
}  # fmt: skip

WITHOUT_NAMES: Columns = {
    "v1": ("D", joined(EN_FIRST, ".", whole(1, 9999), "@example.com")),
    "v2": ("D", form("+49 170 #######")),
    "v3": ("D", joined("https://portal.example.org/p/", form("????##"))),
    "v4": ("D", joined("10.", whole(0, 255), ".", whole(0, 255), ".", whole(0, 255))),
    "v5": ("D", german_iban),
    "v6": ("D", nhs_number),
    "v7": ("D", insured),
    "v8": ("D", joined(DE_LAST, ", ", DE_FIRST)),
    "v9": ("D", joined(decimal(47, 55, 5), ", ", decimal(6, 15, 5))),
    "v10": ("D", form("##:A#:##:C#:##:0#")),
    "v11": ("D", note),
    "v12": ("D", form("P-2025-####?#")),
    "v13": ("D", form("48########")),
    "v14": ("D", joined(whole(1, 99), " ", EN_LAST, " Street")),
    "v15": ("D", spanish_number),
    "v16": ("D", french_number),
    "v20": ("Q", day("Y-M-D")),
    "v21": ("Q", day("YMD")),
    "v22": ("Q", joined(choice("SW", "EC", "NW"), form("#"), " ", form("#??"))),
    "v23": ("Q", day("Y-M")),
    "w1": ("O", choice("0002-7597-01", "50090-0481-0", "0093-7214-56", "68084-220-01", "0002-8215-01")),
    "w2": ("O", choice("718-7", "12345-6", "2160-0", "1975-2", "33914-3")),
    "w3": ("O", choice("I10", "E11.9", "J44.1", "I25.10")),
    "w4": ("O", joined(whole(90, 180), "/", whole(50, 99))),
    "w5": ("O", joined(form("1#"), ":", form("4#"), ":", form("1#"))),
    "w6": ("O", decimal(0, 1, 12)),
    "w7": ("O", whole(1500, 15000)),
    "w8": ("O", choice("100 - 249", "250 - 499", "<100", ">= 500")),
    "w9": ("O", drugs),
    "w10": ("O", choice("St. Mary Hospital", "St. John Clinic", "General Hospital", "Saint Thomas", "St. Anna Klinik")),
    "w11": ("O", decimal(0.1, 99, 3, mark=",")),
    "w12": ("O", joined(decimal(0.1, 99, 2), " mg/L")),
    "w13": ("O", choice("450229981000132101", "450229981000132104", "450229981000132108")),
    "w14": ("O", whole(200, 3000000)),
    "w15": ("O", choice("ACE inhibitor and diuretic in one tablet", "beta blocker", "no treatment so far")),
}  # fmt: skip

MISLEADING: Columns = {
    "phone": ("O", YES),
    "email_consent": ("O", YES),
    "address_type": ("O", choice("home", "nursing home", "homeless")),
    "drug_name": ("O", choice("aspirin", "ramipril", "insulin glargine", "metformin")),
    "patient_type": ("O", choice("in", "out")),
    "id_type": ("O", choice("passport", "card")),
    "last": ("O", decimal(1, 9, 1)),
    "admission_type_id": ("O", whole(1, 8)),
    "visit_number": ("O", whole(1, 6)),
    "account_balance": ("O", decimal(-500, 9000, 2)),
    "insurance": ("O", choice("public", "private", "none")),
    "mobile": ("O", choice("yes", "no")),
    "lat": ("O", choice("left", "right")),
    "report": ("O", choice("done", "pending", "not requested")),
    "cpr": ("O", choice("0", "1")),
    "cell": ("O", choice("T", "B", "NK")),
    "url_sent": ("O", YES),
    "ip": ("O", choice("inpatient", "outpatient")),
    "fax": ("O", choice("1", "0")),
    "text": ("O", choice("normal", "abnormal")),
    "patient_group": ("O", choice("A", "B")),
    "picture": ("O", YES),
    "street_drugs": ("O", YES),
    "policy": ("O", choice("DNR", "full code")),
    "stage": ("O", whole(1, 4)),
    "dosage": ("O", choice("95", "120", "150")),
    "number_of_visits": ("O", whole(0, 30)),
}  # fmt: skip

TABLES: dict[str, Columns] = {
    "american": AMERICAN, "german": GERMAN, "french": FRENCH, "spanish": SPANISH, "without names": WITHOUT_NAMES,
    "misleading": MISLEADING,
}  # fmt: skip


def labelled_columns(tables: Sequence[str] = tuple(TABLES), *, rows: int = ROWS, seed: int = 7) -> list[Labelled]:
    """Return every column of these tables with its label.

    Args:
        tables: names of tables.
        rows: number of invented patients.
        seed: decides the cells.
    """
    return [
        Labelled(
            table, name, label, tuple(map(cell, [random.Random(f"{seed} {table} {name} {row}") for row in range(rows)]))
        )
        for table in tables
        for name, (label, cell) in TABLES[table].items()
    ]
