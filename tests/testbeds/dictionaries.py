"""Dictionaries of hospitals, as people write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common.dictionary.agreement import AgreedColumn, Agreement, DeclaredDifference, agree
from common.dictionary.dictionary import Dictionary, build_dictionary, to_toml


def dictionary(hospital: str, *columns: dict[str, Any]) -> Dictionary:
    """Return a dictionary of these columns."""
    return build_dictionary({"dictionary": {"hospital": hospital}, "columns": list(columns)}, hospital)


def numeric(name: str, lower: float | None = 0, upper: float | None = 10, **settings: Any) -> dict[str, Any]:
    """Return a numeric column; a bound that is None is open."""
    bounds = {key: value for key, value in {"lower": lower, "upper": upper}.items() if value is not None}
    return {"name": name, "kind": "numeric", **bounds, **settings}


def labeled(name: str, *categories: str, **settings: Any) -> dict[str, Any]:
    """Return a categorical column."""
    return {"name": name, "kind": "categorical", "categories": list(categories), **settings}


def agreement_on(*columns: dict[str, Any] | None, keep_partial: bool = False) -> Agreement:
    """Return the agreement of hospitals 'a', 'b', ... that describe one column each, or lack it, and share another."""
    files = [
        dictionary(hospital, labeled("shared", "x", "y"), *([column] if column is not None else []))
        for hospital, column in zip("abcdef", columns, strict=False)
    ]
    return agree(files, keep_partial=keep_partial)


def column_of(agreement: Agreement) -> AgreedColumn:
    """Return the column of `agreement_on` that is not shared by all."""
    (column,) = (column for column in agreement.columns if column.name != "shared")
    return column


def finding_of(column: AgreedColumn, title: str) -> DeclaredDifference:
    """Return the finding with this title."""
    (finding,) = (finding for finding in column.findings if finding.title == title)
    return finding


def write(folder: Path, *dictionaries: Dictionary) -> list[Path]:
    """Write dictionary files; return their paths."""
    paths = []
    for described in dictionaries:
        path = folder / f"{described.hospital}.toml"
        path.write_text(to_toml(described.hospital, described.columns), encoding="utf-8")
        paths.append(path)
    return paths
