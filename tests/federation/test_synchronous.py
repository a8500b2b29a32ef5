"""Synchronous rounds over the real apps: what the coordinator gets of a step is the plain sum plus all noise shares."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from client.answers import ANSWERS
from client.hospital import Hospital
from common.arrays import Integers, Weights
from common.encoding import histogram_length
from common.errors import PolicyRefusal, Reason
from common.ledger.enrollment import Enrollment
from common.planning.phases import COARSE, PublicRun, measurements_of
from common.planning.plan import Plan
from common.planning.planner import make_plan
from common.privacy.events import SynchronousRun
from common.privacy.mechanisms import SeededNoise
from common.privacy.quantization import ClippedGrid
from common.protocol.messages import CountsRequest, GradientRequest, RoundRequest, Unavailable
from common.seeds import seed_for
from common.study.study import Study
from common.synthesizers.base import TrainingRows, discriminator_of
from common.synthesizers.gan.synthesizer import MarginalGan
from common.synthesizers.registry import make_adversarial
from server.run.checkpoints import Checkpoints
from simulations.federation.federate import federate, simulated_run
from simulations.federation.prepare import prepare
from simulations.federation.sites import open_hospitals, open_shards
from tests.testbeds.clinic import clinic_study, clinic_tables
from tests.testbeds.events import Killed

STUDY = clinic_study(
    privacy={"noise": "distributed"},
    synthesizer={"pairs": 0, "triples": 0, "hidden": 16, "fit_steps": 50},
    training={"rounds": 2, "steps": 1},
)
RUN = "synchronous-run"


def _flat(study: Study, plan: Plan) -> Integers:
    return np.ones(histogram_length(study.table, plan.cells), dtype=np.int64)


class TestSynchronousRun:
    def test_it_opens_the_exact_sum_of_gradients_and_noise(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Checkpoints, "forget_rounds", lambda self: None)  # a finished run removes what is read here
        prepared = prepare(STUDY, clinic_tables())
        study, plan = prepared.study, make_plan(prepared.study)
        shards = open_shards(prepared)
        with ExitStack() as stack:
            hospitals = open_hospitals(study, shards, tmp_path / "sites", stack)
            federate(simulated_run(study, tmp_path / "out", tmp_path / "sites", run_id=RUN), hospitals, workers=1)
            charged = {name: [line.event for line in hospital.ledger.lines()] for name, hospital in hospitals.items()}
            asked = RoundRequest(RUN, 1, {}, {})
            refused = [hospital.handle(asked) for hospital in hospitals.values()]
            plain = CountsRequest(RUN, "histograms")
            refused += [hospital.handle(plain) for hospital in hospitals.values()]
        kept = {
            name: load_file(tmp_path / "out" / "checkpoints" / f"{name}.safetensors")
            for name in ("histograms", COARSE, "fit", "round-00001", "round-00002")
        }
        # Each hospital's part once more, from its records and its seeded noise.
        state, public = dict(kept["fit"]), PublicRun(study, plan)
        for name in ("histograms", COARSE):
            public = public.after(name, kept[name]["sum"])
        assert plan.quantization is not None
        for number in (1, 2):
            parts = []
            for mine in plan.hospitals:
                codes = shards[mine.hospital]().encoded(public)
                noise = SeededNoise(study.seed).named(mine.hospital, "rounds", number, 1)
                synthesizer = make_adversarial(study.synthesizer, public.encoder)
                rows = TrainingRows(codes, mine, noise)
                parts.append(synthesizer.gradient(discriminator_of(state), rows, plan.quantization))
            total = kept[f"round-0000{number}"]["sum"]
            assert total.tolist() == np.sum(parts, axis=0).tolist()
            assert np.abs(total).max() <= plan.furthest_gradient
            measurements = measurements_of(public)
            seed = seed_for(study.seed, "step", number)
            clipped = ClippedGrid(study.privacy.clip, plan.quantization)
            state = synthesizer.step(state, total, measurements, clipped, seed)
        for mine in plan.hospitals:
            assert charged[mine.hospital] == list(plan.events(mine))
            assert charged[mine.hospital][-2:] == [SynchronousRun(mine.noise_multiplier, 2, mine.sample_rate, 1)] * 2
        # Neither a hospital's own weights nor a vector without masks is to be had.
        assert all(isinstance(reply, Unavailable) for reply in refused)

    def test_a_coordinator_that_dies_resumes_to_the_same_weights(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prepared = prepare(STUDY, clinic_tables())
        weights, lines = [], []
        honest, calls = MarginalGan.step, 0

        def dying(*arguments: Any) -> Weights:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise Killed
            return honest(*arguments)

        for name in ("undisturbed", "killed"):
            folder = tmp_path / name
            with ExitStack() as stack:
                hospitals = open_hospitals(prepared.study, open_shards(prepared), folder / "sites", stack)
                run = simulated_run(prepared.study, folder / "out", folder / "sites", run_id=RUN)
                if name == "killed":
                    monkeypatch.setattr(MarginalGan, "step", dying)
                    with pytest.raises(Killed):
                        federate(run, hospitals, workers=1)
                federate(run, hospitals, workers=1)
                lines.append({name: len(hospital.ledger.lines()) for name, hospital in hospitals.items()})
            weights.append((folder / "out" / "model" / "weights.safetensors").read_bytes())
        assert calls == 4  # the first step twice, since both networks follow from the sums that were kept
        assert weights[0] == weights[1]
        assert lines[0] == lines[1]


class TestRefusals:
    def test_a_gradient_is_no_request_of_its_own(self, tmp_path: Path) -> None:
        prepared = prepare(STUDY, clinic_tables())
        with ExitStack() as stack:
            hospitals = open_hospitals(prepared.study, open_shards(prepared), tmp_path, stack)
            hospital: Hospital = hospitals["north"]
            plan = make_plan(prepared.study)
            hospital.ledger.enroll(
                RUN, Enrollment(prepared.study.fingerprint, prepared.study.to_toml(), plan.to_json())
            )
            question = GradientRequest(RUN, 1, {}, {})
            assert isinstance(hospital.handle(question), Unavailable)  # type: ignore[arg-type]
            assert hospital.ledger.lines() == ()

    @pytest.mark.parametrize(("number", "is_synchronous"), [(3, True), (0, True), (1, False)])
    def test_a_step_outside_the_plan_costs_and_gives_nothing(
        self, number: int, is_synchronous: bool, tmp_path: Path
    ) -> None:
        prepared = prepare(STUDY, clinic_tables())
        with ExitStack() as stack:
            hospital = open_hospitals(prepared.study, open_shards(prepared), tmp_path, stack)["north"]
            plan = make_plan(prepared.study)
            hospital.ledger.enroll(
                RUN, Enrollment(prepared.study.fingerprint, prepared.study.to_toml(), plan.to_json())
            )
            run = hospital._run(RUN)
            run.plan = plan if is_synchronous else replace(plan, quantization=None)
            question = GradientRequest(RUN, number, {}, {})
            with pytest.raises(PolicyRefusal) as refusal:
                ANSWERS[GradientRequest].expect(run, question)
            assert refusal.value.reason == Reason.PLAN_MISMATCH
            run.plan = plan
            right_round = replace(question, round=1, released={"histograms": _flat(prepared.study, plan)})
            with pytest.raises(PolicyRefusal):  # weights of another shape than the discriminator's
                ANSWERS[GradientRequest].expect(run, right_round)
