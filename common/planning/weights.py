"""Weights of tables within a vector: how large they may be, and what a hospital accepts.

A vector with weights releases every table m times as large, m being its weight, under noise of one parameter sigma. A
plan fixes sigma and how large a patient's change may be; which table weighs how much is decided by what earlier
vectors showed, within that bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from common.arrays import Floats, Integers
from common.errors import WireError
from common.marginals.queries import Domain, Query
from common.planning.plan import TOTAL_PART, PlannedVector
from common.privacy.events import LEAST_WEIGHTED, WIDEST_CHANGE
from common.secagg.terms import most_rows
from common.secagg.words import MOST
from common.study.study import Study

USUAL_WEIGHT = 72
"""The weight of a table among others of the same weight. It has many divisors, so that a table centered along columns
of two or three codes can have it too, and it is large enough that rounding a weight costs nothing."""

HEAVIEST = 8
"""No table weighs more than this many times `USUAL_WEIGHT`: the integers of a masked sum stay short."""

SUM_PART = 4
"""Weights are bounded so that all patients in one cell fill no more than one part in this many of a masked integer."""


def declared_domain(study: Study, bins: int) -> Domain:
    """Return the domain of a study before anything is counted: as many codes as each column can have.

    Args:
        study: with its columns.
        bins: upper bound on the codes of a numeric column.
    """
    columns = list(study.table.each())
    return Domain(
        tuple(column.max_codes(bins) for column in columns),
        tuple(column.missing for column in columns),
        is_few=tuple(column.has_few_labels for column in columns),
    )


def usual_weight(query: Query, domain: Domain) -> Query:
    """Return the query, centered, with the usual weight or the multiple of its unit next to it."""
    query = replace(query, is_centered=True)
    unit = domain.unit(query)
    return replace(query, weight=unit * max(1, round(USUAL_WEIGHT / unit)))


def with_weights(study: Study, planned: PlannedVector, needed: int, least_noise: float) -> PlannedVector:
    """Return the vector with weights, or as it is where its noise is too small for them or its sums too large.

    Args:
        study: with its hospitals.
        planned: the vector without weights.
        needed: squared sensitivity of its tables at their usual weights.
        least_noise: as in `VectorPhase.weighted`.
    """
    squared = math.ceil(needed * TOTAL_PART / (TOTAL_PART - 1)) + 1
    sigma = least_noise * math.sqrt(squared)
    by_noise = sigma / WIDEST_CHANGE if sigma >= LEAST_WEIGHTED else 0.0
    rows = study.table.parts * sum(most_rows(study, facts.name) for facts in study.hospitals)
    largest = math.floor(min(by_noise, MOST / SUM_PART / rows, HEAVIEST * USUAL_WEIGHT))
    if largest < math.ceil(1.2 * USUAL_WEIGHT):  # a unit of 27 rounds 72 up to 81
        return planned
    return replace(planned, squared_sensitivity=squared, largest_weight=largest)


def with_asked_weights(queries: Sequence[Query], weights: Integers, domain: Domain) -> tuple[Query, ...]:
    """Return the queries with the weights that a request gives them.

    Args:
        queries: tables of the phase.
        weights: of each table, shape (queries,).
        domain: codes of the columns.

    Raises:
        WireError: there is not one for each, or one is not a positive multiple of its query's unit.
    """
    if len(weights) != len(queries):
        raise WireError("the request does not give one weight for each table")
    if any(weight < 1 or weight % domain.unit(query) for query, weight in zip(queries, weights.tolist(), strict=True)):
        raise WireError("the weight of a requested table is not a positive multiple of its unit")
    return tuple(replace(query, weight=weight) for query, weight in zip(queries, weights.tolist(), strict=True))


def weigh(queries: Sequence[Query], precisions: Floats, planned: PlannedVector, domain: Domain) -> tuple[Query, ...]:
    """Return the tables worth asking for, with weights that come as close to the wanted precisions as the plan allows.

    Args:
        queries: the tables to choose from, without weights.
        precisions: wanted inverse noise variance of a cell of each, up to a common factor; 0 for a table that is not
            worth asking for. Shape (queries,).
        planned: the vector of the plan: bounds number and weights.
        domain: the codes of each column.
    """
    wanted = np.asarray(precisions, dtype=np.float64)
    worth = np.flatnonzero(wanted > 0)
    kept = sorted(worth[np.argsort(-wanted[worth], kind="stable")][: planned.tables].tolist())
    if not planned.has_weights:
        return tuple(queries[number] for number in kept)
    chosen = [replace(queries[number], is_centered=True) for number in kept]
    units = np.array([domain.unit(query) for query in chosen], dtype=np.int64)
    parts = np.array([domain.kept(query) for query in chosen])
    roots = np.sqrt(wanted[kept])
    most = planned.largest_weight // units * units

    def weights_at(scale: float) -> Integers:
        return np.asarray(np.clip(np.rint(scale * roots / units).astype(np.int64) * units, units, most))

    def cost(scale: float) -> float:
        return float((weights_at(scale) ** 2 * parts).sum())

    if not len(chosen) or cost(0.0) > planned.for_tables:
        raise ValueError("the plan allows fewer tables than are asked for")  # a plan has room for its tables
    low, high = 0.0, planned.largest_weight / roots.min()
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if cost(middle) <= planned.for_tables else (low, middle)
    weights = weights_at(low)
    return tuple(replace(query, weight=int(weight)) for query, weight in zip(chosen, weights, strict=True))
