"""Recipes with one source: a column under another name, with other labels, units, marks or date formats."""

from __future__ import annotations

import math
import unicodedata
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from common.columns.labels import UNLISTED, finder
from common.errors import DataError
from common.harmonization.conventions import Conventions, text_of_number
from common.harmonization.recipe import Converter, Decimals, FromOne, MonthFormat, Name, Row, WrittenFormat, names_day
from common.harmonization.units import Conversion, UnitProblem, conversion
from common.tables.formats import read_table

MOST_LABELS = 10_000
"""Most labels of one column, in the mapping or in a file of labels."""


class Copy(FromOne):
    """The source's cells as they are; declared missing texts become missing."""

    operation: Literal["copy"] = "copy"

    def converter(self, conventions: Conventions) -> Converter:
        def convert(row: Row) -> str:
            return "" if conventions.is_declared_missing(row[0]) else row[0]

        return convert


class Number(FromOne):
    """Numbers, in the study's unit: `value * factor + offset`, by declared units or declared numbers.

    Attributes:
        unit: unit of the local numbers; it may also stand behind them.
        study_unit: unit that the study asks for.
        molar_mass: grams per mole, where one unit counts mass and the other amount of substance.
        factor, offset: instead of units.
        decimals: decimals of the result, which is rounded.
        texts: local texts that are not numbers, and the study's text for each, such as a missing code.
    """

    operation: Literal["number"] = "number"
    unit: str | None = None
    study_unit: str | None = None
    molar_mass: float | None = Field(default=None, gt=0, le=1e7)
    factor: float | None = None
    offset: float | None = None
    decimals: Decimals | None = None
    texts: dict[str, str] = Field(default={}, max_length=100)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.study_unit is not None and self.unit is None:
            raise ValueError("study_unit needs unit, the unit of the local numbers; add it")
        if self.molar_mass is not None and self.study_unit is None:
            raise ValueError("molar_mass needs unit and study_unit; add them")
        if self.factor == 0:
            raise ValueError("factor is 0, which makes every number the same; correct it")
        if self.study_unit is not None and (self.factor is not None or self.offset is not None):
            raise ValueError("study_unit and factor or offset are two ways to convert; remove one of them")
        try:
            self.converted()
        except UnitProblem as problem:
            raise ValueError(str(problem)) from None
        return self

    @property
    def labels_given(self) -> tuple[str, ...]:
        return tuple(text for text in self.texts.values() if text)

    @property
    def unit_given(self) -> str | None:
        return self.study_unit or (self.unit if self.factor is None and self.offset is None else None)

    def converted(self) -> Conversion | None:
        """Return the conversion; None where numbers keep their unit."""
        if self.unit is not None and self.study_unit is not None:
            return conversion(self.unit, self.study_unit, self.molar_mass)
        if self.factor is None and self.offset is None:
            return None
        return Conversion(1.0 if self.factor is None else self.factor, self.offset or 0.0)

    def converter(self, conventions: Conventions) -> Converter:
        find, given, change = finder(tuple(self.texts)), tuple(self.texts.values()), self.converted()
        is_exact = change is None and self.decimals is None
        swap = {"<": ">", ">": "<"} if change is not None and change.factor < 0 else {}

        def convert(row: Row) -> str | None:
            cell = unicodedata.normalize("NFC", row[0])
            number = find(cell)
            if number not in (UNLISTED, len(given)):
                return given[number]
            if conventions.is_missing(cell):
                return ""
            sign, value = conventions.signed(cell, self.unit)
            if math.isnan(value):
                return None
            result = value if change is None else change(value)
            return swap.get(sign, sign) + (f"{text_of_number(result, self.decimals)}" if not is_exact else _text(value))

        return convert


def _text(value: float) -> str:
    """Return a number that was not changed, with every digit."""
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else text_of_number(value, None)


class Labels(FromOne):
    """Labels of the study for local ones.

    Attributes:
        labels: the study's label for each local one; "" is missing.
        other: the study's label for all labels that are not listed; without it, they become missing and are reported.
    """

    operation: Literal["labels"] = "labels"
    labels: dict[str, str] = Field(min_length=1, max_length=MOST_LABELS)
    other: str | None = None

    @property
    def labels_given(self) -> tuple[str, ...]:
        return _distinct(self.labels, self.other)

    def converter(self, conventions: Conventions) -> Converter:
        return _relabel(self.labels, self.other, conventions)


