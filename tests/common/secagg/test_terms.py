"""Which thresholds and keys a study may ask for."""

from __future__ import annotations

import pytest

from common.errors import StudyError
from common.protocol.signing import Identity
from common.secagg.terms import Terms, listed_identities
from common.study.sections import HospitalFacts
from tests.testbeds.clinic import clinic_study
from tests.testbeds.masking import NAMES


class TestTerms:
    @pytest.mark.parametrize(
        ("hospitals", "dropouts", "colluders", "is_safe"),
        [
            (3, 0, 1, True),  # 2 x 3 > 3 + 1
            (3, 1, 1, False),  # 2 x 2 = 3 + 1: three hospitals tolerate no dropout
            (4, 1, 1, True),  # 2 x 3 > 4 + 1
            (4, 1, 2, False),  # 2 x 3 = 4 + 2
            (5, 2, 1, False),  # 2 x 3 = 5 + 1
            (25, 5, 5, True),  # 2 x 20 > 30
        ],
    )
    def test_a_threshold_that_opens_two_sums_is_refused(
        self, hospitals: int, dropouts: int, colluders: int, is_safe: bool
    ) -> None:
        def terms() -> Terms:
            stay = hospitals - dropouts
            return Terms({f"h{number:02d}": f"key {number}" for number in range(hospitals)}, stay, stay, colluders)

        if is_safe:
            assert terms().threshold == hospitals - dropouts
        else:
            with pytest.raises(StudyError, match="lower dropouts or list more hospitals"):
                terms()

    def test_a_threshold_that_dropouts_could_miss_is_refused(self) -> None:
        with pytest.raises(StudyError, match="5 hospitals open a sum and 4 of 5 are sure to stay"):
            Terms({name: f"key of {name}" for name in NAMES}, 4, 5, 1)

    def test_repeated_keys_are_refused(self) -> None:
        keys = {name: Identity.simulated(1, name).public for name in ("a", "b", "c")}
        with pytest.raises(StudyError, match="'a' and 'c' list the same identity"):
            Terms({**keys, "c": keys["a"]}, 3, 3, 1)
        facts = tuple(HospitalFacts(name=name, declared_rows=90) for name in keys)
        study = clinic_study(privacy={"noise": "distributed"}, federation={"coordinator": keys["b"]}).with_hospitals(
            facts
        )
        with pytest.raises(StudyError, match="the coordinator's key is the identity of 'b'"):
            Terms.of(study, keys)

    def test_a_study_lists_the_key_of_every_hospital(self) -> None:
        key = Identity.simulated(1, "a").public
        facts = HospitalFacts(name="a", declared_rows=90, identity=key), HospitalFacts(name="b", declared_rows=90)
        with pytest.raises(StudyError, match="'b' has no identity"):
            listed_identities(clinic_study().with_hospitals(facts))
        assert listed_identities(clinic_study().with_hospitals(facts[:1], cap_minimum=True)) == {"a": key}
