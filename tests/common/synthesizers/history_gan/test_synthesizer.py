from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from common.arrays import Floats, Weights
from common.columns.base import Codes
from common.errors import StudyError
from common.planning.phases import PublicRun, measurements_of
from common.planning.plan import HospitalPlan
from common.planning.planner import make_plan
from common.privacy.discriminator import Discriminator
from common.privacy.dpsgd import clipped_gradient_sum
from common.privacy.mechanisms import SeededNoise
from common.privacy.quantization import layer_shapes
from common.study.schema import VISIT, VISITS
from common.synthesizers.base import AdversarialSynthesizer, TrainingRows, discriminator_of
from common.synthesizers.history_gan.synthesizer import HistoryGan
from common.synthesizers.registry import make_adversarial
from simulations.experiments.one_hospital import FrameRecords, count_vectors
from tests.testbeds.training import WatchedNoise, are_equal
from tests.testbeds.visits import MOST_VISITS, conformed_visits, invented_visits, visits_study
from tests.testbeds.voting import never_drawn

PATIENTS = 300
CLIP = 0.5
PLAN = HospitalPlan("north", (), 1.5, CLIP, 0.25, 60, 2)


@cache
def fitted() -> tuple[HistoryGan, PublicRun, Codes, Weights]:
    """Return a synthesizer, the run that it is fitted to, visits of 300 patients, and fitted weights."""
    study = visits_study(
        privacy={"noise": "none"},
        synthesizer={"kind": "history-gan", "histories": 128, "fit_steps": 20, "hidden": 8},
        training={"rounds": 1},
    )
    frame = conformed_visits(invented_visits(PATIENTS), study)
    public = count_vectors(FrameRecords(frame, study.table), study, make_plan(study), 0, never_drawn)
    synthesizer, measurements = make_adversarial(study.synthesizer, public.encoder), measurements_of(public)
    assert isinstance(synthesizer, HistoryGan)
    assert measurements is not None
    weights = synthesizer.fit(synthesizer.initial_weights(0), measurements, 3, rounds=1)
    return synthesizer, public, public.encoder.encode(frame), weights


def column(name: str) -> int:
    return fitted()[1].study.table.names.index(name)


def history(visits: int, code: int) -> Codes:
    """Return a patient with that many visits, who has one code, or the last one, in every column."""
    public = fitted()[1]
    rows = np.repeat(np.minimum(code, np.array(public.encoder.sizes) - 1)[None], visits, axis=0).astype(np.int16)
    rows[:, column(VISITS)], rows[:, column(VISIT)] = visits - 1, range(visits)
    return rows


class TestWeights:
    def test_have_public_sizes(self) -> None:
        synthesizer, _, _, weights = fitted()
        assert isinstance(synthesizer, AdversarialSynthesizer)
        initial = synthesizer.initial_weights(0)
        assert {name: value.shape for name, value in weights.items()} == {
            name: value.shape for name, value in initial.items()
        }
        assert {str(value.dtype) for value in (*weights.values(), *initial.values())} == {"float32"}
        assert {name: value.shape for name, value in discriminator_of(weights).items()} == layer_shapes(
            synthesizer._layout.width, 8
        )

    @pytest.mark.parametrize("name", ["gen.singles", "gen.histories", "gen.visits"])
    def test_that_are_damaged_are_refused(self, name: str) -> None:
        synthesizer, _, codes, weights = fitted()
        for value in (np.nan, -9.0, 9e9):
            damaged = weights | {name: np.full_like(weights[name], value)}
            if name == "gen.singles" and not np.isnan(value):
                continue
            with pytest.raises(StudyError, match="restore"):
                synthesizer.train(damaged, TrainingRows(codes, PLAN, SeededNoise(1)), None, 2)

    def test_of_a_history_without_visits_are_refused(self) -> None:
        synthesizer, _, codes, weights = fitted()
        absent = weights | {"gen.histories": np.full_like(weights["gen.histories"], -1.0)}
        with pytest.raises(StudyError, match="histories that are not whole"):
            synthesizer.train(absent, TrainingRows(codes, PLAN, SeededNoise(1)), None, 2)


