from __future__ import annotations

import pytest

from simulations.experiments.masking_costs import measure


def test_a_masked_vector_is_half_as_long_as_a_plain_one() -> None:
    found = measure(4, 10_000)
    # 4 bytes a cell in the place of 8, and less than a kilobyte of names and numbers around them.
    assert 40_000 < found.masked < 41_000
    assert found.plain > 80_000


@pytest.mark.slow
def test_25_hospitals_mask_100_000_cells_within_three_seconds_and_one_and_a_half_times_the_bytes() -> None:
    found = measure(25, 100_000)
    assert found.seconds <= 3.0
    assert found.masked <= 1.5 * found.plain
    assert found.keys_up + found.keys_down < 0.1 * found.plain  # which the bound does not even count
