from __future__ import annotations

import time

import pytest

from common.encoding import histogram_max_changed_cells
from common.errors import StudyError
from common.planning.phases import COARSE, COARSE_TRIPLES, HISTOGRAMS, PAIRS
from common.planning.plan import Plan
from common.planning.planner import MAX_SAMPLE_RATE, make_plan
from common.planning.sizing import MAX_CELLS
from common.privacy.accountant import Unaffordable, epsilon
from common.privacy.events import DiscreteGaussianVector, DpSgdRun, Unprotected
from common.study.study import parse_study
from tests.testbeds.wards import PLAIN, TEXT, WITHOUT_NUMBERS, marginal_plan, wards, with_own_epsilon

BUDGETS = [0.5, 1.0, 3.0, 10.0]


def histogram_nodes(plan: Plan) -> int:
    """Histogram nodes that one patient of the wards is in."""
    return histogram_max_changed_cells(wards().table, plan.cells)


def check_budget(plan: Plan, budget: float) -> None:
    """Every hospital spends its budget, and no more."""
    for events in {plan.events(hospital) for hospital in plan.hospitals}:
        assert 0.98 * budget <= epsilon(events, plan.delta) <= budget


class TestBudget:
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
    def test_every_hospital_spends_it_and_no_more(self, budget: float, batch: int, holdout: float, steps: int) -> None:
        plan = make_plan(
            wards(
                privacy={"epsilon": budget},
                training={"batch": batch, "steps": steps},
                evaluation={"holdout_fraction": holdout},
            )
        )
        check_budget(plan, budget)
        assert all(hospital.sample_rate <= MAX_SAMPLE_RATE for hospital in plan.hospitals)

    @pytest.mark.parametrize("hospitals", [1, 4])
    @pytest.mark.parametrize(
        ("budget", "rounds"),
        [
            *((budget, 2) for budget in BUDGETS[:-1]),
            (1.0, 0),
            *(pytest.param(10.0, rounds, marks=pytest.mark.slow) for rounds in (0, 2)),
        ],
    )
    def test_any_number_of_hospitals_spends_it(self, budget: float, rounds: int, hospitals: int) -> None:
        plan = marginal_plan(budget, hospitals, rounds)
        assert {COARSE, PAIRS} <= {phase.name for phase in plan.vectors}
        assert len(plan.hospitals) == hospitals
        check_budget(plan, budget)

    def test_labels_alone_have_histograms_too(self) -> None:
        plan = make_plan(parse_study(WITHOUT_NUMBERS).amended(synthesizer=PLAIN))
        (north,) = plan.hospitals
        histograms, *rounds = plan.events(north)
        assert histograms == DiscreteGaussianVector(plan.sigma(north, HISTOGRAMS), 2)
        assert [type(event) for event in rounds] == [DpSgdRun] * 2
        check_budget(plan, 2.0)

    def test_a_plain_gan_without_rounds_is_refused(self) -> None:
        with pytest.raises(StudyError, match="nothing would be trained; raise rounds"):
            make_plan(wards(training={"rounds": 0}, synthesizer=PLAIN))

    def test_weights_divide_it_in_units_of_inverse_variance(self) -> None:
        weights: dict[str, object] = {"histograms": 1, "coarse": 2, "pairs": 1}
        plan = make_plan(wards(budget=weights, synthesizer={"pairs": 2, "triples": 0}, training={"rounds": 0}))
        for sigmas in (hospital.sigmas for hospital in plan.hospitals):
            # A vector spends squared_sensitivity / sigma^2, whatever its weights.
            spent = [phase.squared_sensitivity / sigma**2 for phase, sigma in zip(plan.vectors, sigmas, strict=True)]
            assert spent[1] / spent[0] == pytest.approx(2.0, rel=2e-3)
            assert spent[2] / spent[0] == pytest.approx(1.0, rel=2e-3)
        check_budget(plan, 2.0)

    def test_independent_columns_are_paid_for(self) -> None:
        plan = make_plan(wards(synthesizer={"independent": True}, training={"rounds": 0}))
        assert [(phase.name, phase.tables) for phase in plan.vectors] == [(HISTOGRAMS, histogram_nodes(plan))]
        check_budget(plan, 2.0)

    def test_a_weight_that_no_noise_meets_is_named(self) -> None:
        study = wards(budget={"adversary": 0.000001}, training={"rounds": 15})
        words = r"^\[budget\] leaves 'adversary' \S+e-0\d of the privacy budget, too little"
        with pytest.raises(StudyError, match=words) as refused:
            make_plan(study)
        assert str(refused.value).endswith("raise its weight or lower the others")

    def test_one_that_no_noise_meets_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def impossible(*_: object, **__: object) -> float:
            raise Unaffordable

        monkeypatch.setattr("common.privacy.accountant.calibrate", impossible)
        with pytest.raises(StudyError, match=r"\[privacy\] epsilon = 1\.9 is too small for any amount of noise"):
            make_plan(wards(privacy={"epsilon": 1.9}))
        with pytest.raises(StudyError, match=r"\[\[hospitals\]\] epsilon = 0\.0123 is too small"):
            make_plan(with_own_epsilon(0.0123))