class Lookup(FromOne):
    """Labels of the study for local ones, listed in a file, such as all codes of a laboratory.

    Attributes:
        file: a table in any format that can be read; a relative path starts at the folder of the mapping.
        local, study: names of its columns with the local labels and with the study's.
        other: as in `Labels`.
    """

    operation: Literal["lookup"] = "lookup"
    file: Path = Field(strict=False)
    local: Name
    study: Name
    other: str | None = None

    @cached_property
    def entries(self) -> dict[str, str]:
        """The study's label for each local one. Raises `DataError` where the file does not hold them."""
        raw = read_table(self.file)
        for name in (self.local, self.study):
            if name not in raw.columns:
                raise DataError(f"the list of labels '{self.file}' has no column '{name}'; correct local or study")
        if not 0 < len(raw) <= MOST_LABELS:
            raise DataError(f"the list of labels '{self.file}' has {len(raw)} rows; give 1 to {MOST_LABELS}")
        entries = dict(zip(raw[self.local], raw[self.study], strict=True))
        if len(entries) < len(raw):
            raise DataError(f"the list of labels '{self.file}' repeats a label in '{self.local}'; remove one")
        return entries

    @property
    def labels_given(self) -> tuple[str, ...]:
        return _distinct(self.entries, self.other)

    def converter(self, conventions: Conventions) -> Converter:
        return _relabel(self.entries, self.other, conventions)


class IsPresent(FromOne):
    """Whether the source holds anything, such as a date of death.

    Attributes:
        present, absent: the study's labels for both.
    """

    operation: Literal["is_present"] = "is_present"
    present: str = "yes"
    absent: str = "no"

    @property
    def labels_given(self) -> tuple[str, ...]:
        return (self.present, self.absent)

    def converter(self, conventions: Conventions) -> Converter:
        return lambda row: self.absent if conventions.is_missing(row[0]) else self.present


class DateConversion(FromOne):
    """Dates or months in the study's format.

    Attributes:
        date_format: as of other recipes, or a format of months where the study has months, too.
        study_format: format that the study declares.
    """

    operation: Literal["date"] = "date"
    date_format: (
        MonthFormat | Annotated[tuple[MonthFormat, ...], Field(min_length=1, max_length=10, strict=False)] | None
    ) = None
    study_format: WrittenFormat = "%Y-%m-%d"

    @model_validator(mode="after")
    def _check(self) -> Self:
        formats = (self.date_format,) if isinstance(self.date_format, str) else self.date_format or ()
        if names_day(self.study_format) and not all(map(names_day, formats)):
            raise ValueError(
                f"date_format has no day and study_format, '{self.study_format}', has one; let the study have months "
                "(docs/columns.md), and give study_format = '%Y-%m'"
            )
        return self

    def converter(self, conventions: Conventions) -> Converter:
        def convert(row: Row) -> str | None:
            if conventions.is_missing(row[0]):
                return ""
            moment = conventions.date(row[0])
            return None if moment is None else moment.strftime(self.study_format)

        return convert


def _distinct(labels: dict[str, str], other: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(label for label in (*labels.values(), other) if label))


def _relabel(labels: dict[str, str], other: str | None, conventions: Conventions) -> Converter:
    """Return the function that finds a cell's label as exact text, without blanks around it, or as a number.

    Args:
        labels: the study's label for each local one.
        other: label for the rest; None makes it unread.
        conventions: what missing cells look like.
    """
    composed = {unicodedata.normalize("NFC", local): label for local, label in labels.items()}
    find, given = finder(tuple(composed)), tuple(composed.values())

    def convert(row: Row) -> str | None:
        cell = unicodedata.normalize("NFC", row[0])
        number = find(cell)
        if number not in (UNLISTED, len(given)):
            return given[number]
        return "" if number != UNLISTED or conventions.is_missing(cell) else other

    return convert
