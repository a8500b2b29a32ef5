from __future__ import annotations

import numpy as np
import pytest

from common.errors import WireError
from common.marginals.queries import coarse_queries, count, single_queries
from common.marginals.released import assemble, requested
from common.planning.plan import COARSE, HISTOGRAMS, PAIRS, SINGLES, TRIPLES, HospitalPlan, Plan, VectorPhase
from tests.testbeds.marginals import DOMAIN, QUERIES, random_codes

NOTHING = np.empty(0, dtype=np.int64)


def plan(*phases: VectorPhase) -> Plan:
    north = HospitalPlan("north", (3.0,) * len(phases), 0.0, 1.0, 0.25, 8, 1)
    south = HospitalPlan("south", (4.0,) * len(phases), 0.0, 1.0, 0.25, 8, 1)
    return Plan("ab" * 32, 1e-5, 16, 5, phases, 0, (north, south))


class TestRequested:
    def test_coarse_and_single_tables_follow_from_the_schema(self) -> None:
        assert requested(COARSE, 4, NOTHING, 3) == coarse_queries(3, 4)
        assert requested(SINGLES, 0, NOTHING, 3) == single_queries(3)

    def test_columns_of_a_phase_without_choice_are_ignored(self) -> None:
        assert requested(COARSE, 4, np.array([0, 1, 0, 1]), 3) == coarse_queries(3, 4)

    @pytest.mark.parametrize(("phase", "columns"), [(PAIRS, 2), (TRIPLES, 3)])
    def test_tables_have_the_columns_of_their_phase(self, phase: str, columns: int) -> None:
        (query,) = requested(phase, 6, np.arange(columns), 3)
        assert query.columns == tuple(range(columns))
        assert query.groups == 6

    @pytest.mark.parametrize("columns", [[], [0, 1]])
    @pytest.mark.parametrize("phase", [HISTOGRAMS, "records", ""])
    def test_phases_without_tables_are_refused(self, phase: str, columns: list[int]) -> None:
        with pytest.raises(WireError, match="has no tables"):
            requested(phase, 0, np.array(columns, dtype=np.int64), 3)


class TestAssemble:
    def test_tables_follow_the_plan_with_the_noise_of_all_hospitals(self) -> None:
        everything = plan(
            VectorPhase(HISTOGRAMS, 1, 0),
            VectorPhase(COARSE, 6, 2),
            VectorPhase(PAIRS, 2, 0),
            VectorPhase(TRIPLES, 1, 3),
        )
        sums = count(random_codes(30, DOMAIN), QUERIES, DOMAIN)
        measurements = assemble(everything, DOMAIN, np.array([1, 0, 2, 1]), np.array([0, 1, 2]), sums)
        assert measurements is not None
        assert measurements.queries == QUERIES
        assert measurements.deviations == pytest.approx((5.0,) * 9)  # 3^2 + 4^2 = 5^2

    def test_a_plan_without_marginals_gives_none(self) -> None:
        assert assemble(plan(VectorPhase(HISTOGRAMS, 1, 0)), DOMAIN, NOTHING, NOTHING, NOTHING) is None

    def test_single_columns_need_no_choice(self) -> None:
        ones = np.ones(10, dtype=np.int64)
        measurements = assemble(plan(VectorPhase(SINGLES, 3, 0)), DOMAIN, NOTHING, NOTHING, ones)
        assert measurements is not None
        assert measurements.queries == single_queries(3)

    def test_more_tables_than_planned_are_refused(self) -> None:
        both = plan(VectorPhase(COARSE, 6, 2), VectorPhase(PAIRS, 1, 0))
        sums = count(random_codes(30, DOMAIN), QUERIES[:-1], DOMAIN)
        with pytest.raises(WireError, match="more tables of the phase 'pairs' than planned"):
            assemble(both, DOMAIN, np.array([0, 1, 1, 2]), NOTHING, sums)

    @pytest.mark.parametrize(("pairs", "short"), [([0, 1], 0), ([0, 1, 0, 1], 0), ([0, 1, 1, 2], 1), ([0, 9, 1, 2], 0)])
    def test_sums_that_do_not_fit_their_tables_are_refused(self, pairs: list[int], short: int) -> None:
        both = plan(VectorPhase(COARSE, 6, 2), VectorPhase(PAIRS, 2, 0))
        sums = count(random_codes(30, DOMAIN), QUERIES[:-1], DOMAIN)
        with pytest.raises(WireError):
            assemble(both, DOMAIN, np.array(pairs), NOTHING, sums[: len(sums) - short])