class TestOnePatient:
    @pytest.mark.parametrize("steepness", [1.0, 1e3])
    def test_changes_the_clipped_sum_by_at_most_the_clip(self, steepness: float) -> None:
        synthesizer, _, codes, weights = fitted()
        net = synthesizer._load(weights)
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.mul_(steepness)

        def total(visits: Codes) -> Floats:
            rows = synthesizer._one_hot(synthesizer.patients(visits))
            parts = clipped_gradient_sum(net, rows, torch.ones(len(rows)), CLIP)
            return torch.cat([part.reshape(-1) for part in parts]).numpy()

        without = total(codes)
        starts = np.flatnonzero(codes[:, column(VISIT)] == 0)
        moved = []
        for visits in range(1, MOST_VISITS + 1):
            for place in (0, starts[len(starts) // 2], len(codes)):
                patient = history(visits, code=visits)
                change = total(np.concatenate([codes[:place], patient, codes[place:]])) - without
                moved.append(np.linalg.norm(change))
        assert max(moved) <= CLIP * (1 + 1e-9)
        assert max(moved) > CLIP / 2

    def test_is_drawn_with_all_visits_or_none(self) -> None:
        synthesizer, _, codes, weights = fitted()
        noise = WatchedNoise(1)
        synthesizer.train(weights, TrainingRows(codes, PLAN, noise), None, 2)
        assert len(codes) > PATIENTS
        parameters = sum(value.size for value in discriminator_of(weights).values())
        assert noise.batches == [(PATIENTS, 0.25)] * 2
        assert noise.vectors == [(parameters, 1.5 * CLIP)] * 2


class TestTrain:
    def test_repeats_and_moves_the_discriminator_alone(self) -> None:
        synthesizer, _, codes, weights = fitted()
        first = synthesizer.train(weights, TrainingRows(codes, PLAN, SeededNoise(1)), None, 2)
        assert are_equal(first, synthesizer.train(weights, TrainingRows(codes, PLAN, SeededNoise(1)), None, 2))
        assert {name for name in weights if not np.array_equal(first[name], weights[name])} == discriminator_of(
            weights
        ).keys()

    def test_records_reach_weights_by_the_noisy_gradient_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def constant(net: Discriminator, *_: object, **__: object) -> list[torch.Tensor]:
            return [torch.full_like(parameter, 0.01) for parameter in net.parameters()]

        synthesizer, _, codes, weights = fitted()
        tables = codes, history(2, 1)
        honest = [synthesizer.train(weights, TrainingRows(table, PLAN, SeededNoise(1)), None, 2) for table in tables]
        assert not are_equal(*honest)
        monkeypatch.setattr("common.synthesizers.history_gan.synthesizer.noisy_gradient", constant)
        blind = [synthesizer.train(weights, TrainingRows(table, PLAN, SeededNoise(1)), None, 2) for table in tables]
        assert are_equal(*blind)

    def test_works_without_patients(self) -> None:
        synthesizer, _, codes, weights = fitted()
        trained = synthesizer.train(weights, TrainingRows(codes[:0], PLAN, SeededNoise(1)), None, 2)
        assert all(np.isfinite(value).all() for value in trained.values())


class TestTilt:
    @staticmethod
    def tilted(towards: float) -> Weights:
        """Return weights whose discriminator is `towards` for each visit at the last stage, and 0 without any."""
        synthesizer, _, _, weights = fitted()
        changed = {name: np.zeros_like(value) for name, value in discriminator_of(weights).items()}
        stage, places = column("stage"), synthesizer._layout.columns
        for place, start in enumerate(synthesizer._starts.tolist()):
            if places[place] == stage:
                changed["disc.layers.0.weight"][0, start + 2] = 1.0
        changed["disc.layers.1.weight"][0, 0] = 1.0
        changed["disc.layers.2.weight"][0, 0] = towards
        return synthesizer.refine(weights, changed, None, 0)  # type: ignore[arg-type]  # it does not need them

    def test_draws_histories_in_proportion_to_the_density_ratio(self) -> None:
        synthesizer, _, _, weights = fitted()
        plain = synthesizer.sample(weights, 2500, 5, {})
        tilted = synthesizer.sample(self.tilted(1.0), 2500, 5, {})
        only = [codes[codes[:, column(VISITS)] == 0] for codes in (plain, tilted)]
        before, after = (float((codes[:, column("stage")] == 2).mean()) for codes in only)
        # Of patients with one visit, those at the last stage weigh e times as much: p e / (p e + 1 - p).
        assert after == pytest.approx(before * np.e / (before * np.e + 1 - before), abs=0.06)
        assert after > before + 0.1

    def test_keeps_how_many_visits_patients_have(self) -> None:
        synthesizer, _, _, weights = fitted()
        lengths = [
            np.bincount(codes[codes[:, column(VISIT)] == 0, column(VISITS)], minlength=MOST_VISITS)
            for codes in (synthesizer.sample(weights, 500, 5, {}), synthesizer.sample(self.tilted(2.0), 500, 5, {}))
        ]
        np.testing.assert_array_equal(lengths[0], lengths[1])

    def test_holds_conditions(self) -> None:
        synthesizer, *_ = fitted()
        drawn = synthesizer.sample(self.tilted(1.0), 50, 5, {column("sex"): 1, column(VISITS): 2})
        assert (drawn[:, column("sex")] == 1).all()
        assert len(drawn) == 150
        with pytest.raises(StudyError, match="of the patient"):
            synthesizer.sample(self.tilted(1.0), 50, 5, {column("stage"): 1})

    @pytest.mark.parametrize("patients", [0, 1, 30])
    def test_repeats_with_the_seed(self, patients: int) -> None:
        synthesizer, weights = fitted()[0], self.tilted(1.0)
        first = synthesizer.sample(weights, patients, 7, {})
        assert (first[:, column(VISIT)] == 0).sum() == patients
        np.testing.assert_array_equal(first, synthesizer.sample(weights, patients, 7, {}))
