from __future__ import annotations

import itertools

import numpy as np
import pytest

from common.marginals.evidence import Evidence
from common.marginals.measurements import Measurements
from common.marginals.queries import Domain, Query, count, single_queries
from tests.testbeds.dependence import chained_rows, dependent_rows, parity_rows
from tests.testbeds.marginals import measured, random_codes

SIZES = Domain((3, 4, 2), (False, False, False), is_few=(True, False, True))
EIGHTS = Domain((8, 8), (False, False))
COINS = Domain((2, 2, 2), (False,) * 3, is_few=(True,) * 3)


def noisy(codes: np.ndarray, queries: tuple[Query, ...], domain: Domain, deviation: float) -> Measurements:
    sums = count(codes, queries, domain)
    noise = np.rint(np.random.default_rng(5).normal(0, deviation, len(sums))).astype(np.int64)
    return Measurements(domain, queries, sums + noise, (deviation,) * len(queries))


class TestPairs:
    def test_fine_tables_sum_to_the_agreed_coarse_ones(self) -> None:
        queries = (*single_queries(2), Query((0, 1), 4), Query((0, 1)))
        evidence = Evidence.of(noisy(random_codes(5000, EIGHTS), queries, EIGHTS, 5.0))
        summed = evidence.resolutions.refinements[1].merge(evidence.pairs[2].proportions)
        assert np.abs(summed - evidence.pairs[1].proportions)[:4, 4:].max() < 1e-12

    def test_two_counts_have_half_the_variance(self) -> None:
        once, twice = (
            Evidence.of(measured(random_codes(900, EIGHTS), (*single_queries(2), *pairs), EIGHTS, deviation=3.0))
            for pairs in ((Query((0, 1)),), (Query((0, 1)), Query((0, 1))))
        )
        ratio = once.pairs[-1].variances[0, 8] / twice.pairs[-1].variances[0, 8]
        assert ratio == pytest.approx(2)

    def test_pair_that_is_not_counted_has_no_evidence(self) -> None:
        queries = (*single_queries(3), Query((0, 1)))
        evidence = Evidence.of(measured(dependent_rows(500), queries, SIZES))
        assert np.isinf(evidence.pairs[-1].variances[0, 7])
        assert evidence.pairs[-1].prior[0, 2] == 0
        assert evidence.pairs[-1].prior[0, 1] > 0

    def test_noise_without_interaction_has_no_prior(self) -> None:
        queries = (*single_queries(2), Query((0, 1)))
        evidence = Evidence.of(measured(random_codes(400, EIGHTS), queries, EIGHTS, deviation=1000.0))
        assert evidence.pairs[0].prior.tolist() == [[0, 0], [0, 0]]

    def test_resolution_that_does_not_refine_a_pair_says_nothing(self) -> None:
        queries = (*single_queries(3), Query((0, 2), 4), Query((0, 2)))
        evidence = Evidence.of(measured(dependent_rows(500), queries, SIZES, deviation=3.0))
        levels = [level.prior[0, 2] for level in evidence.pairs]  # in 2, 4 and all groups, of 3 and 2 codes
        assert levels[0] > 0
        assert levels[2] == 0

    def test_triple_gives_the_margins_that_it_knows(self) -> None:
        """Along columns of few labels a table is counted less its mean: only the pair across them is known."""
        queries = (*single_queries(3), Query((0, 1, 2), weight=6, is_centered=True))
        pairs = Evidence.of(measured(dependent_rows(500), queries, SIZES)).pairs[-1]
        assert np.isfinite(pairs.variances[0, 7])  # columns 0 and 2, summed over the four codes of column 1
        assert np.isinf(pairs.variances[0, 3])


class TestSingles:
    def test_a_margin_over_groups_corrects_the_sum_of_a_group(self) -> None:
        """Two codes of a group sum to 200 with variance 2; the margin says 260 with variance 4, for four other groups.

        So they sum to (200 / 2 + 260 / 4) / (1 / 2 + 1 / 4) = 220, and each is 110.
        """
        table = np.full((4, 4), 45)
        table[0] = 65
        sums = np.concatenate([np.full(16, 100), table.ravel()])
        queries = (*single_queries(2), Query((0, 1), 4))
        evidence = Evidence.of(Measurements(EIGHTS, queries, sums, (1.0,) * 3))
        assert evidence.singles[:8] * 800 == pytest.approx([110, 110, *[(100 + 45) / 0.75 / 2] * 6])

    def test_margins_of_pairs_add_to_single_columns(self) -> None:
        codes = random_codes(2000, EIGHTS)
        alone = Evidence.of(noisy(codes, single_queries(2), EIGHTS, 40.0)).singles
        pairs = tuple(Query((0, 1), groups) for groups in (4, 0, 0, 0))
        together = Evidence.of(noisy(codes, (*single_queries(2), *pairs), EIGHTS, 40.0)).singles
        truth = np.concatenate([np.bincount(codes[:, column], minlength=8) for column in range(2)]) / len(codes)
        assert together[:8].sum() == pytest.approx(1)
        assert np.abs(together - truth).sum() < np.abs(alone - truth).sum()

    def test_one_column_by_itself(self) -> None:
        domain = Domain((3,), (False,))
        evidence = Evidence.of(measured(random_codes(100, domain), single_queries(1), domain))
        assert evidence.singles.sum() == pytest.approx(1)
        assert evidence.pairs[0].prior.tolist() == [[0]]


class TestTriples:
    def test_parity_is_beyond_the_pairs(self) -> None:
        whole = Query((0, 1, 2), weight=8, is_centered=True)
        queries = (*single_queries(3), *map(Query, itertools.combinations(range(3), 2)), whole)
        (triple,) = Evidence.of(measured(parity_rows(4000), queries, COINS)).sets
        assert triple.columns == (0, 1, 2)
        assert triple.centered == (0, 1, 2)
        assert triple.prior == pytest.approx(8, abs=0.1)  # see test_priors

    def test_chain_of_pairs_has_no_interaction(self) -> None:
        domain = Domain((4, 4, 4), (False,) * 3)
        queries = (*single_queries(3), *map(Query, itertools.combinations(range(3), 2)), Query((0, 1, 2)))
        (triple,) = Evidence.of(measured(chained_rows(40_000, 3, 4), queries, domain, deviation=5.0)).sets
        assert triple.prior < 0.01
