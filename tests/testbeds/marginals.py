"""Small domains, codes and measurements, and mixtures whose tables are worked out cell by cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.arrays import Floats
from common.columns.base import Codes
from common.marginals.measurements import Measurements
from common.marginals.queries import Domain, Query, count, pair_queries, single_queries

DOMAIN = Domain((2, 5, 3), (False, True, False))
QUERIES = (*single_queries(3), *pair_queries(3, 2), Query((0, 1)), Query((1, 2)), Query((0, 1, 2), 3))
"""Tables over `DOMAIN` of every kind: single columns, coarse pairs, two pairs in full, a triple."""

FEW = Domain((2, 5, 3), (False, True, False), is_few=(True, False, True))
CENTERED = (
    *single_queries(3),
    *(Query(pair, 3, weight=weight, is_centered=True) for pair, weight in (((0, 1), 2), ((0, 2), 6), ((1, 2), 3))),
    Query((0, 1), weight=2, is_centered=True),
    Query((0, 1, 2), 3, weight=6, is_centered=True),
)
"""Tables over a domain of two columns with few labels: centered along them, each with the least weight it can have."""


def random_codes(rows: int, domain: Domain, seed: int = 0) -> Codes:
    """Return uniform codes of independent columns, (rows, columns), int16."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, size, rows) for size in domain.sizes], axis=1).astype(np.int16)


def measured(codes: Codes, queries: tuple[Query, ...], domain: Domain, *, deviation: float = 0.0) -> Measurements:
    """Return the exact tables of these codes, which claim to hold noise of this standard deviation."""
    return Measurements(domain, queries, count(codes, queries, domain), (deviation,) * len(queries))


def random_mixture(prototypes: int, sizes: Sequence[int], seed: int = 0) -> Floats:
    """Return column probabilities of a mixture, (prototypes, width)."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.dirichlet(np.ones(size), prototypes) for size in sizes], axis=1)


def table_of_mixture(mixture: Floats, query: Query, domain: Domain) -> Floats:
    """Return a mixture's table of a query, as proportions, worked out one prototype and one cell at a time.

    A centered table is less its mean along the columns of few labels.
    """
    starts = np.cumsum([0, *domain.sizes])
    table = np.zeros(domain.shape(query))
    for prototype in mixture:
        for codes in np.ndindex(*(domain.sizes[column] for column in query.columns)):
            cell = tuple(
                int(domain.groups(column, query.groups)[code])
                for column, code in zip(query.columns, codes, strict=True)
            )
            factors = [prototype[starts[column] + code] for column, code in zip(query.columns, codes, strict=True)]
            table[cell] += np.prod(factors) / len(mixture)
    for axis, column in enumerate(query.columns):
        if query.is_centered and domain.is_few[column]:
            table -= table.sum(axis, keepdims=True) / domain.sizes[column]
    return table
