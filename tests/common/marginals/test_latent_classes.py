from __future__ import annotations

import math

import numpy as np
import pytest

from common.arrays import Integers
from common.errors import WireError
from common.marginals.latent_classes import (
    AVERAGED,
    LEAST,
    UNIT,
    assigned,
    averaged_tables,
    count_classes,
    first_decoder,
    proportions_of,
    read_decoders,
    read_tables,
    to_decoder,
    width_of,
)
from common.marginals.queries import Domain
from tests.testbeds.classes import random_decoder
from tests.testbeds.marginals import DOMAIN, random_codes

DECODER = random_decoder(DOMAIN, 4)
WIDTH = width_of(DOMAIN)


@pytest.mark.parametrize("seed", range(30))
def test_one_patient_changes_one_cell_of_every_column(seed: int) -> None:
    """Each patient in turn, also among patients with the same codes: with one code a column all are equal."""
    domain = Domain((1 + seed % 3, 1 + seed % 3, 1 + seed % 2), (False,) * 3)
    codes = random_codes(1 + seed, domain, seed)
    hostile = np.where(np.random.default_rng(seed).random((3, 1 + width_of(domain))) < 0.5, 0, LEAST)
    for decoder in (random_decoder(domain, 3, seed), hostile):  # the hostile one tells single codes apart
        whole = count_classes(codes, decoder, domain)
        for row in range(len(codes)):
            change = whole - count_classes(np.delete(codes, row, axis=0), decoder, domain)
            assert (change**2).sum() == 3  # the number of columns: the plan's squared sensitivity
            assert set(change.tolist()) <= {0, 1}


class TestAssigned:
    def test_order_of_patients_does_not_matter(self) -> None:
        codes = random_codes(300, DOMAIN)
        shuffled = np.random.default_rng(1).permutation(codes)
        assert (count_classes(codes, DECODER, DOMAIN) == count_classes(shuffled, DECODER, DOMAIN)).all()

    def test_classes_follow_bayes_rule(self) -> None:
        # Two classes of weight 1/4 and 3/4; the one column's first code has probability 9/10 and 1/10 in them:
        # q(first | first code) = (1/4 9/10) / (1/4 9/10 + 3/4 1/10) = 3/4.
        domain = Domain((2,), (False,))
        decoder = to_decoder(np.array([0.25, 0.75]), np.array([[0.9, 0.1], [0.1, 0.9]]))
        classes = assigned(np.zeros((20_000, 1), dtype=np.int16), decoder, domain)
        # Four standard errors of a frequency: 4 sqrt(3/16 / 20,000) = 0.012.
        assert (classes == 0).mean() == pytest.approx(0.75, abs=0.012)

    def test_another_round_draws_anew(self) -> None:
        codes = random_codes(200, DOMAIN)
        later = DECODER.copy()
        later[0, 0] -= 1
        assert (assigned(codes, DECODER, DOMAIN) != assigned(codes, later, DOMAIN)).any()

    def test_no_patients_are_in_no_class(self) -> None:
        assert count_classes(random_codes(0, DOMAIN), DECODER, DOMAIN).tolist() == [0] * (4 * WIDTH)

    def test_impossible_codes_are_put_somewhere(self) -> None:
        decoder = np.full_like(DECODER, LEAST)
        assert count_classes(random_codes(50, DOMAIN), decoder, DOMAIN).sum() == 50 * 3


