"""Roles of labelled columns: invented patients in four languages, and the real tables where they are."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from common.columns.drafting import ColumnEvidence
from common.columns.roles.categories import ColumnRole, Role
from common.columns.roles.roles import role_of
from common.tables.formats import read_table
from tests.testbeds.invented_patients import labelled_columns

FOLDER = os.environ.get("FEDSYNTH_DATA")
WITHOUT_IDENTIFIERS = (
    "flchain.csv",
    "heart_disease.csv",
    "support2.csv.gz",
    "brfss2015.csv.gz",
    "diabetes130_codes.csv",
)
DIRECT = {
    "diabetes130.csv.gz": {"encounter_id", "patient_nbr"},
    "eicu_demo_first24h.csv": {"patientunitstayid", "uniquepid"},
    "eicu_demo_stays.csv": {"patientunitstayid", "patienthealthsystemstayid", "uniquepid"},
    "follow_up_records.csv": {"patient_id", "clinical_notes"},
    "pbcseq.csv": {"id"},
    **{name: set() for name in WITHOUT_IDENTIFIERS},
}
"""Direct identifiers of the real tables."""


def role(name: str, cells: Sequence[str] = ()) -> ColumnRole:
    return role_of(ColumnEvidence(list(cells), name=name))


class TestInventedPatients:
    @pytest.mark.parametrize("rows", [40, 120, 600])
    def test_direct_identifiers_are_recalled_precisely(self, rows: int) -> None:
        columns = labelled_columns(rows=rows)
        assert len(columns) >= 60
        truth = {(column.table, column.name) for column in columns if column.label == "D"}
        flagged = {(column.table, column.name) for column in columns if role(column.name, column.cells).is_direct}
        assert truth <= flagged
        assert len(flagged & truth) >= 0.95 * len(flagged)

    def test_quasi_identifiers_are_told_from_others(self) -> None:
        columns = [column for column in labelled_columns() if column.label != "D"]
        wrong = [c.name for c in columns if (role(c.name, c.cells).role is Role.QUASI) != (c.label == "Q")]
        assert len(wrong) <= 0.05 * len(columns), wrong

    def test_no_reason_holds_a_cell(self) -> None:
        for column in labelled_columns():
            sentence = role(column.name, column.cells).sentence
            assert not any(cell in sentence for cell in column.cells if len(cell) > 5), column.name


@pytest.mark.skipif(FOLDER is None, reason="FEDSYNTH_DATA does not name the folder of the real tables")
@pytest.mark.parametrize("name", sorted(DIRECT))
def test_direct_identifiers_of_real_tables(name: str) -> None:
    assert FOLDER is not None
    path = Path(FOLDER) / name
    if not path.exists():
        pytest.skip(f"{name} is not in FEDSYNTH_DATA")
    raw = read_table(path).head(30_000)
    assert {column for column in raw.columns if role(column, raw[column].tolist()).is_direct} == DIRECT[name]


class TestNames:
    @pytest.mark.parametrize(
        ("letter", "names"),
        [
            ("A", "PatientName LAST_NAME Familienname Geburtsname nom_de_naissance Prénoms primer_apellido cognome "
                  "Achternaam fornavn mother's_maiden_name next_of_kin physicianName Patienten-Vorname"),
            ("B", "street_address homeAddress Wohnanschrift Strasse adresse domicilio Hausnr. direccion_postal"),
            ("D", "cell_phone MobileNo contact_number Tel. Telefonnummer Mobiltelefon celular work_phone phone2"),
            ("E", "FaxNo Telefax fax"),
            ("F", "e_mail EMAIL emailAddress E-Mail-Adresse courriel correo"),
            ("G", "SocialSecurityNumber national_id steuer_id AHV-Nr NIR numero_de_seguridad_social codice_fiscale"),
            ("H", "MedicalRecordNumber patientID pat_nr PatientenID Fallnummer chart_no numéro_patient NHC"),
            ("I", "insurance_number MemberID Versichertennummer policy_no kvnr medicare_id numero_afiliado"),
            ("J", "account_number IBAN Kontonummer credit_card_number numero_de_compte"),
            ("K", "drivers_license passportNo Reisepassnummer licence_number permis_de_conduire pasaporte"),
            ("L", "VIN license_plate KFZ-Kennzeichen immatriculation matricula"),
            ("M", "device_serial implant_id Seriennummer numero_de_serie IMEI"),
            ("N", "URL website homepage Webseite"),
            ("O", "ip_address IPv4 IP-Adresse"),
            ("P", "fingerprint voice_print Fingerabdruck huella_digital iris_scan"),
            ("Q", "photo Passbild patient_photo_path"),
            ("R", "subject_id participant_no hadm_id USUBJID id Pseudonym uuid clinical_notes Bemerkungen"),
        ],
    )  # fmt: skip
    def test_alone_give_the_category_of_safe_harbor(self, letter: str, names: str) -> None:
        roles = {name: role(name) for name in names.split()}
        wrong = [name for name, found in roles.items() if not found.is_direct or found.category is None
                 or found.category.letter != letter]  # fmt: skip
        assert wrong == []

    @pytest.mark.parametrize(
        "name",
        [
            "sex",
            "age",
            "hba1c",
            "drug_name",
            "hospital_name",
            "ward",
            "stage",
            "dosage",
            "medication",
            "number_of_children",
            "nombre_d_hijos",
        ],
    )
    def test_of_other_columns_are_no_identifiers(self, name: str) -> None:
        assert not role(name).is_direct

    def test_yield_to_the_cells(self) -> None:
        assert not role("phone", ["yes", "no"] * 30).is_direct
        assert role("phone", [f"0341 55{row:04}" for row in range(60)]).is_direct


NUMBERS = [f"{7_919 * row % 900_000 + 100_000}" for row in range(300)]
FEW = [str(1 + row % 40) for row in range(300)]
DOCTORS = ["Dr. Smith", "Dr. Okafor", "Dr. Lee"] * 100


class TestColumnsOfPublicSchemas:
    """Names as in OMOP, MIMIC, NHANES and REDCap."""

    @pytest.mark.parametrize(
        ("name", "cells"),
        [
            ("person_id", NUMBERS), ("subject_id", NUMBERS), ("hadm_id", NUMBERS), ("specimen_id", NUMBERS),
            ("SEQN", [str(83_732 + row) for row in range(300)]), ("record_id", [str(1 + row) for row in range(300)]),
            ("Chart", NUMBERS), ("referring_doctor", DOCTORS), ("nom_patronymique", ["Martin", "Roux"] * 150),
            ("RUT", [f"{number[:2]}.{number[2:5]}.{number[1:4]}-K" for number in NUMBERS]),
            ("person_source_value", [f"{int(number) ** 3:x}" for number in NUMBERS]),
        ],
    )  # fmt: skip
    def test_that_identify(self, name: str, cells: list[str]) -> None:
        assert role(name, cells).is_direct

    @pytest.mark.parametrize(
        ("name", "cells"),
        [
            ("gender_concept_id", ["8507", "8532"] * 150), ("care_site_id", FEW), ("month_of_birth", FEW),
            ("anchor_year", [str(2110 + row % 80) for row in range(300)]), ("surgeon_id", FEW),
            ("visit_no", FEW[:5] * 60),
            ("charges", [str(500 + row**2) for row in range(300)]), ("cell_count", NUMBERS), ("login_count", FEW),
            ("redcap_event_name", ["baseline_arm_1", "visit_2_arm_1"] * 150),
            ("Krankenkassennummer", ["109519005"] * 300),
            ("hospital_name", ["St. Mary Hospital", "City Hospital"] * 150), ("history_of_mi", ["yes", "no"] * 150),
            ("passport_country", ["FR", "DE"] * 150), ("number of patients", FEW),
            ("serial_creatinine", ["0.91", "1.2"] * 150),
        ],
    )  # fmt: skip
    def test_that_do_not(self, name: str, cells: list[str]) -> None:
        assert not role(name, cells).is_direct


class TestAges:
    @pytest.mark.parametrize("cell", ["90", "97.5", "> 89", "90+"])
    def test_above_89_are_of_safe_harbor(self, cell: str) -> None:
        cells = [str(40 + row % 40) for row in range(100)]
        assert role("age", cells).category is None
        found = role("age", [*cells, cell])
        assert (found.role, found.category and found.category.letter) == (Role.QUASI, "C")


class TestFewRows:
    def test_whole_numbers_of_18_rows_are_no_identifiers(self) -> None:
        assert not role("daily_steps", [str(4000 + 137 * row) for row in range(18)]).is_direct

    def test_consecutive_numbers_are(self) -> None:
        assert role("x", [str(row) for row in range(1, 19)]).is_direct


@pytest.mark.parametrize("part", ["1", "a@", "www.", "1 ", "a ", "1.", "-", "(1)", "12/", "Anna "])
def test_long_cells_take_no_time(part: str) -> None:
    started = time.process_time()
    role_of(ColumnEvidence((part * 200_000, "x", "y"), name="note"))
    assert time.process_time() - started < 2.0
