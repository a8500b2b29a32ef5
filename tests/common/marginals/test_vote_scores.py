from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from common.columns.base import Codes
from common.marginals.queries import Domain
from common.marginals.vote_scores import LEAST_Z, ScoredSet, Votes, choose_sets, score_sets
from common.marginals.votes import count_votes, draw_candidates
from tests.testbeds.dependence import chained_rows
from tests.testbeds.marginals import random_codes

DOMAIN = Domain((2, 2, 2, 4, 8, 2), (False,) * 6)
PATIENTS, SIGMA = 6000, 8.0


def with_parity(columns: tuple[int, ...], flipped: float = 0.1, seed: int = 1) -> Codes:
    """Return rows of independent columns of which the last named one is the parity of the others, mostly."""
    codes = random_codes(PATIENTS, DOMAIN, seed=seed)
    *others, last = columns
    is_flipped = np.random.default_rng(seed).random(PATIENTS) < flipped
    codes[:, last] = (codes[:, others].sum(1) + is_flipped) % 2
    return codes


def votes_of(codes: Codes, *, seed: int = 0, factor: float = 1.0, model: Codes | None = None) -> Votes:
    """Return votes with noise, beside those of a model; if none is given, of independent columns."""
    model = random_codes(30_000, DOMAIN, seed=90) if model is None else model
    candidates = draw_candidates(random_codes(4000, DOMAIN, seed=91), DOMAIN)
    noise = np.rint(np.random.default_rng(seed).normal(0, SIGMA, len(candidates))).astype(np.int64)
    votes = np.rint(factor * count_votes(codes, candidates, DOMAIN)).astype(np.int64) + noise
    return Votes(candidates, votes, SIGMA, count_votes(model, candidates, DOMAIN))


class TestScores:
    @pytest.mark.parametrize("columns", [(0, 1, 2), (0, 1, 2, 5)])
    def test_parity_alone_stands_out(self, columns: tuple[int, ...]) -> None:
        scored = sorted(score_sets(votes_of(with_parity(columns))), key=lambda scored: -scored.z)
        assert scored[0].columns == columns
        assert scored[0].z > 10
        assert [other.columns for other in choose_sets(votes_of(with_parity(columns)), 24)] == [columns]

    def test_without_deviations_z_is_standard_normal(self) -> None:
        found = [
            scored.z
            for seed in range(8)
            for scored in score_sets(votes_of(random_codes(PATIENTS, DOMAIN, seed=seed), seed=seed))
        ]
        assert len(found) == 8 * (20 + 15)
        assert np.mean(found) == pytest.approx(0, abs=0.2)
        assert np.std(found) == pytest.approx(1, abs=0.15)
        assert max(found) < LEAST_Z

    def test_dependence_that_the_model_has_is_no_deviation(self) -> None:
        domain = Domain((3,) * 5, (False,) * 5)
        model, codes = chained_rows(30_000, 5, 3, seed=1), chained_rows(PATIENTS, 5, 3, seed=2)
        candidates = draw_candidates(chained_rows(4000, 5, 3, seed=3), domain)
        votes = Votes(candidates, count_votes(codes, candidates, domain), 0.0, count_votes(model, candidates, domain))
        assert max(scored.z for scored in score_sets(votes)) < LEAST_Z

    def test_hospitals_that_drop_out_are_no_deviation(self) -> None:
        codes = random_codes(PATIENTS, DOMAIN, seed=5)
        assert choose_sets(votes_of(codes, factor=0.5), 24) == ()

    def test_columns_of_one_group_are_in_no_set(self) -> None:
        votes = votes_of(random_codes(PATIENTS, DOMAIN, seed=6))
        constant = votes.candidates.copy()
        constant[:, 2] = 0
        columns = (0, 1, 3, 4, 5)
        expected = [*combinations(columns, 3), *combinations(columns, 4)]
        found = score_sets(Votes(constant, votes.votes, votes.sigma, votes.expected))
        assert [scored.columns for scored in found] == expected

    def test_nobody_votes(self) -> None:
        votes = votes_of(random_codes(PATIENTS, DOMAIN, seed=6))
        empty = Votes(votes.candidates, np.zeros_like(votes.votes), 0.0, votes.expected)
        assert choose_sets(empty, 24) == ()


class TestChoice:
    SCORES = (
        ScoredSet((0, 1, 2), 9.0), ScoredSet((1, 2, 3), 3.9), ScoredSet((1, 2, 4), 5.0), ScoredSet((0, 1, 2, 3), 8.0),
        ScoredSet((1, 2, 4, 5), 6.0), ScoredSet((1, 2, 3, 5), 4.5),
    )  # fmt: skip

    def chosen(self, monkeypatch: pytest.MonkeyPatch, most: int) -> list[tuple[int, ...]]:
        monkeypatch.setattr("common.marginals.vote_scores.score_sets", lambda votes: self.SCORES)
        return [scored.columns for scored in choose_sets(votes_of(random_codes(10, DOMAIN)), most)]

    def test_a_clearer_smaller_set_explains_a_larger_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.chosen(monkeypatch, 24) == [(0, 1, 2), (1, 2, 4, 5), (1, 2, 4), (1, 2, 3, 5)]

    def test_the_clearest_come_first_where_there_is_room_for_few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.chosen(monkeypatch, 2) == [(0, 1, 2), (1, 2, 4, 5)]
