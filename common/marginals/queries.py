"""Counts of patients by the codes of a few columns at once: which tables there are and how they are counted.

*Weights.* A table's counts are multiplied by an integer, its weight m, before noise of parameter sigma is added, so
that its noise is sigma / m patients: some tables of a vector become more precise at the cost of others.

*Centering.* Single columns are known from the histograms. So where weights are used, tables are centered along columns
of few codes: along each, the mean is taken out. A patient who adds m to one cell then adds m (1 - 1/k) to it and -m / k
to the other k - 1 along that column: the square of the L2 norm falls from m^2 to m^2 (1 - 1/k).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations

import numpy as np

from common.arrays import Array, Floats, Integers
from common.columns.base import Codes
from common.encoding import Encoder
from common.errors import WireError

BLOCK = 2**16
"""Rows counted at once: memory does not grow with the table, and what is counted stays in the processor's cache."""

FULL = 0
"""Number of groups that stands for all codes: every code is a group of its own."""

NESTED = (16, 8, 4)
"""Numbers of groups whose groups lie within each other."""

NO_COLUMN = -1
"""Stands for a column where tables of fewer columns are listed among wider ones."""

WIDEST = 4
"""Most columns of a table."""

WIDE = 85
"""Columns. A study or table with more is called wide; it has at least 3,655 pairs."""


@dataclass(frozen=True)
class Domain:
    """The codes of every column.

    Args:
        sizes: number of codes of each column.
        has_missing: whether the last code of each column means missing.
        masses: about how many patients have each code, by column, as the released histograms say; if not given, each
            code has as many as any other.
        is_few: whether each column holds few labels (`Column.has_few_labels`); if not given, none does.
        is_ordered: whether neighboring codes of each column are neighboring numbers; if not given, none are.
    """

    sizes: tuple[int, ...]
    has_missing: tuple[bool, ...]
    masses: tuple[tuple[float, ...], ...] = ()
    is_few: tuple[bool, ...] = ()
    is_ordered: tuple[bool, ...] = ()

    @classmethod
    def of(cls, encoder: Encoder) -> Domain:
        """Return the domain of the codes that an encoder writes."""
        columns = list(encoder.schema.each())
        return cls(
            encoder.sizes,
            tuple(column.missing for column in columns),
            tuple(tuple(masses.tolist()) for masses in encoder.masses),
            tuple(column.has_few_labels for column in columns),
            tuple(column.grid is not None for column in columns),
        )

    def groups(self, column: int, most: int) -> Integers:
        """Return the group of each code: at most `most` groups of neighboring codes, and one of its own for missing.

        Groups of fewer codes lie within those of more, for the numbers in `NESTED`. They hold about equally many
        patients by `masses`.
        """
        masses = self.masses[column] if self.masses else (1.0,) * self.sizes[column]
        return _groups(masses, self.has_missing[column], most).copy()

    def shape(self, query: Query) -> tuple[int, ...]:
        """Return the shape of a query's table: groups in each of its columns."""
        if query.groups not in self._group_counts:
            columns = range(len(self.sizes))
            self._group_counts[query.groups] = [int(self.groups(column, query.groups)[-1]) + 1 for column in columns]
        counts = self._group_counts[query.groups]
        return tuple(counts[column] for column in query.columns)

    @cached_property
    def _group_counts(self) -> dict[int, list[int]]:
        """Cache of the number of groups of every column, by `Query.groups`: a wide table has thousands of queries."""
        return {}

    def cells(self, queries: Iterable[Query]) -> int:
        """Return the number of cells of all queries together."""
        return sum(math.prod(self.shape(query)) for query in queries)

    def centered_axes(self, query: Query) -> tuple[int, ...]:
        """Return along which of its columns, by position, a query's table is centered."""
        if not query.is_centered or not self.is_few:
            return ()
        return tuple(axis for axis, column in enumerate(query.columns) if self.is_few[column])

    def unit(self, query: Query) -> int:
        """Return what the weight of a query must be a multiple of, so that its centered counts are integers."""
        shape = self.shape(query)
        return math.prod(shape[axis] for axis in self.centered_axes(query))

    def kept(self, query: Query) -> float:
        """Return the part of the squared sensitivity that centering leaves, product of 1 - 1/k over those columns."""
        shape = self.shape(query)
        return math.prod(1 - 1 / shape[axis] for axis in self.centered_axes(query))

    def squared_sensitivity(self, queries: Iterable[Query]) -> int:
        """Return the largest square of the L2 norm of what one patient adds to the tables: sum of m^2 (1 - 1/k) ..."""
        return sum(round(query.weight**2 * self.kept(query)) for query in queries)


@lru_cache(maxsize=4096)
def _groups(masses: tuple[float, ...], missing: bool, most: int) -> Integers:
    finest = np.arange(len(masses))
    present = len(masses) - missing
    if most == FULL or present <= most:
        return finest
    weights = np.asarray(masses[:present])
    middle = (np.cumsum(weights) - weights / 2) / weights.sum()
    groups: Integers = finest
    for level in [*(level for level in NESTED if level > most), most]:
        if int(groups[-1]) + 1 > level + missing:
            wanted = np.minimum((middle * level).astype(np.int64), level - 1)
            wanted = np.append(wanted, level) if missing else wanted
            first_codes = np.searchsorted(groups, np.arange(int(groups[-1]) + 1))
            merged = np.unique(wanted[first_codes], return_inverse=True)[1]
            groups = merged[groups]
    return groups


