"""Both ways to hold a hospital's records give the same answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from client import shard as module
from client.shard import Shard, StreamedShard
from common.arrays import Integers
from common.columns.categorical import Categorical
from common.columns.numeric import Numeric
from common.encoding import count_cells
from common.errors import DataError
from common.planning.plan import Plan
from common.planning.planner import make_plan
from common.planning.public_run import HISTOGRAMS, PublicRun
from common.study.sections import HospitalFacts
from common.study.study import Study
from common.tables.conforming import conform
from common.tables.formats import read_parts, read_table
from common.tables.parts import Part
from common.tables.patients import first_of_each
from tests.testbeds.clinic import clinic_study, clinic_table
from tests.testbeds.images import images_study, images_table

KEY = b"k" * 32


def a_study() -> tuple[Study, Plan]:
    study = clinic_study().with_hospitals((HospitalFacts(name="north", declared_rows=300),), cap_minimum=True)
    return study, make_plan(study)


def with_histograms(study: Study, plan: Plan, counts: Integers) -> PublicRun:
    return PublicRun(study, plan).after(HISTOGRAMS, counts)


def visits(rows: int = 300) -> pd.DataFrame:
    """Some patients come twice, some visits are nobody's, some cells fit no schema; a patient's visits lie apart."""
    raw = clinic_table(rows, 5)
    raw["patient"] = [f" p{place % 170} " if place % 11 else ("", "NA")[place % 2] for place in range(rows)]
    raw.loc[3, ["age", "sex"]] = ["-5", "unlisted"]
    return raw


def parts_of(raw: pd.DataFrame, rows: int) -> list[Part]:
    return [Part.of(raw.iloc[start : start + rows].reset_index(drop=True)) for start in range(0, len(raw), rows)]


@pytest.mark.parametrize("patient_column", [None, "patient"])
@pytest.mark.parametrize("rows", [1, 64, 1000])
def test_a_streamed_shard_answers_as_one_in_memory(
    monkeypatch: pytest.MonkeyPatch, patient_column: str | None, rows: int
) -> None:
    monkeypatch.setattr(module, "BLOCK", 50)
    (study, plan), raw = a_study(), visits()
    whole = Shard(raw, study, key=KEY, patient_column=patient_column)
    streamed = StreamedShard(parts_of(raw, rows), study, key=KEY, patient_column=patient_column)
    assert 0 < len(whole.holdout) < len(whole.training)
    counts = whole.histograms(plan.cells)
    np.testing.assert_array_equal(streamed.histograms(plan.cells), counts)
    public = with_histograms(study, plan, counts)
    codes, same = whole.encoded(public), streamed.encoded(public)
    np.testing.assert_array_equal(same, codes)
    assert same.dtype == codes.dtype
    assert streamed.encoded(with_histograms(study, plan, counts)) is same


def test_a_file_gives_the_same_codes_as_its_table(tmp_path: Path) -> None:
    (study, plan), raw = a_study(), visits()
    raw.to_parquet(tmp_path / "visits.parquet", row_group_size=40)
    columns = [*study.table.names, "patient"]
    parts = read_parts(tmp_path / "visits.parquet", columns, rows=33)
    streamed = StreamedShard(parts, study, key=KEY, patient_column="patient")
    whole = Shard(raw, study, key=KEY, patient_column="patient")
    counts = whole.histograms(plan.cells)
    public = with_histograms(study, plan, counts)
    np.testing.assert_array_equal(streamed.encoded(public), whole.encoded(public))


def test_a_patient_who_leaves_changes_nobody_elses_codes() -> None:
    (study, plan), raw = a_study(), visits()
    someone = raw.patient == " p20 "
    assert someone.sum() == 2
    counts = np.ones(len(Shard(raw, study, key=KEY).histograms(plan.cells)), dtype=np.int64)
    public = with_histograms(study, plan, counts)
    here, gone = (
        StreamedShard(parts_of(table, 64), study, key=KEY, patient_column="patient").encoded(public)
        for table in (raw, raw[~someone].reset_index(drop=True))
    )
    lost = len(here) - len(gone)
    assert lost in (0, 1)  # the patient may have been held out
    places = [place for place in range(len(here)) if np.array_equal(np.delete(here, place, axis=0), gone)]
    assert places if lost else np.array_equal(here, gone)


PASTED = 'pasted table:\np7,99,19.0,male,yes,x\np8,99,19.0,male,yes,x\nq1,99,19.0,male,yes,x\n,,,,,\n"\nend'


@pytest.mark.parametrize("patient_column", [None, "patient"])
def test_note_with_pasted_lines_changes_what_is_charged(tmp_path: Path, patient_column: str | None) -> None:
    study, plan = a_study()
    study = study.amended(evaluation={"holdout_fraction": 0.0})
    raw = clinic_table(60, 0)
    raw = raw.assign(patient=[f"p{row}" for row in range(60)], note="ok")[["patient", *raw.columns, "note"]]
    someone = pd.DataFrame([["pX", "40", "5.0", "male", "no", PASTED]], columns=raw.columns)
    raw.to_csv(tmp_path / "without.csv", index=False)
    pd.concat([someone, raw]).to_csv(tmp_path / "with.csv", index=False)
    counts = {}
    for name in ("without", "with"):
        path, columns = tmp_path / f"{name}.csv", [*study.table.names, "patient"]
        whole = Shard(read_table(path), study, key=KEY, patient_column=patient_column)
        streamed = StreamedShard(read_parts(path, columns, rows=7), study, key=KEY, patient_column=patient_column)
        for kind, records in (("in memory", whole), ("streamed", streamed)):
            public = with_histograms(study, plan, whole.histograms(plan.cells))
            counts[kind, name] = records.histograms(plan.cells), records.encoded(public)
    for kind in ("in memory", "streamed"):
        (before, codes_before), (after, codes_after) = counts[kind, "without"], counts[kind, "with"]
        assert len(codes_before) == 60
        assert len(codes_after) == 61
        assert 0 < np.square(after - before).sum() <= plan.vectors[0].squared_sensitivity


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_last_patient_does_not_decide_whether_it_answers(tmp_path: Path, suffix: str) -> None:
    study, plan = a_study()
    raw = clinic_table(1, 0)

    def shard(table: pd.DataFrame) -> StreamedShard:
        path = tmp_path / f"table{suffix}"
        table.to_parquet(path) if suffix == ".parquet" else table.to_csv(path, index=False)
        return StreamedShard(read_parts(path, study.table.names), study, key=KEY)

    for table in (raw, raw.iloc[:0]):
        assert len(shard(table).histograms(plan.cells))
        with pytest.raises(DataError, match="column 'sex' is not in the table"):
            shard(table.drop(columns="sex"))


def test_a_shard_without_rows_has_empty_codes() -> None:
    study, plan = a_study()
    streamed = StreamedShard([], study, key=KEY, patient_column="patient")
    counts = streamed.histograms(plan.cells)
    assert not counts.any()
    assert streamed.encoded(with_histograms(study, plan, counts)).shape == (0, len(study.table.names))


def test_a_patient_column_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match="patient column 'patient' is not in the table"):
        StreamedShard([Part.of(clinic_table(5, 1))], a_study()[0], key=KEY, patient_column="patient")


def test_a_column_that_was_agreed_and_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match="column 'sex' is not in the table; add it, or agree on a study without it"):
        StreamedShard([Part.of(clinic_table(5, 1).drop(columns="sex"))], a_study()[0], key=KEY)


def test_the_first_row_of_each_patient_counts() -> None:
    digests = np.array([[2, 1], [1, 9], [2, 1], [2, 0], [1, 9]], dtype=np.uint64)
    assert first_of_each(digests).tolist() == [True, True, False, True, False]


def test_places_take_the_fewest_bytes_that_hold_them() -> None:
    labels = Categorical(name="ca", categories=("0", "1"), missing=True)
    lab = Numeric(name="lab", lower=0, upper=20, decimals=1, missing=True)
    assert labels.compact(pd.Series(["1", None, "0"])).tolist() == [1, -1, 0]
    # 201 points, 0.1 apart: 1.5 is the fifteenth after 0; int8 ends at 127.
    places = lab.compact(pd.Series([1.5, np.nan, 20.0]))
    assert places.tolist() == [15, -1, 200]
    assert places.dtype == np.int16


def test_counts_of_places_are_those_of_the_values() -> None:
    schema = a_study()[0].table
    frame = conform(clinic_table(200, 9), schema)
    places = pd.DataFrame({column.name: column.compact(frame[column.name]) for column in schema.each()})
    np.testing.assert_array_equal(count_cells(places, schema, 16), count_cells(frame, schema, 16))


class TestImages:
    @pytest.mark.parametrize("patients", [0, 1, 40])
    @pytest.mark.parametrize("patient_column", [None, "patient"])
    def test_a_streamed_shard_has_the_same(self, patients: int, patient_column: str | None) -> None:
        study = images_study(evaluation={"holdout_fraction": 0.2})
        raw = images_table(patients).assign(patient=[f"p{row % 30}" for row in range(patients)])
        whole = Shard(raw, study, key=KEY, patient_column=patient_column)
        streamed = StreamedShard(parts_of(raw, 7), study, key=KEY, patient_column=patient_column)
        np.testing.assert_array_equal(streamed.images(), whole.images())
        assert len(streamed.images()) == len(whole.training)
