from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.arrays import Array
from common.errors import WireError
from common.marginals import hashing, votes
from common.marginals.queries import Domain
from common.marginals.votes import (
    MOST_CANDIDATES,
    column_weights,
    count_votes,
    draw_candidates,
    grouped,
    nearest,
    read_candidates,
)
from tests.testbeds.marginals import random_codes

DOMAIN = Domain((2, 9, 3), (False, True, False), masses=((30.0, 10.0), (5.0,) * 8 + (1.0,), (1.0, 1.0, 1.0)))
"""A column of two labels, one of eight numbers and missing, which has four groups and one more, and one of three."""

CANDIDATES = draw_candidates(random_codes(12, DOMAIN, seed=7), DOMAIN)


class TestCandidates:
    def test_are_the_first_different_rows_of_groups(self) -> None:
        codes = np.array([[1, 0, 2], [0, 8, 0], [1, 1, 2], [0, 7, 0], [1, 0, 2]], dtype=np.int16)
        # Codes 0 and 1 of the second column are one group, 7 is in the fourth, and 8 means missing.
        assert draw_candidates(codes, DOMAIN).tolist() == [[1, 0, 2], [0, 4, 0], [0, 3, 0]]

    def test_are_no_more_than_a_hospital_takes(self) -> None:
        domain = Domain((4,) * 8, (False,) * 8)
        assert draw_candidates(random_codes(6000, domain), domain).shape == (MOST_CANDIDATES, 8)

    def test_are_read_back(self) -> None:
        assert read_candidates(CANDIDATES.ravel(), DOMAIN).tolist() == CANDIDATES.tolist()

    @pytest.mark.parametrize(
        ("flat", "problem"),
        [
            ([], "1 to 4000 candidates"),
            ([0, 0], "of all columns"),
            ([0, 0, 0, 1], "of all columns"),
            ([0, 0, 0] * (MOST_CANDIDATES + 1), "1 to 4000 candidates"),
            ([0, 5, 0], "does not have"),
            ([2, 0, 0], "does not have"),
            ([0, -1, 0], "does not have"),
            ([0, 2**40, 0], "does not have"),
        ],
        ids=range(8),
    )
    def test_others_than_rows_of_groups_are_refused(self, flat: list[int], problem: str) -> None:
        with pytest.raises(WireError, match=problem):
            read_candidates(np.array(flat, dtype=np.int64), DOMAIN)

    def test_as_many_as_allowed_are_read(self) -> None:
        assert len(read_candidates(np.zeros(3 * MOST_CANDIDATES, dtype=np.int64), DOMAIN)) == MOST_CANDIDATES


class TestWeights:
    def test_are_the_inverse_of_how_often_rows_differ(self) -> None:
        # 3/4 and 1/4 differ with 6/16; 10, 10, 10, 10, 1 of 41 with 1 - 401/1681; three thirds with 2/3.
        assert column_weights(DOMAIN).tolist() == [round(16 / 0.375), round(16 / 0.76145), 24]

    def test_are_bounded(self) -> None:
        assert column_weights(Domain((1, 2), (False, False), masses=((9.0,), (1e6, 1.0)))).tolist() == [128, 128]


