from __future__ import annotations

from dataclasses import replace

import pytest

from common.errors import StudyError
from common.privacy.accountant import Unaffordable, epsilon
from common.privacy.events import DiscreteGaussianVector, DpSgdRun, Unprotected
from common.privacy.plan import HISTOGRAMS, Plan
from common.privacy.planner import MAX_CELLS, MAX_SAMPLE_RATE, MIN_CELLS, make_plan
from common.study import Study, parse_study

TEXT = """
[study]
name = "wards"
[[schema.columns]]
name = "age"
kind = "numeric"
lower = 18
upper = 100
[[schema.columns]]
name = "weight"
kind = "numeric"
lower = 30
upper = 200
[[schema.columns]]
name = "died"
kind = "categorical"
categories = ["no", "yes"]
[[hospitals]]
name = "north"
declared_rows = 200
[[hospitals]]
name = "south"
declared_rows = 100
[training]
rounds = 2
steps = 20
batch = 64
[privacy]
epsilon = 2.0
delta = 1e-5
[evaluation]
target = "died"
"""

WITHOUT_NUMBERS = """
[study]
name = "labels"
[[schema.columns]]
name = "sex"
kind = "categorical"
categories = ["female", "male"]
[[schema.columns]]
name = "died"
kind = "categorical"
categories = ["no", "yes"]
[[hospitals]]
name = "north"
declared_rows = 200
[training]
rounds = 2
steps = 20
[federation]
min_hospitals = 1
[privacy]
epsilon = 2.0
[evaluation]
target = "died"
"""


PLAIN: dict[str, object] = {"anchor_weight": 0}
"""The DP-GAN without anchors."""


def study(**sections: dict[str, object]) -> Study:
    return parse_study(TEXT).amended(**sections)


@pytest.mark.parametrize(
    ("budget", "batch", "holdout", "steps"),
    [
        (2.0, 64, 0.2, 20),
        (0.5, 256, 0.5, 20),
        (1.0, 16, 0.0, 20),
        (3.0, 256, 0.2, 200),
        pytest.param(10.0, 64, 0.5, 50, marks=pytest.mark.slow),
    ],
)
def test_every_hospital_spends_its_budget_and_no_more(budget: float, batch: int, holdout: float, steps: int) -> None:
    plan = make_plan(
        study(
            privacy={"epsilon": budget},
            training={"batch": batch, "steps": steps},
            evaluation={"holdout_fraction": holdout},
        )
    )
    for hospital in plan.hospitals:
        assert 0.98 * budget <= epsilon(plan.events(hospital), plan.delta) <= budget
        assert hospital.sample_rate <= MAX_SAMPLE_RATE


def test_rate_and_batch_follow_from_declared_rows_and_never_exceed_a_quarter() -> None:
    north, south = make_plan(study(training={"batch": 30}, privacy={"noise": "none"})).hospitals
    # north: 200 x 0.8 = 160 rows, batch 30, rate 30 / 160. south: 80 rows, a quarter is 20.
    assert (north.batch, north.sample_rate) == (30, 30 / 160)
    assert (south.batch, south.sample_rate) == (20, 0.25)


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
def test_a_tiny_hospital_is_sampled_at_most_at_a_quarter_too(rows: int) -> None:
    small = study(privacy={"noise": "none"})
    few = small.with_hospitals((small.hospitals[0].model_copy(update={"declared_rows": rows}),), cap_minimum=True)
    (plan,) = make_plan(few).hospitals
    assert plan.batch == 1
    assert plan.sample_rate <= MAX_SAMPLE_RATE


def test_the_events_are_one_histogram_release_and_one_run_of_steps_per_round() -> None:
    plan = make_plan(study(synthesizer=PLAIN))
    north = plan.hospitals[0]
    run = DpSgdRun(north.noise_multiplier, north.sample_rate, 20)
    assert plan.events(north) == (DiscreteGaussianVector(plan.sigma(north, HISTOGRAMS), 2), run, run)


def test_the_same_study_gives_the_same_plan() -> None:
    assert make_plan(study()) == make_plan(parse_study(study().to_toml()))
    assert make_plan(study()).to_json() == make_plan(study()).to_json()


def test_a_plan_survives_its_json() -> None:
    plan = make_plan(study())
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"hospitals": 1}', '{"hospitals": ["x"]}', '{"hospitals": [], "x": 1}']
)
def test_what_is_not_a_plan_is_refused(text: str) -> None:
    with pytest.raises(StudyError, match="this is not a plan"):
        Plan.from_json(text)


def test_without_numeric_columns_training_gets_the_whole_budget() -> None:
    plan = make_plan(parse_study(WITHOUT_NUMBERS).amended(synthesizer=PLAIN))
    (north,) = plan.hospitals
    assert (plan.vectors, north.sigmas) == ((), ())
    assert all(isinstance(event, DpSgdRun) for event in plan.events(north))
    assert 1.96 <= epsilon(plan.events(north), plan.delta) <= 2.0


def test_without_rounds_histograms_get_the_whole_budget() -> None:
    plan = make_plan(study(training={"rounds": 0}, synthesizer=PLAIN))
    for hospital in plan.hospitals:
        assert plan.events(hospital) == (DiscreteGaussianVector(plan.sigma(hospital, HISTOGRAMS), 2),)
        assert 1.96 <= epsilon(plan.events(hospital), plan.delta) <= 2.0


def test_a_study_that_would_learn_nothing_is_refused() -> None:
    with pytest.raises(StudyError, match="nothing would be learnt"):
        make_plan(parse_study(WITHOUT_NUMBERS).amended(training={"rounds": 0}, synthesizer=PLAIN))


def test_a_study_without_hospitals_is_refused() -> None:
    with pytest.raises(StudyError, match="lists no"):
        make_plan(study().with_hospitals(()))


def test_without_noise_every_release_is_unprotected() -> None:
    # Plain: histograms and two rounds. Anchored: coarse tables and pairs as well.
    for settings, releases in ((PLAIN, 3), ({"pairs": 1}, 5)):
        plan = make_plan(study(privacy={"noise": "none"}, synthesizer=settings))
        assert plan.cells == MAX_CELLS
        for hospital in plan.hospitals:
            assert set(hospital.sigmas) == {0.0}
            assert plan.events(hospital) == (Unprotected(),) * releases


def test_a_budget_below_every_noise_is_a_study_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def impossible(*_: object) -> float:
        raise Unaffordable

    monkeypatch.setattr("common.privacy.planner.accountant.calibrate", impossible)
    with pytest.raises(StudyError, match=r"epsilon = 1\.9 is too small for any amount of noise; raise it"):
        make_plan(study(privacy={"epsilon": 1.9}))


def test_more_noise_means_fewer_histogram_cells() -> None:
    cells = [make_plan(study(privacy={"epsilon": budget}, training={"rounds": 0})).cells for budget in (0.05, 1.0, 8.0)]
    assert MIN_CELLS == cells[0] < cells[1] < cells[2] <= MAX_CELLS


def test_an_unknown_hospital_has_no_plan() -> None:
    plan = make_plan(study())
    assert plan.of("south") == plan.hospitals[1]
    assert replace(plan, hospitals=()).of("south") is None
