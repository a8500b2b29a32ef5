from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from common.errors import WireError
from common.marginals.measurements import Measurements, PhaseTables
from common.marginals.queries import Domain, Query, count, single_queries, split
from tests.testbeds.marginals import CENTERED, DOMAIN, FEW, QUERIES, measured, random_codes

PAIR = Domain((2, 2), (False, False))


class TestPatients:
    def test_total_weighs_tables_by_inverse_variance(self) -> None:
        # Tables of 2 and 4 cells sum to 10 and 13; equal noise weighs them 1/2 and 1/4: (5 + 3.25) / 0.75 = 11.
        domain = Domain((2, 4), (False, False))
        measurements = Measurements(domain, single_queries(2), np.array([6, 4, 10, 1, 1, 1]), (1.0, 1.0))
        assert measurements.total == pytest.approx(11.0)
        # Twice the noise in the second: weights 1/2 and 1/16, (5 + 13/16) / (9/16) = 10 1/3.
        noisier = Measurements(domain, single_queries(2), measurements.sums, (1.0, 2.0))
        assert noisier.total == pytest.approx(31 / 3)

    def test_total_without_noise_is_exact(self) -> None:
        assert measured(random_codes(70, DOMAIN), QUERIES, DOMAIN).total == 70

    def test_totals_are_of_each_phase(self) -> None:
        queries = (*single_queries(2), Query((0, 1)))
        at_first, later = [60, 40, 50, 50], [15, 15, 10, 10]  # 100 patients, then the 50 of the hospitals that stayed
        phases = ("coarse", "coarse", "pairs")
        measurements = Measurements(PAIR, queries, np.array(at_first + later), (1.0, 1.0, 1.0), phases)
        assert measurements.totals == {"coarse": pytest.approx(100), "pairs": pytest.approx(50)}
        np.testing.assert_allclose(measurements.proportions()[2], [[0.3, 0.3], [0.2, 0.2]])

    def test_noise_is_that_of_the_first_table_of_several_columns(self) -> None:
        queries = (*single_queries(2), Query((0, 1), 1), Query((0, 1)))
        sums = np.array([60, 40, 50, 50, 200, 50, 50, 50, 50])
        phases = ("histograms",) * 2 + ("pairs",) * 2
        measurements = Measurements(PAIR, queries, sums, (1.0, 1.0, 4.0, 2.0), phases)
        assert measurements.noise == pytest.approx(4.0 / measurements.totals["pairs"])
        assert measurements.precision(2.0) == 4.0
        alone = Measurements(PAIR, queries[:2], sums[:4], (3.0, 1.0), phases[:2])
        assert alone.noise == pytest.approx(3.0 / alone.total)


class TestWeightedTables:
    CODES = random_codes(60, FEW)

    def test_proportions_are_without_weights(self) -> None:
        queries = tuple(replace(query, weight=query.weight * (number + 2)) for number, query in enumerate(CENTERED[3:]))
        plain = measured(self.CODES, CENTERED, FEW).proportions()
        weighted = measured(self.CODES, (*CENTERED[:3], *queries), FEW).proportions()
        for one, other in zip(plain[3:], weighted[3:], strict=True):
            assert one == pytest.approx(other, abs=1e-12)

    def test_patients_are_told_by_tables_that_are_not_centered(self) -> None:
        total, pair = Query((), weight=5), Query((0, 2), weight=6, is_centered=True)
        measurements = Measurements(FEW, (total, pair), np.array([500, *[9] * 6]), (3.0, 2.0), ("pairs",) * 2)
        assert measurements.totals == {"pairs": 100.0}
        both = Measurements(
            FEW, (total, pair, Query((1,))), np.array([500, *[9] * 6, 40, 40, 20, 10, 10]), (3.0, 2.0, 3.0)
        )
        assert both.total == pytest.approx((100 * 5 + 120 * 1) / 6)  # of 1 cell and of 5, by inverse variance

    def test_margins_of_centered_pairs_are_restored(self) -> None:
        exact = measured(self.CODES, tuple(replace(query, weight=1, is_centered=False) for query in CENTERED), FEW)
        centered = measured(self.CODES, CENTERED, FEW)
        restored = list(centered.tables())
        for (query, proportions, deviation), (_, whole, _) in zip(restored, exact.tables(), strict=True):
            assert deviation == 0
            if FEW.centered_axes(query) and len(query.columns) == 3:
                for axis in FEW.centered_axes(query):  # a triple stays centered
                    assert proportions.sum(axis) == pytest.approx(0, abs=1e-12)
            else:
                # Along a centered axis from the single columns, which are exact here, along another from the table.
                for axis in range(len(query.columns)):
                    assert proportions.sum(axis) == pytest.approx(whole.sum(axis), abs=1e-12)

    def test_noise_of_every_sort_leaves_centered_tables_centered(self) -> None:
        rng = np.random.default_rng(0)
        sums = count(self.CODES, CENTERED, FEW) + rng.integers(-9, 10, FEW.cells(CENTERED))
        measurements = Measurements(FEW, CENTERED, sums, (5.0,) * len(CENTERED))
        for query, proportions in zip(CENTERED[3:], measurements.proportions()[3:], strict=True):
            for axis in FEW.centered_axes(query):
                assert proportions.sum(axis) == pytest.approx(0, abs=1e-12)


