"""Counts of patients by the codes of a few columns at once: which tables there are and how they are counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from common.arrays import Array, Integers
from common.columns.base import Codes
from common.encoding import Encoder
from common.errors import WireError

BLOCK = 2**16
"""Rows counted at once: memory does not grow with the table, and what is counted stays in the processor's cache."""

FULL = 0
"""Number of groups that stands for all codes: every code is a group of its own."""


@dataclass(frozen=True, slots=True)
class Domain:
    """How many codes each column has, and whether the last of them means missing."""

    sizes: tuple[int, ...]
    has_missing: tuple[bool, ...]

    @classmethod
    def of(cls, encoder: Encoder) -> Domain:
        """Return the domain of the codes that an encoder writes."""
        return cls(encoder.sizes, tuple(column.missing for column in encoder.schema.each()))

    def groups(self, column: int, most: int) -> Integers:
        """Return the group of each code: at most `most` groups of neighboring codes; missing is always its own."""
        size = self.sizes[column]
        if most == FULL or size <= most:
            return np.arange(size)
        missing = self.has_missing[column]
        present, kept = size - missing, most - missing
        grouped = np.arange(present) * kept // present
        return np.append(grouped, kept) if missing else grouped

    def shape(self, query: Query) -> tuple[int, ...]:
        """Return the shape of a query's table: groups in each of its columns."""
        return tuple(int(self.groups(column, query.groups)[-1]) + 1 for column in query.columns)

    def cells(self, queries: Iterable[Query]) -> int:
        """Return the number of cells of all queries together."""
        return sum(int(np.prod(self.shape(query))) for query in queries)


@dataclass(frozen=True, slots=True)
class Query:
    """One table of counts: over these columns, in increasing order, each in at most `groups` groups."""

    columns: tuple[int, ...]
    groups: int = FULL

    def __post_init__(self) -> None:
        if not self.columns or any(
            later <= former for former, later in zip(self.columns, self.columns[1:], strict=False)
        ):
            raise ValueError(f"columns {self.columns} are not in increasing order")


def single_queries(width: int) -> tuple[Query, ...]:
    """Return a table for each of `width` columns, in full."""
    return tuple(Query((column,)) for column in range(width))


def coarse_queries(width: int, groups: int) -> tuple[Query, ...]:
    """Return a table for each of `width` columns in full, then one for each pair in at most `groups` groups."""
    return single_queries(width) + tuple(Query(pair, groups) for pair in combinations(range(width), 2))


def chosen_queries(columns: Array, *, arity: int, groups: int, width: int) -> tuple[Query, ...]:
    """Return the tables that a coordinator asks for, each once, in increasing order of their columns.

    Args:
        columns: column numbers of the tables, one table after the other, integers of shape (arity * tables,).
        arity: columns of each table, 2 for pairs and 3 for triples.
        groups: groups of codes in each column.
        width: number of columns in the schema.

    Raises:
        WireError: columns that are not in the schema, appear twice in a table or do not make whole tables.
    """
    if len(columns) % arity or not ((columns >= 0) & (columns < width)).all():
        raise WireError(f"the request does not name tables of {arity} columns of the schema")
    tables = {tuple(sorted(int(column) for column in table)) for table in columns.reshape(-1, arity)}
    if any(len(set(table)) < arity for table in tables):
        raise WireError("the request names a column twice in one table")
    return tuple(Query(table, groups) for table in sorted(tables))


def count(codes: Codes, queries: Sequence[Query], domain: Domain) -> Integers:
    """Count the patients in every cell of every query.

    One patient adds one to exactly one cell of each query: the L2 sensitivity is sqrt(len(queries)).

    Args:
        codes: rows of codes, (patients, columns), int16.
        queries: the tables to count.
        domain: how many codes each column has.

    Returns:
        The tables of all queries, flattened one after the other, int64.
    """
    total = np.zeros(domain.cells(queries), dtype=np.int64)
    for start in range(0, len(codes), BLOCK):
        total += _count_block(codes[start : start + BLOCK], queries, domain)
    return total


def _count_block(codes: Codes, queries: Sequence[Query], domain: Domain) -> Integers:
    grouped: dict[tuple[int, int], Integers] = {}

    def column_groups(column: int, groups: int) -> Integers:
        key = column, groups
        if key not in grouped:
            grouped[key] = domain.groups(column, groups)[codes[:, column]]
        return grouped[key]

    tables = []
    for query in queries:
        shape = domain.shape(query)
        cell = np.zeros(len(codes), dtype=np.int64)
        for column, size in zip(query.columns, shape, strict=True):
            cell = cell * size + column_groups(column, query.groups)
        tables.append(np.bincount(cell, minlength=int(np.prod(shape))))
    return np.concatenate(tables).astype(np.int64) if tables else np.empty(0, dtype=np.int64)


def split(values: Integers, queries: Sequence[Query], domain: Domain) -> list[Integers]:
    """Return the tables that `count` flattened, each in its own shape.

    Args:
        values: counts of all tables, one after the other.
        queries: the tables, in that order.
        domain: number of codes of each column.
    """
    shapes = [domain.shape(query) for query in queries]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    return [table.reshape(shape) for table, shape in zip(np.split(values, ends[:-1]), shapes, strict=True)]
