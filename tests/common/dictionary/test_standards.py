"""Imports from other tools: what each standard carries, and what is said about the rest."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from common.columns.kinds import parse_column
from common.dictionary.entry import DictionaryEntry
from common.dictionary.standards.registry import (
    STANDARDS,
    export,
    import_document,
    import_file,
)
from common.errors import StudyError
from tests.testbeds.all_kinds import COLUMNS


def imported(document: Any, name: str) -> dict[str, DictionaryEntry]:
    """Return the columns of a document by name."""
    assert STANDARDS[name].recognizes(document)
    return {entry.name: entry for entry in import_document(document, STANDARDS[name]).entries}


def notes_of(document: Any, name: str) -> str:
    return "\n".join(import_document(document, STANDARDS[name]).notes)


REDCAP = [
    [
        "Variable / Field Name", "Form Name", "Section Header", "Field Type", "Field Label",
        "Choices, Calculations, OR Slider Labels", "Field Note", "Text Validation Type OR Show Slider Number",
        "Text Validation Min", "Text Validation Max", "Identifier?", "Branching Logic (Show field only if...)",
        "Required Field?",
    ],
    ["record_id", "base", "", "text", "Record"],
    ["name", "base", "", "text", "Name", "", "", "", "", "", "y"],
    ["sex", "base", "", "radio", "<b>Sex</b> at birth", "1, male | 2, female | 9, not known", *[""] * 6, "y"],
    ["age", "base", "", "text", "Age", "", "years", "integer", "18", "110", "", "", "y"],
    ["crea", "base", "", "text", "Creatinine", "", "mg/dL", "number_1dp", "0", "30"],
    ["crea_komma", "base", "", "text", "Kreatinin", "", "", "number_2dp_comma_decimal", "0,5", "30"],
    ["weight", "base", "", "text", "Weight", "", "", "number", "", ""],
    ["admitted", "base", "", "text", "Admission", "", "", "date_dmy", "2015-01-01", "today"],
    ["seen", "base", "", "text", "Visit", "", "", "datetime_seconds_mdy", "", ""],
    ["drugs", "base", "", "checkbox", "Drugs", "1, aspirin | -2, statin"],
    ["smoker", "base", "", "yesno", "Smoker", "", "", "", "", "", "", "[age] > 18", "y"],
    ["pain", "base", "", "slider", "Pain", "none | | worst"],
    ["bmi", "base", "", "calc", "BMI", "[weight]/[height]^2"],
    ["mail", "base", "", "text", "Mail", "", "", "email"],
    ["remarks", "base", "", "notes", "Remarks"],
    ["scan", "base", "", "file", "Scan"],
    ["", "", ""],
]  # fmt: skip


class TestRedcap:
    """The data dictionary of a REDCap project."""

    def test_redcap_fields_become_columns_of_a_raw_export(self) -> None:
        columns = imported(REDCAP, "redcap")
        assert list(columns) == [
            "sex", "age", "crea", "crea_komma", "weight", "admitted", "seen", "drugs___1", "drugs____2", "smoker",
            "pain", "bmi", "remarks",
        ]  # fmt: skip
        sex = columns["sex"]
        assert sex.value("categories") == ["1", "2", "9"]
        assert dict(sex.meanings) == {"1": "male", "2": "female", "9": "not known"}
        assert sex.value("description") == "Sex at birth"
        assert not sex.value("missing")

    def test_redcap_numbers_keep_bounds_units_and_decimals(self) -> None:
        columns = imported(REDCAP, "redcap")
        age, crea, comma = (columns[name] for name in ("age", "crea", "crea_komma"))
        assert (age.value("lower"), age.value("upper"), age.value("unit")) == (18, 110, "years")
        assert (crea.value("decimals"), crea.value("missing"), crea.value("unit")) == (1, True, "mg/dL")
        assert (comma.value("lower"), comma.value("decimals"), comma.value("decimal")) == (0.5, 2, ",")
        assert columns["weight"].open_keys == ("lower", "upper")
        assert (columns["pain"].value("lower"), columns["pain"].value("upper")) == (0, 100)

    def test_redcap_dates_are_those_of_a_raw_export(self) -> None:
        columns = imported(REDCAP, "redcap")
        assert columns["admitted"].value("date_format") == "%Y-%m-%d"
        assert columns["admitted"].value("lower") == "2015-01-01"
        assert columns["seen"].kind == "datetime"
        assert columns["seen"].value("resolution") == "seconds"

    @pytest.mark.parametrize(
        "note",
        [
            "layout (form names, section headers, matrix groups, alignment) is not carried over",
            "column 'record_id' is left out: it names the record",
            "column 'name' is left out: it is marked as an identifier",
            "column 'mail' is left out: text validated as 'email' is personal, or no column holds it",
            "column 'scan' is left out: a field of type 'file' is not a column",
            "column 'smoker' has branching logic, which is not carried over: it may be missing",
            "column 'bmi' is calculated: its formula is not carried over",
            "column 'admitted' has a bound that is not a fixed date, which is not carried over: give upper",
            "column 'drugs' is a checkbox: 2 columns, one per answer",
            "column 'crea' takes its unit, mg/dL, from the field note: check it",
            "column 'remarks' is free text, which is never read",
        ],
    )
    def test_redcap_says_what_it_leaves(self, note: str) -> None:
        assert note in notes_of(REDCAP, "redcap")

    def test_redcap_of_the_interface_has_other_headings(self) -> None:
        rows = [
            ["field_name", "form_name", "field_type", "field_label"],
            ["id", "f", "text", "Id"],
            ["ok", "f", "yesno", "Ok"],
        ]
        assert list(imported(rows, "redcap")) == ["ok"]

    def test_redcap_dictionary_without_fields_is_refused(self) -> None:
        with pytest.raises(StudyError, match="has no fields; export it with all instruments"):
            imported([*REDCAP[:1], ["", "", ""]], "redcap")

    def test_a_field_of_one_name_twice_is_left_out(self) -> None:
        assert "another column has this name" in notes_of([*REDCAP, ["age", "b", "", "yesno", "Again"]], "redcap")


class TestFrictionless:
    """Frictionless Table Schema."""

    def test_frictionless_types_and_constraints(self) -> None:
        fields = [
            {"name": "age", "type": "integer", "constraints": {"required": True, "minimum": 18, "maximum": 110}},
            {"name": "crp", "type": "number", "constraints": {"minimum": 0.125}, "description": "C-reactive"},
            {
                "name": "sex",
                "type": "string",
                "categories": [{"value": "1", "label": "male"}, {"value": "2", "label": "female"}],
            },
            {"name": "ward", "type": "integer", "constraints": {"enum": [1, 2], "unique": True}},
            {"name": "died", "type": "boolean", "trueValues": ["J"], "falseValues": ["N"]},
            {"name": "day", "type": "date", "format": "%d.%m.%Y"},
            {"name": "where", "type": "geopoint"},
            {"name": "note"},
        ]
        document = {"fields": fields, "missingValues": ["", "NA", "-9"], "primaryKey": "age"}
        columns = imported(document, "frictionless")
        assert list(columns) == ["age", "crp", "sex", "ward", "died", "day", "note"]
        assert columns["age"].value("missing_codes") == ["-9"]
        assert (columns["crp"].value("decimals"), columns["crp"].open_keys) == (3, ("upper",))
        assert dict(columns["sex"].meanings) == {"1": "male", "2": "female"}
        assert columns["ward"].value("categories") == ["1", "2"]
        assert (columns["died"].value("true"), columns["day"].value("date_format")) == ("J", "%d.%m.%Y")
        notes = notes_of(document, "frictionless")
        for note in (
            "'primaryKey' is not carried over",
            "column 'where' is left out: no column holds the type 'geopoint'",
            "column 'ward' has 'unique', which is not carried over",
            "column 'crp' does not say how many decimals; decimals = 3 is a guess: correct it",
            "column 'sex' has missing values -9, which are not carried over: name them in the mapping file",
        ):
            assert note in notes

    def test_frictionless_schema_of_a_package(self) -> None:
        package = {"resources": [{"name": "t", "schema": {"fields": [{"name": "a", "type": "integer"}]}}]}
        assert list(imported(package, "frictionless")) == ["a"]

    def test_frictionless_package_of_several_tables_is_refused(self) -> None:
        table = {"name": "t", "schema": {"fields": [{"name": "a", "type": "integer"}]}}
        with pytest.raises(StudyError, match="has several resources; give the schema of one"):
            imported({"resources": [table, table]}, "frictionless")
        with pytest.raises(StudyError, match="has no list of fields; add `fields`"):
            imported({"schema": {"fields": {"a": "integer"}}}, "frictionless")


class TestJsonSchema:
    """JSON Schema of one record."""

    def test_json_schema_of_pydantic(self) -> None:
        document = {
            "$defs": {"Sex": {"enum": ["m", "f"], "type": "string", "description": "Sex"}},
            "type": "object",
            "properties": {
                "sex": {"$ref": "#/$defs/Sex"},
                "age": {"type": "integer", "minimum": 0, "maximum": 120, "title": "Age"},
                "crp": {
                    "anyOf": [{"type": "number", "minimum": 0, "multipleOf": 0.1}, {"type": "null"}],
                    "default": None,
                },
                "kind": {"oneOf": [{"const": 1, "title": "planned"}, {"const": 2, "title": "urgent"}]},
                "day": {"type": "string", "format": "date"},
                "mail": {"type": "string", "format": "email"},
                "id": {"type": "string", "pattern": "^P[0-9]{5}$"},
                "list": {"type": "array"},
            },
            "required": ["sex", "age", "kind", "day", "id"],
        }
        columns = imported(document, "json-schema")
        assert list(columns) == ["sex", "age", "crp", "kind", "day", "id"]
        assert columns["sex"].value("categories") == ["m", "f"]
        assert not columns["age"].value("missing")
        assert (columns["crp"].value("decimals"), columns["crp"].value("missing")) == (1, True)
        assert dict(columns["kind"].meanings) == {"1": "planned", "2": "urgent"}
        assert columns["id"].value("pattern") == "P#####"
        notes = notes_of(document, "json-schema")
        assert "column 'mail' is left out: 'email' names a person or a machine" in notes
        assert "column 'list' is left out: no column holds the type 'array'" in notes

    def test_json_schema_of_a_list_of_records(self) -> None:
        record = {"type": "object", "properties": {"a": {"type": "boolean"}}}
        assert list(imported({"type": "array", "items": record}, "json-schema")) == ["a"]

    def test_an_edited_file_counts_before_its_extension(self) -> None:
        exported = export(
            [parse_column({"name": "a", "kind": "numeric", "lower": 0, "upper": 9, "above": ">9"})], "json-schema"
        )
        document = json.loads(exported.text)
        document["properties"]["a"]["maximum"] = 12
        column = imported(document, "json-schema")["a"]
        assert (column.value("upper"), column.value("above")) == (12, ">9")


class TestSdv:
    """SDV metadata."""

    def test_sdv_metadata_of_one_table(self) -> None:
        columns = {
            "id": {"sdtype": "id", "regex_format": "U_[0-9]{3}"},
            "age": {"sdtype": "numerical", "computer_representation": "Int64"},
            "rate": {"sdtype": "numerical"},
            "day": {"sdtype": "datetime", "datetime_format": "%d %b %Y"},
            "room": {"sdtype": "categorical", "order": ["A", "B"]},
            "paid": {"sdtype": "boolean"},
            "mail": {"sdtype": "email", "pii": True},
        }
        old = {"METADATA_SPEC_VERSION": "SINGLE_TABLE_V1", "columns": columns, "alternate_keys": ["mail"]}
        new = {"METADATA_SPEC_VERSION": "V1", "tables": {"stays": {"columns": columns}}, "relationships": []}
        for document in (old, new):
            read = imported(document, "sdv")
            assert list(read) == ["id", "age", "rate", "day", "room", "paid"]
            assert read["id"].value("pattern") == "U_###"
            assert read["room"].value("categories") == ["A", "B"]
            assert read["age"].open_keys == ("lower", "upper")
        assert "'alternate_keys' is not carried over" in notes_of(old, "sdv")
        assert "column 'mail' is left out: 'email' holds personal data" in notes_of(old, "sdv")

    def test_sdv_metadata_without_columns_is_refused(self) -> None:
        with pytest.raises(StudyError, match="SDV metadata has no columns; export it with `save_to_json`"):
            imported({"METADATA_SPEC_VERSION": "V1", "tables": {"a": {"primary_key": "id"}}}, "sdv")

    def test_sdv_metadata_of_two_tables_is_refused(self) -> None:
        with pytest.raises(StudyError, match="of several tables"):
            imported({"METADATA_SPEC_VERSION": "V1", "tables": {"a": {"columns": {}}, "b": {"columns": {}}}}, "sdv")


PANDERA = """
schema_type: dataframe
version: 0.20.0
columns:
  age:
    dtype: int64
    nullable: false
    checks: {greater_than_or_equal_to: {value: 18, options: {raise_warning: false}}, less_than_or_equal_to: 110}
    description: Age
  crp:
    dtype: float64
    nullable: true
    checks:
      - {min_value: 0, max_value: 300, options: {check_name: in_range}}
  sex:
    dtype: str
    nullable: false
    checks: {isin: [m, f], str_length: {min_value: 1}}
  code:
    dtype: complex128
  old:
    pandas_dtype: int64
    greater_than_or_equal_to: 1.0
    less_than: 9
