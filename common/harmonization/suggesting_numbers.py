"""Suggest how a local column becomes numbers or dates of a study: marks, units, formats and texts for missing."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from common.columns.base import TableColumn
from common.columns.value_grid import ValueGrid
from common.harmonization.conventions import Conventions
from common.harmonization.evidence import LocalColumn
from common.harmonization.headers import header_of
from common.harmonization.suggestion import Suggestion
from common.harmonization.units import Conversion, UnitProblem, conversion, is_same, is_unit
from common.harmonization.words import COMMON_UNITS, MOLAR_MASSES, SENTINELS

INSIDE = 0.95
"""Part of the numbers that has to lie within the study's bounds, so that a unit is taken for right."""

STANDS_OUT = 1.5
"""How many times larger than all others a number has to be, so that it is taken for missing without a question."""

Numbers = dict[str, float]


def suggest_number(column: TableColumn, local: LocalColumn, grid: ValueGrid, conventions: Conventions) -> Suggestion:
    """Return how a local column becomes a column of numbers.

    Args:
        column: the study's column.
        local: the local one.
        grid: what numbers the study's column can take.
        conventions: how the hospital writes cells.
    """
    behind = local.unit_behind if local.unit_behind is not None and is_unit(local.unit_behind) else None
    unit = behind or local.header.unit
    numbers = local.numbers(replace(conventions, decimal=local.decimal), unit)
    readable = {text: number for text, number in numbers.items() if not math.isnan(number)}
    settings: dict[str, Any] = {"operation": "number", "from": local.name}
    if local.decimal != ".":
        settings["decimal"] = local.decimal
    reasons, checks, change = _units(column, local, grid, (unit, readable), settings)
    sentinels, doubtful = _sentinels(local, grid, {text: (n, change(n)) for text, n in readable.items()})
    if doubtful:
        checks.append(f"a value, or a number for missing? Then write missing = {json.dumps(doubtful)}")
    if sentinels:
        settings["missing"] = sentinels
        checks.append(f"taken for missing, since outside the study's bounds: {_listed(sentinels)}")
    settings["decimals"] = grid.decimals
    proper = {text: _within(change(number), grid) for text, number in readable.items() if text not in sentinels}
    inside = local.share(proper)
    if proper and inside < INSIDE:
        checks.append("many values lie outside the study's bounds: compare the units")
    known, unmapped = {}, {}
    for text in numbers.keys() - readable.keys():
        if column.check([text]):
            unmapped[text] = "no number"
        else:
            known[text] = text
    if known:
        settings["texts"] = known
    share = local.share({text: text in readable or text in known for text in numbers})
    return Suggestion(settings, share * (0.5 + 0.5 * inside), tuple(reasons), tuple(checks), unmapped)


def _sentinels(
    local: LocalColumn, grid: ValueGrid, numbers: dict[str, tuple[float, float]]
) -> tuple[list[str], list[str]]:
    """Return the numbers outside the study's bounds that mean missing, and those that may as well be values.

    A positive one may be a value unless it is far above all others; and where many others lie outside the bounds, the
    units may differ.

    Args:
        local: the local column.
        grid: what numbers the study's column can take.
        numbers: each number as the local column has it, and after conversion, by text.
    """
    found = {text: own for text, (own, new) in numbers.items() if own in SENTINELS and not _within(new, grid)}
    others = {text: pair for text, pair in numbers.items() if text not in found}
    fits = local.share({text: _within(new, grid) for text, (_, new) in others.items()}) >= INSIDE
    least, most = (edge((own for own, _ in others.values()), default=0.0) for edge in (min, max))
    sure = [text for text, own in found.items()
            if (own < 0 <= least) or (own > 0 and fits and own >= STANDS_OUT * most)]  # fmt: skip
    return sorted(sure), sorted(found.keys() - set(sure))


