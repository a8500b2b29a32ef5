from __future__ import annotations

import numpy as np
import pytest

from common.arrays import Array
from common.errors import WireError
from common.marginals.released import NOTHING_ASKED, Asked, ReleasedMarginals

COUNTS = np.array([3, -1, 2**62])
PAIRS, TRIPLES = Asked(np.array([0, 1])), Asked(np.array([0, 1, 2]), np.array([72]))
RELEASED = (
    ReleasedMarginals()
    .with_phase("histograms", COUNTS)
    .with_phase("pairs", -COUNTS, PAIRS)
    .with_phase("coarse-triples", 2 * (COUNTS % 7), TRIPLES)
)
PHASES = ("histograms", "pairs", "coarse-triples")


class TestReleasedMarginals:
    def test_arrays_are_read_back_in_the_order_of_the_run(self) -> None:
        arrays = RELEASED.arrays()
        assert sorted(arrays) == [
            "coarse-triples", "coarse-triples.columns", "coarse-triples.weights", "histograms", "pairs", "pairs.columns"
        ]  # fmt: skip
        shuffled = {name: arrays[name] for name in sorted(arrays, reverse=True)}
        again = ReleasedMarginals.from_arrays(shuffled, PHASES)
        assert tuple(again.vectors) == PHASES
        np.testing.assert_array_equal(again.counts("pairs"), -COUNTS)
        for name, asked in (("histograms", NOTHING_ASKED), ("pairs", PAIRS), ("coarse-triples", TRIPLES)):
            np.testing.assert_array_equal(again.vectors[name].asked.columns, asked.columns)
            np.testing.assert_array_equal(again.vectors[name].asked.weights, asked.weights)

    def test_a_phase_that_was_not_counted_is_empty(self) -> None:
        assert len(RELEASED.counts("coarse")) == 0
        assert RELEASED.vectors["histograms"].asked is NOTHING_ASKED

    def test_only_keeps_the_phases_named(self) -> None:
        assert tuple(RELEASED.only(["histograms", "coarse"]).vectors) == ("histograms",)


class TestFromArrays:
    @pytest.mark.parametrize("name", ["histograms", "pairs", "coarse-triples"])
    def test_a_missing_phase_is_refused(self, name: str) -> None:
        arrays = {other: array for other, array in RELEASED.arrays().items() if other != name}
        with pytest.raises(WireError, match=f"the released sums of phase '{name}' are missing"):
            ReleasedMarginals.from_arrays(arrays, PHASES)

    @pytest.mark.parametrize("name", ["coarse", "coarse.columns", "coarse.weights", "records", "pairs.columns.columns"])
    def test_an_unexpected_array_is_refused(self, name: str) -> None:
        with pytest.raises(WireError, match="1 arrays of released sums are not expected here"):
            ReleasedMarginals.from_arrays(RELEASED.arrays() | {name: COUNTS}, PHASES)

    @pytest.mark.parametrize("array", [COUNTS.astype(np.float64), COUNTS.astype(np.int32), COUNTS[None]])
    def test_arrays_of_another_type_are_refused(self, array: Array) -> None:
        with pytest.raises(WireError, match="not int64 vectors"):
            ReleasedMarginals.from_arrays(RELEASED.arrays() | {"pairs": array}, PHASES)
