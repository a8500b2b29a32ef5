import io
from datetime import date

import numpy as np
import pandas as pd
import pytest

from common.tables.visits import check_records
from simulations.follow_up.notes import ROUTINE
from simulations.follow_up.patients import CLINICS, MOST_VISITS
from simulations.follow_up.table import SEED, follow_up_clinics, follow_up_study, visits_of
from simulations.follow_up.treatment import ANTIBIOTIC, INSULIN, SEPARATOR


@pytest.fixture(scope="module")
def clinics() -> dict[str, pd.DataFrame]:
    return follow_up_clinics()


@pytest.fixture(scope="module")
def visits(clinics: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """All visits with numbers parsed, and the same of the visit before as `<column>_before`."""
    pooled = pd.concat(clinics.values(), ignore_index=True)
    parsed = pd.read_csv(io.StringIO(pooled.to_csv(index=False)), keep_default_na=False, na_values={"alt_u_L": [""]})
    before = parsed.groupby("patient_id").shift(1).add_suffix("_before")
    return pd.concat([parsed, before], axis=1)


class TestTables:
    def test_clinics_have_400_patients(self, clinics: dict[str, pd.DataFrame]) -> None:
        patients = {name: table["patient_id"].nunique() for name, table in clinics.items()}
        assert patients == {"harbor": 130, "hillside": 110, "lakeview": 90, "old-town": 70}
        assert pd.concat(clinics.values())["patient_id"].nunique() == 400

    def test_same_seed_gives_the_same_tables(self, clinics: dict[str, pd.DataFrame]) -> None:
        again, other = follow_up_clinics(), follow_up_clinics(SEED + 1)
        assert all(clinics[name].equals(again[name]) for name in clinics)
        assert not clinics["harbor"].equals(other["harbor"])

    def test_patient_does_not_depend_on_others(self, clinics: dict[str, pd.DataFrame]) -> None:
        alone = pd.DataFrame(visits_of(CLINICS[0], 7, SEED))
        table = clinics["harbor"]
        assert alone.equals(table[table["patient_id"] == "P-2025-007"].reset_index(drop=True))

    def test_study_describes_the_clinics(self, clinics: dict[str, pd.DataFrame]) -> None:
        study = follow_up_study()
        assert [(hospital.name, hospital.declared_rows) for hospital in study.hospitals] == [
            (clinic.name, clinic.patients) for clinic in CLINICS
        ]
        for name, table in clinics.items():
            assert list(table.columns) == [study.declared.patient, *(column.name for column in study.declared.columns)]
            notices = check_records(table, study, name=name, target=study.evaluation.target)
            assert [notice for notice in notices if "at most 8 visits" not in notice] == []


class TestVisits:
    def test_dates_grow_within_patients(self, visits: pd.DataFrame) -> None:
        later = visits.dropna(subset=["visit_date_before"])
        gaps = pd.to_datetime(later["visit_date"]) - pd.to_datetime(later["visit_date_before"])
        assert gaps.dt.days.min() >= 7
        assert visits.groupby("patient_id").size().between(1, MOST_VISITS).all()

    @pytest.mark.parametrize(
        ("column", "least"), [("hba1c_percent", 0.9), ("weight_kg", 0.99), ("systolic_bp_mmHg", 0.75)]
    )
    def test_values_persist(self, visits: pd.DataFrame, column: str, least: float) -> None:
        assert visits[column].corr(visits[f"{column}_before"]) > least

    def test_complications_stay(self, visits: pd.DataFrame) -> None:
        for name in ("neuropathy", "retinopathy"):
            later = visits.dropna(subset=[f"{name}_before"])
            assert (later[name] >= later[f"{name}_before"]).all()
            assert (later[name] > later[f"{name}_before"]).sum() > 10

    def test_treatment_lowers_hba1c(self, visits: pd.DataFrame) -> None:
        by_patient = visits.groupby("patient_id")["hba1c_percent"]
        several = by_patient.size() >= 5
        assert (by_patient.last() - by_patient.first())[several].mean() < -1

    def test_insulin_brings_hypoglycemia(self, visits: pd.DataFrame) -> None:
        before = visits["medications_before"].fillna("")
        with_insulin = before.str.contains(INSULIN.text, regex=False)
        assert visits["hypoglycemia"][with_insulin].mean() > 2 * visits["hypoglycemia"][~with_insulin].mean()

    def test_antibiotic_is_for_infections_alone(self, visits: pd.DataFrame) -> None:
        taken = visits["medications"].str.split(SEPARATOR).map(lambda items: ANTIBIOTIC.text in items)
        assert np.array_equal(taken, visits["uti"] == 1)

    def test_notes_follow_from_the_row(self, visits: pd.DataFrame) -> None:
        first = visits["visit_date_before"].isna()
        notes = visits["clinical_notes"]
        assert notes[first].str.startswith("Baseline visit").all()
        assert not notes[~first].str.startswith("Baseline visit").any()
        assert np.array_equal(notes.str.contains("Urinary symptoms"), visits["uti"] == 1)
        assert visits["uti"][notes == ROUTINE].sum() == 0

    def test_age_follows_the_date(self, visits: pd.DataFrame) -> None:
        later = visits.dropna(subset=["age_years_before"])
        years = [date.fromisoformat(day).year for day in later["visit_date"]]
        before = [date.fromisoformat(day).year for day in later["visit_date_before"]]
        grown = (later["age_years"] - later["age_years_before"]).to_numpy()
        assert (grown >= 0).all()
        assert (grown <= np.subtract(years, before) + 1).all()
