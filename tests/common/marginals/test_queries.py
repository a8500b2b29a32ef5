from __future__ import annotations

import tracemalloc
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.arrays import Floats
from common.columns.base import Codes
from common.columns.binning import Binning
from common.columns.categorical import Categorical
from common.columns.numeric import Numeric
from common.encoding import Encoder
from common.errors import WireError
from common.marginals.queries import (
    FULL,
    NESTED,
    Domain,
    Query,
    chosen_tables,
    count,
    padded,
    pair_queries,
    single_queries,
    split,
)
from common.study.schema import Schema

# x has two codes, y three of which the last means missing.
SMALL = Domain((2, 3), (False, True))
CODES = np.array([[0, 0], [0, 2], [1, 2], [0, 0]], dtype=np.int16)

Tables = tuple[Codes, tuple[Query, ...], Domain]


@st.composite
def domains(draw: st.DrawFn) -> Domain:
    """Columns of a few codes or many, with missing or without, of whatever masses."""
    columns = draw(st.integers(3, 5))
    sizes = tuple(draw(st.integers(1, 12)) for _ in range(columns))
    missing = tuple(size > 1 and draw(st.booleans()) for size in sizes)
    masses = tuple(tuple(draw(st.floats(0.01, 1000)) for _ in range(size)) for size in sizes)
    is_few = tuple(size <= 3 and draw(st.booleans()) for size in sizes)
    return Domain(sizes, missing, masses if draw(st.booleans()) else (), is_few)


@st.composite
def tables(draw: st.DrawFn, *, weighted: bool = False) -> Tables:
    """Codes of some patients, queries of every kind, and the domain of both."""
    domain = draw(domains())
    columns, rows = len(domain.sizes), draw(st.integers(1, 12))
    codes = [[draw(st.integers(0, size - 1)) for size in domain.sizes] for _ in range(rows)]
    places = [table for arity in (0, 1, 2, 3) for table in combinations(range(columns), arity)]
    some = st.builds(Query, st.sampled_from(places), st.sampled_from([FULL, 3, 4, 6] if weighted else [FULL, 2, 4, 6]))
    queries = draw(st.lists(some, min_size=1, max_size=8))
    if weighted:
        queries = [replace(query, is_centered=draw(st.booleans())) for query in queries]
        queries = [replace(query, weight=domain.unit(query) * draw(st.integers(1, 90))) for query in queries]
    return np.array(codes, dtype=np.int16), tuple(queries), domain


class TestOnePatient:
    @given(table=tables())
    def test_changes_one_cell_of_every_query(self, table: Tables) -> None:
        codes, queries, domain = table
        whole = count(codes, queries, domain)
        for patient in range(len(codes)):
            difference = whole - count(np.delete(codes, patient, axis=0), queries, domain)
            assert np.count_nonzero(difference) == len(queries)
            assert set(difference[difference != 0]) == {1}
            assert (difference**2).sum() == len(queries) == domain.squared_sensitivity(queries)
            for part in split(difference, queries, domain):
                assert part.sum() == 1

    @given(table=tables(weighted=True))
    def test_with_weights_changes_exactly_what_is_charged(self, table: Tables) -> None:
        codes, queries, domain = table
        whole = count(codes, queries, domain)
        expected = sum(round(query.weight**2 * domain.kept(query)) for query in queries)
        for patient in range(len(codes)):
            without = count(np.delete(codes, patient, axis=0), queries, domain)
            added, removed = whole - without, without - whole
            assert (added**2).sum() == (removed**2).sum() == expected <= domain.squared_sensitivity(queries)
            assert np.abs(added).max() <= max(query.weight for query in queries)
            # The same whoever else is there: what a patient adds depends on that patient alone.
            alone = count(codes[patient : patient + 1], queries, domain)
            assert (added == alone).all()
            for query, part in zip(queries, split(added, queries, domain), strict=True):
                assert (part**2).sum() == pytest.approx(query.weight**2 * domain.kept(query), abs=1e-6)

    def test_with_weights_can_be_worked_out_by_hand(self) -> None:
        # x of 2 codes and z of 3, both centered, y of 4 not: 72^2 x 1/2 x 2/3 = 1728.
        domain = Domain((2, 4, 3), (False,) * 3, is_few=(True, False, True))
        pair, triple = Query((0, 2), weight=72, is_centered=True), Query((0, 1, 2), weight=6, is_centered=True)
        patient = np.array([[1, 2, 0]], dtype=np.int16)
        two, three = split(count(patient, (pair, triple), domain), (pair, triple), domain)
        # 72 in one cell, less half of it along x, less a third along z: 72 x (+-1/2) x (2/3, -1/3, -1/3).
        assert two.tolist() == [[-24, 12, 12], [24, -12, -12]]
        assert three[:, 2].tolist() == [[-2, 1, 1], [2, -1, -1]]
        assert not three[:, [0, 1, 3]].any()
        assert domain.squared_sensitivity((pair,)) == 1728 == (two**2).sum()
        assert domain.squared_sensitivity((triple,)) == 12 == (three**2).sum()  # 36 x 1/3


