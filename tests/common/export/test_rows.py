"""The tables that are exported: whole patients in every chunk, and tables that do not fit are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import DataError, StudyError
from common.export.exporting import rows_of
from common.export.rows import flat_rows, visit_rows
from tests.testbeds.exports import LONG, VISITS, flat_study, visits_provenance, write_flat_table, write_visits

DECLARED = visits_provenance().study.declared


def test_chunks_hold_whole_patients(tmp_path: Path) -> None:
    folder = write_visits(tmp_path)
    chunks = list(visit_rows(folder / "visits.csv", folder / "patients.csv", DECLARED, part_rows=2))
    assert len(chunks) > 1
    assert [number for chunk in chunks for number in chunk.persons] == [1, 1, 1, 2, 3, 3]
    assert all(chunk.visits[0] == 1 for chunk in chunks)
    assert [cell for chunk in chunks for cell in chunk.cells["sex"]] == ["f", "", "", "m", "f", ""]


def test_flat_rows_are_numbered_over_chunks(tmp_path: Path) -> None:
    chunks = list(flat_rows(write_flat_table(tmp_path, 7), flat_study().declared, part_rows=3))
    assert [list(chunk.persons) for chunk in chunks] == [[1, 2, 3], [4, 5, 6], [7]]


@pytest.mark.parametrize(
    ("visits", "patients", "problem"),
    [
        (VISITS.replace("1,2,", "1,3,", 1), None, "not numbered from 1"),
        (VISITS.replace("weight", "height"), None, "column 'weight' is missing"),
        (VISITS.replace("note\n", "note,more\n", 1), None, "visits.csv"),
        (VISITS, "id,visits,sex\n1,2,f\n2,1,m\n3,2,f\n", "its patients are not those"),
        (VISITS, "id,visits,sex\n1,3,f\n2,1,m\n3,2,f\n4,1,f\n", "more patients than"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path: Path, visits: str, patients: str | None, problem: str) -> None:
    folder = write_visits(tmp_path, visits, patients or "id,visits,sex\n1,3,f\n2,1,m\n3,2,f\n")
    with pytest.raises(DataError, match=problem):
        list(visit_rows(folder / "visits.csv", folder / "patients.csv", DECLARED))


def test_a_column_that_would_be_lost_is_refused(tmp_path: Path) -> None:
    path = write_flat_table(tmp_path, 3)
    path.write_text("\n".join(f"{line},1" for line in path.read_text().splitlines()))
    with pytest.raises(DataError, match="is not in the study and would be lost"):
        list(flat_rows(path, flat_study().declared))


def test_a_column_of_the_patient_that_varies_is_refused(tmp_path: Path) -> None:
    (tmp_path / "drawn.csv").write_text(LONG.replace("1,2,f", "1,2,m"))
    with pytest.raises(DataError, match="column 'sex' is of the patient and varies"):
        list(rows_of(tmp_path / "drawn.csv", DECLARED))


def test_a_typed_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="write the table as CSV"):
        list(rows_of(tmp_path / "table.parquet", flat_study().declared))
