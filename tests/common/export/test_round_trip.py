"""An export reads back as the table that it was made of: every kind of column, word for word, in every format."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from common.errors import DataError, FedSynthError, StudyError
from common.export.exporting import FORMATS, ExportTarget, export
from common.export.mapping import ExportMapping, parse_mapping
from common.export.omop_tables import TABLES
from common.export.provenance import Provenance
from common.export.restoring import RestorableExport, read_export, restore
from common.study.study import parse_study
from tests.testbeds.exports import LONG, flat_mapping, flat_study, visits_provenance, write_flat_table, write_visits

TARGETS = [(to, form) for to, forms in FORMATS.items() for form in forms]
every_target = pytest.mark.parametrize(("to", "form"), TARGETS)
every_mapping = pytest.mark.parametrize("mapping", [ExportMapping(), flat_mapping()], ids=["none", "declared"])


def with_new_digests(folder: Path) -> RestorableExport:
    """Read an export whose files were changed together with their digests, so that only their content says so."""
    facts = json.loads((folder / "export.json").read_text())
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in facts["files"]}
    (folder / "export.json").write_text(json.dumps(facts | {"files": digests}))
    return read_export(folder)


@every_target
@every_mapping
def test_a_flat_table_comes_back_byte_for_byte(tmp_path: Path, mapping: ExportMapping, to: str, form: str) -> None:
    table = write_flat_table(tmp_path)
    export(table, Provenance(flat_study(), 3.0), mapping, ExportTarget.of(to, form), tmp_path / "out")
    assert restore(read_export(tmp_path / "out"), tmp_path / "back") == 120
    assert (tmp_path / "back" / "synthetic.csv").read_bytes() == table.read_bytes()


@every_target
def test_visits_come_back_byte_for_byte(tmp_path: Path, to: str, form: str) -> None:
    folder = write_visits(tmp_path)
    export(folder, visits_provenance(), ExportMapping(), ExportTarget.of(to, form), tmp_path / "out")
    assert restore(read_export(tmp_path / "out"), tmp_path / "back") == 6
    for name in ("visits.csv", "patients.csv"):
        assert (tmp_path / "back" / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize("to", FORMATS)
def test_visits_in_one_table_come_back_as_one(tmp_path: Path, to: str) -> None:
    table = tmp_path / "drawn.csv"
    table.write_text(LONG)
    export(table, visits_provenance(), ExportMapping(), ExportTarget.of(to), tmp_path / "out")
    assert restore(read_export(tmp_path / "out"), tmp_path / "back") == 6
    assert (tmp_path / "back" / "synthetic.csv").read_text() == LONG


@pytest.mark.parametrize(("to", "form"), [target for target in TARGETS if target[1] != "duckdb"])
def test_an_export_is_the_same_bytes_twice(tmp_path: Path, to: str, form: str) -> None:
    table, provenance = write_flat_table(tmp_path), Provenance(flat_study(), 3.0)
    for name in ("a", "b"):
        export(table, provenance, flat_mapping(), ExportTarget.of(to, form), tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "b").iterdir())
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)


def test_an_export_to_duckdb_has_the_same_rows_twice(tmp_path: Path) -> None:
    duckdb: Any = pytest.importorskip("duckdb")
    table, provenance = write_flat_table(tmp_path), Provenance(flat_study(), 3.0)
    rows = []
    for name in ("a", "b"):
        export(table, provenance, flat_mapping(), ExportTarget.of("omop", "duckdb"), tmp_path / name)
        with duckdb.connect(str(tmp_path / name / "omop.duckdb"), read_only=True) as connection:
            rows.append([connection.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES])
    assert rows[0] == rows[1]


@every_target
def test_an_export_lists_its_files_with_their_digests(tmp_path: Path, to: str, form: str) -> None:
    export(write_visits(tmp_path), visits_provenance(), ExportMapping(), ExportTarget.of(to, form), tmp_path / "out")
    files = json.loads((tmp_path / "out" / "export.json").read_text())["files"]
    assert files.keys() | {"export.json"} == {path.name for path in (tmp_path / "out").iterdir()}
    for name, sha256 in files.items():
        assert sha256 == hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest()


@pytest.mark.parametrize("to", FORMATS)
def test_a_file_changed_after_the_export_is_named(tmp_path: Path, to: str) -> None:
    export(write_visits(tmp_path), visits_provenance(), ExportMapping(), ExportTarget.of(to), tmp_path / "out")
    for name in json.loads((tmp_path / "out" / "export.json").read_text())["files"]:
        path = tmp_path / "out" / name
        content = path.read_bytes()
        path.write_bytes(content + b"\n")
        with pytest.raises(DataError, match=f"'{name}' in .* was changed after the export: its SHA-256"):
            read_export(tmp_path / "out")
        path.unlink()
        with pytest.raises(FedSynthError, match=f"{name}'.*(cannot be read|No such file)"):
            read_export(tmp_path / "out")
        path.write_bytes(content)
    read_export(tmp_path / "out")


@pytest.mark.parametrize("name", ["../secret.csv", "/etc/passwd", "..", ".", "a\0", "\ud800"])
def test_digests_of_other_files_are_refused(tmp_path: Path, name: str) -> None:
    export(write_visits(tmp_path), visits_provenance(), ExportMapping(), ExportTarget.of("omop"), tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "export.json").read_text())
    (tmp_path / "out" / "export.json").write_text(json.dumps(facts | {"files": {name: "0"}}))
    with pytest.raises(DataError, match=r"names a file outside of the folder|cannot be read"):
        read_export(tmp_path / "out")


def test_an_export_says_what_it_is(tmp_path: Path) -> None:
    export(write_visits(tmp_path), visits_provenance(), ExportMapping(), ExportTarget.of("omop"), tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "export.json").read_text())
    assert facts["synthetic"] is True
    assert (facts["epsilon"], facts["simulation"], facts["run"]) == (2.5, True, "run-1")
    assert facts["fingerprint"] == visits_provenance().study.fingerprint
    assert facts["counts"]["visit_occurrence"] == 6


def test_a_failed_export_leaves_nothing(tmp_path: Path) -> None:
    folder = write_visits(tmp_path, patients="id,visits,sex\n1,3,f\n")
    with pytest.raises(DataError, match="its patients are not those of the visits"):
        export(folder, visits_provenance(), ExportMapping(), ExportTarget.of("fhir"), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["patients.csv", "visits.csv"]


@pytest.mark.parametrize(("to", "form", "text"), [("cda", None, "is not a target"), ("fhir", "csv", "not a format of")])
def test_an_unknown_target_is_named(tmp_path: Path, to: str, form: str | None, text: str) -> None:
    with pytest.raises(StudyError, match=text):
        export(
            write_visits(tmp_path), visits_provenance(), ExportMapping(), ExportTarget.of(to, form), tmp_path / "out"
        )


def test_an_export_never_replaces_a_folder(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="exists"):
        export(write_visits(tmp_path), visits_provenance(), ExportMapping(), ExportTarget.of("omop"), tmp_path)


def test_a_table_without_its_run_is_only_said_to_be_synthetic() -> None:
    said = Provenance(flat_study(), 3.0).description
    assert "nothing here shows it" in said
    assert "no row describes a person" not in said
    assert "no row describes a person" in Provenance(flat_study(), 3.0, "run-1").description


AMBIGUOUS = """
[study]
name = "vaccines"
[[schema.columns]]
name = "flu"
kind = "categorical"
categories = ["shot: yes", "no"]
[[schema.columns]]
name = "flu: shot"
kind = "categorical"
categories = ["yes", "no"]
[[schema.columns]]
name = "a  b"
kind = "boolean"
true = "yes"
false = "no"
[[schema.columns]]
name = "a%20%20b"
kind = "boolean"
true = "yes"
false = "no"
[privacy]
epsilon = 1
[evaluation]
target = "flu"
"""
"""Condition "shot: yes" of flu is written like condition "yes" of "flu: shot"; FHIR's codes hold no two spaces."""


