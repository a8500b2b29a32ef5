from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from common.arrays import Integers
from common.columns.binning import Binning
from common.columns.categorical import Categorical
from common.columns.histograms import levels
from common.columns.numeric import Numeric
from common.encoding import Encoder, count_cells, histogram_length, histogram_max_changed_cells
from common.study.schema import Schema
from common.tables.conforming import conform, format_table

AGE = Numeric(name="age", lower=18, upper=100)
LAB = Numeric(name="lab", lower=0, upper=20, decimals=1, missing=True)
BALANCE = Numeric(name="balance", lower=-1e6, upper=1e6, decimals=3, multiples=(100.0, 1.0, 0.05), missing=True)
SEX = Categorical(name="sex", categories=("female", "male"))
STAGE = Categorical(name="stage", categories=("i", "ii", "iii"), missing=True)
SCHEMA = Schema(columns=(AGE, SEX, LAB, STAGE, BALANCE))

quick = settings(deadline=None, max_examples=60)


@st.composite
def numerics(draw: st.DrawFn) -> Numeric:
    decimals = draw(st.integers(0, 4))
    step = 10**decimals
    lower = draw(st.integers(-(10**9), 10**9))
    upper = lower + draw(st.integers(1, 2 * 10**9))
    return Numeric(name="x", lower=lower / step, upper=upper / step, decimals=decimals, missing=draw(st.booleans()))


@st.composite
def histograms(draw: st.DrawFn, length: int) -> Integers:
    seed, spread = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([0, 1, 30, 10**6]))
    return np.random.default_rng(seed).integers(-spread, spread + 1, length)


def raw_table(rows: int, seed: int) -> pd.DataFrame:
    """Cells of all sorts: fine ones, out of bounds, blank, unlisted, no numbers."""
    rng = np.random.default_rng(seed)
    numbers = np.array(
        ["", "NA", "x", "-5", "18", "19.4", "20", "63", "100", "1e9", "-1e6", "0.05", "7.25"], dtype=object
    )
    labels = np.array(["female", "male", "i", "iii", "", "unlisted"], dtype=object)
    return pd.DataFrame(
        {name: rng.choice(labels if name in ("sex", "stage") else numbers, rows) for name in SCHEMA.names}, dtype=object
    )


@quick
@given(column=numerics(), cells=st.integers(16, 512))
def test_cells_cover_the_value_grid_without_gap(column: Numeric, cells: int) -> None:
    starts = column.grid.cell_starts(cells)
    assert starts[0] == 0
    assert starts[-1] == column.grid.size
    assert (np.diff(starts) >= 1).all()
    assert len(starts) - 1 <= cells


@pytest.mark.parametrize(
    ("column", "points"),
    [
        (AGE, 83),  # 18, 19, ..., 100
        (LAB, 201),  # 0.0, 0.1, ..., 20.0
        (BALANCE, 2_000_000_001),
        (Numeric(name="x", lower=0, upper=1), 2),
        (Numeric(name="x", lower=0.1, upper=0.3, decimals=1), 3),
    ],
)
def test_value_grid_has_a_point_for_every_value(column: Numeric, points: int) -> None:
    assert column.grid.size == points


def test_column_too_fine_for_float64_is_refused() -> None:
    # From -1e6 to 1e6 in steps of 1e-9 there are 2e15 values; 2^50 is 1.1e15.
    with pytest.raises(ValidationError, match=r"column 'x' can take more than 2\^50 values; lower its decimals"):
        Numeric(name="x", lower=-1e6, upper=1e6, decimals=9)


@pytest.mark.parametrize("cells", range(16, 512, 31))
def test_upper_bound_does_not_lengthen_finest_histogram(cells: int) -> None:
    finest = Numeric(name="x", lower=0, upper=1e6, decimals=9)  # 1e15 + 1 values
    schema = Schema(columns=(finest, SEX))
    assert finest.grid.cell_starts(cells)[-1] == finest.grid.size == 10**15 + 1
    counts = count_cells(pd.DataFrame({"x": [0.0, 1e6], "sex": "male"}), schema, cells)
    assert len(counts) == histogram_length(schema, cells)
    assert (counts[0], counts[-3]) == (1, 1)
    assert counts[-2:].tolist() == [0, 2]  # two men


