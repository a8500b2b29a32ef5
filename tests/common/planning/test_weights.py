from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.columns.categorical import Categorical
from common.columns.numeric import Numeric
from common.errors import WireError
from common.marginals.queries import Domain, Query
from common.planning.plan import TOTAL_PART, PlannedVector
from common.planning.weights import (
    HEAVIEST,
    SUM_PART,
    USUAL_WEIGHT,
    declared_domain,
    usual_weight,
    weigh,
    with_asked_weights,
    with_weights,
)
from common.privacy.events import DiscreteGaussianVector
from common.secagg.terms import most_rows
from common.secagg.words import MOST
from common.study.schema import Schema
from common.study.study import Study
from tests.testbeds.clinic import declaring
from tests.testbeds.wards import wards

DOMAIN = Domain((2, 3, 8, 8, 5, 3), (False, True, False, True, False, False), is_few=(True, True, *[False] * 3, True))
PLAIN = PlannedVector.unweighted("pairs", 5, 4)


def of_rows(rows: int) -> Study:
    """The wards' study with so many declared patients at each of two hospitals."""
    return declaring(wards(privacy={"delta": 1e-10}), rows, ("north", "south"))


class TestUsualWeight:
    @pytest.mark.parametrize(
        ("columns", "weight"), [((2, 3), 72), ((0, 2), 72), ((0, 1), 72), ((0, 1, 5), 72), ((1, 4, 5), 72), ((), 72)]
    )
    def test_is_the_multiple_of_the_unit_nearest_to_72(self, columns: tuple[int, ...], weight: int) -> None:
        query = usual_weight(Query(columns, 4), DOMAIN)
        assert (query.weight, query.is_centered) == (weight, True)
        assert query.weight % DOMAIN.unit(query) == 0

    def test_of_three_columns_of_three_labels_is_81(self) -> None:
        domain = Domain((3, 3, 3), (False,) * 3, is_few=(True,) * 3)
        assert usual_weight(Query((0, 1, 2)), domain).weight == 81


class TestDeclaredDomain:
    def test_has_the_most_codes_that_each_column_can_have(self) -> None:
        study = wards()
        columns = (
            *study.table.columns,
            Categorical(name="stage", categories=("i", "ii", "iii"), missing=True),
            Numeric(name="lab", lower=0, upper=2, missing=True),
        )
        study = study.model_copy(update={"declared": Schema(columns=columns)})
        domain = declared_domain(study, 8)
        assert domain.sizes == (8, 8, 2, 4, 4)
        assert domain.has_missing == (False, False, False, True, True)
        assert domain.is_few == (False, False, True, False, False)


class TestWithWeights:
    NEEDED = 5 * USUAL_WEIGHT**2

    def weighted(self, least_noise: float, *, rows: int = 100, needed: int = NEEDED) -> PlannedVector:
        return with_weights(of_rows(rows), PLAIN, needed, least_noise)

    def test_needed_tables_and_the_total_fit(self) -> None:
        planned = self.weighted(10.0)
        assert planned.has_weights
        assert (planned.name, planned.tables, planned.groups) == (PLAIN.name, PLAIN.tables, PLAIN.groups)
        assert planned.total_weight**2 + self.NEEDED <= planned.squared_sensitivity
        # Nothing is given away either: the total takes about one part in `TOTAL_PART`.
        assert planned.squared_sensitivity <= self.NEEDED * TOTAL_PART / (TOTAL_PART - 1) + 2
        assert planned.total_weight <= planned.largest_weight

    @pytest.mark.parametrize("least_noise", [0.0, 0.3, 0.7])
    def test_little_noise_keeps_a_vector_as_it_is(self, least_noise: float) -> None:
        assert self.weighted(least_noise) == PLAIN

    @given(least_noise=st.floats(0.01, 100), tables=st.integers(1, 400), rows=st.integers(1, 10**6))
    def test_whatever_is_planned_can_be_charged(self, least_noise: float, tables: int, rows: int) -> None:
        study, needed = of_rows(rows), tables * USUAL_WEIGHT**2
        planned = with_weights(study, PlannedVector.unweighted("pairs", tables, 4), needed, least_noise)
        if not planned.has_weights:
            assert planned == PlannedVector.unweighted("pairs", tables, 4)
            return
        sigma = least_noise * math.sqrt(planned.squared_sensitivity)
        DiscreteGaussianVector(sigma, planned.squared_sensitivity, planned.largest_weight)  # refuses too little noise
        # Tables of the usual weight can be asked for, and a masked sum of all patients in one cell fits.
        assert 1.2 * USUAL_WEIGHT <= planned.largest_weight <= HEAVIEST * USUAL_WEIGHT
        every = sum(most_rows(study, facts.name) for facts in study.hospitals)
        assert planned.largest_weight * every <= MOST / SUM_PART

    def test_large_sums_keep_a_vector_as_it_is(self) -> None:
        fits = int(MOST / SUM_PART / 87 / 2 / 2)  # two hospitals, each of at most twice its declared rows
        assert self.weighted(10.0, rows=fits).largest_weight == 87
        assert self.weighted(10.0, rows=int(fits * 1.02)) == PLAIN