@pytest.mark.parametrize(
    ("to", "mapped", "problem"),
    [("omop", "condition", "'flu: shot: yes'"), ("omop", "observation", None), ("fhir", "observation", "'a%20%20b'")],
)
def test_columns_that_would_read_the_same_are_refused(
    tmp_path: Path, to: str, mapped: str, problem: str | None
) -> None:
    table = tmp_path / "drawn.csv"
    table.write_text("flu,flu: shot,a  b,a%20%20b\nshot: yes,no,yes,no\nno,yes,no,yes\n")
    mapping = parse_mapping(f'[[columns]]\nname = "flu"\nto = "{mapped}"\n', "mapping")
    provenance, target = Provenance(parse_study(AMBIGUOUS), 1.0), ExportTarget.of(to)
    if problem is not None:
        with pytest.raises(StudyError, match=problem):
            export(table, provenance, mapping, target, tmp_path / "out")
        return
    export(table, provenance, mapping, target, tmp_path / "out")
    restore(read_export(tmp_path / "out"), tmp_path / "back")
    assert (tmp_path / "back" / "synthetic.csv").read_text() == table.read_text()


def test_a_view_in_an_export_reads_no_other_file(tmp_path: Path) -> None:
    duckdb: Any = pytest.importorskip("duckdb")
    target, secret = ExportTarget.of("omop", "duckdb"), tmp_path / "secret.csv"
    secret.write_text("person_id,person_source_value\n1,secret\n")
    export(write_flat_table(tmp_path, 1), Provenance(flat_study(), 3.0), flat_mapping(), target, tmp_path / "out")
    with duckdb.connect(str(tmp_path / "out" / "omop.duckdb")) as connection:
        connection.execute(f"DROP TABLE person; CREATE VIEW person AS SELECT * FROM read_csv('{secret}')")
    with pytest.raises(DataError, match="is damaged"):
        restore(with_new_digests(tmp_path / "out"), tmp_path / "back")


