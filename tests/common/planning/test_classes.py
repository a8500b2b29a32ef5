from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from common.errors import StudyError, WireError
from common.ledger.slot import Slot
from common.marginals.released import Asked
from common.planning.calibration import spend_all
from common.planning.choice import RoundsReason, choose
from common.planning.class_rounds import CLASS_ROUNDS, CLASSES_FROM, ClassRoundsReason, choose_class_rounds
from common.planning.classes import measured_classes
from common.planning.explain import about_rounds, explain
from common.planning.phases import CLASSES, PHASES, Shape, measurements_of, read_public, vector_phase
from common.planning.plan import Plan, PlannedVector
from common.planning.planner import make_plan
from common.planning.sizing import Outlook
from common.privacy import accountant
from common.privacy.events import DiscreteGaussianVector, DistributedGaussianVector
from tests.testbeds.classes import CodedRecords, never, run_before, vae_study, with_a_round
from tests.testbeds.clinic import clinic_study
from tests.testbeds.marginals import random_codes

PHASE = vector_phase(CLASSES)


class TestPlan:
    @pytest.mark.parametrize("noise", ["local", "distributed"])
    def test_every_round_is_charged(self, noise: str) -> None:
        plan = make_plan(vae_study(rounds=5, privacy={"noise": noise}))
        planned, hospital = plan.vector(CLASSES), plan.hospitals[0]
        assert planned == PlannedVector(CLASSES, 4, 0, 4, rounds=5)
        sigma = plan.sigma(hospital, CLASSES)
        event = (
            DistributedGaussianVector(sigma, plan.honest_hospitals, 4)
            if noise == "distributed"
            else DiscreteGaussianVector(sigma, 4)
        )
        assert plan.vector_event(hospital, CLASSES) == event
        assert plan.events(hospital).count(event) == 5
        assert accountant.epsilon(plan.events(hospital), plan.delta) == pytest.approx(3.0, abs=0.01)

    def test_noise_of_a_round_grows_with_the_rounds(self) -> None:
        # The part of the budget is divided among the rounds: sigma = unit sqrt(columns rounds / part).
        study = vae_study(rounds=9)
        plan, part = make_plan(study), choose(study).proportions[CLASSES]
        unit = spend_all(3.0, 1e-4)
        assert plan.sigma(plan.hospitals[0], CLASSES) == pytest.approx(unit * (4 * 9 / part) ** 0.5, rel=0.01)

    def test_json_holds_rounds_only_where_there_are_some(self) -> None:
        plan = make_plan(vae_study(rounds=5))
        assert Plan.from_json(plan.to_json()) == plan
        assert plan.to_json().count('"rounds": 5') == 1
        assert '"rounds": 1' not in plan.to_json()

    def test_one_round_is_released_like_any_vector(self) -> None:
        planned = make_plan(vae_study(rounds=1)).vector(CLASSES)
        assert planned is not None
        assert planned.round_numbers() == (0,)
        assert replace(planned, rounds=3).round_numbers() == (1, 2, 3)

    def test_other_synthesizers_have_none(self) -> None:
        assert all(make_plan(study).vector(CLASSES) is None for study in (vae_study(rounds=0),))
        assert choose_class_rounds(clinic_study(), Outlook(1e6, 16, 64)).reason is ClassRoundsReason.NO_CLASSES

    @pytest.mark.parametrize(
        ("ratio", "rounds", "reason"),
        [
            (CLASSES_FROM, CLASS_ROUNDS, ClassRoundsReason.SIGNAL),
            (CLASSES_FROM - 1, 0, ClassRoundsReason.NOISE),
        ],
    )
    def test_rounds_where_they_find_something(self, ratio: float, rounds: int, reason: ClassRoundsReason) -> None:
        study = vae_study()
        study = study.model_copy(update={"training": study.training.model_copy(update={"rounds": None})})
        chosen = choose_class_rounds(study, Outlook(ratio, 16, 64))
        assert (chosen.rounds, chosen.reason) == (rounds, reason)

    def test_rounds_are_of_counts_not_of_dp_sgd(self) -> None:
        study = vae_study(rounds=5)
        training = choose(study).training
        assert (training.rounds, training.reason) == (0, RoundsReason.ENCODER)
        sentences = " ".join(explain(choose(study)))
        assert "5 encoder rounds, as the study says." in sentences
        assert "4 tables by latent class in each of 5 rounds" in sentences
        assert "No training rounds" not in sentences
        note = about_rounds(choose(study))
        assert note is not None
        assert note.startswith("5 encoder rounds took 29% of the budget")

    def test_too_many_rounds_are_refused(self) -> None:
        with pytest.raises(StudyError, match=r"rounds = 101: synthesizer 'marginal-vae' takes at most 100"):
            vae_study(rounds=101)

    def test_too_few_prototypes_are_refused(self) -> None:
        with pytest.raises(StudyError, match=r"prototypes = 2 are fewer than classes = 3"):
            vae_study(synthesizer={"prototypes": 2})


