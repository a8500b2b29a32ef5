"""What cells say as rows of OMOP's condition_occurrence, drug_exposure, measurement, observation and note.

An entry of a cell is a row; it is described once per distinct cell. Values are written as concepts and numbers, and
word for word in a source value, so that reading the tables gives the cells back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from common.columns.numeric import Numeric
from common.export.entries import ExportEntry, MappedColumn
from common.export.omop_tables import ABOVE, BELOW, ENGLISH, NOTE, TEXT, UTF8
from common.export.rows import Rows
from common.tables.conforming import distinct_cells

OPERATORS = {"": None, "<": BELOW, ">": ABOVE}


def shortened(text: str, longest: int = TEXT) -> str:
    """Return a text that OMOP's columns can hold: a longer one is cut and ends in a part of its digest."""
    if len(text) <= longest:
        return text
    return f"{text[: longest - 9]}~{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def fact_key(column: str, text: str) -> str:
    """Return the source value of a condition or drug: the column, and the label, code or item."""
    return shortened(f"{column}: {text}")


def facts_of(mapped: MappedColumn, rows: Rows) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the rows that a column's cells become, by the domain of `EVENTS` whose table holds them."""
    distinct, indices = distinct_cells(rows.cells[mapped.name])
    by_cell = [mapped.entries(cell) for cell in distinct]
    entries = [entry for of_cell in by_cell for entry in of_cell]
    lengths = np.array([len(of_cell) for of_cell in by_cell], dtype=np.int64)
    firsts = np.cumsum(lengths) - lengths
    repeats = lengths[indices]
    of_row = np.repeat(np.arange(len(rows)), repeats)
    within = np.arange(len(of_row)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    numbers = np.repeat(firsts[indices], repeats) + within
    domains = np.array([_domain_of(mapped, entry) for entry in entries], dtype=object)
    for domain in dict.fromkeys(domains.tolist()):
        chosen = np.flatnonzero(domains == domain)
        index = np.full(len(entries), -1)
        index[chosen] = np.arange(len(chosen))
        wanted = index[numbers]
        described = _DESCRIBED[domain](mapped, [entries[number] for number in chosen])
        frame = pd.DataFrame(described).iloc[wanted[wanted >= 0]].reset_index(drop=True)
        frame["row"] = of_row[wanted >= 0]
        yield domain, frame


def _domain_of(mapped: MappedColumn, entry: ExportEntry) -> str:
    """Return whose table holds an entry. What a table cannot hold in full is an observation; long texts are notes."""
    match mapped.domain:
        case "condition" | "drug" as domain if entry.is_label and not entry.is_absent:
            return domain
        case "measurement" if len(entry.text) <= TEXT:
            return "measurement"
    return "observation" if len(entry.text) <= NOTE else "note"


def _column(values: list[Any], dtype: str = "object") -> Any:
    return pd.Series(values, dtype=dtype).array if dtype != "object" else np.array(values, dtype=object)


def _labels(mapped: MappedColumn, entries: list[ExportEntry], domain: str) -> dict[str, Any]:
    """Return the columns of conditions or drugs: concept, and source value."""
    return {
        f"{domain}_concept_id": [entry.concept.concept or mapped.mapping.concept for entry in entries],
        f"{domain}_source_value": _column([fact_key(mapped.name, entry.text) for entry in entries]),
        f"{domain}_source_concept_id": 0,
    }


def _values(mapped: MappedColumn, entries: list[ExportEntry], domain: str) -> dict[str, Any]:
    """Return what measurements and observations share: concept, number, unit, and the text of the table."""
    mapping = mapped.mapping
    concept = 0 if mapped.is_presence else mapping.concept
    unit = mapping.unit or (mapped.column.unit if isinstance(mapped.column, Numeric) else None)
    is_number = [entry.number is not None for entry in entries]
    return {
        f"{domain}_concept_id": concept,
        f"{domain}_source_value": shortened(mapped.name),
        f"{domain}_source_concept_id": 0,
        "value_as_number": _column([entry.number for entry in entries], "Float64"),
        "value_as_concept_id": _column([entry.concept.concept or None for entry in entries], "Int64"),
        "unit_concept_id": _column([mapping.unit_concept or None if has else None for has in is_number], "Int64"),
        "unit_source_value": _column([shortened(unit) if unit and has else None for has in is_number]),
        "value_source_value": _column([entry.text if len(entry.text) <= TEXT else None for entry in entries]),
    }


def _measurements(mapped: MappedColumn, entries: list[ExportEntry]) -> dict[str, Any]:
    operators = _column([OPERATORS[entry.operator] for entry in entries], "Int64")
    return _values(mapped, entries, "measurement") | {"operator_concept_id": operators}


def _observations(mapped: MappedColumn, entries: list[ExportEntry]) -> dict[str, Any]:
    return _values(mapped, entries, "observation") | {
        "value_as_string": _column([_as_string(mapped, entry) for entry in entries]),
        "qualifier_concept_id": _column([OPERATORS[entry.operator] for entry in entries], "Int64"),
    }


def _as_string(mapped: MappedColumn, entry: ExportEntry) -> str | None:
    """Return the text of an observation: none for a number, ISO 8601 for a date whose own text fits elsewhere."""
    if entry.moment is None or len(entry.text) > TEXT:
        return None if entry.number is not None and len(entry.text) <= TEXT else entry.text
    return entry.moment.date().isoformat() if mapped.is_of_days else entry.moment.isoformat()


def _notes(mapped: MappedColumn, entries: list[ExportEntry]) -> dict[str, Any]:
    return {
        "note_title": mapped.name,
        "note_text": _column([entry.text for entry in entries]),
        "note_class_concept_id": 0,
        "encoding_concept_id": UTF8,
        "language_concept_id": ENGLISH,
        "note_source_value": shortened(mapped.name),
    }


_DESCRIBED: dict[str, Callable[[MappedColumn, list[ExportEntry]], dict[str, Any]]] = {
    "condition": partial(_labels, domain="condition"),
    "drug": partial(_labels, domain="drug"),
    "measurement": _measurements,
    "observation": _observations,
    "note": _notes,
}
"""Columns of the rows of each domain's table, for the distinct entries of a column."""
