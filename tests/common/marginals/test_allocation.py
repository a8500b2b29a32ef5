from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from common.marginals import allocation
from common.marginals.allocation import (
    NextCount,
    choose_triples,
    pair_precisions,
    set_precisions,
)
from common.marginals.evidence import Evidence
from common.marginals.queries import Domain, Query, single_queries
from tests.testbeds.dependence import chained_rows, parity_rows
from tests.testbeds.marginals import measured, random_codes

COLUMNS = 5
DOMAIN = Domain((8,) * COLUMNS, (False,) * COLUMNS)
PAIRS = tuple(combinations(range(COLUMNS), 2))
TOTAL = 1e5


def evidence_of(codes: np.ndarray, domain: Domain = DOMAIN, triples: tuple[Query, ...] = ()) -> Evidence:
    columns = len(domain.sizes)
    queries = (*single_queries(columns), *(Query(pair, 4) for pair in combinations(range(columns), 2)), *triples)
    return Evidence.of(measured(codes, queries, domain, deviation=20.0))


@pytest.fixture(scope="module")
def one_pair() -> Evidence:
    """Columns 3 and 4 are the same; all others are independent."""
    codes = random_codes(4000, DOMAIN)
    codes[:, 4] = codes[:, 3]
    return evidence_of(codes)


class TestPairPrecisions:
    def test_total_is_spent(self, one_pair: Evidence) -> None:
        precisions = pair_precisions(one_pair, PAIRS, NextCount(TOTAL, target=0, favor=2.0))
        assert precisions.shape == (len(PAIRS),)
        assert precisions.sum() == pytest.approx(TOTAL)  # columns of 8 codes: every factor is 1

    def test_dependent_pair_gets_most(self, one_pair: Evidence) -> None:
        precisions = pair_precisions(one_pair, PAIRS, NextCount(TOTAL, target=0, favor=2.0))
        assert PAIRS[int(np.argmax(precisions))] == (3, 4)
        assert precisions.max() > 0.5 * TOTAL

    def test_target_is_favored(self) -> None:
        evidence = evidence_of(chained_rows(4000, COLUMNS, 8))
        precisions = [
            pair_precisions(evidence, PAIRS, NextCount(TOTAL, target=2, favor=favor))[
                [2 in pair for pair in PAIRS]
            ].sum()
            for favor in (1.0, 4.0)
        ]
        assert precisions[1] > precisions[0]

    def test_tables_looked_at_together_equal_those_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        domain = Domain((8, 3, 8, 5, 3), (False,) * COLUMNS)
        evidence, count = evidence_of(random_codes(400, domain), domain), NextCount(TOTAL, target=2, favor=2.0)
        together = pair_precisions(evidence, PAIRS, count)
        monkeypatch.setattr(allocation, "CELLS_AT_ONCE", 1)
        assert np.array_equal(pair_precisions(evidence, PAIRS, count), together)
        alone = pair_precisions(evidence, PAIRS[::-1], count)[::-1]
        assert np.array_equal(alone, together)

    def test_few_codes_cost_less(self) -> None:
        domain = Domain((2, 8, 8), (False,) * 3, is_few=(True, False, False))
        pairs = tuple(combinations(range(3), 2))
        evidence = evidence_of(random_codes(4000, domain), domain)
        precisions = pair_precisions(evidence, pairs, NextCount(TOTAL, target=0, favor=1.0))
        # A patient changes a table with the first column half as much: 1 - 1/2.
        assert precisions @ [0.5, 0.5, 1] == pytest.approx(TOTAL)

    def test_a_column_of_one_code_costs_nothing_alone(self) -> None:
        domain = Domain((1, 3), (False, False), is_few=(True, True))
        evidence = evidence_of(random_codes(40, domain), domain)
        assert pair_precisions(evidence, ((0, 1),), NextCount(TOTAL, target=1, favor=1.0)) == [TOTAL]

    def test_no_pairs_get_nothing(self, one_pair: Evidence) -> None:
        assert pair_precisions(one_pair, (), NextCount(TOTAL, target=0, favor=1.0)).shape == (0,)


class TestChooseTriples:
    def test_neighbors_in_a_chain_come_first(self) -> None:
        chosen = choose_triples(evidence_of(chained_rows(4000, COLUMNS, 8)), target=2, most=1)
        assert chosen[0] in ((0, 1, 2), (1, 2, 3), (2, 3, 4))

    def test_all_where_there_are_fewer(self, one_pair: Evidence) -> None:
        assert choose_triples(one_pair, target=0, most=99) == tuple(combinations(range(COLUMNS), 3))

    def test_wide_tables_look_at_strong_partners(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(allocation, "MOST_LISTED", 100)
        monkeypatch.setattr(allocation, "PARTNERS", 3)
        domain = Domain((2,) * 20, (False,) * 20)
        codes = random_codes(3000, domain)
        codes[:, 7] = codes[:, 15] = codes[:, 9]
        assert choose_triples(evidence_of(codes, domain), target=0, most=1) == ((7, 9, 15),)

    def test_two_columns_have_no_triple(self) -> None:
        domain = Domain((4, 4), (False, False))
        assert choose_triples(evidence_of(random_codes(50, domain), domain), target=0, most=5) == ()


class TestTriplePrecisions:
    def test_interaction_gets_more(self) -> None:
        domain = Domain((2,) * 5, (False,) * 5, is_few=(True,) * 5)
        codes = np.column_stack([parity_rows(4000), random_codes(4000, Domain((2, 2), (False, False)), seed=1)])
        triples = ((0, 1, 2), (2, 3, 4))
        evidence = evidence_of(codes, domain, tuple(Query(triple, 8, weight=8, is_centered=True) for triple in triples))
        precisions = set_precisions(evidence, triples, NextCount(TOTAL, target=3, favor=1.0))
        assert precisions[0] > 3 * precisions[1]
        assert precisions.sum() / 8 == pytest.approx(TOTAL)  # 1/2 along each of three columns

    def test_triple_that_was_not_counted_is_an_error(self, one_pair: Evidence) -> None:
        with pytest.raises(KeyError):
            set_precisions(one_pair, ((0, 1, 2),), NextCount(TOTAL, target=0, favor=1.0))
