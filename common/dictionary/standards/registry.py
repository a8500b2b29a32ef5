"""The table of standards, import into a dictionary and export of a study. A new standard is added to `STANDARDS`."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from common.columns.base import TableColumn
from common.dictionary.entry import DictionaryEntry, Settings, parse_entry, reason_of, settings_of
from common.dictionary.standards.frictionless import FRICTIONLESS
from common.dictionary.standards.json_schema import JSON_SCHEMA
from common.dictionary.standards.pandera import PANDERA
from common.dictionary.standards.redcap import REDCAP, recognizes_header
from common.dictionary.standards.sdv import SDV
from common.dictionary.standards.standard import Standard
from common.dictionary.standards.values import printable
from common.errors import StudyError, cause_of

STANDARDS: dict[str, Standard] = {
    "redcap": REDCAP,
    "sdv": SDV,
    "pandera": PANDERA,
    "frictionless": FRICTIONLESS,
    "json-schema": JSON_SCHEMA,
}
"""Standards by their names on the command line. A file follows the first standard that recognizes it."""

LARGEST_FILE = 50_000_000
"""Bytes of a description; a larger file is not a description."""

YAML = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class ImportedDictionary:
    """What a description says.

    Attributes:
        title: of the standard.
        entries: its columns.
        notes: what is not carried over, guessed or left out: one sentence per field and fact.
    """

    title: str
    entries: tuple[DictionaryEntry, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Exported:
    """A description of a study's columns.

    Attributes:
        text: the file.
        losses: what the standard cannot hold: one sentence per column.
    """

    text: str
    losses: tuple[str, ...]


def import_file(path: Path, name: str | None = None) -> ImportedDictionary:
    """Read a description of columns.

    Args:
        path: a CSV file of REDCap, or a JSON or YAML file.
        name: its standard, a key of `STANDARDS`; None to recognize it.

    Raises:
        StudyError: the file cannot be read, follows no known standard, or describes no column.
    """
    document = _document(path)
    fitting = [key for key, standard in STANDARDS.items() if standard.recognizes(document)]
    if name is None and fitting:
        name = fitting[0]
    if name is None or name not in fitting:
        expected = STANDARDS[name].title if name is not None else f"of a known standard: {', '.join(STANDARDS)}"
        raise StudyError(f"'{path}' is not {expected}; give the description of the columns, never a table of patients")
    try:
        imported = import_document(document, STANDARDS[name])
    except (AttributeError, KeyError, TypeError):  # a list where the standard has an object, and the like
        raise StudyError(
            f"'{path}' is not a valid {STANDARDS[name].title}: a part of it has another type than the standard says; "
            "export it again with the tool that made it"
        ) from None
    if not imported.entries:
        raise StudyError(f"'{path}' describes no column that can be carried over; describe the columns by hand")
    return imported


def import_document(document: Any, standard: Standard) -> ImportedDictionary:
    """Return the columns of a parsed description. A field that is not a valid column is left out, with a note."""
    unwrapped = standard.unwrap(document)
    entries: dict[str, DictionaryEntry] = {}
    notes = list(unwrapped.notes)
    for name, field in unwrapped.fields:
        reading = standard.read(name, field)
        extension = field.get(standard.extension) if standard.extension is not None else None
        columns = [_extended(settings, extension) for settings in reading.columns]
        notes += [f"column '{name}' {note}" for note in reading.notes] if not extension else []
        for settings in columns:
            try:
                entry = parse_entry(settings)
            except ValueError as problem:
                notes.append(f"column '{name}' is left out: {reason_of(problem)}")
                continue
            if entry.name in entries:
                notes.append(f"column '{name}' is left out: another column has this name")
                continue
            entries[entry.name] = entry
    notes += _drop_unfitting(entries)
    return ImportedDictionary(standard.title, tuple(entries.values()), tuple(printable(note) for note in notes))


def _drop_unfitting(entries: dict[str, DictionaryEntry]) -> list[str]:
    """Remove columns that do not fit the columns they name, and those that name a removed one; return notes."""
    notes = []
    while True:
        columns = {name: entry.column for name, entry in entries.items()}
        for name, entry in list(entries.items()):
            lost = next((need for need in entry.column.needs if need not in columns or need == name), None)
            problem = f"names '{lost}', which is not there" if lost is not None else None
            if lost is None and not entry.open_keys:
                problem = entry.column.problem(columns)
            if problem is not None:
                notes.append(f"column '{name}' is left out: it {problem}")
                del entries[name]
        if len(entries) == len(columns):
            return notes


def _extended(settings: Settings, extension: object) -> Settings:
    """Return what a field says with what its extension adds; one that names a kind has all settings of it."""
    if not isinstance(extension, Mapping):
        return settings
    shared = {key: settings[key] for key in ("name", "description", "missing") if key in settings}
    base = shared if "kind" in extension else dict(settings)
    return {key: value for key, value in {**base, **extension}.items() if value is not None}


def export(columns: Sequence[TableColumn], name: str) -> Exported:
    """Return the description of columns by a standard.

    The written fields are read again: what does not come back is kept under the standard's extension, or is a loss.

    Args:
        columns: the columns of a study.
        name: the standard, a key of `WRITTEN`.
    """
    standard = STANDARDS[name]
    assert standard.write is not None, "the standard is written"
    assert standard.wrap is not None, "the standard is written"
    fields: list[tuple[str, dict[str, Any]]] = []
    losses: list[str] = []
    for column in columns:
        entry = parse_entry(settings_of(column))
        field = standard.write(entry)
        differing = _differing(entry, standard.read(entry.name, field).columns)
        if differing and standard.extension is not None:
            field[standard.extension] = differing
        fields.append((entry.name, field))
        losses += _losses(entry.name, differing, standard)
    return Exported(json.dumps(standard.wrap(fields), indent=2, ensure_ascii=False) + "\n", tuple(losses))


WRITTEN = tuple(name for name, standard in STANDARDS.items() if standard.write is not None)
"""Standards that a study is exported to."""


def _differing(entry: DictionaryEntry, readings: Sequence[Settings]) -> dict[str, Any]:
    """Return the settings that do not come back when the field is read; all but the shared ones for another kind."""
    own = dict(entry.settings)
    try:
        reread = dict(parse_entry(readings[0]).settings) if readings else {}
    except ValueError:
        reread = {}
    if reread.get("kind") != own["kind"]:
        return {key: value for key, value in own.items() if key == "kind" or reread.get(key) != value} | {
            key: None for key in ("description", "missing") if key in reread and key not in own
        }
    keys = [key for key in {**own, **reread} if own.get(key) != reread.get(key)]
    return {key: own.get(key) for key in keys}


def _losses(name: str, differing: Mapping[str, Any], standard: Standard) -> Iterator[str]:
    if not differing:
        return
    if "name" in differing:
        yield f"column '{name}': {standard.title} cannot hold a column of this kind"
        return
    keys = ", ".join(differing)
    if standard.extension is None:
        yield f"column '{name}': {standard.title} cannot hold {keys}"
    else:
        yield f"column '{name}': {keys} under '{standard.extension}', which other tools ignore"


def _document(path: Path) -> Any:
    """Return the parsed file. Of a CSV file, the header is checked before anything else is read."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1) if path.suffix.lower() != ".csv" else _description(path)
    except OSError as problem:
        raise StudyError(f"cannot read '{path}': {cause_of(problem)}; check the path and its permissions") from None
    if len(content) > LARGEST_FILE:
        raise StudyError(
            f"'{path}' has more than {LARGEST_FILE // 10**6} MB; give a description of columns, not a table"
        )
    try:
        if path.suffix.lower() == ".csv":
            return _rows(content)
        text = content.decode("utf-8-sig")
        return _yaml(text) if path.suffix.lower() in YAML else json.loads(text)
    except (UnicodeDecodeError, ValueError, RecursionError, csv.Error):
        raise StudyError(
            f"'{path}' is neither JSON, YAML nor a REDCap data dictionary (CSV), in UTF-8; give the description of the "
            "columns, never a table of patients"
        ) from None