class TestCentering:
    DOMAIN = Domain((2, 8, 3, 3), (False, False, False, True), is_few=(True, False, True, False))

    def test_axes_are_those_of_few_labels(self) -> None:
        query = Query((0, 1, 2), is_centered=True)
        assert self.DOMAIN.centered_axes(query) == (0, 2)
        assert self.DOMAIN.unit(query) == 6
        assert self.DOMAIN.kept(query) == pytest.approx(1 / 2 * 2 / 3)
        assert self.DOMAIN.centered_axes(Query((1, 3), is_centered=True)) == ()  # three codes, but they are bins
        for plain in (replace(query, is_centered=False), Query(())):
            assert (self.DOMAIN.centered_axes(plain), self.DOMAIN.unit(plain), self.DOMAIN.kept(plain)) == ((), 1, 1)

    @given(table=tables(weighted=True))
    def test_centered_tables_sum_to_zero_along_their_axes(self, table: Tables) -> None:
        codes, queries, domain = table
        for query, part in zip(queries, split(count(codes, queries, domain), queries, domain), strict=True):
            axes = domain.centered_axes(query)
            for axis in axes:
                assert not part.sum(axis).any()
            if not axes:
                assert part.sum() == query.weight * len(codes)

    @given(table=tables(weighted=True))
    def test_weights_multiply_the_centered_counts(self, table: Tables) -> None:
        codes, queries, domain = table
        plain = tuple(Query(query.columns, query.groups) for query in queries)
        found, counted = (split(count(codes, some, domain), some, domain) for some in (queries, plain))
        for query, part, exact in zip(queries, found, counted, strict=True):
            expected = exact.astype(np.float64)
            for axis in domain.centered_axes(query):
                expected = expected - expected.sum(axis, keepdims=True) / exact.shape[axis]
            assert part == pytest.approx(query.weight * expected, abs=1e-6)


class TestCount:
    @given(table=tables())
    def test_splitting_undoes_the_layout(self, table: Tables) -> None:
        codes, queries, domain = table
        values = count(codes, queries, domain)
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
                assert part[groups] == (np.logical_and.reduce(inside).sum() if inside else len(codes))

    def test_small_tables_can_be_counted_by_hand(self) -> None:
        queries = (Query(()), Query((0,)), Query((1,)), Query((0, 1)), Query((0, 1), 1))
        total, x, y, both, grouped = split(count(CODES, queries, SMALL), queries, SMALL)
        assert total == 4
        assert x.tolist() == [3, 1]
        assert y.tolist() == [2, 0, 2]
        assert both.tolist() == [[2, 0, 1], [0, 0, 1]]
        # One group of x; of y codes 0 and 1 together, missing alone.
        assert grouped.tolist() == [[2, 2]]

    def test_a_triple_can_be_counted_by_hand(self) -> None:
        domain = Domain((2, 2, 2), (False, False, False))
        codes = np.array([[0, 1, 1], [0, 1, 1], [1, 0, 1]], dtype=np.int16)
        (triple,) = split(count(codes, (Query((0, 1, 2)),), domain), (Query((0, 1, 2)),), domain)
        assert triple.tolist() == [[[0, 0], [0, 2]], [[0, 1], [0, 0]]]

    def test_no_patients_give_zeros_and_no_queries_nothing(self) -> None:
        no_patients = np.empty((0, 2), dtype=np.int16)
        assert count(no_patients, (Query((0, 1)),), SMALL).tolist() == [0] * 6
        assert count(CODES, (), SMALL).shape == (0,)

    def test_a_hundred_columns_of_thirty_codes_fit_in_memory(self) -> None:
        domain = Domain((30,) * 100, (True,) * 100)
        codes = np.random.default_rng(0).integers(0, 30, (500, 100)).astype(np.int16)
        coarse, full = pair_queries(100, 4), pair_queries(100, FULL)
        tracemalloc.start()
        values = [count(codes, queries, domain) for queries in (coarse, full)]
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # 4950 x 5 x 5 cells, missing in a group of its own, and 4950 x 30 x 30 cells of 8 bytes: 36 MB, twice while
        # they are joined.
        assert [len(vector) for vector in values] == [123_750, 4_455_000]
        assert peak < 2 * 2**30
        assert values[1].sum() == 500 * 4950