index: null
"""


class TestPandera:
    """pandera schemas."""

    def test_pandera_schema_in_yaml(self, tmp_path: Path) -> None:
        path = tmp_path / "schema.yaml"
        path.write_text(PANDERA, encoding="utf-8")
        schema = import_file(path)
        columns = {entry.name: entry for entry in schema.entries}
        assert list(columns) == ["age", "crp", "sex", "old"]
        assert (columns["old"].value("lower"), columns["old"].open_keys) == (1, ("upper",))
        assert "column 'old' has check 'less_than', which is not carried over" in schema.notes
        assert (columns["age"].value("lower"), columns["age"].value("upper")) == (18, 110)
        assert (columns["crp"].value("upper"), columns["crp"].value("missing")) == (300, True)
        assert columns["sex"].value("categories") == ["m", "f"]
        assert "column 'sex' has check 'str_length', which is not carried over" in schema.notes


class TestImportFile:
    """Files of unknown content."""

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("table.csv", "name,age\nKari Nordmann,77\n"),
            ("table.csv", ""),
            ("table.json", '[{"name": "Kari Nordmann", "age": 77}]'),
            ("table.json", "Kari Nordmann"),
            ("table.json", "[" * 100_000),
            ("table.yaml", "a: [Kari Nordmann"),
            ("table.yaml", "Kari Nordmann: 77"),
            ("table.xlsx", "Kari Nordmann"),
            ("schema.json", '{"properties": ["Kari Nordmann"]}'),
            ("schema.json", '{"properties": {"a": {"type": "integer", "enum": 3}}, "required": 7}'),
            ("schema.json", '{"fields": [3]}'),
            ("schema.json", '{"METADATA_SPEC_VERSION": "V1", "tables": []}'),
            ("schema.json", '{"schema_type": "dataframe", "columns": 3}'),
        ],
    )
    def test_what_is_no_description_is_refused(self, tmp_path: Path, name: str, text: str) -> None:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        with pytest.raises(StudyError) as problem:
            import_file(path)
        assert "Kari" not in str(problem.value)

    def test_a_file_of_a_tables_size_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("common.dictionary.standards.registry.LARGEST_FILE", 2_000_000)
        (tmp_path / "a.json").write_bytes(b" " * 2_000_000 + b'{"fields": []}')
        with pytest.raises(StudyError, match="more than 2 MB; give a description of columns, not a table"):
            import_file(tmp_path / "a.json")

    def test_of_a_table_only_the_header_is_read(self, tmp_path: Path) -> None:
        path = tmp_path / "table.csv"
        path.write_bytes(b"name,age\n" + b"\xff\xfe not text " * 1000)
        with pytest.raises(StudyError, match="is not a REDCap data dictionary: its header lacks"):
            import_file(path)

    @pytest.mark.parametrize(("separator", "encoding"), [(",", "utf-8-sig"), (";", "cp1252"), ("\t", "utf-8")])
    def test_a_redcap_file_may_be_saved_again(self, tmp_path: Path, separator: str, encoding: str) -> None:
        path = tmp_path / "redcap.csv"
        rows = [[cell.replace("Weight", "Größe") for cell in row] for row in REDCAP]
        with path.open("w", encoding=encoding, newline="") as file:
            csv.writer(file, delimiter=separator).writerows(rows)
        columns = {entry.name: entry for entry in import_file(path).entries}
        assert len(columns) == 13
        assert columns["weight"].value("description") == "Größe"

    def test_a_column_that_names_a_lost_one_is_left_out(self) -> None:
        columns = [parse_column(column) for column in COLUMNS if column["name"] in ("left", "admitted", "zip")]
        document = json.loads(export(columns, "frictionless").text)
        document["fields"] = [field for field in document["fields"] if field["name"] != "admitted"]
        assert list(imported(document, "frictionless")) == ["zip"]
        assert "column 'left' is left out: it names 'admitted', which is not there" in notes_of(
            document, "frictionless"
        )

    def test_another_standard_than_named_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "schema.json"
        path.write_text('{"fields": [{"name": "a", "type": "integer"}]}', encoding="utf-8")
        with pytest.raises(StudyError, match="is not SDV metadata"):
            import_file(path, "sdv")

    def test_contradictory_bounds_leave_the_column_out(self) -> None:
        field = {"name": "a", "type": "integer", "constraints": {"minimum": 9, "maximum": 1}}
        assert "column 'a' is left out: column 'a': lower must be below upper" in notes_of(
            {"fields": [field]}, "frictionless"
        )

    def test_a_name_that_cannot_be_printed_is_left_out(self) -> None:
        document = {"properties": {"a\x1b[31m": {"type": "boolean"}, "b": {"type": "boolean"}}}
        assert list(imported(document, "json-schema")) == ["b"]
        assert "\x1b" not in notes_of(document, "json-schema")


class TestWrittenByOthers:
    """Files that the tools themselves wrote; the names of the files hold the versions."""

    FOLDER = Path(__file__).parent / "written_by_others"

    def test_metadata_of_sdv_2_carries_no_fact_of_a_record(self) -> None:
        imported = import_file(self.FOLDER / "sdv-2.0.0.json")
        columns = {entry.name: entry for entry in imported.entries}
        assert {name: entry.kind for name, entry in columns.items()} == {
            "id": "identifier",
            "age": "numeric",
            "crp": "numeric",
            "sex": "categorical",
            "admitted": "date",
            "died": "categorical",
            "grade": "categorical",
            "seen": "datetime",
        }
        assert columns["id"].value("pattern") == "P-####"
        assert not {"lower", "upper"} & columns["age"].settings.keys()
        assert columns["sex"].value("categories") is None
        assert any("range_min, range_max, range_values" in note and "from records" in note for note in imported.notes)

    def test_an_ordinal_column_of_sdv_2_is_one_of_labels(self) -> None:
        metadata = {"METADATA_SPEC_VERSION": "V2", "tables": {"t": {"columns": {"nyha": {"sdtype": "ordinal"}}}}}
        assert import_document(metadata, STANDARDS["sdv"]).entries[0].kind == "categorical"

    def test_a_boolean_with_words_of_its_own_is_categorical_to_sdv(self) -> None:
        columns = [
            parse_column({"kind": "boolean", "name": "died", "true": "yes", "false": "no"}),
            parse_column({"kind": "boolean", "name": "flag", "true": "True", "false": "False"}),
        ]
        written = json.loads(export(columns, "sdv").text)["columns"]
        assert [written[name]["sdtype"] for name in ("died", "flag")] == ["categorical", "boolean"]

    @pytest.mark.parametrize("ending", ["yaml", "json"])
    def test_schemas_of_pandera_are_read(self, ending: str) -> None:
        imported = import_file(self.FOLDER / f"pandera-0.35.0.{ending}")
        columns = {entry.name: entry for entry in imported.entries}
        assert (columns["age"].value("lower"), columns["age"].value("upper")) == (18, 100)
        assert (columns["crp"].value("lower"), columns["crp"].value("missing")) == (0, True)
        assert columns["sex"].value("categories") == ["F", "M"]
        assert {name: columns[name].kind for name in ("stage", "died", "adm", "code", "n")} == {
            "stage": "categorical",
            "died": "boolean",
            "adm": "date",
            "code": "text",
            "n": "numeric",
        }
