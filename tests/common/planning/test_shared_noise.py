"""Plans whose hospitals share the noise of sums: of counts, and of gradients in synchronous rounds."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
import torch

from common.errors import StudyError
from common.planning.phases import COARSE, PAIRS
from common.planning.planner import MAX_SAMPLE_RATE, make_plan
from common.privacy.accountant import epsilon
from common.privacy.discriminator import Discriminator
from common.privacy.events import LEAST_SHARE, DistributedGaussianVector, DpSgdRun, SynchronousRun
from common.study.sections import HospitalFacts
from tests.testbeds.wards import marginal_plan, shared_plan, synchronous, wards

SHARED: dict[str, object] = {"noise": "distributed"}


class TestSums:
    @pytest.mark.parametrize(("hospitals", "dropouts", "colluders"), [(2, 0, 1), (3, 0, 1), (4, 1, 1), (7, 2, 2)])
    def test_whoever_survives_the_charged_noise_is_there(self, hospitals: int, dropouts: int, colluders: int) -> None:
        plan = shared_plan(hospitals, dropouts, colluders)
        names = [one.hospital for one in plan.hospitals]
        for phase in plan.vectors:
            sigmas = {one.hospital: plan.sigma(one, phase.name) for one in plan.hospitals}
            charged = {plan.vector_event(one, phase.name) for one in plan.hospitals}
            (event,) = charged
            assert isinstance(event, DistributedGaussianVector)
            accounted = event.share_sigma**2 * event.honest_hospitals
            for survivors in combinations(names, hospitals - dropouts):
                for colluding in combinations(survivors, colluders):
                    honest = set(survivors) - set(colluding)
                    assert len(honest) >= event.honest_hospitals
                    assert sum(sigmas[name] ** 2 for name in honest) >= accounted * (1 - 1e-12)

    @pytest.mark.parametrize(("hospitals", "dropouts", "honest"), [(3, 0, 2), (4, 0, 3), (4, 1, 2), (8, 0, 7)])
    def test_every_share_meets_the_budget(self, hospitals: int, dropouts: int, honest: int) -> None:
        plan = shared_plan(hospitals, dropouts)
        assert plan.honest_hospitals == honest
        assert 0.98 <= epsilon(plan.events(plan.hospitals[0]), plan.delta) <= 1.0
        assert len({one.sigmas for one in plan.hospitals}) == 1
        for phase in plan.vectors:
            share = plan.sigma(plan.hospitals[0], phase.name)
            assert plan.total_deviation(phase.name) == pytest.approx(share * hospitals**0.5)

    def test_local_noise_counts_no_honest_hospitals(self) -> None:
        assert marginal_plan(1.0, 1, 0).honest_hospitals == 0

    def test_the_price_is_hospitals_over_honest_ones(self) -> None:
        fixed: dict[str, dict[str, object]] = {
            "privacy": {"epsilon": 1.0}, "training": {"rounds": 0},
            "synthesizer": {"bins": 8, "pairs": 3, "triples": 0},
            "budget": {"histograms": 0.15, "coarse": 0.4, "pairs": 0.45},
        }  # fmt: skip
        pooled = (HospitalFacts(name="all", declared_rows=1600),)
        alone = make_plan(wards(**fixed).with_hospitals(pooled, cap_minimum=True))
        facts = tuple(HospitalFacts(name=f"h{index}", declared_rows=400) for index in range(4))
        four = make_plan(wards(**fixed).with_hospitals(facts).amended(privacy=SHARED))
        for name in (COARSE, PAIRS):
            ratio = (four.total_deviation(name) / alone.total_deviation(name)) ** 2
            assert ratio == pytest.approx(4 / 3, rel=1e-2)

    def test_a_planned_retry_is_paid_for_whichever_phase_fails(self) -> None:
        calm, careful = shared_plan(4), shared_plan(4, retries=2)
        north = careful.hospitals[0]
        events = careful.events(north)
        assert len(events) == len(careful.vectors) + 2
        assert 0.98 <= epsilon(events, careful.delta) <= 1.0
        assert careful.total_deviation(COARSE) > calm.total_deviation(COARSE)
        planned = [careful.vector_event(north, phase.name) for phase in careful.vectors]
        for failed in (*((one,) for one in planned), *((one, other) for one in planned for other in planned)):
            assert epsilon([*planned, *failed], careful.delta) <= 1.0

    def test_a_share_is_never_too_small_to_account(self) -> None:
        plan = shared_plan(25, budget=6.0)
        assert plan.hospitals[0].sigmas[0] == LEAST_SHARE
        assert epsilon(plan.events(plan.hospitals[0]), plan.delta) <= 6.0

    def test_averaged_rounds_keep_each_hospitals_own_noise(self) -> None:
        chosen = wards(training={"rounds": 2, "steps": 20})
        facts = (*chosen.hospitals, HospitalFacts(name="west", declared_rows=100))
        plan = make_plan(chosen.with_hospitals(facts).amended(privacy=SHARED))
        local = make_plan(chosen.with_hospitals(facts))
        north = plan.hospitals[0]
        assert plan.quantization is None
        assert plan.events(north)[-1] == DpSgdRun(north.noise_multiplier, north.sample_rate, 20)
        assert north.noise_multiplier == pytest.approx(local.hospitals[0].noise_multiplier, rel=0.02)


class TestSynchronousRounds:
    def test_they_meet_the_budget(self) -> None:
        plan = make_plan(synchronous())
        assert plan.quantization is not None
        for hospital in plan.hospitals:
            step = SynchronousRun(hospital.noise_multiplier, 3, hospital.sample_rate, 1)
            assert plan.events(hospital)[-60:] == (step,) * 60
            assert 0.98 * 2.0 <= epsilon(plan.events(hospital), plan.delta) <= 2.0
            assert plan.quantization.share_sigma >= hospital.noise_multiplier * plan.quantization.sensitivity

    def test_every_patient_is_drawn_at_one_rate(self) -> None:
        plan = make_plan(synchronous())
        # 200, 300, 400 and 500 declared, a fifth held out: 1120 patients, 64 of them a step.
        assert {one.sample_rate for one in plan.hospitals} == {64 / 1120}
        assert plan.quantization is not None
        assert plan.quantization.batch == 64
        assert [one.batch for one in plan.hospitals] == [math.ceil(64 / 1120 * rows) for rows in (160, 240, 320, 400)]
        small = make_plan(synchronous(training={"batch": 5000}))
        assert {one.sample_rate for one in small.hospitals} == {MAX_SAMPLE_RATE}

    def test_the_grid_has_as_many_parameters_as_the_network(self) -> None:
        plan = make_plan(synchronous())
        width = 2 * 8 + 2  # two numeric columns of 8 bins, one of two categories
        net = Discriminator(width, 32, torch.Generator())
        assert plan.quantization is not None
        assert plan.quantization.parameters == sum(parameter.numel() for parameter in net.parameters())

    def test_noise_is_that_of_one_curator_but_for_colluders(self) -> None:
        # The centralized arm: all patients at one hospital, 60 steps of 64. Renyi bounds are looser than PLD.
        pooled = wards(training={"rounds": 1, "steps": 60, "batch": 64}, synthesizer={"bins": 8, "pairs": 3})
        alone = make_plan(pooled.with_hospitals((HospitalFacts(name="all", declared_rows=1400),), cap_minimum=True))
        together = make_plan(synchronous())
        central = together.hospitals[0].noise_multiplier * math.sqrt(together.honest_hospitals)
        assert alone.hospitals[0].sample_rate == together.hospitals[0].sample_rate
        assert 1 <= central / alone.hospitals[0].noise_multiplier < 1.5

    def test_a_retry_is_paid_for_beside_one_of_a_vector(self) -> None:
        plan = make_plan(synchronous(retries=2))
        mine = plan.hospitals[0]
        assert len(plan.events(mine)) == len(plan.vectors) + 2 + 60 + 2
        assert epsilon(plan.events(mine), plan.delta) <= 2.0

    def test_local_noise_has_none(self) -> None:
        plan = make_plan(synchronous(spread=0, privacy={"noise": "local"}))
        assert plan.quantization is None

    def test_a_discriminator_too_large_to_mask_is_refused(self) -> None:
        with pytest.raises(StudyError, match=r"1078373 parameters, more than 500000; lower \[synthesizer\] hidden"):
            make_plan(synchronous(synthesizer={"hidden": 1028}))
