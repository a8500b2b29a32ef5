from __future__ import annotations

import math
from itertools import combinations

import pytest

from common.encoding import histogram_length
from common.errors import StudyError
from common.planning.capacity import check_capacity, most_counted
from common.planning.phases import COARSE, HISTOGRAMS, PAIRS, Outlook, vector_phase
from common.planning.plan import Plan
from common.planning.planner import make_plan
from common.study.sections import HospitalFacts
from common.study.study import Study
from tests.testbeds.clinic import clinic_study
from tests.testbeds.wards import many_categories


def shared(rows: int) -> Study:
    facts = tuple(HospitalFacts(name=name, declared_rows=rows) for name in ("north", "south", "west"))
    return clinic_study(privacy={"noise": "distributed", "delta": 1e-10}).with_hospitals(facts)


def without_noise(categories: int, **synthesizer: object) -> tuple[Study, Plan]:
    study = many_categories(categories, **synthesizer).amended(privacy={"noise": "none"})
    return study, make_plan(study)


class TestSums:
    def test_a_plan_whose_sums_could_wrap_around_is_refused(self) -> None:
        plan = make_plan(shared(90))
        sigma = plan.sigma(plan.hospitals[0], COARSE)
        assert most_counted(shared(90), plan, COARSE) == 3 * 2 * 90 + int(20 * 3 * sigma) + 1
        # Twice the declared rows of three hospitals must stay below 2^31: 357,913,941 each, less a little for noise.
        check_capacity(shared(357_000_000), plan)
        with pytest.raises(StudyError, match="wrap around; declare fewer rows"):
            check_capacity(shared(358_000_000), plan)

    def test_the_planner_checks_them(self) -> None:
        with pytest.raises(StudyError, match="wrap around; declare fewer rows"):
            make_plan(shared(358_000_000))


class TestCells:
    def test_tables_too_large_to_draw_noise_for_are_refused(self) -> None:
        with pytest.raises(StudyError) as problem:
            without_noise(1000, pairs=1)
        for words in ("'pairs' may count 1000000 cells", "'icd' and 'drug', has 1000000", "merge categories"):
            assert words in str(problem.value)
        assert without_noise(700, pairs=1)[1].vector(PAIRS)  # 490,000 cells

    def test_the_bound_holds_for_whichever_tables_are_chosen(self) -> None:
        study, plan = without_noise(20, pairs=4)
        sizes = {"age": plan.bins, "weight": plan.bins, "died": 2, "icd": 20, "drug": 20}
        every = sorted((one * other for one, other in combinations(sizes.values(), 2)), reverse=True)
        outlook = Outlook(math.inf, plan.bins, plan.cells)
        for phase in plan.vectors:
            tables = vector_phase(phase.name).largest(study, outlook, phase)
            largest = sorted((cells for cells, _ in tables), reverse=True)
            if phase.name == HISTOGRAMS:
                assert sum(largest) == histogram_length(study.table, plan.cells)
                continue
            assert len(largest) == phase.max_changed_cells
            if phase.name == PAIRS:
                assert largest == every[:4]
            if phase.name == COARSE:
                # Five columns in full, and ten pairs of four groups, or of two with "died".
                assert sum(largest) == sum(sizes.values()) + 6 * 16 + 4 * 8
