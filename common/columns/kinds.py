"""The table of column kinds. A study names them as `kind`; a new kind is added here."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic_core import PydanticCustomError

from common.columns.base import TableColumn
from common.columns.boolean import Boolean
from common.columns.categorical import Categorical
from common.columns.code import Code
from common.columns.date import Date, Datetime
from common.columns.identifier import Identifier
from common.columns.image import Image
from common.columns.item_set import ItemSet
from common.columns.numeric import Numeric
from common.columns.text import Text

KINDS: dict[str, type[TableColumn]] = {
    "date": Date,
    "datetime": Datetime,
    "boolean": Boolean,
    "code": Code,
    "numeric": Numeric,
    "set": ItemSet,
    "image": Image,
    "categorical": Categorical,
    "identifier": Identifier,
    "text": Text,
}
"""Drafts ask the kinds in this order."""


def parse_column(value: object) -> TableColumn:
    """Return the column that a `[[schema.columns]]` entry declares; a column is returned as it is."""
    if isinstance(value, TableColumn):
        return value
    if not isinstance(value, Mapping):
        raise PydanticCustomError("value_error", "a column is a table of settings; start it with [[schema.columns]]")
    if "kind" not in value:
        raise PydanticCustomError(
            "value_error", "column '{name}': kind is not given; choose from {kinds}", _facts(value)
        )
    kind = value["kind"]
    if not isinstance(kind, str) or kind not in KINDS:
        raise PydanticCustomError(
            "value_error", "column '{name}': unknown kind '{kind}'; choose from {kinds}", _facts(value)
        )
    # A `ValidationError` raised in here keeps its places and types in the error of the schema around it.
    return KINDS[kind].model_validate(dict(value))


def _facts(value: Mapping[str, object]) -> dict[str, object]:
    return {"name": value.get("name", ""), "kind": str(value.get("kind")), "kinds": ", ".join(KINDS)}