class TestConsent:
    @pytest.mark.parametrize(
        ("noise", "start"), [("local", "- 5 times: "), ("distributed", "- under masks, 5 times: ")]
    )
    def test_says_what_leaves_and_how_often(self, noise: str, start: str) -> None:
        study = vae_study(rounds=5, privacy={"noise": noise})
        plan = make_plan(study)
        is_shared = noise == "distributed"
        total = plan.total_deviation(CLASSES) if is_shared else plan.sigma(plan.hospitals[0], CLASSES)
        of = " of the sum" if is_shared else ""
        assert PHASE.sentences(study, plan, plan.hospitals[0]) == [
            f"{start}noisy counts of patients by one of 3 classes and every column: the coordinator says what its "
            "model takes each class to be like, the hospital puts each patient in one of them, and the patient adds "
            f"one to each of 4 tables; each count{of} is off by about {total:.3g} patients"
        ]

    def test_a_slot_names_the_round(self) -> None:
        plan = make_plan(vae_study())
        assert Slot("f", "run-1", CLASSES, 2).words(plan) == "encoder round 2"


class TestAsk:
    def test_rounds_follow_one_another(self) -> None:
        public = run_before(vae_study())
        first = PHASE.ask(public, never)
        assert PHASE.ask(public, never).decoder.tolist() == first.decoder.tolist()
        after = with_a_round(public)
        second = PHASE.ask(after, never)
        assert second.decoder.tolist() != first.decoder.tolist()
        width = sum(public.domain.sizes)
        assert PHASE.shape(public, first) == Shape(3 * width, 4)
        released = with_a_round(after).released.vectors[CLASSES]
        assert released.asked.decoder.tolist() == [*first.decoder, *second.decoder]
        assert len(released.counts) == 2 * 3 * width

    def test_both_rounds_come_back_from_a_file(self) -> None:
        study = vae_study(synthesizer={"pairs": 0, "independent": True})
        public = with_a_round(with_a_round(run_before(study)))
        again = read_public(study, public.plan, public.released.arrays(), PHASES)
        assert again.released.arrays().keys() == public.released.arrays().keys()
        arrays = public.released.arrays()
        arrays["classes"] = np.concatenate([arrays["classes"], arrays["classes"]])
        arrays["classes.decoder"] = np.concatenate([arrays["classes.decoder"], arrays["classes.decoder"]])
        with pytest.raises(WireError, match="more tables of the phase 'classes' than planned"):
            read_public(study, public.plan, arrays, PHASES)

    def test_measurements_hold_the_classes(self) -> None:
        study = vae_study(synthesizer={"pairs": 0, "independent": True})
        before = run_before(study)
        measured = measurements_of(before)
        assert measured is not None
        assert measured.classes is None
        assert measured_classes(before) is None
        after = measurements_of(with_a_round(before))
        assert after is not None
        assert after.classes is not None
        assert after.classes.probabilities.shape == (3, sum(before.domain.sizes))


class TestAnswer:
    def test_counts_every_patient_once_a_column(self) -> None:
        public = run_before(vae_study())
        codes = random_codes(30, public.domain)
        counts = PHASE.answer(public, PHASE.ask(public, never), CodedRecords(codes))
        assert counts.sum() == 30 * 4
        assert (counts >= 0).all()

    @pytest.mark.parametrize(
        "asked",
        [
            Asked(),
            Asked(decoder=np.zeros(3, dtype=np.int64)),
            Asked(columns=np.array([0, 1])),
            Asked(candidates=np.array([0, 0, 0, 0])),
        ],
        ids=range(4),
    )
    def test_other_requests_are_refused(self, asked: Asked) -> None:
        with pytest.raises(WireError):
            PHASE.shape(run_before(vae_study()), asked)

    @pytest.mark.parametrize("name", ["histograms", "coarse", "pairs"])
    def test_other_phases_take_no_decoder(self, name: str) -> None:
        public = run_before(vae_study())
        with pytest.raises(WireError, match="no patient is put in a class"):
            vector_phase(name).shape(public, Asked(decoder=np.zeros(4, dtype=np.int64)))
