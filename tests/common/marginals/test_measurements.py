from __future__ import annotations

import numpy as np
import pytest

from common.arrays import Floats
from common.columns.base import Codes
from common.errors import WireError
from common.marginals.measurements import Measurements, PhaseTables
from common.marginals.queries import Domain, Query, coarse_queries, count, single_queries, split
from tests.testbeds.marginals import DOMAIN, QUERIES, measured, random_codes

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


def test_dependence_is_corrected_for_noise() -> None:
    domain, queries, deviation = Domain((4, 4), (False, False)), coarse_queries(2, 4), 10.0
    # 100 patients in each of 16 cells; and 400 in each of four on the diagonal.
    independent = np.array([[x, y] for x in range(4) for y in range(4)] * 100, dtype=np.int16)
    dependent = np.array([[x, x] for x in range(4)] * 400, dtype=np.int16)
    rng = np.random.default_rng(0)

    def dependence(codes: Codes) -> Floats:
        true = count(codes, queries, domain)
        draws = [true + np.round(rng.normal(0, deviation, len(true))).astype(np.int64) for _ in range(300)]
        return np.array([Measurements(domain, queries, sums, (deviation,) * 3).dependence()[0, 1] for sums in draws])

    # What noise alone gives, and is taken off: 16 cells of (10 / 1600)^2 = 0.000625.
    by_noise = 16 * (deviation / 1600) ** 2
    assert abs(dependence(independent).mean()) < 0.25 * by_noise
    # Truth: four cells of (1/4 - 1/16)^2 and twelve of (1/16)^2, together 3/16.
    assert dependence(dependent).mean() == pytest.approx(3 / 16, rel=0.05)


class TestPhases:
    COARSE = PhaseTables("coarse", coarse_queries(2, 2), 5.0)
    PAIRS = PhaseTables("pairs", (Query((0, 1)),), 3.0)

    def test_each_query_keeps_its_phase_and_noise(self) -> None:
        sums = np.arange(12)
        measurements = Measurements.of_phases(PAIR, [self.COARSE, self.PAIRS], sums)
        assert measurements.queries == (*coarse_queries(2, 2), Query((0, 1)))
        assert measurements.deviations == (5.0, 5.0, 5.0, 3.0)
        assert measurements.phases == ("coarse", "coarse", "coarse", "pairs")
        assert measurements.sums.tolist() == sums.tolist()

    @pytest.mark.parametrize("cells", [11, 13])
    def test_sums_of_another_length_are_refused(self, cells: int) -> None:
        with pytest.raises(WireError, match="as long as"):
            Measurements.of_phases(PAIR, [self.COARSE, self.PAIRS], np.arange(cells))