def _description(path: Path) -> bytes:
    """Return a CSV file whose header is that of a REDCap data dictionary; otherwise nothing but the header is read."""
    with path.open("rb") as file:
        header = file.readline(100_000)
        if separator_of(header) is None:
            raise StudyError(
                f"'{path}' is not a REDCap data dictionary: its header lacks 'Variable / Field Name', 'Form Name' or "
                "'Field Type'; give the data dictionary, never a table of patients"
            )
        return header + file.read(LARGEST_FILE)


def separator_of(header: bytes) -> str | None:
    """Return what separates the cells of the header of a REDCap data dictionary; None for any other text.

    REDCap writes commas. A spreadsheet that saved the file again may have written semicolons or tabs.
    """
    text = header.decode("utf-8-sig", errors="replace")
    rows = ((mark, next(csv.reader([text], delimiter=mark), [])) for mark in ",;\t")
    return next((mark for mark, row in rows if recognizes_header(row)), None)


def _rows(content: bytes) -> list[list[str]]:
    """Return the rows of a REDCap data dictionary in UTF-8 or, as some spreadsheets save it, cp1252."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252")
    separator = separator_of(content.partition(b"\n")[0])
    assert separator is not None, "the header was checked"
    return list(csv.reader(StringIO(text), delimiter=separator, strict=True))


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise StudyError("YAML needs pyyaml; run `pip install pyyaml`, or give the schema as JSON") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ValueError("not YAML") from None
