"""Visits as rows of codes: what part of a patient each row is, and the steps from one visit to the next.

*Weights.* A patient is D parts, D = `Schema.parts`. Each of n visits has floor(D / n) of them, each of the n - 1 steps
between visits floor(D / (n - 1)). A patient's visits are n rows side by side, in order (`common.tables.visits`).

*Sensitivity.* The unit is the patient with all visits, and neighboring tables differ by adding or removing one patient.
Let a table that counts rows once have vectors u_1, ..., u_n of norm at most m sqrt(kept) for a patient's rows
(`common.marginals.queries`). With parts, the patient adds v = sum_i w_i u_i with w_i >= 0 and sum_i w_i <= D, so that

    |v| <= sum_i w_i |u_i| <= D m sqrt(kept)

by the triangle inequality. K tables together have a squared norm of at most D^2 times the sum of their m^2 kept, which
is D^2 times that of patients with one row, and no count changes by more than D times the largest weight. The event is
`DiscreteGaussianVector` with these numbers, or its distributed form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from common.arrays import Integers
from common.columns.base import Codes
from common.marginals.queries import Domain, Query, count
from common.study.schema import VISIT, VISITS, Schema, VisitsSchema


def step_columns(schema: VisitsSchema) -> tuple[int, ...]:
    """Return the modeled columns that transitions are counted of: those of the visit, but not its number."""
    columns = zip(schema.names, schema.is_of_visit, strict=True)
    return tuple(number for number, (name, is_of_visit) in enumerate(columns) if is_of_visit and name != VISIT)


def steps_domain(domain: Domain, schema: VisitsSchema) -> Domain:
    """Return the codes of a row that is a step: the columns of a visit, and then those of the next one."""
    columns = step_columns(schema) * 2
    return Domain(
        tuple(domain.sizes[column] for column in columns),
        tuple(domain.has_missing[column] for column in columns),
        tuple(domain.masses[column] for column in columns) if domain.masses else (),
        tuple(domain.is_few[column] for column in columns) if domain.is_few else (),
        tuple(domain.is_ordered[column] for column in columns) if domain.is_ordered else (),
    )


def weighted_rows(codes: Codes, schema: Schema) -> Iterator[tuple[int, Codes]]:
    """Yield rows by the parts of a patient that each of them is; where a patient is one row, all rows with 1.

    Args:
        codes: rows of codes, (rows, modeled columns).
        schema: the modeled columns.
    """
    if not isinstance(schema, VisitsSchema):
        yield 1, codes
        return
    visits = _number(codes, schema, VISITS)
    for number in np.unique(visits).tolist():
        yield schema.parts // number, codes[visits == number]


def weighted_steps(codes: Codes, schema: VisitsSchema) -> Iterator[tuple[int, Codes]]:
    """Yield steps from a visit to the next one by the parts of a patient that each of them is.

    Args:
        codes: rows of codes, (visits, modeled columns).
        schema: the modeled columns.

    Returns:
        Parts, and codes of shape (steps, 2 * step columns) as in `steps_domain`.
    """
    visits, columns = _number(codes, schema, VISITS), list(step_columns(schema))
    is_start = _number(codes, schema, VISIT) < visits
    for number in np.unique(visits[is_start]).tolist():
        starts = np.flatnonzero(is_start & (visits == number))
        steps = np.concatenate([codes[starts][:, columns], codes[starts + 1][:, columns]], axis=1)
        yield schema.parts // (number - 1), steps


def count_parts(weighted: Iterable[tuple[int, Codes]], queries: Sequence[Query], domain: Domain) -> Integers:
    """Count the parts of patients in every cell of every query, as `common.marginals.queries.count` does patients.

    Args:
        weighted: from `weighted_rows` or `weighted_steps`.
        queries: the tables to count.
        domain: codes of the rows.

    Returns:
        The tables of all queries, flattened one after the other, int64.
    """
    total = np.zeros(domain.cells(queries), dtype=np.int64)
    for parts, codes in weighted:
        total += parts * count(codes, queries, domain)
    return total


def _number(codes: Codes, schema: Schema, name: str) -> Codes:
    """Return the number that every row has in a derived column: its codes count from 0."""
    return codes[:, schema.names.index(name)] + np.int16(1)
