from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.evaluation.visits.coding import CodedHistories
from common.evaluation.visits.distances import (
    cross_transition_distance,
    ends_distance,
    gap_distance,
    length_distance,
    state_transition_error,
    static_distance,
    transition_distance,
)
from common.evaluation.visits.histories import VisitLayout
from common.evaluation.visits.measures import Compare
from common.evaluation.visits.persistence import persistence_change, persistence_of
from common.evaluation.visits.summaries import history_c2st, summarize
from tests.testbeds.histories import LAYOUT, LOOSE, STICKY, chain, coded, shuffled, stationary

DISTANCES: tuple[Compare, ...] = (
    state_transition_error,
    transition_distance,
    cross_transition_distance,
    static_distance,
    ends_distance,
    length_distance,
    gap_distance,
    persistence_change,
)
OF_TIME = DISTANCES[:3]
STATES = VisitLayout("patient", "day", (), ("state",), "state")


def value(compare: Compare, sides: tuple[CodedHistories, CodedHistories]) -> float:
    estimate = compare(*sides)
    assert estimate is not None
    assert estimate.low <= estimate.value <= estimate.high
    return estimate.value


def visits(*histories: str) -> pd.DataFrame:
    """Return one patient per text; every letter is the state at a visit."""
    rows = [(f"p{n}", day, state) for n, states in enumerate(histories) for day, state in enumerate(states)]
    return pd.DataFrame(rows, columns=["patient", "day", "state"])


class TestKnownTruth:
    @settings(max_examples=8, deadline=None)
    @given(seed=st.integers(0, 1000))
    def test_state_transition_error_of_markov_chains(self, seed: int) -> None:
        sides = coded(chain(3000, STICKY, seed=seed), chain(3000, LOOSE, seed=seed + 1), STATES)
        truth = stationary(STICKY, np.arange(2, 7)) @ (0.5 * np.abs(STICKY - LOOSE).sum(axis=1))
        assert value(state_transition_error, sides) == pytest.approx(truth, abs=0.03)

    def test_equal_chains_differ_by_chance_alone(self) -> None:
        sides = coded(chain(3000, seed=1), chain(3000, seed=2), STATES)
        assert value(state_transition_error, sides) < 0.03

    @pytest.mark.parametrize("compare", DISTANCES)
    def test_identical_tables_have_no_distance(self, compare: Compare) -> None:
        table = chain(200)
        again = table.sample(frac=1, random_state=0).assign(patient="q" + table["patient"])
        assert value(compare, coded(table, again)) == pytest.approx(0, abs=1e-12)

    @pytest.mark.parametrize("compare", [*OF_TIME, ends_distance, persistence_change])
    def test_shuffled_visits_destroy_transitions(self, compare: Compare) -> None:
        real, other, mixed = (
            table.assign(twin=table["state"]) for table in (chain(1000), chain(1000, seed=1), shuffled(chain(1000)))
        )
        twins = replace(STATES, visit=("state", "twin"))
        by_chance = value(compare, coded(real, other, twins))
        assert value(compare, coded(real, mixed, twins)) > 3 * by_chance

    def test_shuffled_visits_keep_what_has_no_order(self) -> None:
        table = chain(1000)
        sides = coded(table, shuffled(table))
        assert value(length_distance, sides) == value(gap_distance, sides) == 0

    def test_persistence_is_autocorrelation_and_agreement(self) -> None:
        sides = coded(chain(3000, STICKY, persistence=0.9), chain(3000, LOOSE, persistence=0.3))
        state, sugar = (persistence_of(sides[0], column)[0] for column in (0, 1))
        assert sugar == pytest.approx(0.9, abs=0.01)
        assert state == pytest.approx(stationary(STICKY, np.arange(2, 7)) @ STICKY.diagonal(), abs=0.01)
        agreement = stationary(LOOSE, np.arange(2, 7)) @ LOOSE.diagonal()
        assert value(persistence_change, sides) == pytest.approx((0.6 + state - agreement) / 2, abs=0.02)


class TestByHand:
    def test_state_transition_error_weighs_origins(self) -> None:
        # Real: a -> a, a -> b, b -> b, each once. Synthetic: a -> a, b -> a. TVD after a is 1/2, after b it is 1.
        sides = coded(visits("aa", "ab", "bb"), visits("aa", "ba"), STATES)
        assert value(state_transition_error, sides) == pytest.approx(2 / 3 * 1 / 2 + 1 / 3 * 1)

    def test_absent_origin_counts_as_all_wrong(self) -> None:
        sides = coded(visits("ab", "ba"), visits("ab"), STATES)
        assert value(state_transition_error, sides) == pytest.approx(1 / 2)

    def test_long_histories_do_not_outvote_short_ones(self) -> None:
        # p0 has 4 steps a -> a of weight 1/4, p1 one step b -> b.
        sides = coded(visits("aaaaa", "bb"), visits("aa", "bb"), STATES)
        assert value(transition_distance, sides) == 0
        assert value(length_distance, sides) == pytest.approx(1 / 2)

    def test_synthetic_patients_who_never_return(self) -> None:
        sides = coded(visits("ab", "ba"), visits("a", "b"), STATES)
        assert value(state_transition_error, sides) == value(transition_distance, sides) == 1

    def test_real_patients_who_never_return_define_nothing(self) -> None:
        sides = coded(visits("a", "b"), visits("ab", "ba"), STATES)
        for compare in (state_transition_error, transition_distance, ends_distance, gap_distance, persistence_change):
            assert compare(*sides) is None
        assert static_distance(*sides) is None  # there are no static columns

    def test_irregular_clock_differs_from_regular_one(self) -> None:
        regular = visits("aaa", "bbb")
        late = regular.assign(day=regular["day"] * 2)
        assert value(gap_distance, coded(regular, regular, STATES)) == 0
        assert value(gap_distance, coded(regular, late, STATES)) == 1


class TestHistories:
    def test_equal_histories_cannot_be_told_apart(self) -> None:
        assert value(history_c2st, coded(chain(2000), chain(2000, seed=1))) == pytest.approx(0.5, abs=0.05)

    def test_shuffled_histories_are_told_apart(self) -> None:
        table = chain(400)
        assert value(history_c2st, coded(table, shuffled(table))) > 0.8

    def test_few_patients_define_no_test(self) -> None:
        assert history_c2st(*coded(chain(9), chain(20, seed=1))) is None

    def test_summary_by_hand(self) -> None:
        table = pd.DataFrame(
            {"patient": 0, "day": [0, 10, 30], "sex": "f", "state": ["a", "b", "b"], "sugar": [1.0, None, 3.0]}
        )
        more = chain(30)
        side, _ = coded(pd.concat([table, more]), more, LAYOUT)
        lengths, span, gap, *_, changed = summarize(side)[0][:7]
        assert (lengths, span, gap, changed) == (3, 30, 15, 0.5)
        assert summarize(side)[0][7:].tolist() == [1, 3, 2, 1, 3, 0]

    def test_results_are_the_same_twice(self) -> None:
        first, second = (
            [compare(*coded(chain(60), chain(60, LOOSE, seed=1))) for compare in (*DISTANCES, history_c2st)]
            for _ in range(2)
        )
        assert first == second