class TestNearest:
    def test_votes_go_to_the_candidates_of_least_distance(self) -> None:
        codes = random_codes(700, DOMAIN, seed=1)
        rows, weights = grouped(codes, DOMAIN), column_weights(DOMAIN)
        distances = ((rows[:, None] != CANDIDATES[None]) * weights).sum(2)
        chosen = nearest(codes, CANDIDATES, DOMAIN)
        assert (distances[np.arange(len(codes)), chosen] == distances.min(1)).all()

    def test_ties_fall_evenly(self) -> None:
        """Two candidates differ in a column in which no row is like either: no position is preferred."""
        domain = Domain((3, *(4,) * 6), (False,) * 7)
        rows = np.unique(random_codes(20_000, domain, seed=2), axis=0)
        rows = rows[rows[:, 0] == 0]
        candidates = np.zeros((2, 7), dtype=np.int64)
        candidates[:, 0] = 1, 2
        counts = count_votes(rows, candidates, domain)
        # 4 deviations of a fair coin, thrown for each of about 4,000 different rows.
        assert abs(int(counts[0]) - len(rows) / 2) < 4 * np.sqrt(len(rows)) / 2

    def test_ties_depend_on_all_candidates(self) -> None:
        domain = Domain((4, 4, 4), (False,) * 3)
        rows = np.unique(random_codes(500, domain, seed=3), axis=0)
        rows = rows[rows[:, 0] == 0]
        pair = np.array([[1, 0, 0], [2, 0, 0]])
        far = np.array([[3, 3, 3]])
        chosen = [nearest(rows[:, :], np.concatenate([pair, extra]), domain) for extra in (far, far[:0])]
        near = chosen[0] < 2
        assert 0 < (chosen[0][near] != chosen[1][near]).sum() < near.sum()

    @given(seed=st.integers(0, 2**32), position=st.integers(0, 40))
    def test_one_patient_changes_one_vote_by_one(self, seed: int, position: int) -> None:
        codes = random_codes(40, DOMAIN, seed=seed)
        patient = random_codes(1, DOMAIN, seed=seed + 1)
        before = count_votes(codes, CANDIDATES, DOMAIN)
        after = count_votes(np.insert(codes, position, patient, axis=0), CANDIDATES, DOMAIN)
        change = after - before
        assert sorted(change.tolist()) == [0] * (len(CANDIDATES) - 1) + [1]

    @given(seed=st.integers(0, 2**32))
    def test_order_of_patients_does_not_matter(self, seed: int) -> None:
        codes = random_codes(60, DOMAIN, seed=seed)
        shuffled = np.random.default_rng(seed).permutation(codes)
        assert (count_votes(codes, CANDIDATES, DOMAIN) == count_votes(shuffled, CANDIDATES, DOMAIN)).all()

    def test_blocks_do_not_show(self) -> None:
        codes = random_codes(1300, DOMAIN, seed=4)
        alone = [int(nearest(codes[number : number + 1], CANDIDATES, DOMAIN)[0]) for number in (0, 511, 512, 1299)]
        assert nearest(codes, CANDIDATES, DOMAIN)[[0, 511, 512, 1299]].tolist() == alone

    def test_least_hash_decides_among_ties(self) -> None:
        codes = random_codes(200, DOMAIN, seed=5)
        rows, weights = grouped(codes, DOMAIN), column_weights(DOMAIN)
        distances = ((rows[:, None] != CANDIDATES[None]) * weights).sum(2)
        key = int.from_bytes(hashlib.sha256(np.ascontiguousarray(CANDIDATES, dtype="<i8").tobytes()).digest()[:8])
        hashes = hashing.mixed(hashing.row_hashes(rows, ~key)[:, None] ^ hashing.row_hashes(CANDIDATES, key))
        ties = [np.flatnonzero(row == row.min()) for row in distances]
        expected = [int(tied[hashes[number, tied].argmin()]) for number, tied in enumerate(ties)]
        assert max(map(len, ties)) > 1
        assert nearest(codes, CANDIDATES, DOMAIN).tolist() == expected

    def test_ties_take_the_same_operations(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Rows of group 3 are like none of the candidates, all of which tie; or each is like one."""
        domain = Domain((4,) * 5, (False,) * 5)
        candidates = np.unique(random_codes(300, Domain((3,) * 5, (False,) * 5)), axis=0).astype(np.int64)
        everyone, nobody = np.full((40, 5), 3, dtype=np.int16), candidates[:40].astype(np.int16)
        honest, shapes = hashing.mixed, list[tuple[int, ...]]()

        def noting(values: Array) -> Array:
            shapes.append(values.shape)
            return honest(values)

        monkeypatch.setattr(votes, "mixed", noting)
        seen = []
        for rows in (everyone, nobody):
            shapes.clear()
            nearest(rows, candidates, domain)
            seen.append(tuple(shapes))
        assert seen[0] == seen[1]

    def test_without_patients_there_are_no_votes(self) -> None:
        assert count_votes(random_codes(0, DOMAIN), CANDIDATES, DOMAIN).tolist() == [0] * len(CANDIDATES)
