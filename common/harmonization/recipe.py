"""The interface of a recipe: how one column of the study is made of a hospital's own columns."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field

from common.columns.base import LONGEST_NAME
from common.columns.cells import read_date
from common.harmonization.conventions import Conventions
from common.settings import Frozen

Row = tuple[str, ...]
"""The cells of a recipe's sources in one row."""

Converter = Callable[[Row], str | None]
"""Makes one cell of the study: "" is missing, None is "could not be read", which becomes missing and is listed."""

Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
"""Name of a local or an intermediate column."""

Decimals = Annotated[int, Field(ge=0, le=9)]

T = TypeVar("T")


def _is_format(form: str) -> str:
    if not names_day(_is_month_format(form)):
        raise ValueError(f"date format '{form}' has no day; write one such as '%d.%m.%Y'")
    return form


def _is_month_format(form: str) -> str:
    try:
        again = read_date(_written(form), form)
    except ValueError:
        again = None
    if again is None or (again.year, again.month) != (2019, 12) or again.day != (31 if names_day(form) else 1):
        raise ValueError(f"date format '{form}' cannot be read back; write one such as '%d.%m.%Y'")
    return form


def names_day(form: str) -> bool:
    """Return whether dates in this format have a day."""
    return _written(form) != _written(form, day=1)


Format = Annotated[str, AfterValidator(_is_format)]
"""Format of a date, as `strftime` has it."""

MonthFormat = Annotated[str, AfterValidator(_is_month_format)]
"""Format of a date or a month."""


def _is_written(form: str) -> str:
    if "%" not in form or not _written(form):
        raise ValueError(f"date format '{form}' writes no part of a date; write one such as '%Y-%m-%d' or '%Y'")
    return form


def _written(form: str, day: int = 31) -> str:
    try:
        return datetime(2019, 12, day, tzinfo=UTC).strftime(form)  # a format may have %z
    except ValueError:
        return ""


WrittenFormat = Annotated[str, AfterValidator(_is_written)]
"""Format in which dates are written; it may leave out parts of them."""


class Recipe(Frozen):
    """How a column is made. Cells that it cannot read become missing; they are counted and listed at the hospital.

    Attributes:
        operation: its name in `common.harmonization.operations.OPERATIONS`.
        missing: texts that mean missing in these sources, beside those of the whole mapping.
        decimal, thousands: marks of the numbers in these sources, where they differ from the mapping's.
        date_format: format of the dates in these sources, or several that are tried in order.
    """

    operation: str
    missing: tuple[str, ...] = Field(default=(), max_length=100, strict=False)
    decimal: Literal[".", ","] | None = None
    thousands: Literal[".", ",", " ", "'"] | None = None
    date_format: Format | Annotated[tuple[Format, ...], Field(min_length=1, max_length=10, strict=False)] | None = None

    @property
    @abstractmethod
    def sources(self) -> Row:
        """Names of the local or intermediate columns that it reads."""

    @abstractmethod
    def converter(self, conventions: Conventions) -> Converter:
        """Return the function from the sources' cells in one row to the cell of the study's column."""

    @property
    def labels_given(self) -> tuple[str, ...]:
        """The labels of the study that it can give, for a comparison with the study; empty where it gives others."""
        return ()

    @property
    def unit_given(self) -> str | None:
        """The unit in which it gives numbers; None where it does not say."""
        return None

    def own_conventions(self, conventions: Conventions) -> Conventions:
        """Return the conventions of the mapping, with what this recipe declares in their place."""
        formats = (self.date_format,) if isinstance(self.date_format, str) else self.date_format
        return Conventions(
            (*conventions.missing, *self.missing),
            self.decimal or conventions.decimal,
            conventions.thousands if self.thousands is None else self.thousands,
            formats or conventions.date_formats,
        )


class FromOne(Recipe):
    """A recipe with one source."""

    source: Name = Field(alias="from")

    @property
    def sources(self) -> Row:
        return (self.source,)


class FromTwo(Recipe):
    """A recipe with two sources, in an order that matters."""

    both: tuple[Name, Name] = Field(alias="from", strict=False)

    @property
    def sources(self) -> Row:
        return self.both


class FromSeveral(Recipe):
    """A recipe with at least two sources."""

    several: tuple[Name, ...] = Field(alias="from", min_length=2, max_length=100, strict=False)

    @property
    def sources(self) -> Row:
        return self.several
