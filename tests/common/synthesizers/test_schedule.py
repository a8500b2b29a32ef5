from __future__ import annotations

from common.marginals.queries import single_queries
from common.synthesizers.schedule import fit_steps
from tests.testbeds.marginals import DOMAIN, QUERIES, measured, random_codes

CODES = random_codes(60, DOMAIN)
PRECISE, NOISY = (measured(CODES, QUERIES, DOMAIN, deviation=deviation) for deviation in (0.1, 0.101))


class TestFitSteps:
    def test_double_where_measurements_are_precise(self) -> None:
        assert fit_steps(PRECISE, 0, 1500) == 3000
        assert fit_steps(NOISY, 0, 1500) == 1500

    def test_do_not_double_before_rounds(self) -> None:
        assert fit_steps(PRECISE, 1, 1500) == 1500

    def test_of_the_study_are_taken_as_given(self) -> None:
        assert fit_steps(PRECISE, 0, 1600) == 1600

    def test_do_not_double_for_single_columns(self) -> None:
        alone = measured(CODES, single_queries(3), DOMAIN, deviation=0.1)
        assert fit_steps(alone, 0, 1500) == 1500  # there is nothing to reconcile