def test_a_short_column_gets_a_cell_for_every_value() -> None:
    assert Numeric(name="x", lower=5, upper=8).grid.cell_starts(16).tolist() == [0, 1, 2, 3, 4]


def test_cells_of_a_long_column_widen_away_from_the_lower_bound() -> None:
    widths = np.diff(BALANCE.grid.cell_starts(64))
    assert (np.diff(widths) >= 0).all()
    assert widths[-1] > 10 * widths[0]


def test_counts_are_counts() -> None:
    x = Numeric(name="x", lower=0, upper=2)
    y = Numeric(name="y", lower=0, upper=1, missing=True)
    frame = pd.DataFrame({"x": [0.0, 2.0, 2.0], "y": [1.0, np.nan, 1.0]})
    # x: one 0, no 1, two 2; y: no 0, two 1, one missing.
    assert count_cells(frame, Schema(columns=(x, y)), 16).tolist() == [1, 0, 2, 0, 2, 1]
    # sex: one woman, two men; stage: no i, two ii, no iii, one missing.
    frame = pd.DataFrame({"sex": ["male", "female", "male"], "stage": ["ii", None, "ii"]}, dtype=object)
    assert count_cells(frame, Schema(columns=(SEX, STAGE)), 16).tolist() == [1, 2, 0, 2, 0, 1]


@quick
@given(rows=st.integers(0, 8), seed=st.integers(0, 2**32 - 1), cells=st.integers(16, 512))
def test_patient_is_in_one_node_of_every_level(rows: int, seed: int, cells: int) -> None:
    frame = conform(raw_table(rows + 1, seed), SCHEMA)
    change = count_cells(frame, SCHEMA, cells) - count_cells(frame.iloc[1:], SCHEMA, cells)
    place = moved = 0
    for column in SCHEMA.modeled:
        present = int(frame[column.name].notna().iloc[0])
        if not isinstance(column, Numeric):
            cells_of_labels = change[place : place + column.max_codes(0)]
            expected = [*(int(label == frame[column.name].iloc[0]) for label in column.labels), 1 - present]
            assert cells_of_labels.tolist() == expected[: len(cells_of_labels)]
            place += len(cells_of_labels)
            moved += 1
            continue
        for borders in levels(len(column.grid.cell_starts(cells)) - 1):
            nodes = change[place : place + len(borders) - 1]
            assert sorted(nodes.tolist()) == [0] * (len(nodes) - present) + [1] * present
            place += len(nodes)
            moved += present
        if rounds := column.histogram(cells).rounds:
            classes = change[place : place + rounds.classes]
            assert sorted(classes.tolist()) == [0] * (len(classes) - present) + [1] * present
            place += len(classes)
            moved += present
        if column.missing:
            assert change[place] == 1 - present
            place += 1
            moved += 1 - present
    assert place == len(change) == histogram_length(SCHEMA, cells)
    assert float(np.linalg.norm(change)) == math.sqrt(moved)
    assert moved <= histogram_max_changed_cells(SCHEMA, cells)
    if frame.iloc[0].notna().all():
        assert moved == histogram_max_changed_cells(SCHEMA, cells)


def test_a_table_without_rows_or_without_numbers_is_counted_too() -> None:
    empty = conform(raw_table(0, 0), SCHEMA)
    assert not count_cells(empty, SCHEMA, 16).any()
    labels = Schema(columns=(SEX, STAGE))
    assert count_cells(conform(raw_table(3, 0), labels), labels, 16).sum() == 6
    assert Encoder(labels, np.zeros(6, dtype=np.int64), Binning(cells=16, bins=4)).sizes == (2, 4)


