from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.arrays import Integers
from common.columns.rounding import allot, classes_of, draw, members


@st.composite
def chains(draw: st.DrawFn) -> tuple[int, ...]:
    """Steps from coarse to fine, each a multiple of the next, the last above one."""
    steps = [draw(st.integers(2, 12))]
    for ratio in draw(st.lists(st.integers(2, 10), max_size=3)):
        steps.insert(0, steps[0] * ratio)
    return tuple(steps)


@st.composite
def borders(draw: st.DrawFn) -> Integers:
    start = draw(st.integers(-(10**6), 10**6))
    widths = draw(st.lists(st.integers(1, 60), min_size=1, max_size=12))
    return np.cumsum([start, *widths])


def test_a_value_is_of_the_class_of_its_coarsest_step() -> None:
    values = np.array([0, 7, 5, 10, -10, -5, 50, -3])
    assert classes_of(values, (10, 5)).tolist() == [0, 2, 1, 0, 0, 1, 0, 2]


@given(edges=borders(), steps=chains())
def test_every_value_of_a_cell_is_counted_in_its_class(edges: Integers, steps: tuple[int, ...]) -> None:
    counts = members(edges, steps)
    for cell, (first, last) in enumerate(itertools.pairwise(edges)):
        classes = classes_of(np.arange(first, last), steps)
        assert counts[cell].tolist() == np.bincount(classes, minlength=len(steps) + 1).tolist()


@given(edges=borders(), steps=chains(), seed=st.integers(0, 2**32 - 1))
def test_drawn_value_is_in_its_cell_and_class(edges: Integers, steps: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = members(edges, steps)
    cells = rng.random(len(counts)) + 1e-6
    shares = allot(cells, rng.dirichlet(np.full(len(steps) + 1, 0.3)) * cells.sum(), counts)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    assert (shares[counts == 0] == 0).all()
    drawn = rng.integers(0, len(counts), 200)
    values = draw(edges[drawn], edges[drawn + 1], shares[drawn], steps, rng)
    assert (values >= edges[drawn]).all()
    assert (values < edges[drawn + 1]).all()
    assert (shares[drawn, classes_of(values, steps)] > 0).all()


def test_values_of_a_class_are_drawn_evenly() -> None:
    # From -20 to 19: ten multiples of 4 that are none of 20, and 0 and -20 of class 0.
    several = 40_000
    edges = np.array([-20, 20])
    for place, values in enumerate(([-20, 0], [-16, -12, -8, -4, 4, 8, 12, 16], [v for v in range(-20, 20) if v % 4])):
        shares = np.tile(np.eye(3)[place], (several, 1))
        first, last = np.full(several, edges[0]), np.full(several, edges[1])
        drawn = draw(first, last, shares, (20, 4), np.random.default_rng(place))
        found, counts = np.unique(drawn, return_counts=True)
        assert found.tolist() == values
        even = several / len(values)
        assert np.abs(counts - even).max() < 5 * np.sqrt(even)


def test_classes_get_their_share_where_cells_allow_it() -> None:
    # Three cells of ten values, of which one in each is a multiple of ten.
    counts = members(np.array([0, 10, 20, 30]), (10,))
    cells = np.array([50.0, 30.0, 20.0])
    shares = allot(cells, np.array([80.0, 20.0]), counts)
    assert cells @ shares[:, 0] == pytest.approx(80)
    # A cell without a multiple takes none, and the others take more.
    shares = allot(cells, np.array([45.0, 55.0]), members(np.array([1, 10, 20, 30]), (10,)))
    assert shares[0].tolist() == [0.0, 1.0]
    assert cells @ shares[:, 0] == pytest.approx(45)
    # More than there is room for: as much as there is.
    shares = allot(cells, np.array([90.0, 10.0]), members(np.array([1, 10, 20, 30]), (10,)))
    assert cells @ shares[:, 0] == pytest.approx(50, rel=1e-3)
