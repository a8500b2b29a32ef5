"""Recipes that compute a column of others: a small declared set of operations, and no expression is ever evaluated."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from typing import Literal

from pydantic import Field

from common.harmonization.conventions import Conventions, text_of_number
from common.harmonization.recipe import Converter, Decimals, FromSeveral, FromTwo, Name, Recipe, Row

SECONDS = {"hours": 3600.0, "minutes": 60.0, "days": 86400.0, "years": 365.25 * 86400.0}
"""Seconds of a unit of time; a year has 365.25 days."""


class Constant(Recipe):
    """The same cell in every row, such as the name of a clinic that every patient of this hospital was in."""

    operation: Literal["constant"] = "constant"
    value: str

    @property
    def sources(self) -> Row:
        return ()

    def converter(self, conventions: Conventions) -> Converter:
        return lambda _: self.value


class FirstPresent(FromSeveral):
    """The first of several cells that is not missing."""

    operation: Literal["first_present"] = "first_present"

    def converter(self, conventions: Conventions) -> Converter:
        return lambda row: next((cell for cell in row if not conventions.is_missing(cell)), "")


class Join(FromSeveral):
    """The cells one after another; missing where one of them is."""

    operation: Literal["join"] = "join"
    separator: str = Field(default="", max_length=10)

    def converter(self, conventions: Conventions) -> Converter:
        def convert(row: Row) -> str:
            return "" if any(map(conventions.is_missing, row)) else self.separator.join(cell.strip() for cell in row)

        return convert


class Checked(Recipe):
    """A list of those items whose column is checked, as REDCap exports a question with several answers.

    Attributes:
        items: the local column of each item of the study.
        checked: texts that mean checked.
        separator: between the items in the result.
        empty: the result where nothing is checked; missing where all cells are missing.
    """

    operation: Literal["checked"] = "checked"
    items: dict[str, Name] = Field(min_length=1, max_length=100)
    checked: tuple[str, ...] = Field(default=("1", "Checked", "x", "X"), min_length=1, max_length=20, strict=False)
    separator: str = Field(default=";", min_length=1, max_length=10)
    empty: str = ""

    @property
    def sources(self) -> Row:
        return tuple(self.items.values())

    def converter(self, conventions: Conventions) -> Converter:
        marks, names = frozenset(self.checked), tuple(self.items)

        def convert(row: Row) -> str:
            chosen = [name for name, cell in zip(names, row, strict=True) if cell.strip() in marks]
            return self.separator.join(chosen) if chosen or all(map(conventions.is_missing, row)) else self.empty

        return convert


class OfNumbers(FromSeveral):
    """A number that is computed of several; missing where one of them is.

    Attributes:
        decimals: decimals of the result, which is rounded.
        skip_missing: leave missing numbers out, unless all are missing.
    """

    decimals: Decimals | None = None
    skip_missing: bool = False

    def converter(self, conventions: Conventions) -> Converter:
        return _computed(conventions, self.decimals, FOLDS[self.operation], skip_missing=self.skip_missing)


class Sum(OfNumbers):
    """The sum."""

    operation: Literal["sum"] = "sum"


class Mean(OfNumbers):
    """The mean."""

    operation: Literal["mean"] = "mean"


class Smallest(OfNumbers):
    """The smallest number."""

    operation: Literal["smallest"] = "smallest"


class Largest(OfNumbers):
    """The largest number."""

    operation: Literal["largest"] = "largest"


class Product(OfNumbers):
    """The product."""

    operation: Literal["product"] = "product"


class OfTwoNumbers(FromTwo):
    """A number that is computed of two; missing where one of them is, or where a divisor is 0.

    Attributes:
        decimals: decimals of the result, which is rounded.
    """

    decimals: Decimals | None = None

    def converter(self, conventions: Conventions) -> Converter:
        return _computed(conventions, self.decimals, FOLDS[self.operation], skip_missing=False)


class Difference(OfTwoNumbers):
    """The first number less the second."""

    operation: Literal["difference"] = "difference"


class Ratio(OfTwoNumbers):
    """The first number divided by the second."""

    operation: Literal["ratio"] = "ratio"


FOLDS: dict[str, Callable[[list[float]], float]] = {
    "sum": math.fsum,
    "mean": lambda numbers: math.fsum(numbers) / len(numbers),
    "smallest": min,
    "largest": max,
    "product": math.prod,
    "difference": lambda numbers: numbers[0] - numbers[1],
    "ratio": lambda numbers: numbers[0] / numbers[1] if numbers[1] else math.nan,
}
"""The arithmetic by the name of its operation."""


def _computed(
    conventions: Conventions, decimals: int | None, fold: Callable[[list[float]], float], *, skip_missing: bool
) -> Converter:
    """Return the function that computes one number of the cells of a row.

    Args:
        conventions: how numbers and missing cells are written.
        decimals: decimals of the result; None does not round.
        fold: computes it.
        skip_missing: whether missing cells are left out.
    """

    def convert(row: Row) -> str | None:
        present = [cell for cell in row if not conventions.is_missing(cell)]
        if not present or (len(present) < len(row) and not skip_missing):
            return ""
        numbers = [conventions.number(cell) for cell in present]
        result = math.nan if any(map(math.isnan, numbers)) else fold(numbers)
        return text_of_number(result, decimals) if math.isfinite(result) else None

    return convert


class TimeBetween(FromTwo):
    """The time from the first date to the second; negative where the second is earlier.

    Attributes:
        unit: unit of the result. Days are whole days of the calendar, years have 365.25 days.
        decimals: decimals of the result, which is rounded.
    """

    operation: Literal["time_between"] = "time_between"
    unit: Literal["days", "hours", "minutes", "years"] = "days"
    decimals: Decimals = 0

    @property
    def unit_given(self) -> str | None:
        return self.unit

    def converter(self, conventions: Conventions) -> Converter:
        def between(start: datetime, end: datetime) -> float:
            if self.unit == "days":
                return float(end.toordinal() - start.toordinal())
            return (end - start).total_seconds() / SECONDS[self.unit]

        return _of_dates(conventions, lambda start, end: text_of_number(between(start, end), self.decimals))


class AgeAt(FromTwo):
    """The age in completed years: the first date is of birth, the second that at which the age is wanted."""

    operation: Literal["age_at"] = "age_at"

    @property
    def unit_given(self) -> str | None:
        return "years"

    def converter(self, conventions: Conventions) -> Converter:
        def age(birth: datetime, date: datetime) -> str | None:
            years = date.year - birth.year - ((date.month, date.day) < (birth.month, birth.day))
            return None if date < birth else str(years)

        return _of_dates(conventions, age)


def _of_dates(conventions: Conventions, compute: Callable[[datetime, datetime], str | None]) -> Converter:
    """Return the function that computes one cell of two dates; missing where one of them is."""

    def convert(row: Row) -> str | None:
        if any(map(conventions.is_missing, row)):
            return ""
        start, end = map(conventions.date, row)
        return None if start is None or end is None else compute(start, end)

    return convert