@quick
@given(data=st.data(), bins=st.integers(2, 40), cells=st.sampled_from([16, 100, 512]))
def test_codes_decode_to_schema_and_encode_back(data: st.DataObject, bins: int, cells: int) -> None:
    encoder = Encoder(SCHEMA, data.draw(histograms(histogram_length(SCHEMA, cells))), Binning(cells=cells, bins=bins))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    codes = np.stack([rng.integers(0, size, 50) for size in encoder.sizes], axis=1).astype(np.int16)
    frame = encoder.decode(codes, rng)
    assert list(frame.columns) == list(SCHEMA.names)
    pd.testing.assert_frame_equal(conform(format_table(frame, SCHEMA), SCHEMA), frame)
    for column in SCHEMA.each():
        values = frame[column.name]
        assert column.missing or values.notna().all()
        if column.grid is not None:
            assert values.dropna().between(column.grid.lower, column.grid.upper).all()
        else:
            assert set(values.dropna()) <= set(column.labels)
    assert (encoder.encode(frame) == codes).all()


def test_numbers_of_a_bin_come_in_the_given_order() -> None:
    schema = Schema(columns=(AGE, SEX))
    counts = np.ones(histogram_length(schema, 100), dtype=np.int64)
    encoder = Encoder(schema, counts, Binning(cells=100, bins=4))
    codes, order = np.zeros((40, 2), dtype=np.int16), np.tile(np.arange(40.0)[::-1, None], 2)
    ages = encoder.decode(codes, np.random.default_rng(0), order)["age"]
    assert ages.is_monotonic_decreasing
    assert ages.nunique() > 10


@quick
@given(data=st.data(), column=numerics(), bins=st.integers(2, 40))
def test_any_numeric_column_survives_codes(data: st.DataObject, column: Numeric, bins: int) -> None:
    schema = Schema(columns=(column, SEX))
    encoder = Encoder(schema, data.draw(histograms(histogram_length(schema, 64))), Binning(cells=64, bins=bins))
    codes = np.stack([np.arange(60) % encoder.sizes[0], np.zeros(60)], axis=1).astype(np.int16)
    frame = encoder.decode(codes, np.random.default_rng(0))
    assert frame["x"].dropna().between(column.lower, column.upper).all()
    assert (encoder.encode(frame) == codes).all()
    assert encoder.sizes[0] <= bins + column.missing


@quick
@given(data=st.data(), rows=st.integers(0, 30), seed=st.integers(0, 2**32 - 1))
def test_every_conformed_table_has_codes_below_the_sizes(data: st.DataObject, rows: int, seed: int) -> None:
    encoder = Encoder(SCHEMA, data.draw(histograms(histogram_length(SCHEMA, 32))), Binning(cells=32, bins=8))
    codes = encoder.encode(conform(raw_table(rows, seed), SCHEMA))
    assert codes.shape == (rows, 5)
    assert codes.dtype == np.int16
    assert (codes >= 0).all()
    assert (codes < np.array(encoder.sizes)).all()


def test_the_code_of_a_row_depends_on_that_row_alone() -> None:
    encoder = Encoder(SCHEMA, np.arange(histogram_length(SCHEMA, 32)), Binning(cells=32, bins=8))
    frame = conform(raw_table(20, 0), SCHEMA)
    one_by_one = np.concatenate([encoder.encode(frame.iloc[[place]]) for place in range(20)])
    assert (encoder.encode(frame) == one_by_one).all()


def test_bins_hold_about_equal_numbers_of_patients() -> None:
    x = Numeric(name="x", lower=0, upper=7)
    schema = Schema(columns=(x, SEX))
    encoder = Encoder(schema, np.array([5, 1, 1, 2, 4, 1, 1, 1, 7, 9]), Binning(cells=16, bins=4))
    frame = pd.DataFrame({"x": np.arange(8.0), "sex": "male"})
    # 16 patients, summed up 5 6 7 9 13 14 15 16: a bin ends where 4, 8 and 12 are reached; bins of 5, 4, 4 and 3.
    assert encoder.encode(frame)[:, 0].tolist() == [0, 1, 1, 1, 2, 3, 3, 3]
    assert encoder.encode(frame)[:, 1].tolist() == [1] * 8
    assert encoder.masses[0] == pytest.approx([5, 4, 4, 3], abs=1e-4)
    assert encoder.masses[1] == pytest.approx([7, 9], abs=0.5)  # and a little, so that no label is impossible


