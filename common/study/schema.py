"""The agreed columns of a table, what each holds and how it is written. Written by people, not learnt from records."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

MISSING_WORDS = frozenset({"", "NA", "N/A", "n/a", "NaN", "nan", "<NA>", "null", "NULL", "None", "?"})
"""Cell texts that mean "missing", unless a categorical column lists the text as a category of its own."""


MAX_POINTS = 2**50
"""Of 10^-decimals: in longer ranges, or multiples further from zero, floating point does not tell values apart."""


def _readable(text: str) -> str:
    """What a person reads before saying yes: no control characters, line ends or marks that turn text around."""
    bad = next((mark for mark in text if not mark.isprintable() and unicodedata.category(mark) != "Zs"), None)
    if bad is not None:
        raise ValueError(f"the character U+{ord(bad):04X} cannot be printed; remove it")
    return text


Readable = Annotated[str, AfterValidator(_readable)]


def is_unset(value: object) -> bool:
    """Of a key that came later: left out where unset, so that older studies keep the fingerprints that they had."""
    return not value


class Frozen(BaseModel):
    """A value that checks itself once and never changes; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Numeric(Frozen):
    """A number with declared, inclusive bounds, rounded to a declared number of decimals.

    `multiples` says of which steps many values are multiples (`common.columns.rounding`), coarse to fine, such as [1,
    0.1].
    """

    kind: Literal["numeric"] = "numeric"
    name: Readable = Field(min_length=1, max_length=128)
    lower: float
    upper: float
    decimals: int = Field(default=0, ge=0, le=9)
    multiples: tuple[float, ...] = Field(default=(), max_length=8, strict=False, exclude_if=is_unset)
    unit: Readable | None = None
    missing: bool = False
    description: Readable | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.lower < self.upper:
            raise ValueError(f"column '{self.name}': lower must be below upper; swap or widen the bounds")
        step = 10.0**-self.decimals
        for name in ("lower", "upper"):
            value = getattr(self, name)
            if abs(round(value, self.decimals) - value) > 1e-9 * max(1.0, abs(value)):
                raise ValueError(
                    f"column '{self.name}': {name} has more than {self.decimals} decimals; "
                    f"round it to a multiple of {step:g} or raise decimals"
                )
        self._check_multiples(step)
        return self

    def _check_multiples(self, step: float) -> None:
        if self.multiples and max(abs(self.lower), abs(self.upper)) > MAX_POINTS * step:
            raise ValueError(
                f"column '{self.name}': its values have more digits than can be told apart; lower decimals or remove "
                "multiples"
            )
        for size in self.multiples:
            if round(size, self.decimals) != size:
                raise ValueError(
                    f"column '{self.name}': {size:.15g} in multiples has more than {self.decimals} decimals; round it"
                )
            if not 1.5 * step < size < self.upper - self.lower:
                raise ValueError(
                    f"column '{self.name}': {size:.15g} in multiples must lie between {step:g} and the range of the "
                    "bounds; remove it"
                )
        for coarse, fine in pairwise(self.steps):
            if coarse <= fine or coarse % fine:
                raise ValueError(
                    f"column '{self.name}': multiples go from coarse to fine, each a multiple of the next, as in "
                    "[10, 5, 1]; reorder them or remove one"
                )

    @property
    def steps(self) -> tuple[int, ...]:
        """`multiples` in units of 10^-decimals."""
        return tuple(round(size * 10.0**self.decimals) for size in self.multiples)


class Categorical(Frozen):
    """One of a declared list of labels. `fallback` takes the labels that are not listed."""

    kind: Literal["categorical"] = "categorical"
    name: Readable = Field(min_length=1, max_length=128)
    categories: tuple[Readable, ...] = Field(min_length=1, max_length=1000, strict=False)
    fallback: Readable | None = None
    missing: bool = False
    description: Readable | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        repeated = sorted({c for c in self.categories if self.categories.count(c) > 1})
        if repeated:
            raise ValueError(f"column '{self.name}': category '{repeated[0]}' is listed twice; remove one")
        if "" in self.categories:
            raise ValueError(f"column '{self.name}': a category is empty; declare missing = true instead")
        if self.fallback is not None and self.fallback not in self.categories:
            raise ValueError(f"column '{self.name}': fallback must be one of the categories")
        return self

    @property
    def fallback_code(self) -> int:
        """Where an unlisted label goes: the declared fallback, else missing where allowed, else the last category."""
        if self.fallback is not None:
            return self.categories.index(self.fallback)
        return len(self.categories) if self.missing else len(self.categories) - 1


Column = Annotated[Numeric | Categorical, Field(discriminator="kind")]


class Schema(Frozen):
    """The columns of every hospital's table, in the order of the synthetic table."""

    columns: tuple[Column, ...] = Field(min_length=2, strict=False)

    @model_validator(mode="after")
    def _check(self) -> Self:
        repeated = sorted({name for name in self.names if self.names.count(name) > 1})
        if repeated:
            raise ValueError(f"column '{repeated[0]}' is declared twice; remove one")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def numeric(self) -> tuple[Numeric, ...]:
        return tuple(column for column in self.columns if isinstance(column, Numeric))

    def __getitem__(self, name: str) -> Numeric | Categorical:
        return self.columns[self.names.index(name)]

    def each(self) -> Iterator[Numeric | Categorical]:
        """The columns in order (pydantic keeps `__iter__` for field names)."""
        return iter(self.columns)
