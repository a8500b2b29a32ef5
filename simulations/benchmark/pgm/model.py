"""A graphical model of a table: one belief per clique of a junction tree, its marginals, and rows drawn from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.arrays import Floats, Integers
from simulations.benchmark.pgm.junction_tree import Clique, JunctionTree, cells


@dataclass(frozen=True, slots=True, eq=False)
class GraphicalModel:
    """A distribution over all columns.

    Attributes:
        tree: its structure.
        beliefs: expected rows per cell of every clique, one axis per column; cliques agree on their separators.
    """

    tree: JunctionTree
    beliefs: tuple[Floats, ...]

    def marginal(self, columns: Clique) -> Floats:
        """Return the expected rows per cell of a marginal, one axis per column."""
        host = self.tree.host(columns)
        if host is not None:
            return sum_to(self.beliefs[host], self.tree.cliques[host], columns)
        return self._joined(columns)

    def _joined(self, columns: Clique) -> Floats:
        """Return a marginal that no clique contains.

            p(columns) = sum over the others of the product of p(clique | separator)

        over the smallest subtree that connects the columns. Leaves of the tree are summed out one after the other.
        """
        factors, parents, scopes = self._subtree(columns)
        wanted = set(columns)
        for index in sorted(factors, reverse=True):
            parent = parents[index]
            if parent not in factors:
                continue
            message, scope = factors.pop(index), scopes.pop(index)
            # A column below is in the rest of the model only through the separator.
            kept = tuple(column for column in scope if column in wanted or column in scopes[parent])
            message = sum_to(message, scope, kept)
            factors[parent], scopes[parent] = _product(factors[parent], scopes[parent], message, kept)
        (root,) = factors
        return sum_to(factors[root], scopes[root], columns)

    def _subtree(self, columns: Clique) -> tuple[dict[int, Floats], tuple[int, ...], dict[int, Clique]]:
        """Return factors and scopes, by clique, of the smallest rooted subtree that contains the columns."""
        tree = self.tree
        first = {column: _first_with(tree, column) for column in columns}
        paths = {column: _ancestors(tree, index) for column, index in first.items()}
        shared = set.intersection(*(set(path) for path in paths.values()))
        root = max(shared)
        kept = {index for path in paths.values() for index in path if index >= root and index not in shared} | {root}
        needed = {index: set(columns) & set(tree.cliques[index]) for index in kept}
        for index in kept - {root}:
            needed[index] |= set(tree.separators[index])
            needed[tree.parents[index]] |= set(tree.separators[index])
        factors, scopes = {}, {}
        for index in kept:
            scope = tuple(sorted(needed[index]))
            factor = sum_to(self.beliefs[index], tree.cliques[index], scope)
            if index != root:
                factor = divide(
                    factor, spread(sum_to(factor, scope, tree.separators[index]), tree.separators[index], scope)
                )
            factors[index], scopes[index] = factor, scope
        return factors, tree.parents, scopes

    def sample(self, rows: int, rng: np.random.Generator) -> Integers:
        """Return that many rows of codes, shape (rows, columns).

        Cliques are drawn from the root on, each given its separator. In every group of rows with the same codes in the
        separator, cells get their expected number of rows, up or down to the next whole one, in random order: without
        that order, cliques with the same separator would rise together.
        """
        codes = np.zeros((rows, len(self.tree.sizes)), dtype=np.int64)
        for clique, separator, belief in zip(self.tree.cliques, self.tree.separators, self.beliefs, strict=True):
            fresh = tuple(column for column in clique if column not in separator)
            table = _with_axes(belief, clique, separator + fresh).reshape(cells(self.tree.sizes, separator), -1)
            groups = _flat(codes, separator, self.tree.sizes)
            drawn = _drawn(table, groups, rng)
            shape = tuple(self.tree.sizes[column] for column in fresh)
            codes[:, list(fresh)] = np.stack(np.unravel_index(drawn, shape), axis=1)
        return codes


def sum_to(table: Floats, scope: Clique, columns: Clique) -> Floats:
    """Return the marginal of a table whose axes are the columns of `scope`.

    Args:
        table: a table with one axis for each column of `scope`.
        scope: its columns.
        columns: those of the marginal, in the order of `scope`.
    """
    axes = tuple(axis for axis, column in enumerate(scope) if column not in columns)
    return table.sum(axis=axes) if axes else table


def spread(table: Floats, columns: Clique, scope: Clique) -> Floats:
    """Return a table with an axis of length 1 for each column of `scope` that it lacks.

    Args:
        table: a table with one axis for each of `columns`.
        columns: its columns.
        scope: columns of a larger table, in the same order.
    """
    sizes = iter(table.shape)
    return table.reshape([next(sizes) if column in columns else 1 for column in scope])


def divide(numerator: Floats, denominator: Floats) -> Floats:
    """Return the quotient, 0 where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def count(codes: Integers, columns: Clique, sizes: Sequence[int]) -> Floats:
    """Return the rows per cell of a marginal, one axis per column.

    Args:
        codes: encoded rows, shape (rows, columns).
        columns: the columns of the marginal.
        sizes: number of codes of each column.
    """
    counted = np.bincount(_flat(codes, columns, sizes), minlength=cells(sizes, columns))
    return counted.reshape([sizes[column] for column in columns]).astype(np.float64)


def _flat(codes: Integers, columns: Clique, sizes: Sequence[int]) -> Integers:
    """Return the index of each row's cell in a marginal; all 0 for no columns."""
    if not columns:
        return np.zeros(len(codes), dtype=np.int64)
    return np.ravel_multi_index(
        tuple(codes[:, column].astype(np.int64) for column in columns), [sizes[column] for column in columns]
    )


def _with_axes(table: Floats, scope: Clique, columns: Clique) -> Floats:
    return table.transpose([scope.index(column) for column in columns])


def _drawn(table: Floats, groups: Integers, rng: np.random.Generator) -> Integers:
    """Return a cell for each row: row `g` of the table weighs the cells of the rows of group `g`."""
    drawn = np.empty(len(groups), dtype=np.int64)
    order = np.argsort(groups, kind="stable")
    present, starts = np.unique(groups[order], return_index=True)
    for group, rows in zip(present, np.split(order, starts[1:]), strict=True):
        weights = table[group]
        total = weights.sum()
        weights = weights / total if total > 0 else np.full(len(weights), 1 / len(weights))
        # Systematic sampling: every cell gets its expected number of rows, rounded up or down, without bias.
        ends = np.floor(np.cumsum(weights) * len(rows) + rng.random()).astype(np.int64)
        ends[-1] = max(ends[-1], len(rows))
        chosen = np.repeat(np.arange(len(weights)), np.diff(ends, prepend=0))[: len(rows)]
        drawn[rows] = rng.permutation(chosen)
    return drawn


def _product(table: Floats, scope: Clique, other: Floats, columns: Clique) -> tuple[Floats, Clique]:
    union = tuple(sorted({*scope, *columns}))
    return spread(table, scope, union) * spread(other, columns, union), union


def _first_with(tree: JunctionTree, column: int) -> int:
    return next(index for index, clique in enumerate(tree.cliques) if column in clique)


def _ancestors(tree: JunctionTree, index: int) -> list[int]:
    """Return a clique and those above it."""
    path = [index]
    while tree.parents[path[-1]] >= 0:
        path.append(tree.parents[path[-1]])
    return path
