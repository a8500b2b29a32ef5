from __future__ import annotations

import pytest

from common.errors import StudyError
from common.planning.capacity import check_capacity, most_counted
from common.planning.planner import make_plan
from common.study.sections import HospitalFacts
from common.study.study import Study
from tests.testbeds.clinic import clinic_study


def study_of(rows: int) -> Study:
    facts = tuple(HospitalFacts(name=name, declared_rows=rows) for name in ("north", "south", "west"))
    return clinic_study(privacy={"noise": "distributed", "delta": 1e-10}).with_hospitals(facts)


def test_a_plan_whose_sums_could_wrap_around_is_refused() -> None:
    plan = make_plan(study_of(90))
    sigma = plan.sigma(plan.hospitals[0], "coarse")
    assert most_counted(study_of(90), plan, "coarse") == 3 * 2 * 90 + int(20 * 3 * sigma) + 1
    # Twice the declared rows of three hospitals must stay below 2^31: 357,913,941 each, less a little for the noise.
    check_capacity(study_of(357_000_000), plan)
    with pytest.raises(StudyError, match="wrap around; declare fewer rows"):
        check_capacity(study_of(358_000_000), plan)
