from __future__ import annotations

import numpy as np
import pytest

from common.marginals.queries import FULL, Domain
from common.marginals.resolutions import Resolution, Resolutions

DOMAIN = Domain((8, 2, 4), (False, False, False))


class TestResolution:
    def test_groups_of_all_columns_are_side_by_side(self) -> None:
        resolution = Resolution.of(DOMAIN, 4)
        assert resolution.sizes.tolist() == [4, 2, 4]
        assert resolution.positions.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9]
        assert resolution.span(2) == slice(6, 10)

    def test_merge_sums_the_codes_of_a_group(self) -> None:
        merged = Resolution.of(DOMAIN, 4).merge(np.arange(14.0))
        assert merged.tolist() == [1, 5, 9, 13, 8, 9, 10, 11, 12, 13]

    def test_column_sums_and_spread_are_by_block(self) -> None:
        resolution = Resolution.of(DOMAIN, 4)
        sums = resolution.column_sums(np.ones((10, 10)))
        assert sums.tolist() == [[16, 8, 16], [8, 4, 8], [16, 8, 16]]
        assert resolution.spread_columns(sums)[0, [0, 3, 4, 6]].tolist() == [16, 16, 8, 16]


class TestResolutions:
    def test_full_resolution_is_always_there(self) -> None:
        assert [level.groups for level in Resolutions.of(DOMAIN, [4]).levels] == [4, FULL]

    def test_refinement_merges_and_spreads(self) -> None:
        (refinement,) = Resolutions.of(DOMAIN, [4]).refinements
        assert refinement.sizes.tolist() == [2, 2, 2, 2, 1, 1, 1, 1, 1, 1]
        merged = refinement.merge(np.ones((14, 14)))
        assert merged[0].tolist() == [4, 4, 4, 4, 2, 2, 2, 2, 2, 2]
        assert refinement.spread(merged)[:2, 8].tolist() == [2, 2]

    def test_groups_that_cross_are_refused(self) -> None:
        with pytest.raises(ValueError, match="groups of 5 are not within groups of 4"):
            Resolutions.of(Domain((16, 16), (False, False)), [4, 5])
