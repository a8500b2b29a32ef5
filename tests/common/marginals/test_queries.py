from __future__ import annotations

import math
import tracemalloc
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.arrays import Integers
from common.errors import WireError
from common.marginals.queries import (
    Domain,
    Query,
    chosen_queries,
    coarse_queries,
    count,
    split,
)

# x has two codes, y three of which the last means missing.
SMALL = Domain((2, 3), (False, True))
CODES = np.array([[0, 0], [0, 2], [1, 2], [0, 0]], dtype=np.int16)


@st.composite
def tables(draw: st.DrawFn) -> tuple[Integers, tuple[Query, ...], Domain]:
    """Codes of some patients, queries of every kind, and the domain of both."""
    columns = draw(st.integers(3, 5))
    sizes = tuple(draw(st.integers(1, 12)) for _ in range(columns))
    missing = tuple(size > 1 and draw(st.booleans()) for size in sizes)
    rows = draw(st.integers(1, 12))
    codes = [[draw(st.integers(0, size - 1)) for size in sizes] for _ in range(rows)]
    places = [
        tuple(table) for arity in (1, 2, 3) for table in combinations(range(columns), arity)
    ]  # in increasing order
    queries = draw(
        st.lists(st.builds(Query, st.sampled_from(places), st.sampled_from([0, 2, 4, 6])), min_size=1, max_size=8)
    )
    return np.array(codes), tuple(queries), Domain(sizes, missing)


@given(table=tables())
def test_one_patient_changes_one_cell_of_every_query(
    table: tuple[Integers, tuple[Query, ...], Domain],
) -> None:
    codes, queries, domain = table
    whole = count(codes.astype(np.int16), queries, domain)
    for patient in range(len(codes)):
        without = count(np.delete(codes, patient, axis=0).astype(np.int16), queries, domain)
        difference = whole - without
        assert np.count_nonzero(difference) == len(queries)
        assert set(difference[difference != 0]) == {1}
        assert np.linalg.norm(difference) == pytest.approx(math.sqrt(len(queries)))
        for part in split(difference, queries, domain):
            assert part.sum() == 1


@given(table=tables())
def test_splitting_undoes_the_layout(table: tuple[Integers, tuple[Query, ...], Domain]) -> None:
    codes, queries, domain = table
    values = count(codes.astype(np.int16), queries, domain)
    parts = split(values, queries, domain)
    assert len(values) == domain.cells(queries)
    assert [part.shape for part in parts] == [domain.shape(query) for query in queries]
    assert (np.concatenate([part.ravel() for part in parts]) == values).all()
    for query, part in zip(queries, parts, strict=True):
        for groups in np.ndindex(part.shape):
            inside = [
                domain.groups(column, query.groups)[codes[:, column]] == group
                for column, group in zip(query.columns, groups, strict=True)
            ]
            assert part[groups] == np.logical_and.reduce(inside).sum()


def test_small_tables_can_be_counted_by_hand() -> None:
    queries = (Query((0,)), Query((1,)), Query((0, 1)), Query((0, 1), 2))
    x, y, both, grouped = split(count(CODES, queries, SMALL), queries, SMALL)
    assert x.tolist() == [3, 1]
    assert y.tolist() == [2, 0, 2]
    assert both.tolist() == [[2, 0, 1], [0, 0, 1]]
    # Two groups of y: codes 0 and 1 together, missing alone.
    assert grouped.tolist() == [[2, 1], [0, 1]]


def test_a_triple_can_be_counted_by_hand() -> None:
    domain = Domain((2, 2, 2), (False, False, False))
    codes = np.array([[0, 1, 1], [0, 1, 1], [1, 0, 1]], dtype=np.int16)
    (triple,) = split(count(codes, (Query((0, 1, 2)),), domain), (Query((0, 1, 2)),), domain)
    assert triple.tolist() == [[[0, 0], [0, 2]], [[0, 1], [0, 0]]]


def test_no_patients_give_zeros_and_no_queries_nothing() -> None:
    no_patients = np.empty((0, 2), dtype=np.int16)
    assert count(no_patients, (Query((0, 1)),), SMALL).tolist() == [0] * 6
    assert count(CODES, (), SMALL).shape == (0,)


@given(size=st.integers(1, 300), most=st.integers(2, 10), missing=st.booleans())
def test_groups_are_contiguous_and_keep_missing_apart(size: int, most: int, missing: bool) -> None:
    missing = missing and size > 1
    groups = Domain((size,), (missing,)).groups(0, most)
    assert len(groups) == size
    assert groups[0] == 0
    assert set(np.diff(groups)) <= {0, 1}
    assert groups[-1] + 1 == min(size, most)
    if missing:
        assert (groups == groups[-1]).sum() == 1
    present = np.bincount(groups[: size - missing])
    assert present.max() - present.min() <= 1


def test_full_leaves_every_code_alone() -> None:
    assert Domain((7,), (True,)).groups(0, 0).tolist() == list(range(7))


class TestChoice:
    def test_coarse_tables_are_every_column_and_every_pair(self) -> None:
        assert coarse_queries(3, 4) == (
            Query((0,)), Query((1,)), Query((2,)), Query((0, 1), 4), Query((0, 2), 4), Query((1, 2), 4),
        )  # fmt: skip

    def test_a_table_named_twice_or_mirrored_is_counted_once(self) -> None:
        pairs = chosen_queries(np.array([2, 0, 0, 1, 0, 2, 1, 0]), arity=2, groups=0, width=3)
        assert pairs == (Query((0, 1)), Query((0, 2)))
        triples = chosen_queries(np.array([2, 0, 1, 0, 1, 2]), arity=3, groups=6, width=3)
        assert triples == (Query((0, 1, 2), 6),)

    @pytest.mark.parametrize(
        ("arity", "columns"),
        [(2, [0, 3]), (2, [-1, 0]), (2, [0, 2**40]), (2, [1, 1]), (2, [0, 1, 2]), (3, [0, 1]), (3, [0, 1, 1])],
    )
    def test_columns_that_are_no_tables_are_refused(self, arity: int, columns: list[int]) -> None:
        with pytest.raises(WireError):
            chosen_queries(np.array(columns, dtype=np.int64), arity=arity, groups=0, width=3)


@pytest.mark.parametrize("columns", [(), (1, 0), (0, 0), (0, 2, 1)])
def test_a_query_names_its_columns_in_increasing_order(columns: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="increasing"):
        Query(columns)


def test_a_hundred_columns_of_thirty_codes_fit_in_memory() -> None:
    domain = Domain((30,) * 100, (True,) * 100)
    codes = np.random.default_rng(0).integers(0, 30, (500, 100)).astype(np.int16)
    coarse, full = coarse_queries(100, 4), tuple(Query(pair) for pair in combinations(range(100), 2))
    tracemalloc.start()
    values = [count(codes, queries, domain) for queries in (coarse, full)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 100 x 30 + 4950 x 4 x 4 cells, and 4950 x 30 x 30 cells of 8 bytes: 36 MB, twice while they are joined.
    assert [len(vector) for vector in values] == [82_200, 4_455_000]
    assert peak < 2 * 2**30
    assert values[1].sum() == 500 * 4950