class TestProportions:
    @pytest.mark.parametrize("value", [0, -50, -(10**6)])
    def test_singles_of_noise_alone_are_on_the_simplex(self, value: int) -> None:
        sums = np.full(DOMAIN.cells(QUERIES), value)
        measurements = Measurements(DOMAIN, QUERIES, sums, (3.0,) * len(QUERIES))
        assert measurements.total == 1.0
        for single in measurements.singles:
            assert single.min() >= 0
            assert single.sum() == pytest.approx(1.0)

    def test_proportions_are_tables_over_patients(self) -> None:
        measurements = measured(random_codes(50, DOMAIN), QUERIES, DOMAIN)
        tables = split(measurements.sums, QUERIES, DOMAIN)
        for proportions, table in zip(measurements.proportions(), tables, strict=True):
            assert proportions == pytest.approx(table / 50)

    def test_columns_counted_twice_are_averaged_by_precision(self) -> None:
        queries = (*single_queries(2), Query((0, 1)), *single_queries(2))
        sums = np.array([60, 40, 50, 50, 30, 30, 20, 20, 40, 10, 25, 25])  # of 100 patients, then of 50
        phases = ("coarse",) * 3 + ("singles",) * 2
        twice = Measurements(PAIR, queries, sums, (2e-6,) * 3 + (1e-6,) * 2, phases)
        assert twice.totals == {"coarse": pytest.approx(100), "singles": pytest.approx(50)}
        assert twice.precisions == [5.0, 5.0]
        np.testing.assert_allclose(twice.singles, [[0.76, 0.24], [0.5, 0.5]])  # (1 * 0.6 + 4 * 0.8) / 5
        once = Measurements(PAIR, queries[:3], sums[:8], (1e-6,) * 3)
        assert once.precisions == [1.0, 1.0]
        np.testing.assert_array_equal(once.singles[0], [0.6, 0.4])


class TestPhases:
    SINGLES = PhaseTables("histograms", single_queries(2), (5.0, 7.0))
    PAIRS = PhaseTables.counted("pairs", (Query((0, 1), weight=2), Query((0, 1), 2, weight=6)), 12.0)

    def test_each_query_keeps_its_phase_and_noise(self) -> None:
        sums = np.arange(12)
        measurements = Measurements.of_phases(PAIR, [self.SINGLES, self.PAIRS], sums)
        assert measurements.queries == (*single_queries(2), *self.PAIRS.queries)
        assert measurements.deviations == (5.0, 7.0, 6.0, 2.0)  # 12 / 2 and 12 / 6
        assert measurements.phases == ("histograms", "histograms", "pairs", "pairs")
        assert measurements.sums.tolist() == sums.tolist()

    @pytest.mark.parametrize("cells", [11, 13])
    def test_sums_of_another_length_are_refused(self, cells: int) -> None:
        with pytest.raises(WireError, match="as long as"):
            Measurements.of_phases(PAIR, [self.SINGLES, self.PAIRS], np.arange(cells))
