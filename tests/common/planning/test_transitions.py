from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from common.arrays import Integers
from common.marginals.histories import step_columns, steps_domain, weighted_rows, weighted_steps
from common.marginals.queries import Domain
from common.marginals.released import Asked
from common.planning.phases import HISTOGRAMS, measurements_of, vector_phase
from common.planning.plan import Plan
from common.planning.planner import make_plan
from common.planning.public_run import PublicRun
from common.planning.transitions import CROSS_TRANSITIONS, TRANSITIONS
from common.privacy.accountant import epsilon
from common.privacy.events import DiscreteGaussianVector
from common.study.schema import VisitsSchema
from common.study.study import Study
from simulations.experiments.one_hospital import FrameRecords, count_vectors
from tests.testbeds.clinic import clinic_study
from tests.testbeds.visits import MOST_VISITS, conformed_visits, invented_visits, visits_study
from tests.testbeds.voting import never_drawn


def run_of(study: Study, plan: Plan, frame: pd.DataFrame) -> PublicRun:
    return count_vectors(FrameRecords(frame, study.table), study, plan, 1, never_drawn)


def squared(change: Integers) -> int:
    return int((change.astype(object) ** 2).sum())


def finished_run(most_visits: int) -> PublicRun:
    study = visits_study(schema={"most_visits": most_visits})
    raw = invented_visits(300, most=most_visits)
    return run_of(study, make_plan(study), conformed_visits(raw, study))


@pytest.fixture(scope="module", params=[4, 8], ids=["exact parts", "rounded parts"])
def finished(request: pytest.FixtureRequest) -> PublicRun:
    return finished_run(request.param)


class TestOnePatient:
    """Adds and removes patients with 1 to `most_visits` visits, and more, which are cut."""

    @pytest.mark.parametrize("visits", [1, 2, 3, 4, 7, 8, 30])
    def test_changes_no_more_than_is_charged(self, finished: PublicRun, visits: int) -> None:
        study, plan = finished.study, finished.plan
        raw = invented_visits(20, seed=5, most=8)
        extra = pd.DataFrame(
            [("new", str(30 * number), "m", str(1 + number % 3), str(60 + number)) for number in range(visits)],
            columns=raw.columns,
            dtype=object,
        )
        with_patient, without = (
            FrameRecords(conformed_visits(table, study), study.table)
            for table in (pd.concat([raw, extra], ignore_index=True), raw)
        )
        for planned in plan.vectors:
            phase, asked = vector_phase(planned.name), finished.released.vectors[planned.name].asked
            change = phase.answer(finished, asked, with_patient) - phase.answer(finished, asked, without)
            event = plan.vector_event(plan.hospitals[0], planned.name)
            assert isinstance(event, DiscreteGaussianVector)
            assert squared(change) <= event.squared_sensitivity
            assert np.abs(change).max() <= event.largest_change

    def test_with_one_visit_counts_in_full_and_has_no_steps(self, finished: PublicRun) -> None:
        study = finished.study
        raw = pd.DataFrame([("a", "3", "f", "2", "")], columns=["id", "day", "sex", "stage", "weight"], dtype=object)
        records = FrameRecords(conformed_visits(raw, study), study.table)
        assert set(records.histograms(finished.plan.cells)) == {0, study.table.parts}
        assert not vector_phase(TRANSITIONS).answer(finished, Asked(), records).any()


class TestWeights:
    def test_can_be_worked_out_by_hand(self) -> None:
        schema = visits_study().table
        assert isinstance(schema, VisitsSchema)
        assert schema.parts == 12
        frame = conformed_visits(invented_visits(60), visits_study())
        codes = np.zeros((3, 7), dtype=np.int16)
        codes[:, 1] = 2  # three visits
        codes[:, 5] = [0, 1, 2]
        codes[:, 3] = [0, 1, 1]
        ((parts, rows),) = weighted_rows(codes, schema)
        assert (parts, len(rows)) == (4, 3)
        ((parts, steps),) = weighted_steps(codes, schema)
        assert (parts, len(steps)) == (6, 2)
        stage, columns = step_columns(schema).index(3), len(step_columns(schema))
        assert steps[:, [stage, columns + stage]].tolist() == [[0, 1], [1, 1]]
        assert frame["visits"].astype(int).max() == MOST_VISITS

    def test_steps_have_the_codes_of_two_visits(self) -> None:
        schema = visits_study().table
        assert isinstance(schema, VisitsSchema)
        domain = Domain((2, 4, 8, 3, 9, 4, 8), (False,) * 4 + (True, False, True))
        assert step_columns(schema) == (3, 4, 6)
        assert steps_domain(domain, schema).sizes == (3, 9, 8, 3, 9, 8)


class TestPlan:
    def test_spends_epsilon_in_parts_of_patients(self) -> None:
        study = visits_study()
        plan = make_plan(study)
        assert plan.parts == 12
        assert Plan.from_json(plan.to_json()) == plan
        for hospital in plan.hospitals:
            assert epsilon(plan.events(hospital), plan.delta) == pytest.approx(3.0, abs=0.01)

    def test_counts_every_column_and_every_other_at_the_next_visit(self) -> None:
        plan = make_plan(visits_study())
        tables = {vector.name: vector.tables for vector in plan.vectors}
        assert (tables[TRANSITIONS], tables[CROSS_TRANSITIONS]) == (3, 6)

    def test_a_study_of_patients_has_neither(self) -> None:
        plan = make_plan(clinic_study().with_hospitals(visits_study().hospitals))
        assert not {TRANSITIONS, CROSS_TRANSITIONS} & set(plan.phases)
        assert plan.parts == 1
        assert "parts" not in plan.to_json()


class TestMeasurements:
    def test_total_the_patients_and_those_with_steps(self, finished: PublicRun) -> None:
        measurements = measurements_of(finished)
        assert measurements is not None
        assert measurements.steps is not None
        assert measurements.totals[HISTOGRAMS] == pytest.approx(300, abs=60)
        assert measurements.steps.totals[TRANSITIONS] == pytest.approx(300 * 0.8, abs=90)