@dataclass(frozen=True, slots=True)
class Query:
    """One table of counts: over these columns, in increasing order, each in at most `groups` groups.

    Args:
        columns: none for the number of all patients.
        groups: `FULL` for every code.
        weight: factor on its counts.
        is_centered: whether means are taken out along columns of few codes.
    """

    columns: tuple[int, ...]
    groups: int = FULL
    weight: int = 1
    is_centered: bool = False

    def __post_init__(self) -> None:
        if any(later <= former for former, later in zip(self.columns, self.columns[1:], strict=False)):
            raise ValueError(f"columns {self.columns} are not in increasing order")
        if self.weight < 1:
            raise ValueError(f"weight={self.weight} is below 1")


def single_queries(width: int) -> tuple[Query, ...]:
    """Return a table for each of `width` columns, in full."""
    return tuple(Query((column,)) for column in range(width))


def pair_queries(width: int, groups: int) -> tuple[Query, ...]:
    """Return a table for each pair of `width` columns in at most `groups` groups."""
    return tuple(Query(pair, groups) for pair in combinations(range(width), 2))


def groups_of_set(columns: int, groups: int) -> int:
    """Return into how many groups a set of that many columns is cut where a set of three is cut into `groups`.

    Sets of four have half as many, so that their tables are about as long.
    """
    return groups if columns < WIDEST else (groups or max(NESTED)) // 2


def padded(columns: Sequence[int], most: int = WIDEST) -> tuple[int, ...]:
    """Return the columns of a table, and `NO_COLUMN` up to `most` of them."""
    return (*columns, *[NO_COLUMN] * (most - len(columns)))


def chosen_tables(columns: Array, *, arity: int, width: int, most: int | None = None) -> tuple[tuple[int, ...], ...]:
    """Return the columns of the tables that a coordinator asks for, in its order.

    Args:
        columns: column numbers of the tables, one table after the other, integers of shape (most * tables,); `padded`
            where a table has fewer than `most`.
        arity: fewest columns of a table, 2 for pairs and 3 for triples.
        width: number of columns in the schema.
        most: most columns of a table; `arity` if not given.

    Raises:
        WireError: columns that are not in the schema, do not make whole tables, are not in increasing order within a
            table, or make a table twice.
    """
    most = most or arity
    rows = columns.reshape(-1, most) if len(columns) % most == 0 else np.full((1, most), NO_COLUMN)
    is_column = (rows >= 0) & (rows < width)
    may_lack = (rows == NO_COLUMN) & (np.arange(most) >= arity)
    if not (is_column | may_lack).all():
        raise WireError(f"the request does not name tables of {arity} columns of the schema")
    steps = np.diff(rows, axis=1)
    if not ((steps > 0) | may_lack[:, 1:]).all():
        raise WireError("the columns of a requested table are not in increasing order")
    tables = tuple(tuple(column for column in table if column != NO_COLUMN) for table in rows.tolist())
    if len(set(tables)) < len(tables):
        raise WireError("the request names a table twice")
    return tables


def count(codes: Codes, queries: Sequence[Query], domain: Domain) -> Integers:
    """Count the patients in every cell of every query, with its weight, centered where the query is.

    One patient adds an integer vector whose squared L2 norm is `Domain.squared_sensitivity`; without weights, one to
    exactly one cell of each query.

    Args:
        codes: rows of codes, (patients, columns), int16.
        queries: the tables to count.
        domain: the codes of each column.

    Returns:
        The tables of all queries, flattened one after the other, int64.
    """
    total = np.zeros(domain.cells(queries), dtype=np.int64)
    for start in range(0, len(codes), BLOCK):
        total += _count_block(codes[start : start + BLOCK], queries, domain)
    if all(query.weight == 1 and not query.is_centered for query in queries):
        return total
    tables = zip(queries, split(total, queries, domain), strict=True)
    return np.concatenate([_weighted(table, query, domain).ravel() for query, table in tables])


def _weighted(table: Integers, query: Query, domain: Domain) -> Integers:
    """Return m times the centered table, which is a table of integers as m is a multiple of the query's unit."""
    table = table * (query.weight // domain.unit(query))
    for axis in domain.centered_axes(query):
        table = table * table.shape[axis] - table.sum(axis, keepdims=True)
    return table


def centered(table: Floats, axes: Iterable[int]) -> Floats:
    """Return the table less its mean along each of these axes."""
    for axis in axes:
        table = table - table.mean(axis, keepdims=True)
    return table


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
        tables.append(np.bincount(cell, minlength=math.prod(shape)))
    return np.concatenate(tables).astype(np.int64) if tables else np.empty(0, dtype=np.int64)


def split(values: Integers, queries: Sequence[Query], domain: Domain) -> list[Integers]:
    """Return the tables that `count` flattened, each in its own shape.

    Args:
        values: counts of all tables, one after the other.
        queries: the tables, in that order.
        domain: number of codes of each column.
    """
    shapes = [domain.shape(query) for query in queries]
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    return [table.reshape(shape) for table, shape in zip(np.split(values, ends[:-1]), shapes, strict=True)]