class TestWithAskedWeights:
    QUERIES = (Query((0, 1), 4, is_centered=True), Query((2, 3), 4, is_centered=True))

    def test_multiples_of_the_units_are_taken(self) -> None:
        first, second = with_asked_weights(self.QUERIES, np.array([6 * 7, 5]), DOMAIN)
        assert first == replace(self.QUERIES[0], weight=42)
        assert second == replace(self.QUERIES[1], weight=5)

    @pytest.mark.parametrize("weights", [[0, 5], [6, 0], [-6, 5], [6, -1], [5, 5], [9, 5], [7, 5], [-(2**62), 5]])
    def test_weights_that_are_no_positive_multiples_are_refused(self, weights: list[int]) -> None:
        with pytest.raises(WireError, match="not a positive multiple of its unit"):
            with_asked_weights(self.QUERIES, np.array(weights), DOMAIN)

    @pytest.mark.parametrize("weights", [[], [6], [6, 5, 5]])
    def test_as_many_weights_as_tables_are_needed(self, weights: list[int]) -> None:
        with pytest.raises(WireError, match="does not give one weight for each table"):
            with_asked_weights(self.QUERIES, np.array(weights, dtype=np.int64), DOMAIN)


PAIRS = tuple(Query(pair, 4) for pair in combinations(range(len(DOMAIN.sizes)), 2))


class TestWeigh:
    @given(
        seed=st.integers(0, 2**32 - 1),
        spread=st.sampled_from([0.0, 0.5, 2.0, 6.0]),
        tables=st.integers(1, len(PAIRS)),
        least_noise=st.floats(2.5, 30.0),
    )
    def test_stays_within_the_plan_and_spends_it(
        self, seed: int, spread: float, tables: int, least_noise: float
    ) -> None:
        rng = np.random.default_rng(seed)
        precisions = np.exp(spread * rng.normal(size=len(PAIRS))) * (rng.random(len(PAIRS)) < 0.8)
        needed = tables * USUAL_WEIGHT**2
        planned = with_weights(of_rows(100), PlannedVector.unweighted("pairs", tables, 4), needed, least_noise)
        assert planned.has_weights
        chosen = weigh(PAIRS, precisions, planned, DOMAIN)
        assert len(chosen) == min(tables, int((precisions > 0).sum()))
        spent = DOMAIN.squared_sensitivity(chosen) + planned.total_weight**2
        assert spent <= planned.squared_sensitivity
        for query in chosen:
            assert query.is_centered
            assert query.weight <= planned.largest_weight
            assert query.weight % DOMAIN.unit(query) == 0
        is_capped = any(query.weight > planned.largest_weight - DOMAIN.unit(query) for query in chosen)
        if len(chosen) >= 8 and not is_capped:
            assert spent >= 0.95 * planned.squared_sensitivity

    def test_weights_are_in_proportion_to_roots_of_precisions(self) -> None:
        queries = (Query((2, 3), 4), Query((2, 4), 4), Query((3, 4), 4))
        planned = PlannedVector("pairs", 3, 4, 60_000, 300)
        one, two, three = weigh(queries, np.array([1.0, 4.0, 9.0]), planned, DOMAIN)
        # w^2 (1 + 4 + 9) <= 60000 - 34^2, so w is about 64.8: 64.8, 129.7, 194.5, in whole numbers that still fit.
        assert (one.weight, two.weight, three.weight) == (65, 130, 194)

    def test_the_most_precise_are_kept_in_their_order(self) -> None:
        planned = PlannedVector.unweighted("pairs", 2, 4)
        chosen = weigh(PAIRS[:4], np.array([2.0, 1.0, 3.0, 0.0]), planned, DOMAIN)
        assert chosen == (PAIRS[0], PAIRS[2])  # without weights as they came

    def test_tables_of_no_worth_are_not_asked_for(self) -> None:
        planned = PlannedVector("pairs", 4, 4, 60_000, 300)
        (query,) = weigh(PAIRS[:3], np.array([0.0, 1.0, 0.0]), planned, DOMAIN)
        assert query.columns == PAIRS[1].columns
        assert query.weight == 300 // DOMAIN.unit(query) * DOMAIN.unit(query)

    def test_a_plan_too_small_for_its_tables_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="fewer tables than are asked for"):
            weigh(PAIRS, np.ones(len(PAIRS)), PlannedVector("pairs", len(PAIRS), 4, 100, 300), DOMAIN)