def _units(
    column: TableColumn,
    local: LocalColumn,
    grid: ValueGrid,
    evidence: tuple[str | None, Numbers],
    settings: dict[str, Any],
) -> tuple[list[str], list[str], Conversion]:
    """Choose the units and write them into the settings.

    Args:
        column: the study's column.
        local: the local one.
        grid: what numbers the study's column can take.
        evidence: the unit that the local column names, and its numbers by text.
        settings: gets the units.

    Returns:
        Reasons, what a person has to check, and the conversion.
    """
    (unit, numbers), wanted = evidence, grid.unit
    if unit is not None and local.unit_behind is not None:
        settings["unit"] = unit
    if unit is None and wanted is None:
        return [], [], Conversion()
    if wanted is None:
        return [f"the unit is {unit}"], [f"your column is in {unit}, and the study names no unit: ask"], Conversion()
    if unit is not None:
        if is_same(unit, wanted):
            return [f"both are in {wanted}"], [], Conversion()
        convertible = _conversion(unit, wanted, _molar_mass(column, local))
        if convertible is None:
            return (
                [],
                [f"your unit is {unit} and the study's is {wanted}: declare the conversion (factor)"],
                Conversion(),
            )
        molar_mass, change = convertible
        settings |= {"unit": unit, "study_unit": wanted} | ({"molar_mass": molar_mass} if molar_mass else {})
        return [f"{unit} becomes {wanted}"], [], change
    if _share(local, numbers, grid, Conversion()) >= INSIDE or not numbers:
        return [f"no unit is named; the values lie within the study's bounds, as {wanted} would"], [], Conversion()
    return _guessed(column, local, grid, numbers, settings)


def _guessed(
    column: TableColumn, local: LocalColumn, grid: ValueGrid, numbers: Numbers, settings: dict[str, Any]
) -> tuple[list[str], list[str], Conversion]:
    """Choose the unit that puts most values within the study's bounds, as `_units` does."""
    assert grid.unit is not None, "checked"
    best: tuple[float, str, float | None, Conversion] | None = None
    for unit in COMMON_UNITS:
        convertible = None if is_same(unit, grid.unit) else _conversion(unit, grid.unit, _molar_mass(column, local))
        if convertible is None:
            continue
        share = _share(local, numbers, grid, convertible[1])
        if share >= INSIDE and (best is None or share > best[0]):
            best = (share, unit, *convertible)
    if best is None:
        return [], [f"no unit is named, and the values do not look like {grid.unit}"], Conversion()
    _, unit, molar_mass, change = best
    settings |= {"unit": unit, "study_unit": grid.unit} | ({"molar_mass": molar_mass} if molar_mass else {})
    return [], [f"{unit} is guessed from the values and the study's bounds"], change


def _conversion(unit: str, wanted: str, molar_mass: float | None) -> tuple[float | None, Conversion] | None:
    """Return the molar mass that is needed and the conversion; None where there is none."""
    for mass in (None, molar_mass):
        try:
            return mass, conversion(unit, wanted, mass)
        except UnitProblem:
            continue
    return None


def _molar_mass(column: TableColumn, local: LocalColumn) -> float | None:
    """Return the molar mass of the substance that the names are about; None where they name none, or several."""
    words = header_of(column.name).words | local.header.words
    masses = {MOLAR_MASSES[word] for word in words if word in MOLAR_MASSES}
    return masses.pop() if len(masses) == 1 else None


def _within(value: float, grid: ValueGrid) -> bool:
    return grid.lower <= value <= grid.upper


def _share(local: LocalColumn, numbers: Numbers, grid: ValueGrid, change: Conversion) -> float:
    """Return the part of the rows with a number within the bounds, numbers that often mean missing aside."""
    inside = {text: _within(change(number), grid) for text, number in numbers.items()}
    return local.share({text: is_in for text, is_in in inside.items() if is_in or numbers[text] not in SENTINELS})


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(f"'{text}'" for text in sorted(texts))


def suggest_date(local: LocalColumn, study_format: str, conventions: Conventions) -> Suggestion:
    """Return how a local column becomes a column of dates.

    Args:
        local: the local column.
        study_format: format that the study declares.
        conventions: how the hospital writes cells.
    """
    settings: dict[str, Any] = {"operation": "date", "from": local.name}
    if study_format != "%Y-%m-%d":
        settings["study_format"] = study_format
    if not local.date_forms:
        return Suggestion(settings, 0.0, (), ("no known format of dates reads its cells: declare date_format",))
    form, *others = local.date_forms
    settings["date_format"] = form
    if rest := [text for text in local.missing_texts if not conventions.is_missing(text)]:
        settings["missing"] = rest
    checks = (f"'{others[0]}' reads all cells as well: which of the two is day, which month?",) if others else ()
    return Suggestion(settings, 1.0, (f"dates as '{form}'",), checks)
