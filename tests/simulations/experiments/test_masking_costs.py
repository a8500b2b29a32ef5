from __future__ import annotations

import pytest

from simulations.experiments.masking_costs import measure


def test_a_masked_vector_is_half_as_long_as_a_plain_one() -> None:
    costs = measure(4, 10_000)
    # 4 bytes a cell instead of 8, and less than a kilobyte of names and numbers around them.
    assert 40_000 < costs.masked < 41_000
    assert costs.plain > 80_000


@pytest.mark.slow
def test_25_hospitals_mask_100_000_cells_in_three_seconds() -> None:
    costs = measure(25, 100_000)
    assert costs.seconds <= 3.0
    assert costs.masked <= 1.5 * costs.plain
    assert costs.keys_up + costs.keys_down < 0.1 * costs.plain  # not counted in the bound above
