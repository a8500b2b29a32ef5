from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from common.columns.base import Codes
from common.marginals.evidence import Evidence
from common.marginals.queries import Domain, Query, pair_queries, single_queries
from common.planning.plan import PlannedVector
from common.planning.selection import Choosing, choose_pairs, choose_triples, choose_triples_again
from tests.testbeds.dependence import chained_rows, parity_rows
from tests.testbeds.marginals import measured, random_codes

DOMAIN = Domain((4,) * 5, (False,) * 5)
WEIGHTED = PlannedVector("pairs", 10, 8, 60_000, 200)
PRECISION = 1e5


def choosing(
    planned: PlannedVector, *, target: int = 2, codes: Codes | None = None, triples: tuple[Query, ...] = ()
) -> Choosing:
    """All pairs were counted in groups; if no codes are given, each column is mostly that before it."""
    codes = chained_rows(4000, 5, 4) if codes is None else codes
    queries = (*single_queries(5), *pair_queries(5, 4), *triples)
    return Choosing(Evidence.of(measured(codes, queries, DOMAIN, deviation=20.0)), target, planned, PRECISION)


class TestPairs:
    def test_every_pair_worth_it_is_asked_for(self) -> None:
        chosen = choose_pairs(choosing(WEIGHTED))
        pairs = [query.columns for query in chosen]
        assert pairs == sorted(set(pairs))
        assert set(pairwise(range(5))) <= set(pairs)
        assert all((query.groups, query.is_centered) == (8, True) for query in chosen)

    def test_the_only_dependent_pair_is_asked_for_alone(self) -> None:
        codes = random_codes(4000, DOMAIN)
        codes[:, 4] = codes[:, 3]
        assert choose_pairs(choosing(WEIGHTED, codes=codes)) == (Query((3, 4), 8, weight=200, is_centered=True),)
        (query,) = choose_pairs(choosing(PlannedVector.unweighted("pairs", 1, 8), codes=codes))
        assert query == Query((3, 4), 8)

    def test_pairs_with_the_target_weigh_more(self) -> None:
        of_target, of_another = (
            {query.columns: query.weight for query in choose_pairs(choosing(WEIGHTED, target=target))}
            for target in (0, 3)
        )
        assert of_target[0, 1] > of_another[0, 1]
        assert of_target[3, 4] < of_another[3, 4]


class TestTriples:
    def test_as_many_as_planned_weigh_the_same(self) -> None:
        chosen = choose_triples(choosing(PlannedVector("coarse-triples", 3, 8, 20_000, 200)))
        assert len({query.columns for query in chosen}) == 3
        assert len({query.weight for query in chosen}) == 1
        assert all((len(query.columns), query.groups) == (3, 8) for query in chosen)

    def test_neighbors_in_a_chain_come_first(self) -> None:
        (query,) = choose_triples(choosing(PlannedVector.unweighted("coarse-triples", 1, 8)))
        assert query.columns in ((0, 1, 2), (1, 2, 3), (2, 3, 4))


class TestTriplesAgain:
    CODES = np.column_stack([parity_rows(4000), random_codes(4000, DOMAIN, seed=1)[:, 3:]])
    COUNTED = (Query((0, 1, 2), 8), Query((0, 3, 4), 8))

    def test_an_interaction_is_counted_more_precisely(self) -> None:
        chosen = choose_triples_again(
            choosing(PlannedVector("triples", 2, 16, 11_000, 200), codes=self.CODES, triples=self.COUNTED)
        )
        weights = {query.columns: query.weight for query in chosen}
        assert set(weights) <= {query.columns for query in self.COUNTED}
        assert weights[0, 1, 2] > weights.get((0, 3, 4), 0)
        assert all(query.groups == 16 for query in chosen)

    @pytest.mark.parametrize("counted", [0, 1])
    def test_only_counted_triples_can_be_counted_again(self, counted: int) -> None:
        planned = PlannedVector.unweighted("triples", 2, 16)
        chosen = choose_triples_again(choosing(planned, codes=self.CODES, triples=self.COUNTED[:counted]))
        assert {query.columns for query in chosen} <= {query.columns for query in self.COUNTED[:counted]}


def test_what_the_plan_allows_is_spent() -> None:
    for planned in (WEIGHTED, PlannedVector("pairs", 10, 8, 90_000, 200)):
        chosen = choose_pairs(choosing(planned))
        spent = planned.total_weight**2 + DOMAIN.squared_sensitivity(chosen)
        assert 0.95 * planned.squared_sensitivity <= spent <= planned.squared_sensitivity
