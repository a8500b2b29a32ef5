"""The table of operations. A mapping names them as `operation`; a new one is a class and an entry here."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic_core import PydanticCustomError

from common.harmonization.conversions import Copy, DateConversion, IsPresent, Labels, Lookup, Number
from common.harmonization.derivations import (
    AgeAt,
    Checked,
    Constant,
    Difference,
    FirstPresent,
    Join,
    Largest,
    Mean,
    Product,
    Ratio,
    Smallest,
    Sum,
    TimeBetween,
)
from common.harmonization.recipe import Recipe

OPERATIONS: dict[str, type[Recipe]] = {
    "copy": Copy,
    "number": Number,
    "labels": Labels,
    "lookup": Lookup,
    "date": DateConversion,
    "is_present": IsPresent,
    "constant": Constant,
    "first_present": FirstPresent,
    "join": Join,
    "checked": Checked,
    "sum": Sum,
    "difference": Difference,
    "product": Product,
    "ratio": Ratio,
    "mean": Mean,
    "smallest": Smallest,
    "largest": Largest,
    "time_between": TimeBetween,
    "age_at": AgeAt,
}


def parse_recipe(value: object) -> Recipe:
    """Return the recipe that a table of a mapping declares; a recipe is returned as it is."""
    if isinstance(value, Recipe):
        return value
    if not isinstance(value, Mapping):
        raise PydanticCustomError("value_error", "a column is a table of settings; start it with [columns.NAME]")
    operation = value.get("operation", "copy")
    if not isinstance(operation, str) or operation not in OPERATIONS:
        raise PydanticCustomError(
            "value_error",
            "unknown operation '{operation}'; choose from {known}",
            {"operation": str(operation), "known": ", ".join(OPERATIONS)},
        )
    # A `ValidationError` raised in here keeps its places and types in the error of the mapping around it.
    return OPERATIONS[operation].model_validate({"operation": operation, **value})