@st.composite
def columns_of_masses(draw: st.DrawFn) -> tuple[Domain, Floats]:
    """One column of random masses: even, uneven, or with all but one close to nothing."""
    size = draw(st.integers(1, 80))
    missing = size > 1 and draw(st.booleans())
    scale = draw(st.sampled_from([0.1, 2.0, 8.0]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    masses = np.exp(scale * rng.normal(size=size))
    return Domain((size,), (missing,), (tuple(masses.tolist()),)), masses


class TestGroups:
    @given(column=columns_of_masses(), most=st.integers(1, 20))
    def test_are_contiguous_and_keep_missing_apart(self, column: tuple[Domain, Floats], most: int) -> None:
        domain, _ = column
        (size,), (missing,) = domain.sizes, domain.has_missing
        groups = domain.groups(0, most)
        assert len(groups) == size
        assert groups[0] == 0
        assert set(np.diff(groups)) <= {0, 1}
        assert groups[-1] + 1 <= most + missing
        if size - missing <= most:
            assert groups.tolist() == list(range(size))
        if missing:
            assert (groups == groups[-1]).sum() == 1

    @given(column=columns_of_masses())
    def test_of_every_level_lie_within_each_other(self, column: tuple[Domain, Floats]) -> None:
        domain, _ = column
        for coarse, fine in pairwise([*sorted(NESTED), FULL]):
            coarser, finer = domain.groups(0, coarse), domain.groups(0, fine)
            assert len(set(zip(finer.tolist(), coarser.tolist(), strict=True))) == finer[-1] + 1
            assert coarser[-1] <= finer[-1]

    @given(size=st.integers(1, 300), most=st.sampled_from(NESTED), missing=st.booleans())
    def test_of_equal_masses_hold_equally_many_codes(self, size: int, most: int, missing: bool) -> None:
        missing = missing and size > 1
        groups = Domain((size,), (missing,)).groups(0, most)
        present = np.bincount(groups[: size - missing])
        assert len(present) == min(size - missing, most)
        if size - missing > 4 * most:
            assert present.max() - present.min() <= 16 // most  # at most one code for each of the finest groups

    @given(column=columns_of_masses(), most=st.sampled_from(NESTED))
    def test_hold_about_equal_masses(self, column: tuple[Domain, Floats], most: int) -> None:
        domain, masses = column
        (size,), (missing,) = domain.sizes, domain.has_missing
        present = masses[: size - missing] / masses[: size - missing].sum()
        held = np.bincount(domain.groups(0, most)[: size - missing], weights=present)
        # No group exceeds its part of the mass by more than half of one code at either end, and at every level above.
        levels = sum(level >= most for level in NESTED)
        assert held.max() <= 1 / most + levels * present.max() + 1e-9

    def test_by_mass_can_be_worked_out_by_hand(self) -> None:
        # 8, 1, 1, 2, 4 of 16 patients, and 5 whose value is missing. The middle of each code: 4, 8.5, 9.5, 11, 14 of
        # 16; in two groups below and above 8.
        domain = Domain((6,), (True,), ((8.0, 1.0, 1.0, 2.0, 4.0, 5.0),))
        assert domain.groups(0, 2).tolist() == [0, 1, 1, 1, 1, 2]
        # In four groups: quarters 1, 2, 2, 2, 3; the first quarter has nobody.
        assert domain.groups(0, 4).tolist() == [0, 1, 1, 1, 2, 3]
        assert domain.groups(0, 8).tolist() == [0, 1, 2, 3, 4, 5]

    def test_full_leaves_every_code_alone(self) -> None:
        assert Domain((7,), (True,)).groups(0, FULL).tolist() == list(range(7))

    def test_cannot_be_changed_through_what_is_returned(self) -> None:
        domain = Domain((40,), (False,))
        domain.groups(0, 4)[:] = 0
        assert domain.groups(0, 4).max() == 3


def test_domain_of_an_encoder_has_its_masses_and_few_labels() -> None:
    schema = Schema(
        columns=(
            Numeric(name="x", lower=0, upper=3),
            Categorical(name="y", categories=("a", "b"), missing=True),
            Categorical(name="z", categories=("a", "b", "c"), missing=True),
            Numeric(name="flag", lower=0, upper=1),
        )
    )
    noisy = np.array([5, 1, 1, 2, 30, 20, 10, 3, 3, 3, 3, 40, 50])
    encoder = Encoder(schema, noisy, Binning(cells=16, bins=2))
    domain = Domain.of(encoder)
    assert domain.sizes == (2, 3, 4, 2)
    assert domain.has_missing == (False, True, True, False)
    assert domain.is_few == (False, True, False, False)  # missing counts, and a number is no label
    assert domain.masses == tuple(tuple(masses.tolist()) for masses in encoder.masses)


class TestTables:
    def test_singles_are_every_column_and_pairs_every_pair(self) -> None:
        assert single_queries(3) == (Query((0,)), Query((1,)), Query((2,)))
        assert pair_queries(3, 4) == (Query((0, 1), 4), Query((0, 2), 4), Query((1, 2), 4))

    def test_chosen_tables_keep_the_order_of_the_request(self) -> None:
        assert chosen_tables(np.array([0, 2, 0, 1]), arity=2, width=3) == ((0, 2), (0, 1))
        assert chosen_tables(np.array([0, 1, 2, 0, 1, 3]), arity=3, width=4) == ((0, 1, 2), (0, 1, 3))
        assert chosen_tables(np.empty(0, dtype=np.int64), arity=3, width=4) == ()

    def test_tables_of_fewer_columns_are_padded(self) -> None:
        named = np.array([*padded((0, 1, 3)), *padded((0, 1, 2, 3))])
        assert named.tolist() == [0, 1, 3, -1, 0, 1, 2, 3]
        assert chosen_tables(named, arity=3, width=4, most=4) == ((0, 1, 3), (0, 1, 2, 3))

    @pytest.mark.parametrize(
        ("columns", "problem"),
        [
            ([0, 1, -1, -1], "tables of 3 columns"), ([-1, 0, 1, 2], "tables of 3 columns"),
            ([0, 1, 2, -2], "tables of 3 columns"), ([0, 1, 2, 4], "tables of 3 columns"),
            ([0, 1, -1, 2], "tables of 3 columns"), ([0, 1, 2], "tables of 3 columns"),
            ([0, 2, 1, -1], "increasing"), ([0, 1, 2, 2], "increasing"), ([0, 1, 2, -1, 0, 1, 2, -1], "twice"),
        ],
        ids=range(9),
    )  # fmt: skip
    def test_padded_tables_are_checked(self, columns: list[int], problem: str) -> None:
        with pytest.raises(WireError, match=problem):
            chosen_tables(np.array(columns, dtype=np.int64), arity=3, width=4, most=4)

    @pytest.mark.parametrize(
        ("arity", "columns"), [(2, [0, 3]), (2, [-1, 0]), (2, [0, 2**40]), (2, [0, 1, 2]), (3, [0, 1]), (3, [1])]
    )
    def test_columns_that_are_no_tables_are_refused(self, arity: int, columns: list[int]) -> None:
        with pytest.raises(WireError, match=f"does not name tables of {arity} columns of the schema"):
            chosen_tables(np.array(columns, dtype=np.int64), arity=arity, width=3)

    @pytest.mark.parametrize(("arity", "columns"), [(2, [1, 0]), (2, [0, 1, 1, 1]), (3, [0, 1, 1]), (3, [0, 2, 1])])
    def test_tables_out_of_order_are_refused(self, arity: int, columns: list[int]) -> None:
        with pytest.raises(WireError, match="not in increasing order"):
            chosen_tables(np.array(columns, dtype=np.int64), arity=arity, width=3)

    @pytest.mark.parametrize(("arity", "columns"), [(2, [0, 1, 0, 2, 0, 1]), (3, [0, 1, 2, 0, 1, 2])])
    def test_a_table_named_twice_is_refused(self, arity: int, columns: list[int]) -> None:
        with pytest.raises(WireError, match="names a table twice"):
            chosen_tables(np.array(columns, dtype=np.int64), arity=arity, width=3)


class TestQuery:
    @pytest.mark.parametrize("columns", [(1, 0), (0, 0), (0, 2, 1)])
    def test_names_its_columns_in_increasing_order(self, columns: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match="increasing"):
            Query(columns)

    @pytest.mark.parametrize("weight", [0, -72])
    def test_weighs_at_least_one(self, weight: int) -> None:
        with pytest.raises(ValueError, match=f"weight={weight} is below 1"):
            Query((0, 1), weight=weight)
