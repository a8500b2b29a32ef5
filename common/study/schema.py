"""The agreed columns of a table, what each holds and how it is written. Written by people, not learned from records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import Field, PlainValidator, SerializeAsAny, model_validator

from common.columns.base import Column
from common.columns.kinds import parse_column
from common.settings import Frozen

DeclaredColumn = Annotated[SerializeAsAny[Column], PlainValidator(parse_column)]
"""A column of any kind in `common.columns.kinds`, told apart by `kind`."""


class Schema(Frozen):
    """The columns of every hospital's table, in the order of the synthetic table."""

    columns: tuple[DeclaredColumn, ...] = Field(min_length=2, strict=False)

    @model_validator(mode="after")
    def _check(self) -> Self:
        repeated = sorted({name for name in self.names if self.names.count(name) > 1})
        if repeated:
            raise ValueError(f"column '{repeated[0]}' is declared twice; remove one")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def with_grid(self) -> tuple[Column, ...]:
        """The columns of numbers, which are cut into bins."""
        return tuple(column for column in self.columns if column.grid is not None)

    def __getitem__(self, name: str) -> Column:
        return self.columns[self.names.index(name)]

    def each(self) -> Iterator[Column]:
        """Return the columns in order (pydantic keeps `__iter__` for field names)."""
        return iter(self.columns)
