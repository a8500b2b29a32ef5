from __future__ import annotations

from itertools import combinations

from common.marginals.selection import choose_pairs, choose_triples

from common.marginals.queries import Domain, Query, coarse_queries
from tests.testbeds.marginals import measured, random_codes

DOMAIN = Domain((2,) * 5, (False,) * 5)


def test_pairs_of_named_columns_come_first() -> None:
    codes = random_codes(400, DOMAIN)
    codes[:, 4] = codes[:, 3]  # the only dependent pair
    measurements = measured(codes, coarse_queries(5, 4), DOMAIN)
    with_first = {(0, 1), (0, 2), (0, 3), (0, 4)}
    for most in range(11):
        chosen = choose_pairs(measurements, [0], most)
        assert len(chosen) == most
        pairs = {query.columns for query in chosen}
        assert with_first <= pairs if most >= 4 else pairs <= with_first
        assert ((3, 4) in pairs) == (most >= 5)
        assert all(query.groups == 0 for query in chosen)
        assert list(chosen) == sorted(chosen, key=lambda query: query.columns)
    with_two = {pair for pair in combinations(range(5), 2) if set(pair) & {0, 2}}
    assert {query.columns for query in choose_pairs(measurements, [2, 0], 7)} == with_two


def test_triples_hold_the_target_and_what_depends_on_it() -> None:
    codes = random_codes(1000, DOMAIN)
    codes[:, 1] = codes[:, 3]
    codes[:800, 4] = codes[:800, 3]
    measurements = measured(codes, coarse_queries(5, 4), DOMAIN)
    assert choose_triples(measurements, 3, 1, 6) == (Query((1, 3, 4), 6),)
    for most in range(7):
        chosen = choose_triples(measurements, 3, most, 6)
        assert len(set(chosen)) == most
        assert all(3 in query.columns and query.groups == 6 for query in chosen)