class TestPlan:
    def test_the_events_are_one_vector_and_one_run_per_round(self) -> None:
        plan = make_plan(wards(synthesizer=PLAIN))
        north = plan.hospitals[0]
        run = DpSgdRun(north.noise_multiplier, north.sample_rate, 20)
        histogram = DiscreteGaussianVector(plan.sigma(north, HISTOGRAMS), histogram_nodes(plan))
        assert plan.events(north) == (histogram, run, run)

    def test_the_same_study_gives_the_same_plan(self) -> None:
        assert make_plan(wards()) == make_plan(parse_study(wards().to_toml()))
        assert make_plan(wards()).to_json() == make_plan(wards()).to_json()

    def test_a_study_can_fix_bins_pairs_triples_and_rounds(self) -> None:
        plan = make_plan(wards(synthesizer={"bins": 7, "pairs": 2, "triples": 1}, training={"rounds": 1}))
        assert plan.bins == 7
        assert [(phase.name, phase.tables) for phase in plan.vectors] == [
            (HISTOGRAMS, histogram_nodes(plan)), (COARSE, 3), (PAIRS, 2), (COARSE_TRIPLES, 1),
        ]  # fmt: skip
        assert plan.rounds == 1
        check_budget(plan, 2.0)

    def test_coarse_tables_are_one_per_pair(self) -> None:
        phases = {phase.name: phase for phase in marginal_plan(1.0, 1).vectors}
        assert phases[COARSE].tables == 3
        assert phases[PAIRS].tables == 3

    def test_weights_are_charged_whichever_tables_are_asked_for(self) -> None:
        plan = make_plan(wards(training={"rounds": 0}))
        (_, coarse, pairs), north = plan.vectors, plan.hospitals[0]
        assert coarse.has_weights
        for vector in (coarse, pairs):
            sigma = plan.sigma(north, vector.name)
            event = DiscreteGaussianVector(sigma, vector.squared_sensitivity, vector.largest_weight)
            assert plan.vector_event(north, vector.name) == event
            assert event in plan.events(north)
        check_budget(plan, 2.0)

    def test_without_noise_every_release_is_unprotected(self) -> None:
        # Plain: histograms and two rounds. Held to marginals: pairs and triples as well, both twice.
        for settings, releases in ((PLAIN, 3), ({}, 7)):
            plan = make_plan(wards(privacy={"noise": "none"}, synthesizer=settings))
            assert plan.cells == MAX_CELLS
            for hospital in plan.hospitals:
                assert set(hospital.sigmas) == {0.0}
                assert plan.events(hospital) == (Unprotected(),) * releases

    def test_a_study_without_hospitals_is_refused(self) -> None:
        with pytest.raises(StudyError, match="lists no"):
            make_plan(wards().with_hospitals(()))

    def test_sixty_columns_take_seconds(self) -> None:
        columns = "".join(
            f'[[schema.columns]]\nname = "c{index}"\nkind = "numeric"\nlower = 0\nupper = 99\n' for index in range(60)
        )
        wide = parse_study(TEXT.replace("[[schema.columns]]", columns + "[[schema.columns]]", 1))
        started = time.monotonic()
        plan = make_plan(wide)
        print(f"sixty columns: {time.monotonic() - started:.1f} s")  # noqa: T201  # seen with `pytest -s`
        assert time.monotonic() - started < 60  # a few seconds on an idle machine
        # 60 columns of 100 values, in 16 cells of one level; age, weight and died.
        assert [phase.tables for phase in plan.vectors][:2] == [63, 63 * 62 // 2]
        check_budget(plan, 2.0)


class TestSampling:
    def test_rate_and_batch_follow_from_declared_rows(self) -> None:
        north, south = make_plan(wards(training={"batch": 30}, privacy={"noise": "none"})).hospitals
        # north: 200 x 0.8 = 160 rows, batch 30, rate 30 / 160. south: 80 rows, a quarter is 20.
        assert (north.batch, north.sample_rate) == (30, 30 / 160)
        assert (south.batch, south.sample_rate) == (20, 0.25)

    @pytest.mark.parametrize("rows", [1, 2, 3, 5])
    def test_a_tiny_hospital_is_sampled_at_most_at_a_quarter(self, rows: int) -> None:
        small = wards(privacy={"noise": "none"})
        few = small.with_hospitals((small.hospitals[0].model_copy(update={"declared_rows": rows}),), cap_minimum=True)
        (plan,) = make_plan(few).hospitals
        assert plan.batch == 1
        assert plan.sample_rate <= MAX_SAMPLE_RATE


class TestOwnEpsilon:
    @pytest.mark.parametrize("rounds", [0, 2])
    def test_it_is_met_and_that_hospitals_noise_alone_grows(self, rounds: int) -> None:
        fixed: dict[str, dict[str, object]] = {
            "synthesizer": {"bins": 8, "pairs": 3, "triples": 0}, "training": {"rounds": rounds},
        }  # fmt: skip
        common, own = make_plan(wards(**fixed)), make_plan(with_own_epsilon(0.5, **fixed))
        north, south = own.hospitals
        assert 0.98 * 0.5 <= epsilon(own.events(south), own.delta) <= 0.5
        assert 0.98 * 2.0 <= epsilon(own.events(north), own.delta) <= 2.0
        theirs = common.hospitals[0]
        assert north.sigmas[1:] == theirs.sigmas[1:]
        # More noise in the sum may mean coarser histograms, of fewer levels; north spends on them what it did.
        spent = [
            plan.vectors[0].squared_sensitivity / sigmas[0] ** 2
            for plan, sigmas in ((own, north.sigmas), (common, theirs.sigmas))
        ]
        assert spent[0] == pytest.approx(spent[1], rel=1e-3)
        assert north.noise_multiplier == pytest.approx(theirs.noise_multiplier, rel=1e-2)
        assert all(mine > theirs for mine, theirs in zip(south.sigmas, common.hospitals[1].sigmas, strict=True))

    def test_unset_it_changes_neither_plan_nor_fingerprint(self) -> None:
        unset = with_own_epsilon(None)
        assert unset.fingerprint == wards().fingerprint
        assert make_plan(unset).to_json() == make_plan(wards()).to_json()
        assert '"epsilon":2.0' in unset.canonical()
        assert unset.canonical().count("epsilon") == 1
        own = with_own_epsilon(0.5)
        assert own.fingerprint != unset.fingerprint
        assert parse_study(own.to_toml()) == own
