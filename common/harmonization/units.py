"""Conversion of units: a factor and an offset, worked out once per column by `pint`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

UNIT = re.compile(r"(?!.*\d{7})(?!.*(?:\^|\*\*).*(?:\^|\*\*))[\w%°µμ²³/·.*^()\[\] \-]{1,40}")
"""What a unit may look like: at most one power and no long number, since `pint` computes what it reads."""

SPELLINGS = {"°c": "degC", "°f": "degF", "c": "degC", "f": "degF", "mmhg": "mmHg", "mm hg": "mmHg", "mm[hg]": "mmHg",
             **dict.fromkeys(("y", "jahr", "jahre", "jahren", "an", "ans", "année", "années"), "years"),
             **dict.fromkeys(("año", "años", "anos"), "years"),
             **dict.fromkeys(("monat", "monate", "monaten", "mois", "mes", "meses"), "months"),
             **dict.fromkeys(("woche", "wochen", "semaine", "semaines", "semana", "semanas"), "weeks"),
             **dict.fromkeys(("tag", "tage", "tagen", "jour", "jours", "día", "días", "dia", "dias"), "days"),
             **dict.fromkeys(("stunde", "stunden", "heure", "heures", "hora", "horas"), "hours"),
             "l/min": "liter/minute", "/min": "1/minute", "bpm": "1/minute", "cc": "mL"}  # fmt: skip
"""Units that `pint` lacks or reads as another, in lower case, and what they mean in a clinic."""


class UnitProblem(Exception):
    """Two units that cannot be converted, or a text that is not a unit; the text says why."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """A linear conversion: `value * factor + offset`."""

    factor: float = 1.0
    offset: float = 0.0

    def __call__(self, value: float) -> float:
        return value * self.factor + self.offset


@cache
def conversion(unit: str, target: str, molar_mass: float | None = None) -> Conversion:
    """Return the conversion between two units.

    Args:
        unit: what values are given in, such as "mg/dL".
        target: what they are wanted in, such as "mmol/L".
        molar_mass: grams per mole of the substance, where one of the units counts mass and the other amount.

    Raises:
        UnitProblem: a text is not a unit, or the units measure different things.
    """
    source, wanted = _quantity(unit), _quantity(target)
    registry: Any = _registry()
    bridge = 1 if molar_mass is None else registry.Quantity(molar_mass, "g/mol")

    def at(value: float) -> float:
        amount = registry.Quantity(value * source.magnitude, source.units)
        if molar_mass is not None and not amount.is_compatible_with(wanted.units):
            per = amount / bridge
            amount = per if per.is_compatible_with(wanted.units) else amount * bridge
        return float(amount.to(wanted.units).magnitude / wanted.magnitude)

    try:
        zero = at(0.0)
        # The difference would lose digits where the offset is large: without an offset there is none to take.
        return Conversion(at(1.0) - zero if zero else at(1.0), zero)
    except Exception as problem:  # pint raises many kinds for units that do not fit
        remedy = "correct one of them" if molar_mass is not None else "correct one of them, or give molar_mass"
        raise UnitProblem(f"'{unit}' cannot be converted to '{target}'; {remedy}") from problem


def is_unit(text: str) -> bool:
    """Return whether the text is a unit."""
    try:
        _quantity(text)
    except UnitProblem:
        return False
    return True


def is_same(unit: str, other: str) -> bool:
    """Return whether two texts are one unit, however it is written: "mg/dl" is "mg/dL"."""
    if unit.strip() == other.strip():
        return True
    try:
        change = conversion(unit, other)
    except UnitProblem:
        return False
    return abs(change.factor - 1) < 1e-9 and abs(change.offset) < 1e-9


@cache
def _registry() -> Any:
    import pint  # takes a moment to load, and most columns need no conversion

    registry: Any = pint.UnitRegistry(cache_folder=None)
    registry.define("international_unit = [biological_activity] = IU = U_intl")
    return registry


@cache
def _quantity(text: str) -> Any:
    """Return the unit as pint reads it. Raises `UnitProblem` for another text."""
    stripped = text.strip()
    if UNIT.fullmatch(stripped) is None:
        raise UnitProblem(f"'{text}' is not a unit; write one such as mg/dL")
    name = SPELLINGS.get(stripped.casefold(), stripped).replace("μ", "µ").replace("²", "^2").replace("³", "^3")
    registry: Any = _registry()
    try:
        quantity = registry.parse_expression(name)
        if not isinstance(quantity, registry.Quantity):
            quantity = registry.Quantity(quantity)
        if not quantity.magnitude > 0:
            raise ValueError
    except Exception as problem:  # pint raises what its tokenizer, its definitions and Python raise
        raise UnitProblem(f"'{text}' is not a unit; write one such as mg/dL, or give factor and offset") from problem
    return quantity
