from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from common.arrays import Integers
from common.columns.binning import Binning
from common.columns.numeric import Numeric
from common.columns.rounding import RoundValues, allot


@st.composite
def chains(draw: st.DrawFn) -> tuple[int, ...]:
    """Steps from coarse to fine, each a multiple of the next, the last above one."""
    steps = [draw(st.integers(2, 12))]
    for ratio in draw(st.lists(st.integers(2, 10), max_size=3)):
        steps.insert(0, steps[0] * ratio)
    return tuple(steps)


@st.composite
def round_values(draw: st.DrawFn) -> RoundValues:
    """Steps, values recorded in another unit, or both."""
    steps = draw(st.one_of(st.just(()), chains()))
    smallest = (
        st.sampled_from([0.0, 2.54, 25.4, 4.5359237, 30.48, 7.0]) if steps else st.sampled_from([2.54, 25.4, 12.7])
    )
    return RoundValues(steps, draw(smallest))


@st.composite
def borders(draw: st.DrawFn) -> Integers:
    start = draw(st.integers(-(10**6), 10**6))
    widths = draw(st.lists(st.integers(1, 60), min_size=1, max_size=12))
    return np.cumsum([start, *widths])


def test_a_value_is_of_the_class_of_its_coarsest_step() -> None:
    values = np.array([0, 7, 5, 10, -10, -5, 50, -3])
    assert RoundValues((10, 5)).classes_of(values).tolist() == [0, 2, 1, 0, 0, 1, 0, 2]


@given(edges=borders(), rounds=round_values())
def test_every_value_of_a_cell_is_counted_in_its_class(edges: Integers, rounds: RoundValues) -> None:
    counts = rounds.members(edges)
    for cell, (first, last) in enumerate(itertools.pairwise(edges)):
        classes = rounds.classes_of(np.arange(first, last))
        assert counts[cell].tolist() == np.bincount(classes, minlength=rounds.classes).tolist()


@given(edges=borders(), rounds=round_values(), seed=st.integers(0, 2**32 - 1))
def test_drawn_value_is_in_its_cell_and_class(edges: Integers, rounds: RoundValues, seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rounds.members(edges)
    cells = rng.random(len(counts)) + 1e-6
    shares = allot(cells, rng.dirichlet(np.full(rounds.classes, 0.3)) * cells.sum(), counts)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    assert (shares[counts == 0] == 0).all()
    drawn = rng.integers(0, len(counts), 200)
    values = rounds.draw(edges[drawn], edges[drawn + 1], shares[drawn], rng)
    assert (values >= edges[drawn]).all()
    assert (values < edges[drawn + 1]).all()
    assert (shares[drawn, rounds.classes_of(values)] > 0).all()


def test_cells_hold_what_their_round_values_say() -> None:
    # Halves of ten values: one has the multiple of ten, the other none. Nine of ten values are round.
    even = RoundValues((10,)).even(np.array([0, 5, 10, 15, 20]), np.array([90.0, 10.0]))
    assert even == pytest.approx([0.45 + 0.1 * 4 / 18, 0.1 * 5 / 18] * 2)
    assert RoundValues().even(np.array([0, 1, 3, 4]), np.zeros(0)) == pytest.approx([0.25, 0.5, 0.25])


def test_round_values_stay_round_where_noise_is_large() -> None:
    """All 3000 values are whole, cells are 0.4 wide, and the noise of a cell exceeds what it holds."""
    column, binning = Numeric(name="lab", lower=0, upper=200, decimals=1, multiples=(1.0,)), Binning(512, 16, 20.0)
    rng = np.random.default_rng(0)
    patients = pd.Series(np.clip(np.rint(rng.normal(80, 15, 3000)), 0, 200))
    counts = column.histogram(512).count(patients)
    code = column.code(counts + np.rint(rng.normal(0, 20, len(counts))).astype(np.int64), binning)
    drawn = code.decode(code.encode(patients), rng)
    assert (drawn % 1 == 0).mean() > 0.95


def test_values_of_a_class_are_drawn_evenly() -> None:
    # From -20 to 19: ten multiples of 4 that are none of 20, and 0 and -20 of class 0.
    several = 40_000
    edges = np.array([-20, 20])
    for place, values in enumerate(([-20, 0], [-16, -12, -8, -4, 4, 8, 12, 16], [v for v in range(-20, 20) if v % 4])):
        shares = np.tile(np.eye(3)[place], (several, 1))
        first, last = np.full(several, edges[0]), np.full(several, edges[1])
        drawn = RoundValues((20, 4)).draw(first, last, shares, np.random.default_rng(place))
        found, counts = np.unique(drawn, return_counts=True)
        assert found.tolist() == values
        even = several / len(values)
        assert np.abs(counts - even).max() < 5 * np.sqrt(even)


def test_classes_get_their_share_where_cells_allow_it() -> None:
    # Three cells of ten values, of which one in each is a multiple of ten.
    counts = RoundValues((10,)).members(np.array([0, 10, 20, 30]))
    cells = np.array([50.0, 30.0, 20.0])
    shares = allot(cells, np.array([80.0, 20.0]), counts)
    assert cells @ shares[:, 0] == pytest.approx(80)
    # A cell without a multiple takes none, and the others take more.
    shares = allot(cells, np.array([45.0, 55.0]), RoundValues((10,)).members(np.array([1, 10, 20, 30])))
    assert shares[0].tolist() == [0.0, 1.0]
    assert cells @ shares[:, 0] == pytest.approx(45)
    # More than there is room for: as much as there is.
    shares = allot(cells, np.array([90.0, 10.0]), RoundValues((10,)).members(np.array([1, 10, 20, 30])))
    assert cells @ shares[:, 0] == pytest.approx(50, rel=1e-3)


def test_whole_inches_in_tenths_of_centimeters_are_a_class() -> None:
    rounds = RoundValues((10,), 25.4)
    heights = np.array([1651, 1676, 1700, 1702, 1703, 1270])  # 127.0 is 50 inches, and also whole centimeters
    assert rounds.classes_of(heights).tolist() == [1, 1, 0, 1, 2, 1]
    finer = RoundValues((100, 10), 254.0, 10)  # in hundredths: 172.7 is 68 inches in tenths, 172.72 is not
    assert finer.classes_of(np.array([17270, 17272, 17200, 17280])).tolist() == [2, 3, 0, 1]


def test_values_recorded_elsewhere_are_drawn_as_recorded() -> None:
    rounds, several = RoundValues((), 25.4), 2000
    first, last = np.full(several, 1500), np.full(several, 1800)
    odds = np.tile([1.0, 0.0], (several, 1))
    drawn = rounds.draw(first, last, odds, np.random.default_rng(0))
    assert np.unique(drawn).tolist() == [round(25.4 * inches) for inches in range(60, 71)]
    others = rounds.draw(first, last, np.tile([0.0, 1.0], (several, 1)), np.random.default_rng(0))
    assert not set(drawn) & set(others)


@pytest.mark.parametrize(
    "declared",
    [{"recorded_step": 2.54}, {"recorded_decimals": 1}, {"recorded_step": 2.54, "recorded_decimals": 3},
     {"recorded_step": 0.1, "recorded_decimals": 1}, {"recorded_step": 500.0, "recorded_decimals": 1}],
)  # fmt: skip
def test_a_recorded_step_that_tells_nothing_is_refused(declared: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="recorded_step needs recorded_decimals of at most decimals = 2"):
        Numeric.model_validate({"name": "height", "lower": 0.0, "upper": 300.0, "decimals": 2} | declared)
