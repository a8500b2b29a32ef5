from __future__ import annotations

from itertools import combinations

import pytest

from common.encoding import histogram_length
from common.errors import StudyError
from common.planning import capacity
from common.planning.capacity import check_capacity, most_counted
from common.planning.phases import COARSE, HISTOGRAMS, PAIRS, vector_phase
from common.planning.plan import Plan
from common.planning.planner import make_plan
from common.study.study import Study
from tests.testbeds.clinic import clinic_study, declaring
from tests.testbeds.wards import many_categories


def shared(rows: int) -> Study:
    study = clinic_study(privacy={"noise": "distributed", "delta": 1e-10})
    return declaring(study, rows, ("north", "south", "west"))


def without_noise(categories: int, **synthesizer: object) -> tuple[Study, Plan]:
    study = many_categories(categories, **synthesizer).amended(privacy={"noise": "none"})
    return study, make_plan(study)


class TestSums:
    def test_a_plan_whose_sums_could_wrap_around_is_refused(self) -> None:
        plan = make_plan(shared(90))
        sigma = plan.sigma(plan.hospitals[0], COARSE)
        planned = plan.vector(COARSE)
        assert planned is not None
        assert planned.has_weights
        # Three hospitals of at most twice their declared rows, each patient once in the heaviest table.
        assert most_counted(shared(90), plan, COARSE) == planned.largest_weight * 3 * 2 * 90 + int(20 * 3 * sigma) + 1
        heaviest = max(vector.largest_weight for vector in plan.vectors)
        fits = (2**31 - 1) // (heaviest * 6)
        check_capacity(shared(int(fits * 0.999)), plan)  # a little is for noise
        with pytest.raises(StudyError, match="wrap around; declare fewer rows"):
            check_capacity(shared(fits + 1), plan)

    def test_without_weights_a_sum_counts_patients(self) -> None:
        plan = make_plan(shared(90).amended(synthesizer={"independent": True}))
        # Twice the declared rows of three hospitals must stay below 2^31: 357,913,941 each, less a little for noise.
        check_capacity(shared(357_000_000), plan)
        with pytest.raises(StudyError, match="wrap around; declare fewer rows"):
            check_capacity(shared(358_000_000), plan)

    @pytest.mark.slow
    def test_the_planner_checks_them(self) -> None:
        with pytest.raises(StudyError, match="wrap around; declare fewer rows"):
            make_plan(shared(358_000_000))


class TestCells:
    def test_tables_too_large_to_draw_noise_for_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(capacity, "MAX_VECTOR_CELLS", 2400)
        with pytest.raises(StudyError) as problem:
            without_noise(1000, triples=1, bins=256)
        # Whatever the bins, lists of 1,000 labels are merged into 16 groups.
        for words in ("cells, more than 2400", "of 'weight' and 'icd' and 'drug', has 4096", "merge categories"):
            assert words in str(problem.value)
        monkeypatch.undo()
        assert without_noise(1000, pairs=4, triples=0, bins=16)[1].vector(PAIRS)

    def test_the_bound_holds_for_whichever_tables_are_chosen(self) -> None:
        study, plan = without_noise(20, pairs=4)
        sizes = {"age": plan.bins, "weight": plan.bins, "died": 2, "icd": 20, "drug": 20}
        merged = [min(size, plan.bins) for size in sizes.values()]
        every = sorted((one * other for one, other in combinations(merged, 2)), reverse=True)
        for phase in plan.vectors:
            tables = vector_phase(phase.name).largest(study, plan, phase)
            largest = sorted((cells for cells, _ in tables), reverse=True)
            if phase.name == HISTOGRAMS:
                assert sum(largest) == histogram_length(study.table, plan.cells)
                continue
            assert len(largest) == phase.tables
            if phase.name == PAIRS:
                assert largest == every[:4]
            if phase.name == COARSE:
                # Ten pairs of eight groups, or of two with "died".
                assert sum(largest) == 6 * 64 + 4 * 16
