"""The agreed columns of a table, what each holds and how it is written. Written by people, not learned from records."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Self

from pydantic import Field, PlainValidator, SerializeAsAny, model_validator

from common.columns.base import Column, TableColumn
from common.columns.kinds import parse_column
from common.settings import Frozen

DeclaredColumn = Annotated[SerializeAsAny[TableColumn], PlainValidator(parse_column)]
"""A column of any kind in `common.columns.kinds`, told apart by `kind`."""


class Schema(Frozen):
    """The columns of every hospital's table, in the order of the synthetic table.

    Counting, synthesis and evaluation work on the *modeled* columns: `modeled`, `names`, `each()` and `schema[name]`.
    Most columns are modeled as themselves, some as several or as none (`TableColumn.modeled`).
    """

    columns: tuple[DeclaredColumn, ...] = Field(min_length=2, strict=False)

    @model_validator(mode="after")
    def _check(self) -> Self:
        # The columns of the table first: two that are modeled under one name are rarer than two of one name.
        for names in ([column.name for column in self.columns], list(self.names)):
            repeated = sorted({name for name in names if names.count(name) > 1})
            if repeated:
                raise ValueError(f"column '{repeated[0]}' is declared twice; remove one")
        if len(self.modeled) < 2:
            raise ValueError("[schema] has fewer than 2 columns that are read from records; declare another")
        others = {column.name: column for column in self.columns}
        for column in self.columns:
            for need in column.needs:
                if need not in others or need == column.name:
                    raise ValueError(f"column '{column.name}' names column '{need}', which is not declared; declare it")
            if (problem := column.problem(others)) is not None:
                raise ValueError(f"column '{column.name}' {problem}")
        return self

    @cached_property
    def modeled(self) -> tuple[Column, ...]:
        """The columns of codes, in order."""
        return tuple(part for column in self.columns for part in column.modeled)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the modeled columns, in order."""
        return tuple(column.name for column in self.modeled)

    @property
    def read_names(self) -> tuple[str, ...]:
        """The names of the columns that are read from a hospital's table, in order."""
        return tuple(column.name for column in self.columns if column.modeled)

    @property
    def written_names(self) -> tuple[str, ...]:
        """The names of the columns of a synthetic table, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def with_grid(self) -> tuple[Column, ...]:
        """The columns of numbers, which are cut into bins."""
        return tuple(column for column in self.modeled if column.grid is not None)

    def __getitem__(self, name: str) -> Column:
        return self.modeled[self.names.index(name)]

    def each(self) -> Iterator[Column]:
        """Return the modeled columns in order (pydantic keeps `__iter__` for field names)."""
        return iter(self.modeled)
