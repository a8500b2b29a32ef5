from __future__ import annotations

import numpy as np

from common.marginals.whole_histories import ABSENT, WholeHistories, discriminator_width
from tests.testbeds.visits import visits_study

SCHEMA = visits_study().visits_table
assert SCHEMA.names == ("sex", "visits", "first_visit", "stage", "weight", "visit", "since_last_visit")
SIZES = (2, 4, 3, 3, 5, 4, 6)
LAYOUT = WholeHistories.of(SCHEMA, SIZES)

VISITS = np.array(
    [
        [1, 1, 2, 0, 4, 0, 5],  # the first patient's two visits
        [1, 1, 2, 1, 3, 1, 0],
        [0, 0, 1, 2, 2, 0, 5],  # the second patient's only one
    ],
    dtype=np.int16,
)


class TestRows:
    def test_hold_the_patient_and_then_each_visit(self) -> None:
        nothing = [ABSENT] * 3
        expected = [
            [1, 1, 2, 0, 4, 5, 1, 3, 0, *nothing, *nothing],
            [0, 0, 1, 2, 2, 5, *nothing, *nothing, *nothing],
        ]
        assert LAYOUT.rows(VISITS).tolist() == expected

    def test_give_the_visits_back(self) -> None:
        np.testing.assert_array_equal(LAYOUT.visits_of(LAYOUT.rows(VISITS)), VISITS)

    def test_of_no_visits_are_none(self) -> None:
        assert LAYOUT.rows(VISITS[:0]).shape == (0, 15)
        assert LAYOUT.visits_of(LAYOUT.rows(VISITS[:0])).shape == (0, 7)

    def test_of_a_patient_depend_on_no_other(self) -> None:
        np.testing.assert_array_equal(LAYOUT.rows(VISITS[2:]), LAYOUT.rows(VISITS)[1:])


def test_width_has_room_for_every_visit() -> None:
    # Patient: 2 + 4 + 3 = 9 codes. Visit: 3 + 5 + 6 = 14, four times; its number takes none.
    assert LAYOUT.width == 9 + 4 * 14
    assert discriminator_width(SCHEMA, SIZES) == LAYOUT.width
    assert discriminator_width(visits_study().declared, (2, 3, 4)) == 9
