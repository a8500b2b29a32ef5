"""An export to OMOP is a database that a study on OMOP databases can read: its features are the table's cells."""

from __future__ import annotations

from pathlib import Path

import duckdb

from common.export.exporting import ExportTarget, export
from common.export.mapping import ExportMapping, parse_mapping
from common.export.omop_files import DATABASE
from common.export.omop_study import default_mapping
from common.export.provenance import Provenance
from common.export.restoring import read_export, restore
from common.study.study import parse_study
from common.tables.formats import read_table
from common.tables.omop import read_omop
from common.tables.parts import Part
from common.tables.reading import Reading
from tests.testbeds.eunomia import TABLES, VOCABULARY
from tests.testbeds.exports import flat_mapping, flat_study, visits_provenance, write_flat_table, write_visits
from tests.testbeds.omop_database import BLEED, GLUCOSE, MG, omop_study

CRP, SMOKER, WEIGHT = 3020460, 4209423, 3025315

STUDY = """
[study]
name = "again"
[source]
kind = "omop"
[privacy]
unit = "patient"
epsilon = 3.0
[evaluation]
target = "sex"
[[features]]
name = "sex"
domain = "person"
field = "sex"
values = { female = 8532, male = 8507 }
"""

FLAT = f"""{STUDY}
[[features]]
name = "crp"
domain = "measurement"
concepts = [{CRP}]
window = [0, 0]
summary = "last"
units = {{ 8751 = 1.0 }}
lower = 0.0
upper = 300.0
decimals = 1
[[features]]
name = "smoker"
domain = "condition"
concepts = [{SMOKER}]
window = [0, 0]
summary = "any"
[study_cohort]
domain = "visit"
concepts = [9202]
age = [0, 150]
"""

VISITS = f"""{STUDY}
[visits]
window = [0, 3000]
most_visits = 3
[[features]]
name = "weight"
domain = "measurement"
concepts = [{WEIGHT}]
summary = "each visit"
units = {{ 9529 = 1.0 }}
lower = 40.0
upper = 140.0
[study_cohort]
domain = "visit"
concepts = [9202]
age = [0, 150]
"""

OF_VISITS = f"""
[[columns]]
name = "sex"
to = "gender"
values = {{ f = 8532, m = 8507 }}
[[columns]]
name = "weight"
to = "measurement"
concept = {WEIGHT}
unit = "kg"
unit_concept = 9529
"""


def read_again(table: Path, provenance: Provenance, mapping: ExportMapping, study: str, out: Path) -> Part:
    """Export a table, add a vocabulary, and read the database as a hospital that takes part would."""
    export(table, provenance, mapping, ExportTarget.of("omop", "duckdb"), out)
    concepts = ((CRP, "Measurement"), (WEIGHT, "Measurement"), (SMOKER, "Condition"), (9202, "Visit"), (8751, "Unit"))
    with duckdb.connect(str(out / DATABASE)) as database:
        for name in VOCABULARY:
            database.execute(f"CREATE TABLE {name} ({TABLES[name]})")
        for concept, domain in (*concepts, (9529, "Unit"), (8507, "Gender"), (8532, "Gender")):
            database.execute("INSERT INTO concept VALUES (?, 'a name', ?, 'S')", [concept, domain])
            database.execute("INSERT INTO concept_ancestor VALUES (?, ?)", [concept, concept])
    extraction = parse_study(study).extraction
    assert extraction is not None
    return read_omop(extraction, Reading(database=f"duckdb:///{out / DATABASE}"))


def test_an_omop_study_keeps_its_concepts_without_a_mapping(tmp_path: Path) -> None:
    study = omop_study()
    table = tmp_path / "synthetic.csv"
    table.write_text("sex,glucose,bleed\nfemale,101,yes\nmale,,no\n")
    export(table, Provenance(study, 3.0), default_mapping(study), ExportTarget.of("omop", "duckdb"), tmp_path / "out")
    with duckdb.connect(str(tmp_path / "out" / DATABASE), read_only=True) as database:

        def rows(query: str) -> list[tuple[object, ...]]:
            return list(database.execute(query).fetchall())

        assert rows("SELECT gender_concept_id FROM person ORDER BY 1") == [(8507,), (8532,)]
        of_measurement = "measurement_concept_id, value_as_number, unit_concept_id"
        assert rows(f"SELECT {of_measurement} FROM measurement WHERE value_as_number > 0") == [(GLUCOSE, 101.0, MG)]
        bleeds = f"SELECT value_as_string FROM observation WHERE observation_concept_id = {BLEED} ORDER BY 1"
        assert rows(bleeds) == [("no",), ("yes",)]
    out, again = tmp_path / "out", tmp_path / "again"
    restore(read_export(out), again)
    assert (again / "synthetic.csv").read_bytes() == table.read_bytes()


def test_features_of_a_flat_export_are_its_cells(tmp_path: Path) -> None:
    table = write_flat_table(tmp_path, 60)
    part = read_again(table, Provenance(flat_study(), 3.0), flat_mapping(), FLAT, tmp_path / "out")
    raw = read_table(table)
    assert part.cells("person_id") == [str(number) for number in range(1, 61)]
    assert part.cells("sex") == raw["sex"].tolist()
    assert part.cells("smoker") == ["yes" if cell == "1" else "no" for cell in raw["smoker"]]
    expected = ["0.1" if cell == "<0.1" else "" if cell in ("ND", "") else f"{float(cell):g}" for cell in raw["crp"]]
    assert part.cells("crp") == expected


def test_features_of_visits_are_their_cells(tmp_path: Path) -> None:
    mapping = parse_mapping(OF_VISITS, "a mapping")
    part = read_again(write_visits(tmp_path), visits_provenance(), mapping, VISITS, tmp_path / "out")
    assert part.cells("person_id") == ["1", "1", "1", "2", "3", "3"]
    assert part.cells("weight") == ["70", "71", "", "90", "55", "54"]
    assert part.cells("sex") == ["female"] * 3 + ["male"] + ["female"] * 2
    assert part.cells("day") == ["0", "60", "60", "0", "0", "425"]
