from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from functools import cache
from itertools import combinations

import pytest
import torch

from common.encoding import histogram_length, histogram_max_changed_cells
from common.errors import StudyError
from common.planning.plan import COARSE, HISTOGRAMS, PAIRS, SINGLES, TRIPLES, Plan, VectorPhase
from common.planning.planner import MAX_CELLS, MAX_SAMPLE_RATE, MIN_CELLS, _largest_tables, make_plan
from common.privacy.accountant import Unaffordable, epsilon
from common.privacy.discriminator import Discriminator
from common.privacy.events import (
    LEAST_SHARE,
    DiscreteGaussianVector,
    DistributedGaussianVector,
    DpSgdRun,
    SynchronousRun,
    Unprotected,
)
from common.study.sections import HospitalFacts
from common.study.study import Study, parse_study

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


PLAIN: dict[str, object] = {"marginal_weight": 0}
"""The DP-GAN without measurements."""


def study(**sections: dict[str, object]) -> Study:
    return parse_study(TEXT).amended(**sections)


@pytest.fixture
def choices_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans without calibrated noise, which takes seconds: what a run does is chosen before, from public facts."""

    def uncalibrated(
        epsilon: float, delta: float, max_changed_cells: tuple[int, ...], *others: object, **options: object
    ) -> tuple[tuple[float, ...], float]:
        return (1.0,) * len(max_changed_cells), 1.0

    monkeypatch.setattr("common.planning.planner._noise", uncalibrated)


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


def nodes(plan: Plan) -> int:
    """Histogram nodes that one patient is in."""
    return histogram_max_changed_cells(study().table, plan.cells)


def test_the_events_are_one_histogram_release_and_one_run_of_steps_per_round() -> None:
    plan = make_plan(study(synthesizer=PLAIN))
    north = plan.hospitals[0]
    run = DpSgdRun(north.noise_multiplier, north.sample_rate, 20)
    assert plan.events(north) == (DiscreteGaussianVector(plan.sigma(north, HISTOGRAMS), nodes(plan)), run, run)


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
        assert plan.events(hospital) == (DiscreteGaussianVector(plan.sigma(hospital, HISTOGRAMS), nodes(plan)),)
        assert 1.96 <= epsilon(plan.events(hospital), plan.delta) <= 2.0


def test_a_study_that_would_learn_nothing_is_refused() -> None:
    with pytest.raises(StudyError, match="nothing would be learnt"):
        make_plan(parse_study(WITHOUT_NUMBERS).amended(training={"rounds": 0}, synthesizer=PLAIN))


def test_a_study_without_hospitals_is_refused() -> None:
    with pytest.raises(StudyError, match="lists no"):
        make_plan(study().with_hospitals(()))


def test_without_noise_every_release_is_unprotected() -> None:
    # Plain: histograms and two rounds. Held to marginals: coarse tables, pairs and triples as well.
    for settings, releases in ((PLAIN, 3), ({}, 6)):
        plan = make_plan(study(privacy={"noise": "none"}, synthesizer=settings))
        assert plan.cells == MAX_CELLS
        for hospital in plan.hospitals:
            assert set(hospital.sigmas) == {0.0}
            assert plan.events(hospital) == (Unprotected(),) * releases


def test_a_budget_below_every_noise_is_a_study_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def impossible(*_: object, **__: object) -> float:
        raise Unaffordable

    monkeypatch.setattr("common.planning.planner.accountant.calibrate", impossible)
    with pytest.raises(StudyError, match=r"epsilon = 1\.9 is too small for any amount of noise; raise it"):
        make_plan(study(privacy={"epsilon": 1.9}))


@pytest.mark.usefixtures("choices_only")
def test_more_noise_means_fewer_histogram_cells() -> None:
    cells = [make_plan(study(privacy={"epsilon": budget}, training={"rounds": 0})).cells for budget in (0.05, 3.0, 8.0)]
    assert MIN_CELLS == cells[0] < cells[1] < cells[2] <= MAX_CELLS


def test_an_unknown_hospital_has_no_plan() -> None:
    plan = make_plan(study())
    assert plan.of("south") == plan.hospitals[1]
    assert replace(plan, hospitals=()).of("south") is None


BUDGETS = [0.5, 1.0, 3.0, 10.0]


@cache
def marginal_plan(budget: float, hospitals: int, rounds: int = 2) -> Plan:
    facts = tuple(HospitalFacts(name=f"h{place}", declared_rows=300 + 100 * (place // 2)) for place in range(hospitals))
    chosen = study(privacy={"epsilon": budget}, training={"rounds": rounds})
    return make_plan(chosen.with_hospitals(facts, cap_minimum=True))


@pytest.mark.parametrize("hospitals", [1, 4])
@pytest.mark.parametrize(
    ("budget", "rounds"),
    [*((budget, 2) for budget in BUDGETS), (1.0, 0), pytest.param(10.0, 0, marks=pytest.mark.slow)],
)
def test_every_hospital_of_an_anchored_study_spends_its_budget_and_no_more(
    budget: float, hospitals: int, rounds: int
) -> None:
    plan = marginal_plan(budget, hospitals, rounds)
    assert {COARSE, PAIRS} <= {phase.name for phase in plan.vectors}
    assert len(plan.hospitals) == hospitals
    spent = {epsilon(events, plan.delta) for events in {plan.events(hospital) for hospital in plan.hospitals}}
    assert all(0.98 * budget <= one <= budget for one in spent)


@pytest.mark.parametrize("hospitals", [1, 4])
def test_more_epsilon_never_gives_fewer_bins_or_pairs(hospitals: int) -> None:
    plans = [marginal_plan(budget, hospitals) for budget in BUDGETS]
    bins = [plan.bins for plan in plans]
    pairs = [phase.max_changed_cells if (phase := plan.vector(PAIRS)) else 0 for plan in plans]
    assert bins == sorted(bins)
    assert pairs == sorted(pairs)


def test_coarse_tables_change_one_cell_per_column_and_pair() -> None:
    phases = {phase.name: phase for phase in marginal_plan(1.0, 1).vectors}
    # Three columns: 3 single tables and 3 pairs.
    assert phases[COARSE].max_changed_cells == 6
    assert phases[PAIRS].max_changed_cells <= 3


def undecided(budget: float, declared: int, hospitals: int = 1, **sections: dict[str, object]) -> Plan:
    """The plan of a study that leaves the number of rounds open."""
    facts = tuple(HospitalFacts(name=f"north-{place}", declared_rows=declared) for place in range(hospitals))
    chosen = study(privacy={"epsilon": budget, "delta": 1e-6}).with_hospitals(facts, cap_minimum=True)
    document = chosen.model_dump(mode="json", by_alias=True, exclude_none=True)
    del document["training"]["rounds"]
    return make_plan(Study.model_validate(document).amended(**sections))


@pytest.mark.usefixtures("choices_only")
def test_an_adversary_is_paid_for_where_counts_leave_budget_over_and_only_there() -> None:
    # One count that spends all has a noise of about 0.5 patients at epsilon 10 and of 1.4 at epsilon 3 (delta 1e-6), of
    # 80 % of the declared patients: resolutions of about 48,000, of 17,000, and of 24,000 with four times the noise.
    assert undecided(10.0, 30_000).rounds == 15
    assert undecided(3.0, 30_000).rounds == 0
    assert undecided(10.0, 7_500, hospitals=4).rounds == 0
    assert "an adversary pays from a resolution of 30000 on" in undecided(3.0, 30_000).why


@pytest.mark.usefixtures("choices_only")
def test_shared_noise_of_counts_is_no_reason_for_an_adversary_under_each_hospitals_own() -> None:
    shared: dict[str, object] = {"noise": "distributed"}
    # The sums have 4/3 of the central variance, a resolution of 42,000; weights have four times that, 24,000.
    assert undecided(10.0, 7_500, hospitals=4, privacy=shared).rounds == 0
    # In synchronous the noise of weights is shared as well.
    assert undecided(10.0, 7_500, hospitals=4, privacy=shared, training={"steps": 1, "batch": 64}).rounds == 15


def test_a_study_can_fix_bins_pairs_triples_and_rounds() -> None:
    settings: dict[str, object] = {"bins": 7, "pairs": 2, "triples": 1}
    plan = make_plan(study(synthesizer=settings, training={"rounds": 1}))
    assert plan.bins == 7
    assert [(phase.name, phase.max_changed_cells) for phase in plan.vectors] == [
        (HISTOGRAMS, nodes(plan)), (COARSE, 6), (PAIRS, 2), (TRIPLES, 1),
    ]  # fmt: skip
    assert plan.rounds == 1
    for hospital in plan.hospitals:
        assert 1.96 <= epsilon(plan.events(hospital), plan.delta) <= 2.0


def test_no_more_tables_are_planned_than_there_are() -> None:
    plan = make_plan(study(synthesizer={"pairs": 99, "triples": 99}, privacy={"noise": "none"}))
    # Three columns: three pairs, one triple. Two of them numeric: 83 ages in two levels, 171 weights in three.
    assert [phase.max_changed_cells for phase in plan.vectors] == [5, 6, 3, 1]


def test_phases_without_tables_are_left_out_of_the_plan() -> None:
    plan = make_plan(study(synthesizer={"pairs": 0, "triples": 0}, privacy={"noise": "none"}))
    assert [phase.name for phase in plan.vectors] == [HISTOGRAMS, COARSE]


def test_without_coarse_pairs_single_columns_are_counted_alone() -> None:
    plan = make_plan(study(synthesizer={"coarse_pairs": False}, training={"rounds": 0}))
    assert [(phase.name, phase.max_changed_cells) for phase in plan.vectors] == [
        (HISTOGRAMS, nodes(plan)),
        (SINGLES, 3),
    ]
    for hospital in plan.hospitals:
        assert 1.96 <= epsilon(plan.events(hospital), plan.delta) <= 2.0


def many(columns: int, numbers: int = 0, **sections: dict[str, object]) -> Plan:
    """The plan of a study with so many yes-no columns, the target among them, and so many numeric ones."""
    flags = [f"flag{place}" for place in range(columns - 1)]
    named: list[dict[str, object]] = []
    named += [{"kind": "categorical", "name": name, "categories": ["no", "yes"]} for name in (*flags, "died")]
    named += [{"kind": "numeric", "name": f"lab{place}", "lower": 0, "upper": 99} for place in range(numbers)]
    return make_plan(study(schema={"columns": named}, training={"rounds": 0}, **sections))


def test_with_many_categories_each_column_is_counted_once_more_away_from_the_pairs_and_that_is_paid_for() -> None:
    plan = many(25)
    assert [(phase.name, phase.max_changed_cells) for phase in plan.vectors][:2] == [(COARSE, 25 + 300), (SINGLES, 25)]
    assert "single columns once more" in plan.why
    for hospital in plan.hospitals:
        assert DiscreteGaussianVector(plan.sigma(hospital, SINGLES), 25) in plan.events(hospital)
        assert 1.96 <= epsilon(plan.events(hospital), plan.delta) <= 2.0
        coarse = plan.sigma(hospital, COARSE)
        assert plan.sigma(hospital, SINGLES) == pytest.approx(coarse * math.sqrt(25 / 325 * 0.40 / 0.15), rel=1e-3)


@pytest.mark.usefixtures("choices_only")
def test_whether_columns_are_counted_once_more_can_be_fixed() -> None:
    assert many(24).vector(SINGLES) is None
    assert many(24, budget={"singles": 0.1}).vector(SINGLES) == VectorPhase(SINGLES, 24, 0)
    assert many(25, budget={"singles": 0}).vector(SINGLES) is None
    assert many(24, numbers=20).vector(SINGLES) is None  # their bins are known by the histograms
    with pytest.raises(StudyError, match="singles = 0 leaves no budget"):
        many(3, budget={"singles": 0}, synthesizer={"coarse_pairs": False})


def test_shares_of_the_budget_are_those_of_the_study() -> None:
    shares: dict[str, object] = {"histograms": 1, "coarse": 2, "pairs": 1}
    plan = make_plan(study(budget=shares, synthesizer={"pairs": 2, "triples": 0}, training={"rounds": 0}))
    for hospital in plan.hospitals:
        # A vector's share is max_changed_cells / sigma^2: 2 / s1^2 : 6 / s2^2 : 2 / s3^2 = 1 : 2 : 1.
        parts = [phase.max_changed_cells / sigma**2 for phase, sigma in zip(plan.vectors, hospital.sigmas, strict=True)]
        assert parts[1] / parts[0] == pytest.approx(2.0, rel=2e-3)
        assert parts[2] / parts[0] == pytest.approx(1.0, rel=2e-3)
        assert 1.96 <= epsilon(plan.events(hospital), plan.delta) <= 2.0


@pytest.mark.parametrize("part", ["histograms", "coarse", "pairs", "triples", "adversary"])
def test_a_phase_of_the_run_without_a_share_is_refused_by_name(part: str) -> None:
    settings: dict[str, object] = {"pairs": 1, "triples": 1}
    with pytest.raises(StudyError, match=rf"\[budget\] {part} = 0 leaves no budget"):
        make_plan(study(budget={part: 0}, synthesizer=settings, training={"rounds": 1}))


def test_a_share_of_nothing_does_not_matter_for_a_phase_that_does_not_run() -> None:
    plan = make_plan(study(budget={"adversary": 0, "triples": 0}, synthesizer={"triples": 0}, training={"rounds": 0}))
    assert plan.vector(TRIPLES) is None


def test_without_noise_no_share_is_needed() -> None:
    nothing: dict[str, object] = dict.fromkeys(["histograms", "coarse", "pairs", "triples", "adversary"], 0)
    plan = make_plan(study(budget=nothing, privacy={"noise": "none"}))
    assert {sigma for hospital in plan.hospitals for sigma in hospital.sigmas} == {0.0}


def test_sixty_columns_are_planned_in_seconds() -> None:
    columns = "".join(
        f'[[schema.columns]]\nname = "c{place}"\nkind = "numeric"\nlower = 0\nupper = 99\n' for place in range(60)
    )
    wide = parse_study(TEXT.replace("[[schema.columns]]", columns + "[[schema.columns]]", 1))
    started = time.monotonic()
    plan = make_plan(wide)
    print(f"sixty columns: {time.monotonic() - started:.1f} s")  # noqa: T201  # seen with `pytest -s`
    assert time.monotonic() - started < 60  # a few seconds on an idle machine
    assert [phase.max_changed_cells for phase in plan.vectors][:2] == [62, 63 + 63 * 62 // 2]
    assert 1.96 <= epsilon(plan.events(plan.hospitals[0]), plan.delta) <= 2.0


@cache
def shared(hospitals: int, dropouts: int = 0, colluders: int = 1, retries: int = 0, budget: float = 1.0) -> Plan:
    facts = tuple(HospitalFacts(name=f"h{place}", declared_rows=400) for place in range(hospitals))
    chosen = study(privacy={"epsilon": budget}, training={"rounds": 0}, synthesizer={"bins": 8, "pairs": 3})
    rules = {"dropouts": dropouts, "colluders": colluders, "retries": retries}
    return make_plan(
        chosen.with_hospitals(facts, cap_minimum=True).amended(privacy={"noise": "distributed"}, federation=rules)
    )


@pytest.mark.parametrize(("hospitals", "dropouts", "colluders"), [(2, 0, 1), (3, 0, 1), (4, 1, 1), (7, 2, 2)])
def test_whoever_survives_the_honest_hospitals_supply_the_noise_that_is_charged(
    hospitals: int, dropouts: int, colluders: int
) -> None:
    plan = shared(hospitals, dropouts, colluders)
    names = [one.hospital for one in plan.hospitals]
    for phase in plan.vectors:
        sigmas = {one.hospital: plan.sigma(one, phase.name) for one in plan.hospitals}
        charged = {plan.vector_event(one, phase.name, phase.max_changed_cells) for one in plan.hospitals}
        (event,) = charged
        assert isinstance(event, DistributedGaussianVector)
        accounted = event.share_sigma**2 * event.honest_hospitals
        for survivors in combinations(names, hospitals - dropouts):
            for colluding in combinations(survivors, colluders):
                honest = set(survivors) - set(colluding)
                assert len(honest) >= event.honest_hospitals
                assert sum(sigmas[name] ** 2 for name in honest) >= accounted * (1 - 1e-12)


def test_every_share_meets_the_budget_and_the_price_is_the_ratio_of_hospitals_to_honest_ones() -> None:
    central = marginal_plan(1.0, 1, 0)
    for hospitals, dropouts, honest in ((3, 0, 2), (4, 0, 3), (4, 1, 2), (8, 0, 7)):
        plan = shared(hospitals, dropouts)
        assert plan.honest_hospitals == honest
        assert 0.98 <= epsilon(plan.events(plan.hospitals[0]), plan.delta) <= 1.0
        assert f"{hospitals}/{honest} = {hospitals / honest:.3g} times the central variance" in plan.why
        assert len({one.sigmas for one in plan.hospitals}) == 1
        for phase in plan.vectors:
            share = plan.sigma(plan.hospitals[0], phase.name)
            assert plan.total_deviation(phase.name) == pytest.approx(share * hospitals**0.5)
    assert central.honest_hospitals == 0


def test_shared_noise_costs_what_one_curator_would_add_but_for_dropouts_and_colluders() -> None:
    fixed: dict[str, dict[str, object]] = {
        "privacy": {"epsilon": 1.0}, "training": {"rounds": 0}, "synthesizer": {"bins": 8, "pairs": 3, "triples": 0},
        "budget": {"histograms": 0.15, "coarse": 0.4, "pairs": 0.45},
    }  # fmt: skip
    alone = make_plan(study(**fixed).with_hospitals((HospitalFacts(name="all", declared_rows=1600),), cap_minimum=True))
    facts = tuple(HospitalFacts(name=f"h{place}", declared_rows=400) for place in range(4))
    four = make_plan(study(**fixed).with_hospitals(facts).amended(privacy={"noise": "distributed"}))
    for name in (COARSE, PAIRS):
        ratio = (four.total_deviation(name) / alone.total_deviation(name)) ** 2
        assert ratio == pytest.approx(4 / 3, rel=1e-2)


def test_a_planned_retry_is_a_release_more_and_the_budget_still_holds() -> None:
    calm, careful = shared(4), shared(4, retries=2)
    assert "retries" not in calm.to_json()
    assert Plan.from_json(careful.to_json()) == careful
    north = careful.hospitals[0]
    events = careful.events(north)
    assert len(events) == len(careful.vectors) + 2
    assert 0.98 <= epsilon(events, careful.delta) <= 1.0
    assert careful.total_deviation(COARSE) > calm.total_deviation(COARSE)
    planned = [careful.vector_event(north, phase.name, phase.max_changed_cells) for phase in careful.vectors]
    # Whichever phases fail, once or twice, it costs no more than what was planned.
    for failed in (*((one,) for one in planned), *((one, other) for one in planned for other in planned)):
        assert epsilon([*planned, *failed], careful.delta) <= 1.0


def test_a_budget_that_needs_next_to_no_noise_still_gets_shares_that_can_be_accounted() -> None:
    plan = shared(25, budget=6.0)
    assert plan.hospitals[0].sigmas[0] == LEAST_SHARE
    assert epsilon(plan.events(plan.hospitals[0]), plan.delta) <= 6.0


def test_a_plan_without_shared_noise_is_written_as_before_there_was_any() -> None:
    assert not {"honest_hospitals", "retries"} & set(json.loads(make_plan(study()).to_json()))
    assert {"honest_hospitals"} <= set(json.loads(shared(3).to_json()))


def test_averaged_rounds_under_distributed_noise_keep_each_hospitals_own_noise() -> None:
    chosen = study(training={"rounds": 2, "steps": 20})
    facts = (*chosen.hospitals, HospitalFacts(name="west", declared_rows=100))
    plan = make_plan(chosen.with_hospitals(facts).amended(privacy={"noise": "distributed"}))
    local = make_plan(chosen.with_hospitals(facts))
    north = plan.hospitals[0]
    assert plan.events(north)[-1] == DpSgdRun(north.noise_multiplier, north.sample_rate, 20)
    assert north.noise_multiplier == pytest.approx(local.hospitals[0].noise_multiplier, rel=0.02)


def in_step(retries: int = 0, spread: int = 100, **sections: dict[str, object]) -> Study:
    facts = tuple(HospitalFacts(name=f"h{place}", declared_rows=200 + spread * place) for place in range(4))
    training: dict[str, object] = {"rounds": 60, "steps": 1, "batch": 64} | sections.pop("training", {})
    chosen = study(
        training=training, synthesizer={"bins": 8, "pairs": 3, "hidden": 32} | sections.pop("synthesizer", {})
    )
    shared_noise: dict[str, object] = {"noise": "distributed"} | sections.pop("privacy", {})
    rules = {"retries": retries}
    return chosen.with_hospitals(facts).amended(privacy=shared_noise, federation=rules, **sections)


def test_rounds_of_one_step_under_shared_noise_are_lockstep_and_meet_the_budget() -> None:
    plan = make_plan(in_step())
    assert plan.quantization is not None
    assert Plan.from_json(plan.to_json()) == plan
    for hospital in plan.hospitals:
        assert (
            plan.events(hospital)[-60:] == (SynchronousRun(hospital.noise_multiplier, 3, hospital.sample_rate, 1),) * 60
        )
        assert 0.98 * 2.0 <= epsilon(plan.events(hospital), plan.delta) <= 2.0
        assert plan.quantization.share_sigma >= hospital.noise_multiplier * plan.quantization.sensitivity
    assert "Rounds are synchronous, one step each" in plan.why


def test_in_lockstep_every_patient_is_drawn_at_one_rate_and_the_batch_is_that_of_all_hospitals() -> None:
    plan = make_plan(in_step())
    # 200, 300, 400 and 500 declared, a fifth held out: 1120 patients, 64 of them a step.
    assert {one.sample_rate for one in plan.hospitals} == {64 / 1120}
    assert plan.quantization is not None
    assert plan.quantization.batch == 64
    assert [one.batch for one in plan.hospitals] == [math.ceil(64 / 1120 * rows) for rows in (160, 240, 320, 400)]
    small = make_plan(in_step(training={"batch": 5000}))
    assert {one.sample_rate for one in small.hospitals} == {MAX_SAMPLE_RATE}


def test_no_discriminator_has_more_parameters_than_its_lattice() -> None:
    plan = make_plan(in_step())
    width = 2 * 8 + 2  # two numeric columns of 8 bins, one of two categories
    net = Discriminator(width, 32, torch.Generator())
    assert plan.quantization is not None
    assert plan.quantization.parameters == sum(parameter.numel() for parameter in net.parameters())


def test_lockstep_noise_is_that_of_one_curator_but_for_colluders_and_renyi_bounds() -> None:
    # The centralised arm: all patients at one hospital, 60 steps of 64.
    pooled = study(training={"rounds": 1, "steps": 60, "batch": 64}, synthesizer={"bins": 8, "pairs": 3})
    alone = make_plan(pooled.with_hospitals((HospitalFacts(name="all", declared_rows=1400),), cap_minimum=True))
    together = make_plan(in_step())
    central = together.hospitals[0].noise_multiplier * math.sqrt(together.honest_hospitals)
    assert alone.hospitals[0].sample_rate == together.hospitals[0].sample_rate
    assert 1 <= central / alone.hospitals[0].noise_multiplier < 1.5


def test_a_retry_of_a_lockstep_round_is_paid_for_beside_one_of_a_vector() -> None:
    plan = make_plan(in_step(retries=2))
    mine = plan.hospitals[0]
    assert len(plan.events(mine)) == len(plan.vectors) + 2 + 60 + 2
    assert epsilon(plan.events(mine), plan.delta) <= 2.0


@pytest.mark.usefixtures("choices_only")
def test_rounds_of_several_steps_say_why_they_are_not_lockstep() -> None:
    plan = make_plan(in_step(spread=0, training={"rounds": 3, "steps": 20}))
    assert plan.quantization is None
    assert "after 20 steps under each hospital's own noise" in plan.why
    assert "60 times" in plan.why
    assert make_plan(in_step(spread=0, privacy={"noise": "local"})).quantization is None


def test_a_discriminator_too_large_to_mask_is_refused_with_a_remedy() -> None:
    with pytest.raises(StudyError, match=r"1078373 parameters, more than 500000; lower \[synthesizer\] hidden"):
        make_plan(in_step(synthesizer={"hidden": 1028}))


def with_own_epsilon(own: float | None, **sections: dict[str, object]) -> Study:
    north, south = study().hospitals
    return study(**sections).with_hospitals((north, south.model_copy(update={"epsilon": own})))


@pytest.mark.parametrize("rounds", [0, 2])
def test_a_hospital_with_a_smaller_epsilon_meets_it_and_its_noise_alone_grows(rounds: int) -> None:
    fixed: dict[str, dict[str, object]] = {
        "synthesizer": {"bins": 8, "pairs": 3, "triples": 0}, "training": {"rounds": rounds},
    }  # fmt: skip
    common, own = make_plan(study(**fixed)), make_plan(with_own_epsilon(0.5, **fixed))
    north, south = own.hospitals
    assert 0.98 * 0.5 <= epsilon(own.events(south), own.delta) <= 0.5
    assert 0.98 * 2.0 <= epsilon(own.events(north), own.delta) <= 2.0
    theirs = common.hospitals[0]
    assert north.sigmas[1:] == theirs.sigmas[1:]
    # More noise in the sum may mean coarser histograms, of fewer levels; north spends on them what it did.
    spent = [
        plan.vectors[0].max_changed_cells / sigmas[0] ** 2
        for plan, sigmas in ((own, north.sigmas), (common, theirs.sigmas))
    ]
    assert spent[0] == pytest.approx(spent[1], rel=1e-3)
    assert north.noise_multiplier == pytest.approx(theirs.noise_multiplier, rel=1e-2)
    assert all(mine > theirs for mine, theirs in zip(south.sigmas, common.hospitals[1].sigmas, strict=True))
    assert "south 0.5" in own.why


@pytest.mark.usefixtures("choices_only")
def test_the_noise_of_the_sum_decides_how_fine_the_plan_is() -> None:
    # One hospital at a tenth of the epsilon adds about ten times the noise: the sum is as if nine more took part.
    def resolution(plan: Plan) -> int:
        return int(plan.why.split("resolution of ")[1].split(":")[0])

    everybody, one_careful = make_plan(study()), make_plan(with_own_epsilon(0.2))
    assert resolution(one_careful) < resolution(everybody) / 4
    assert one_careful.cells < everybody.cells or everybody.cells == MIN_CELLS


def test_a_study_without_own_epsilons_is_planned_and_fingerprinted_as_before() -> None:
    unset = with_own_epsilon(None)
    assert unset.fingerprint == study().fingerprint
    assert make_plan(unset).to_json() == make_plan(study()).to_json()
    assert "of their own" not in make_plan(unset).why
    assert '"epsilon":2.0' in unset.canonical()
    assert unset.canonical().count("epsilon") == 1
    own = with_own_epsilon(0.5)
    assert own.fingerprint != unset.fingerprint
    assert parse_study(own.to_toml()) == own


def test_an_own_epsilon_too_small_for_any_noise_names_its_section(monkeypatch: pytest.MonkeyPatch) -> None:
    def unaffordable(*_: object, **__: object) -> None:
        raise Unaffordable

    monkeypatch.setattr("common.planning.planner.accountant.calibrate", unaffordable)
    with pytest.raises(StudyError, match=r"\[\[hospitals\]\] epsilon = 0\.0123 is too small"):
        make_plan(with_own_epsilon(0.0123))


def wide(categories: int, **synthesizer: object) -> Study:
    labels = ", ".join(f'"{label}"' for label in range(categories))
    columns = "".join(
        f'[[schema.columns]]\nname = "{name}"\nkind = "categorical"\ncategories = [{labels}]\n'
        for name in ("icd", "drug")
    )
    return parse_study(TEXT.replace("[[hospitals]]", columns + "[[hospitals]]", 1)).amended(synthesizer=synthesizer)


def test_tables_too_large_to_draw_noise_for_are_refused_with_columns_and_remedy() -> None:
    with pytest.raises(StudyError) as problem:
        make_plan(wide(1000, pairs=1))
    for words in ("'pairs' may count 1000000 cells", "'icd' and 'drug', has 1000000", "merge categories"):
        assert words in str(problem.value)
    assert make_plan(wide(700, pairs=1)).vector(PAIRS)  # 490,000 cells


def test_the_bound_holds_for_whichever_tables_are_asked_for() -> None:
    plan = make_plan(wide(20, pairs=4))
    sizes = {"age": plan.bins, "weight": plan.bins, "died": 2, "icd": 20, "drug": 20}
    every = sorted((one * other for one, other in combinations(sizes.values(), 2)), reverse=True)
    for phase in plan.vectors:
        largest = sorted((cells for cells, _ in _largest_tables(wide(20), plan, phase)), reverse=True)
        if phase.name == HISTOGRAMS:
            assert sum(largest) == histogram_length(wide(20).table, plan.cells)
            continue
        assert len(largest) == phase.max_changed_cells
        if phase.name == PAIRS:
            assert largest == every[:4]
        if phase.name == COARSE:
            # Five columns in full, and ten pairs of four groups, or of two with "died".
            assert sum(largest) == sum(sizes.values()) + 6 * 16 + 4 * 8