def test_values_are_drawn_inside_a_bin_as_the_histogram_says() -> None:
    schema = Schema(columns=(Numeric(name="x", lower=0, upper=3), SEX))
    encoder = Encoder(schema, np.array([3, 1, 2, 2, 0, 0]), Binning(cells=16, bins=2))
    drawn = encoder.decode(np.zeros((4000, 2), dtype=np.int16), np.random.default_rng(0))["x"]
    # The first bin is {0, 1} with 3 : 1 patients; 4 standard errors are 4 sqrt(0.75 x 0.25 / 4000) = 0.027.
    assert set(drawn) == {0.0, 1.0}
    assert float((drawn == 0).mean()) == pytest.approx(0.75, abs=0.027)


def test_values_are_as_often_round_as_they_were() -> None:
    # Heart rates stored with four decimals: whole but for two in a hundred, and every third a multiple of ten.
    rng = np.random.default_rng(0)
    rate = rng.normal(90, 15, 20_000).round()
    rate = np.where(rng.random(20_000) < 0.3, rate.round(-1), rate)
    rate = np.where(rng.random(20_000) < 0.02, rate + 0.1234, rate).clip(0, 300)
    frame = pd.DataFrame({"rate": rate, "sex": "male"})
    tens = float((rate % 10 == 0).mean())
    for multiples, whole, round_ones in (((10.0, 1.0), 0.98, tens), ((), 0.0, 0.0)):
        column = Numeric(name="rate", lower=0, upper=300, decimals=4, multiples=multiples)
        schema = Schema(columns=(column, SEX))
        encoder = Encoder(schema, count_cells(frame, schema, 256), Binning(cells=256, bins=12))
        drawn = encoder.decode(encoder.encode(frame), rng)["rate"]
        assert float((drawn % 1 == 0).mean()) == pytest.approx(whole, abs=0.01)
        assert float((drawn % 10 == 0).mean()) == pytest.approx(round_ones, abs=0.02)


@pytest.mark.parametrize(("cells", "are_counted"), [(16, False), (128, False), (129, True), (700, True), (701, False)])
def test_multiples_are_counted_where_cells_are_many(cells: int, are_counted: bool) -> None:
    column = Numeric(name="x", lower=0, upper=700, multiples=(10.0, 5.0))
    plain = column.model_copy(update={"multiples": ()})
    assert column.histogram(cells).rounds.steps == ((10, 5) if are_counted else ())
    changed = [histogram_max_changed_cells(Schema(columns=(one, SEX)), cells) for one in (plain, column)]
    assert changed[1] - changed[0] == are_counted


@pytest.mark.parametrize("counts", [0, -1, -(10**9), 10**9])
def test_noise_alone_still_makes_an_encoder(counts: int) -> None:
    encoder = Encoder(SCHEMA, np.full(histogram_length(SCHEMA, 32), counts), Binning(cells=32, bins=8))
    frame = encoder.decode(np.zeros((5, 5), dtype=np.int16), np.random.default_rng(0))
    assert len(frame) == 5
    assert encoder.width == sum(encoder.sizes)


@quick
@given(data=st.data(), bins=st.integers(2, 40))
def test_masses_are_positive_whatever_the_noise(data: st.DataObject, bins: int) -> None:
    encoder = Encoder(SCHEMA, data.draw(histograms(histogram_length(SCHEMA, 64))), Binning(cells=64, bins=bins))
    assert [len(masses) for masses in encoder.masses] == list(encoder.sizes)
    assert all((masses > 0).all() and np.isfinite(masses).all() for masses in encoder.masses)


def test_deviations_are_those_of_the_masses() -> None:
    noisy = np.full(histogram_length(SCHEMA, 32), 50)
    encoder = Encoder(SCHEMA, noisy, Binning(cells=32, bins=8, deviation=3.0))
    # A label is one noisy count; a bin is a difference of two.
    bin_deviation = 3 * math.sqrt(2)
    assert encoder.deviations == pytest.approx((bin_deviation, 3, bin_deviation, 3, bin_deviation))


@pytest.mark.parametrize("excess", [-1, 1])
def test_histograms_of_another_length_are_refused(excess: int) -> None:
    length = histogram_length(SCHEMA, 32)
    with pytest.raises(ValueError, match=f"the schema needs {length}"):
        Encoder(SCHEMA, np.zeros(length + excess, dtype=np.int64), Binning(cells=32, bins=8))
