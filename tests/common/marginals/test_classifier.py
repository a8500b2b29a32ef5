"""The classifier of a private evaluation: whole numbers, and one cell for each patient whatever the weights are."""

from __future__ import annotations

import numpy as np
import pytest

from common.errors import WireError
from common.marginals.classifier import (
    MOST_WEIGHT,
    class_count,
    confusion,
    feature_count,
    fit_classifier,
    predict,
    read_classifier,
)
from common.marginals.queries import Domain
from tests.testbeds.marginals import random_codes

DOMAIN = Domain((3, 2, 12), (True, False, False))
"""Two columns of labels, one of them with missing values, and one of twelve codes in eight groups."""

TARGET = 0


def weights_of(*rows: list[int]) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    return np.array(rows, dtype=np.int64)


class TestPredict:
    def test_adds_up_the_weights_of_a_row(self) -> None:
        # One weight for all rows, two for the second column, eight for the third; the first class wins ties.
        weights = weights_of([0, 0, 5, *[0] * 8], [1, 0, 0, *[0] * 7, 9], [0] * 11)
        rows = np.array([[0, 0, 0], [0, 1, 0], [2, 1, 11], [1, 0, 11]], dtype=np.int16)
        assert predict(rows, weights, DOMAIN, TARGET).tolist() == [1, 0, 1, 1]
        assert predict(rows, np.zeros_like(weights), DOMAIN, TARGET).tolist() == [0] * 4

    def test_does_not_look_at_the_target(self) -> None:
        rng, rows = np.random.default_rng(0), random_codes(50, DOMAIN)
        weights = rng.integers(-9, 9, (3, 11))
        other = rows.copy()
        other[:, TARGET] = (other[:, TARGET] + 1) % 3
        assert (predict(rows, weights, DOMAIN, TARGET) == predict(other, weights, DOMAIN, TARGET)).all()


class TestConfusion:
    def test_has_true_classes_first(self) -> None:
        weights = weights_of([0] * 11, [1, *[0] * 10], [0] * 11)  # predicts the second class
        table = confusion(np.array([[0, 0, 0], [0, 1, 0], [2, 1, 3]], dtype=np.int16), weights, DOMAIN, TARGET)
        assert table.tolist() == [[0, 2, 0], [0, 0, 0], [0, 1, 0]]

    @pytest.mark.parametrize("largest", [0, 3, MOST_WEIGHT])
    def test_one_patient_changes_one_cell_by_one(self, largest: int) -> None:
        rng, rows = np.random.default_rng(1), random_codes(30, DOMAIN)
        weights = rng.integers(-largest, largest + 1, (3, 11))
        before = confusion(rows, weights, DOMAIN, TARGET)
        for patient in random_codes(20, DOMAIN, seed=2):
            change = confusion(np.insert(rows, 7, patient, axis=0), weights, DOMAIN, TARGET) - before
            assert sorted(change.ravel().tolist()) == [*[0] * 8, 1]


class TestRead:
    def test_gives_back_what_was_sent(self) -> None:
        weights = np.arange(33, dtype=np.int64).reshape(3, 11)
        assert (class_count(DOMAIN, TARGET), feature_count(DOMAIN, TARGET)) == (3, 11)
        assert (read_classifier(weights.ravel(), DOMAIN, TARGET) == weights).all()

    @pytest.mark.parametrize(
        "flat",
        [
            np.zeros(32, dtype=np.int64),
            np.zeros(34, dtype=np.int64),
            np.zeros((3, 11), dtype=np.int64),
            np.zeros(33),
            np.full(33, MOST_WEIGHT + 1),
            np.full(33, -MOST_WEIGHT - 1),
            np.full(33, np.iinfo(np.int64).min),
        ],
        ids=range(7),
    )
    def test_refuses_other_weights(self, flat: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> None:
        with pytest.raises(WireError):
            read_classifier(flat, DOMAIN, TARGET)


class TestFit:
    def test_learns_what_rows_show(self) -> None:
        rows = random_codes(400, DOMAIN)
        rows[:, TARGET] = np.where(rows[:, 0] == 2, 2, rows[:, 1])  # the second column says it, where it is known
        weights = fit_classifier(rows, DOMAIN, TARGET)
        known = rows[:, TARGET] != 2
        assert (predict(rows, weights, DOMAIN, TARGET)[known] == rows[known, 1]).all()
        assert read_classifier(weights.ravel(), DOMAIN, TARGET) is not None

    def test_predicts_no_class_that_rows_lack(self) -> None:
        rows = random_codes(100, DOMAIN)
        rows[:, TARGET] = 1
        weights = fit_classifier(rows, DOMAIN, TARGET)
        assert set(predict(random_codes(50, DOMAIN, seed=4), weights, DOMAIN, TARGET).tolist()) == {1}
