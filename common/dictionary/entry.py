"""One column as a hospital's data dictionary describes it: settings of its kind, some of which may be left open.

A study needs bounds of every number and labels of every category. A data dictionary often has neither; then the key is
*open* until people agree on it. Everything else is checked as in a study.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from common.columns.base import TableColumn
from common.columns.kinds import KINDS, parse_column

Settings = Mapping[str, Any]
"""Keys of a `[[schema.columns]]` section, as TOML has them."""

ROOM = 10.0**6
"""Width of the range that stands in while a bound is open: wide, and no grid of 9 decimals is too large for it."""

EARLIEST, LATEST = datetime(1971, 1, 1), datetime(2068, 12, 31)
"""Dates that stand in for open bounds: any format writes them, those with two digits of the year included."""

MEANINGS = "meanings"
"""Key of a dictionary's column that no study has: what each label means, as in {"1" = "male"}."""

LEFT_OUT_OF_CHECKS = ("multiples", "recorded_step", "recorded_decimals", "stored", "written_decimals")
"""Settings of numbers that are checked against the bounds, and so only where these are known."""


def _numeric(settings: Settings) -> dict[str, Any]:
    lower, upper = (_rounded(settings.get(key)) for key in ("lower", "upper"))
    return {"lower": 0.0 if upper is None else upper - ROOM, "upper": (lower or 0.0) + ROOM}


def _rounded(bound: object) -> float | None:
    """Return a bound without its decimals; None where it is not a finite number, which the kind refuses."""
    return float(round(bound)) if isinstance(bound, int | float) and math.isfinite(bound) else None


def _dated(settings: Settings) -> dict[str, Any]:
    if "since" in settings:
        least, most = settings.get("least"), settings.get("most")
        floor = most - 1 if isinstance(most, int) else 0
        return {"least": floor, "most": least + 1 if isinstance(least, int) else 1}
    kind = KINDS[settings["kind"]].model_fields
    form = settings.get("date_format", kind["date_format"].default)
    return {"lower": EARLIEST.strftime(str(form)), "upper": LATEST.strftime(str(form))}


def _categorical(settings: Settings) -> dict[str, Any]:
    return {"categories": [settings["fallback"]] if "fallback" in settings else ["?"]}


OPENABLE: dict[str, Callable[[Settings], dict[str, Any]]] = {
    "date": _dated,
    "datetime": _dated,
    "boolean": lambda _: {},
    "numeric": _numeric,
    "set": lambda _: {"items": ["?"]},
    "image": lambda _: {"size": [28, 28]},
    "categorical": _categorical,
    "code": lambda _: {"codes": ["?", "!"], "prefixes": [1]},
    "identifier": lambda _: {"pattern": "######"},
    "text": lambda _: {},
}
"""By kind: the keys that a dictionary may leave open and a study may not, with values that stand in for checks."""


@dataclass(frozen=True, slots=True)
class DictionaryEntry:
    """A column as one hospital describes it.

    Attributes:
        settings: what is declared, as `[[schema.columns]]` has it; defaults are left out.
        meanings: what a label means, by label; empty where labels speak for themselves.
        open_keys: keys that a study needs and nobody has declared yet.
        column: the column; where a key is open, a value stands in for it.
    """

    settings: Settings
    meanings: Mapping[str, str] = field(default_factory=dict)
    open_keys: tuple[str, ...] = ()
    column: TableColumn = field(kw_only=True)

    @property
    def name(self) -> str:
        return self.column.name

    @property
    def kind(self) -> str:
        return self.column.kind

    def value(self, key: str) -> Any:
        """Return the value of a setting, its default where it is not declared, None where it is open or unknown."""
        if key in self.settings or key in self.open_keys:
            return self.settings.get(key)
        declared = type(self.column).model_fields.get(key)
        return None if declared is None or declared.is_required() else _plain(declared.default)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def settings_of(column: TableColumn) -> dict[str, Any]:
    """Return the settings of a column as TOML has them: name and kind first, without defaults."""
    dumped = column.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    integers = {key: int(item) for key, item in dumped.items() if isinstance(item, float) and item.is_integer()}
    return {"name": column.name, "kind": column.kind} | dumped | integers


def reason_of(problem: ValueError) -> str:
    """Return in one sentence why `parse_entry` refuses a column."""
    if not isinstance(problem, ValidationError):
        return str(problem)
    error = problem.errors()[0]
    location, reason = ".".join(str(key) for key in error["loc"]), str(error["msg"]).removeprefix("Value error, ")
    return f"{location}: {reason}" if location else reason


def parse_entry(value: object) -> DictionaryEntry:
    """Return the column that a `[[columns]]` entry of a dictionary describes.

    Raises:
        ValueError: no kind, an unknown one, or settings that no column of the kind can have.
    """
    if not isinstance(value, Mapping):
        raise PydanticCustomError("value_error", "a column is a table of settings; start it with [[columns]]")
    settings = {key: item for key, item in value.items() if key != MEANINGS}
    kind = settings.get("kind")
    stand_ins = OPENABLE[kind](settings) if isinstance(kind, str) and kind in OPENABLE else {}
    open_keys = tuple(key for key in stand_ins if key not in settings)
    unchecked = LEFT_OUT_OF_CHECKS if "lower" in open_keys or "upper" in open_keys else ()
    checked = {key: item for key, item in settings.items() if key not in unchecked}
    column = parse_column({**{key: stand_ins[key] for key in open_keys}, **checked})
    declared = settings_of(column) | {key: settings[key] for key in unchecked if key in settings}
    declared = {key: item for key, item in declared.items() if key not in open_keys}
    meanings = _meanings(value.get(MEANINGS, {}), column, labels_open="categories" in open_keys)
    return DictionaryEntry(declared, meanings, open_keys, column=column)


def labels_of(column: TableColumn) -> tuple[str, ...]:
    """Return the labels that a column lists: categories, codes, items or the two words; empty for numbers."""
    for key in ("categories", "codes", "items"):
        if (listed := getattr(column, key, None)) is not None:
            return tuple(listed)
    return (column.false, column.true) if hasattr(column, "false") and hasattr(column, "true") else ()


def _meanings(value: object, column: TableColumn, *, labels_open: bool) -> dict[str, str]:
    where = f"column '{column.name}':"
    if not isinstance(value, Mapping) or not all(isinstance(text, str) and text for text in value.values()):
        raise PydanticCustomError(
            "value_error", "{where} meanings is a table of texts, as in { '1' = 'male' }; correct it", {"where": where}
        )
    labels = labels_of(column)
    stranger = next((label for label in value if label not in labels), None)
    if stranger is not None and not labels_open:
        raise PydanticCustomError(
            "value_error",
            "{where} meanings names '{label}', which is not among its labels; list it or remove it",
            {"where": where, "label": stranger},
        )
    unprintable = [text for pair in value.items() for text in pair if not text.isprintable()]
    if unprintable:
        raise PydanticCustomError(
            "value_error", "{where} a text in meanings cannot be printed; remove its line breaks", {"where": where}
        )
    return dict(value)