class TestDecoders:
    def test_are_read_as_they_were_written(self) -> None:
        both = np.stack([DECODER, DECODER - 1])
        assert (read_decoders(both.ravel(), DOMAIN, 4) == both).all()

    @pytest.mark.parametrize(
        ("flat", "text"),
        [
            ([], "does not hold decoders of 4 classes"),
            (DECODER.ravel()[1:], "does not hold decoders of 4 classes"),
            (np.ones_like(DECODER).ravel(), "not the logarithm of a probability"),
            (np.full_like(DECODER, LEAST - 1).ravel(), "not the logarithm of a probability"),
        ],
        ids=range(4),
    )
    def test_others_are_refused(self, flat: Integers, text: str) -> None:
        with pytest.raises(WireError, match=text):
            read_decoders(np.array(flat, dtype=np.int64), DOMAIN, 4)

    def test_first_one_tilts_halves_and_repeats(self) -> None:
        first = first_decoder(DOMAIN, 4, seed=3)
        assert (first == first_decoder(DOMAIN, 4, seed=3)).all()
        assert (first != first_decoder(DOMAIN, 4, seed=4)).any()
        five = first[:, 3:8]  # the column of five codes: the first two are the lower half, the last two the upper one
        assert (five[:, 0] == five[:, 1]).all()
        assert (five[:, 3] == five[:, 4]).all()
        assert (five[:, 0] != five[:, 4]).all()

    def test_sums_to_one(self) -> None:
        logs = first_decoder(DOMAIN, 4, seed=3)[:, 1:3] / UNIT
        assert np.exp(logs).sum(axis=1) == pytest.approx(np.ones(4), abs=2e-3)  # rounded to 1/1024 of a nat


class TestTables:
    def test_exact_counts_give_their_proportions(self) -> None:
        codes = np.repeat(np.array([[0, 0, 0], [1, 4, 2]], dtype=np.int16), [3000, 1000], axis=0)
        counts = np.zeros((2, WIDTH))
        for row, number in ((codes[0], 0), (codes[-1], 1)):
            counts[number, [row[0], 2 + row[1], 7 + row[2]]] = (3000, 1000)[number]
        tables = read_tables(counts, 0.0, DOMAIN)
        assert tables.weights == pytest.approx([0.75, 0.25])
        assert tables.probabilities[0, :2] == pytest.approx([1, 0], abs=2e-3)
        assert tables.probabilities[1, :2] == pytest.approx([0, 1], abs=2e-3)

    def test_what_noise_explains_stays_with_the_margins(self) -> None:
        domain = Domain((2, 2), (False, False), masses=((75.0, 25.0), (50.0, 50.0)))
        # 100 patients; noise of 20 in a cell explains a squared distance of 2 (20 / 100)^2 = 0.08 and more.
        counts = np.array([[85.0, 15.0, 60.0, 40.0]])  # distances: 2 (0.1)^2 = 0.02 in each column
        tables = read_tables(counts, 20.0, domain)
        assert tables.probabilities[0] == pytest.approx([0.75, 0.25, 0.5, 0.5], abs=1e-4)

    def test_a_class_without_patients_is_kept(self) -> None:
        tables = read_tables(np.zeros((2, WIDTH)), 5.0, DOMAIN)
        assert tables.weights.tolist() == [0.5, 0.5]
        assert np.isfinite(np.log(tables.probabilities)).all()

    def test_negative_counts_give_probabilities(self) -> None:
        tables = read_tables(np.full((3, WIDTH), -40.0), 5.0, DOMAIN)
        assert (tables.probabilities > 0).all()
        for columns in np.split(tables.probabilities, [2, 7], axis=1):
            assert columns.sum(axis=1) == pytest.approx(np.ones(3))

    def test_last_rounds_are_averaged(self) -> None:
        counts = np.zeros((2 * AVERAGED, 2, WIDTH), dtype=np.int64)
        counts[-2:] = [np.full((2, WIDTH), 30), np.full((2, WIDTH), 50)]
        tables = averaged_tables(counts, 6.0, DOMAIN)
        assert tables.deviation == pytest.approx(6 / math.sqrt(2))
        assert tables.probabilities == pytest.approx(read_tables(counts[-2:].mean(axis=0), 6.0, DOMAIN).probabilities)

    def test_proportions_are_positive(self) -> None:
        empty = Domain((2, 3), (False, False), masses=((0.0, 0.0), (1.0, 0.0, 3.0)))
        for proportions in proportions_of(empty):
            assert (proportions > 0).all()
            assert proportions.sum() == pytest.approx(1)
