"""Where numbers lie within their codes: by the potentials of neighboring codes, interpolated."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from common.columns.base import Codes
from common.marginals.queries import FULL, Domain
from common.synthesizers.maximum_entropy import within
from common.synthesizers.maximum_entropy.fit import Fit
from common.synthesizers.maximum_entropy.potentials import ColumnSetPotentials, Potentials
from common.synthesizers.maximum_entropy.within import draw_positions, order_within

DOMAIN = Domain((4, 5, 2), (False, True, False), is_ordered=(True, True, False))
"""Two columns of four bins, the second with missing, and one of two labels."""

ROWS = 20_000
SLOPE = 4.0
MEAN = 0.5 / np.tanh(SLOPE / 2) - 1 / SLOPE
"""Mean of t in (-1/2, 1/2) with density proportional to exp(4 t)."""


def model(pairs: dict[tuple[int, int], float], sets: tuple[ColumnSetPotentials, ...] = ()) -> Fit:
    """Return a model of equally likely codes whose potentials of two columns are a multiple of the product of codes."""
    theta, offsets = torch.zeros(11, 11), (0, 4, 9)
    for (first, second), strength in pairs.items():
        for a in range(4):
            for b in range(4 if second == 1 else 2):
                theta[offsets[first] + a, offsets[second] + b] = strength * a * b
    theta = theta + theta.T
    singles = torch.cat([torch.full((size,), 1 / size) for size in DOMAIN.sizes])
    return Fit(Potentials(DOMAIN, singles.log(), theta, sets), torch.zeros(1, 3).long(), theta, singles)


def rows(*codes: int) -> Codes:
    return np.tile(np.array(codes, dtype=np.int16), (ROWS, 1))


class TestOrderWithin:
    def test_positions_follow_the_code_of_another_column(self) -> None:
        fit = model({(0, 2): SLOPE})
        low, high = (order_within(fit, rows(1, 1, label), 0)[:, 0] for label in (0, 1))
        assert low.mean() == pytest.approx(0, abs=0.01)
        assert high.mean() == pytest.approx(MEAN, abs=0.01)

    def test_positions_of_two_columns_follow_each_other(self) -> None:
        found = order_within(model({(0, 1): SLOPE}), rows(0, 0, 0), 0)
        # Density proportional to exp(4 s t): of first order in 4, the correlation is 4 / 12.
        assert np.corrcoef(found[:, 0], found[:, 1])[0, 1] == pytest.approx(1 / 3, abs=0.03)
        assert not found[:, 2].any()

    def test_sets_of_columns_count_in_their_groups(self) -> None:
        held = ColumnSetPotentials.zeros((0, 1, 2), FULL, DOMAIN)
        held.values[:, 2, 1] = SLOPE * torch.arange(4.0)
        fit = model({}, (held,))
        assert order_within(fit, rows(1, 2, 1), 0)[:, 0].mean() == pytest.approx(MEAN, abs=0.01)
        assert order_within(fit, rows(1, 2, 0), 0)[:, 0].mean() == pytest.approx(0, abs=0.01)
        halves = ColumnSetPotentials.zeros((0, 1, 2), 2, DOMAIN)
        assert halves.values.shape == (2, 3, 2)
        halves.values[:, 0, 1] = SLOPE * torch.arange(2.0)
        # Two groups have no slope: their ends would be all of it.
        assert order_within(model({}, (halves,)), rows(1, 0, 1), 0)[:, 0].mean() == pytest.approx(0, abs=0.01)

    def test_missing_values_have_no_position_that_counts(self) -> None:
        found = order_within(model({(0, 1): SLOPE}), rows(1, 4, 0), 0)
        assert found[:, 0].mean() == pytest.approx(0, abs=0.01)

    def test_rows_come_in_chunks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(within, "CHUNK", 7)
        fit, codes = model({(0, 1): SLOPE}), rows(0, 0, 0)[:20]
        assert order_within(fit, codes, 0).shape == (20, 3)
        assert order_within(fit, codes[:0], 0).shape == (0, 3)

    def test_same_seed_gives_the_same_order(self) -> None:
        fit, codes = model({(0, 1): SLOPE}), rows(0, 0, 0)[:50]
        assert (order_within(fit, codes, 3) == order_within(fit, codes, 3)).all()


@pytest.mark.parametrize(("slope", "mean"), [(0.0, 0.0), (SLOPE, MEAN), (-SLOPE, -MEAN), (1e6, 0.5)])
def test_positions_have_the_density_of_their_slope(slope: float, mean: float) -> None:
    found = draw_positions(np.full(ROWS, slope), np.random.default_rng(0))
    assert (np.abs(found) <= 0.5).all()
    assert found.mean() == pytest.approx(mean, abs=0.04 if slope == 1e6 else 0.01)
