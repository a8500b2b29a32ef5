"""The dictionary file: one hospital's columns, written by people from its data dictionary. No records.

[dictionary]
hospital = "north"

[[columns]]
name = "age"
kind = "numeric"
lower = 18
upper = 110
unit = "years"
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

import tomli_w
from pydantic import Field, PlainValidator, ValidationError, model_validator

from common.columns.kinds import KINDS
from common.dictionary.entry import MEANINGS, DictionaryEntry, parse_entry
from common.errors import StudyError, cause_of
from common.settings import Frozen, Place, Readable, explain

MOST_COLUMNS = 5000
"""Columns of a dictionary; more are not a table of patients, and comparing them takes minutes."""


class Whose(Frozen):
    """`[dictionary]`: whose columns these are, and where the description comes from."""

    hospital: Readable = Field(min_length=1, max_length=64)
    source: Readable | None = None


class Dictionary(Frozen):
    """A whole dictionary file. `about` is the `[dictionary]` section."""

    about: Whose = Field(alias="dictionary")
    columns: tuple[Annotated[DictionaryEntry, PlainValidator(parse_entry)], ...] = Field(
        min_length=1, max_length=MOST_COLUMNS, strict=False
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.by_name) < len(self.columns):
            names = [entry.name for entry in self.columns]
            repeated = min(name for name in self.by_name if names.count(name) > 1)
            raise ValueError(f"column '{repeated}' is described twice; remove one")
        columns = {entry.name: entry.column for entry in self.columns}
        for entry in self.columns:
            lost = next((need for need in entry.column.needs if need not in columns or need == entry.name), None)
            if lost is not None:
                raise ValueError(f"column '{entry.name}' names column '{lost}', which is not described; describe it")
            if not entry.open_keys and (problem := entry.column.problem(columns)) is not None:
                raise ValueError(f"column '{entry.name}' {problem}")
        return self

    @property
    def hospital(self) -> str:
        """The name of the hospital."""
        return self.about.hospital

    @cached_property
    def by_name(self) -> dict[str, DictionaryEntry]:
        """The columns by name."""
        return {entry.name: entry for entry in self.columns}


def read_dictionary(path: Path) -> Dictionary:
    """Parse a dictionary file.

    Raises:
        StudyError: the file cannot be read or is not a valid dictionary; the text names file, key and remedy.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise StudyError(
            f"cannot read dictionary '{path}': {cause_of(problem)}; give a TOML file that `fedsynth site dictionary` "
            "wrote"
        ) from None
    return parse_dictionary(text, source=str(path))


def parse_dictionary(text: str, *, source: str = "dictionary") -> Dictionary:
    """Parse the text of a dictionary file. Raises `StudyError` as `read_dictionary` does."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        location = str(problem).rpartition("(")[2].rstrip(")")  # the rest may quote the text
        raise StudyError(
            f"{source} is not valid TOML ({location}); a dictionary is a file that `fedsynth site dictionary` writes, "
            "never a table of patients"
        ) from None
    return build_dictionary(document, source)


def build_dictionary(document: dict[str, Any], source: str) -> Dictionary:
    """Return the dictionary with these sections. Raises `StudyError` as `read_dictionary` does."""
    if not document.get("columns"):
        raise StudyError(f"{source} describes no column; add a [[columns]] section for each")
    try:
        return Dictionary.model_validate(document)
    except ValidationError as problem:
        raise StudyError(f"{source}: {explain(problem, lambda place: _known_keys(document, place))}") from None


def to_toml(
    hospital: str, entries: Iterable[DictionaryEntry], *, source: str | None = None, notes: Iterable[str] = ()
) -> str:
    """Return the text of a dictionary file that `parse_dictionary` reads back.

    Args:
        hospital: the hospital's name.
        entries: its columns.
        source: where the description comes from; None where people wrote it.
        notes: what a person should check, as comments at the top.
    """
    about = {"hospital": hospital} | ({"source": source} if source else {})
    lines = [f"# {' '.join(note.split())}\n" for note in notes]
    sections = ["".join(lines), tomli_w.dumps({"dictionary": about})]
    for entry in entries:
        settings = dict(entry.settings) | ({MEANINGS: dict(entry.meanings)} if entry.meanings else {})
        section = tomli_w.dumps({"columns": [settings]})
        if not section.startswith("[["):  # tomli-w writes a short table on one line
            section = "[[columns]]\n" + tomli_w.dumps(settings)
        missing = "".join(f"# {key} = ...  (open: look it up)\n" for key in entry.open_keys)
        head, _, body = section.partition("\n")
        sections.append(f"{head}\n{missing}{body}")
    return "\n".join(text for text in sections if text)


def _known_keys(document: dict[str, Any], place: Place) -> list[str]:
    match place:
        case (_,):
            return ["dictionary", "columns"]
        case ("columns", int(index), *_):
            return [*KINDS[document["columns"][index]["kind"]].model_fields, MEANINGS]
        case ("dictionary", *_):
            return list(Whose.model_fields)
    return []
