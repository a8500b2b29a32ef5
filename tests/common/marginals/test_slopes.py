from __future__ import annotations

import numpy as np
import pytest

from common.marginals.queries import FULL, Domain
from common.marginals.resolutions import Resolution
from common.marginals.slopes import Slopes

SINGLES = np.concatenate([np.full(8, 1 / 8), np.full(4, 1 / 4)])
DOMAIN = Domain((8, 4), (False, False), is_ordered=(True, False))


class TestSlopes:
    def test_codes_of_an_ordered_column_are_on_a_line(self) -> None:
        slopes = Slopes.of_codes(Resolution.of(DOMAIN, 4), SINGLES, DOMAIN)
        square = np.zeros((8, 8))
        square[:4, 4:] = np.arange(4)[:, None]
        assert slopes.spread(square)[:8, 9].tolist() == pytest.approx([-0.25, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.25])

    def test_mean_over_a_group_is_its_value(self) -> None:
        rng = np.random.default_rng(0)
        singles = np.concatenate([rng.dirichlet(np.ones(8)), SINGLES[8:]])
        resolution = Resolution.of(DOMAIN, 4)
        square = rng.normal(size=(8, 8))
        codes = Slopes.of_codes(resolution, singles, DOMAIN).spread(square)[:8, 8]
        means = np.add.reduceat(codes * singles[:8], [0, 2, 4, 6]) / np.add.reduceat(singles[:8], [0, 2, 4, 6])
        assert means == pytest.approx(square[:4, 4])

    def test_columns_without_order_are_constant_within_groups(self) -> None:
        domain = Domain((8, 4), (False, False))
        resolution = Resolution.of(domain, 4)
        square = np.random.default_rng(1).normal(size=(8, 8))
        spread = Slopes.of_codes(resolution, SINGLES, domain).spread(square)
        assert (spread == square[np.ix_(resolution.positions, resolution.positions)]).all()

    def test_missing_takes_no_part(self) -> None:
        domain = Domain((9,), (True,), is_ordered=(True,))
        slopes = Slopes.of_codes(Resolution.of(domain, 4), np.full(9, 1 / 9), domain)  # and one group for missing
        assert slopes.above.max() == 4
        assert slopes.above[:-1].max() == 3  # the missing group is no group's neighbor
        assert slopes.weights[-1] == 0

    def test_values_of_a_rare_group_give_no_slope(self) -> None:
        """One patient in ten thousand says nothing of the next group, however far its noisy count is off."""
        singles = np.concatenate([[0.00005] * 2, np.full(6, 0.9999 / 6), SINGLES[8:]])
        slopes = Slopes.of_codes(Resolution.of(DOMAIN, 4), singles, DOMAIN)
        square = np.zeros((8, 8))
        square[0, 4:] = 3000.0
        assert slopes.spread(square)[2:8, 9].tolist() == [0.0] * 6

    def test_groups_of_one_code_have_no_slope(self) -> None:
        singles = np.random.default_rng(2).dirichlet(np.ones(12))  # whose sums are rounded
        assert not Slopes.of_codes(Resolution.of(DOMAIN, FULL), singles, DOMAIN).weights.any()

    def test_finer_groups_have_the_mean_of_their_codes(self) -> None:
        coarse, fine = Resolution.of(DOMAIN, 2), Resolution.of(DOMAIN, 4)
        assert not Slopes.of_codes(coarse, SINGLES, DOMAIN).weights.any()  # two groups have no slope
        slopes = Slopes.of_codes(fine, SINGLES, DOMAIN).to_groups(Resolution.of(DOMAIN, FULL), SINGLES)
        assert slopes.weights[:2] == pytest.approx([-0.25, 0.25])