class TestDamage:
    """What is lost from an export is said, and nothing half-read is written."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        export(write_visits(tmp_path), visits_provenance(), ExportMapping(), ExportTarget.of("fhir"), tmp_path / "out")
        return tmp_path / "out"

    def test_a_folder_without_a_manifest_is_no_export(self, tmp_path: Path) -> None:
        with pytest.raises(StudyError, match="is not an export of fedsynth"):
            read_export(tmp_path)

    def test_a_study_of_another_export_is_refused(self, folder: Path) -> None:
        (folder / "study.toml").write_text(flat_study().to_toml())
        with pytest.raises(StudyError, match="different studies"):
            read_export(folder)

    @pytest.mark.parametrize("changed", ['{"files": [[1, "x"]]}', '{"files": null}', "[" * 100_000])
    def test_a_manifest_of_other_types_is_refused(self, folder: Path, changed: str) -> None:
        if changed.startswith("{"):
            changed = json.dumps(json.loads((folder / "export.json").read_text()) | json.loads(changed))
        (folder / "export.json").write_text(changed)
        with pytest.raises(StudyError, match=r"export.json cannot be used"):
            read_export(folder)

    def test_an_unknown_format_is_refused(self, folder: Path) -> None:
        facts = json.loads((folder / "export.json").read_text())
        (folder / "export.json").write_text(json.dumps(facts | {"format": "xml"}))
        with pytest.raises(StudyError, match="names an unknown format; restore the export"):
            read_export(folder)

    @pytest.mark.parametrize(("left_out", "count"), [(None, 6), ("Observation.ndjson", 1), ("study.toml", 1)])
    def test_a_file_that_is_not_listed_is_refused(self, folder: Path, left_out: str | None, count: int) -> None:
        facts = json.loads((folder / "export.json").read_text())
        kept = {name: digest for name, digest in facts["files"].items() if left_out not in (None, name)}
        (folder / "export.json").write_text(json.dumps(facts | {"files": kept}))
        with pytest.raises(DataError, match=r"export.json in .* does not list ") as refused:
            read_export(folder)
        assert sum(f"'{name}'" in str(refused.value) for name in facts["files"]) == count

    @pytest.mark.parametrize("name", ["Encounter.ndjson", "Patient.ndjson"])
    def test_a_lost_resource_is_noticed(self, folder: Path, tmp_path: Path, name: str) -> None:
        lines = (folder / name).read_text().splitlines(keepends=True)
        (folder / name).write_text("".join(lines[1:]))
        exported = with_new_digests(folder)
        with pytest.raises(FedSynthError):
            restore(exported, tmp_path / "back")
        assert not (tmp_path / "back").exists()

    def test_a_cut_line_is_noticed(self, folder: Path, tmp_path: Path) -> None:
        text = (folder / "Observation.ndjson").read_text()
        (folder / "Observation.ndjson").write_text(text[:-20])
        with pytest.raises(DataError, match="is damaged"):
            restore(with_new_digests(folder), tmp_path / "back")


@pytest.mark.parametrize(
    ("to", "name", "text"),
    [
        ("fhir", "Patient.ndjson", "[" * 99_999),
        ("fhir", "Patient.ndjson", "[]"),
        ("omop", "person.csv", "x" * 200_000),
    ],
)
def test_a_changed_file_is_said(tmp_path: Path, to: str, name: str, text: str) -> None:
    export(write_visits(tmp_path), visits_provenance(), ExportMapping(), ExportTarget.of(to), tmp_path / "out")
    (tmp_path / "out" / name).write_text(f"{text}\n{text}\n")
    with pytest.raises(DataError, match="is damaged"):
        restore(with_new_digests(tmp_path / "out"), tmp_path / "back")


@pytest.mark.parametrize("form", FORMATS["omop"])
def test_a_lost_file_is_named(tmp_path: Path, form: str) -> None:
    target = ExportTarget.of("omop", form)
    export(write_visits(tmp_path), visits_provenance(), ExportMapping(), target, tmp_path / "out")
    exported = read_export(tmp_path / "out")
    (tmp_path / "out" / ("omop.duckdb" if form == "duckdb" else f"observation.{form}")).unlink()
    with pytest.raises(DataError, match="restore the export"):
        restore(exported, tmp_path / "back")
    assert not (tmp_path / "back").exists()
