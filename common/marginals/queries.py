"""Counts of patients by the codes of a few columns at once: what is counted, how it is laid out, how it is counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from common.arrays import Array, Integers
from common.encoding import Codes, Encoder
from common.errors import WireError
from common.planning.plan import COARSE, PAIRS, SINGLES, TRIPLES

BLOCK = 2**16
"""Rows counted at once: memory does not grow with the table, and what is counted stays near the processor."""

FULL = 0
"""The number of groups that means: every code by itself."""


@dataclass(frozen=True, slots=True)
class Domain:
    """How many codes each column has, and whether the last of them means missing."""

    sizes: tuple[int, ...]
    has_missing: tuple[bool, ...]

    @classmethod
    def of(cls, encoder: Encoder) -> Domain:
        return cls(encoder.sizes, tuple(column.missing for column in encoder.schema.each()))

    def groups(self, column: int, most: int) -> Integers:
        """Code to group, at most `most` groups of neighbouring codes; missing stays by itself."""
        size = self.sizes[column]
        if most == FULL or size <= most:
            return np.arange(size)
        missing = self.has_missing[column]
        present, kept = size - missing, most - missing
        grouped = np.arange(present) * kept // present
        return np.append(grouped, kept) if missing else grouped

    def shape(self, query: Query) -> tuple[int, ...]:
        """Cells of a query, column by column."""
        return tuple(int(self.groups(column, query.groups)[-1]) + 1 for column in query.columns)

    def cells(self, queries: Iterable[Query]) -> int:
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


def single_queries(columns: int) -> tuple[Query, ...]:
    """Every column by itself, in full."""
    return tuple(Query((column,)) for column in range(columns))


def coarse_queries(columns: int, groups: int) -> tuple[Query, ...]:
    """Every column in full, then every pair in groups."""
    return single_queries(columns) + tuple(Query(pair, groups) for pair in combinations(range(columns), 2))


def requested(phase: str, groups: int, columns: Array, width: int) -> tuple[Query, ...]:
    """The tables of a phase: coarse ones follow from the number of columns, others are named; each comes once.

    Args:
        columns: of the tables, one after the other; two each for pairs, three for triples.
        width: how many columns the schema has.

    Raises:
        WireError: columns that are not in the schema or do not make whole tables, or a phase without tables.
    """
    if phase == SINGLES:
        return single_queries(width)
    if phase == COARSE:
        return coarse_queries(width, groups)
    arity = {PAIRS: 2, TRIPLES: 3}.get(phase)
    if arity is None or len(columns) % arity or not ((columns >= 0) & (columns < width)).all():
        raise WireError(f"these are no tables of the phase '{phase}'")
    tables = {tuple(sorted(int(column) for column in table)) for table in columns.reshape(-1, arity)}
    if any(len(set(table)) < arity for table in tables):
        raise WireError(f"a table of the phase '{phase}' names a column twice")
    return tuple(Query(table, groups) for table in sorted(tables))


def count(codes: Codes, queries: Sequence[Query], domain: Domain) -> Integers:
    """The tables of all queries, flattened one after the other, int64.

    One patient adds one to exactly one cell of each query: the L2 sensitivity is sqrt(len(queries)).

    Args:
        codes: (patients, columns).
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

    parts = []
    for query in queries:
        shape = domain.shape(query)
        cell = np.zeros(len(codes), dtype=np.int64)
        for column, size in zip(query.columns, shape, strict=True):
            cell = cell * size + column_groups(column, query.groups)
        parts.append(np.bincount(cell, minlength=int(np.prod(shape))))
    return np.concatenate(parts).astype(np.int64) if parts else np.empty(0, dtype=np.int64)


def split(values: Integers, queries: Sequence[Query], domain: Domain) -> list[Integers]:
    """The tables that `count` flattened, each in its own shape."""
    shapes = [domain.shape(query) for query in queries]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    return [part.reshape(shape) for part, shape in zip(np.split(values, ends[:-1]), shapes, strict=True)]
