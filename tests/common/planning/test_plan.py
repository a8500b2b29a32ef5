from __future__ import annotations

import json
from dataclasses import replace

import pytest

from common.errors import StudyError
from common.planning.plan import Plan
from common.planning.planner import make_plan
from tests.testbeds.wards import shared_plan, synchronous, wards

WITHOUT_NOISE: dict[str, object] = {"noise": "none"}
"""Plans without calibration, where only their form is looked at."""


class TestJson:
    def test_a_plan_survives_it(self) -> None:
        for plan in (make_plan(wards()), shared_plan(4, retries=2), make_plan(synchronous())):
            assert Plan.from_json(plan.to_json()) == plan

    @pytest.mark.parametrize(
        "text", ["", "[]", "{}", '{"hospitals": 1}', '{"hospitals": ["x"]}', '{"hospitals": [], "x": 1}']
    )
    def test_anything_else_is_refused(self, text: str) -> None:
        with pytest.raises(StudyError, match="this is not a plan"):
            Plan.from_json(text)

    def test_fields_of_shared_noise_are_left_out_where_unset(self) -> None:
        written = json.loads(make_plan(wards(privacy=WITHOUT_NOISE)).to_json())
        assert not {"honest_hospitals", "retries", "quantization"} & set(written)
        assert "honest_hospitals" in json.loads(shared_plan(3).to_json())
        assert "retries" not in shared_plan(4).to_json()


def test_an_unknown_hospital_has_no_plan() -> None:
    plan = make_plan(wards(privacy=WITHOUT_NOISE))
    assert plan.of("south") == plan.hospitals[1]
    assert replace(plan, hospitals=()).of("south") is None
