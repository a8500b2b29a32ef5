"""The interface of a standard: how its document is taken apart, what one field says, and how one field is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from common.dictionary.entry import DictionaryEntry, Settings

Field = Mapping[str, Any]
"""What a document says about one column, as the document has it."""


@dataclass(frozen=True, slots=True)
class Fields:
    """A document taken apart.

    Attributes:
        fields: name and description of every column, in order.
        notes: what stands beside the columns and is not carried over.
    """

    fields: Sequence[tuple[str, Field]]
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class FieldReading:
    """What one field says.

    Attributes:
        columns: settings as `[[columns]]` of a dictionary has them; none where the field is not a column.
        notes: what is not carried over, guessed or left out, as ends of sentences about the field.
    """

    columns: Sequence[Settings] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Standard:
    """One standard for descriptions of tables.

    Attributes:
        title: its name for people.
        recognizes: whether a document follows this standard; the document is parsed, and a list of rows for CSV.
        unwrap: takes a document apart.
        read: what a field of a name says.
        wrap: puts fields together to a document; None where the standard is only read.
        write: what the standard itself can say about a column.
        extension: key of a field that other tools ignore, under which the rest is kept; None where there is none.
    """

    title: str
    recognizes: Callable[[Any], bool]
    unwrap: Callable[[Any], Fields]
    read: Callable[[str, Field], FieldReading]
    wrap: Callable[[Sequence[tuple[str, Field]]], Mapping[str, Any]] | None = field(default=None, kw_only=True)
    write: Callable[[DictionaryEntry], dict[str, Any]] | None = field(default=None, kw_only=True)
    extension: str | None = field(default=None, kw_only=True)
