"""What a person may say about how a file is written: `[read]` of site.toml, and `--read KEY=VALUE` of commands."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from common.errors import StudyError
from common.settings import Frozen, explain

MARKS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|", "point": ".", "blank": " ", "apostrophe": "'"}
"""Marks by the words that may be written instead, since shells read some of them otherwise."""

WORDS = {mark: word for word, mark in MARKS.items()}
"""Words for marks, for messages."""

SCHEMAS = re.compile(r"\s*[A-Za-z_][A-Za-z0-9_]*\s*(,\s*[A-Za-z_][A-Za-z0-9_]*\s*)*")
"""Names of schemas with commas between them. They stand in SQL, so that no other character is let in."""

NUMBERS = ("footer", "timeout")
"""Keys whose values are whole numbers."""


class Reading(Frozen):
    """How a table's file is read. What is None is detected from the header and the first lines.

    Attributes:
        separator: character between two cells of a CSV file, or its word in `MARKS`.
        quote: character around cells that hold a separator; `"` unless declared.
        decimal: decimal mark. Numbers with a comma are read as numbers with a point.
        thousands: mark between groups of three digits, which is dropped from numbers.
        encoding: encoding of the text, by a name that Python knows.
        comment: text at the start of lines that are skipped, such as `#`.
        footer: number of records at the end that are skipped.
        sheet: name of an Excel sheet; the only one unless declared.
        database: URL of the database that the query in a `.sql` file or an OMOP study is for, as SQLAlchemy writes it.
        schemas: schemas of the database in which tables are looked up, in this order, with commas between them.
        timeout: most minutes that a query may run; 60 unless declared.
    """

    separator: str | None = Field(default=None, min_length=1, max_length=1)
    quote: str | None = Field(default=None, min_length=1, max_length=1)
    decimal: Literal[".", ","] | None = None
    thousands: Literal[".", ",", " ", "'"] | None = None
    encoding: str | None = None
    comment: str | None = Field(default=None, min_length=1, max_length=4)
    footer: int = Field(default=0, ge=0, le=1000)
    sheet: str | None = Field(default=None, min_length=1)
    database: str | None = Field(default=None, min_length=1)
    schemas: str | None = Field(default=None, min_length=1)
    timeout: int | None = Field(default=None, ge=1, le=1440)

    @field_validator("separator", "decimal", "thousands", mode="before")
    @classmethod
    def _mark(cls, value: Any) -> Any:
        return MARKS.get(value, value) if isinstance(value, str) else value

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, name: str | None) -> str | None:
        try:
            return None if name is None else codecs.lookup(name).name
        except LookupError:
            raise ValueError(f"[read] encoding '{name}' is unknown; give a name such as utf-8 or cp1252") from None

    @field_validator("schemas")
    @classmethod
    def _are_names(cls, names: str | None) -> str | None:
        if names is not None and not SCHEMAS.fullmatch(names):
            raise ValueError(
                "[read] schemas holds another character than letters, digits, underscores and commas; write it like "
                "cdm, vocabulary"
            )
        return names

    @property
    def schema_names(self) -> list[str]:
        """The names in `schemas`."""
        return [] if self.schemas is None else [name.strip() for name in self.schemas.split(",")]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.separator in ("\n", "\r") or self.quote in ("\n", "\r"):
            raise ValueError("[read] separator and quote cannot be line breaks; give another character")
        if self.separator is not None and self.separator == self.quote:
            raise ValueError("[read] separator and quote are the same character; correct one of them")
        if self.thousands is not None and self.thousands == (self.decimal or "."):
            raise ValueError(
                "[read] decimal and thousands are the same mark; declare both, such as decimal = ',' thousands = '.'"
            )
        return self


def parse_reading(texts: Iterable[str]) -> Reading:
    """Return the settings that a command line gives as KEY=VALUE.

    Raises:
        StudyError: a text is not KEY=VALUE, or a key or value is not one of `Reading`.
    """
    values: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or key in values:
            raise StudyError("--read takes KEY=VALUE, each key once, such as --read separator=semicolon")
        values[key] = int(value) if key in NUMBERS and value.isdecimal() else value
    try:
        return Reading.model_validate(values)
    except ValidationError as problem:
        raise StudyError(f"--read: {explain(problem, lambda _: list(Reading.model_fields))}") from None
