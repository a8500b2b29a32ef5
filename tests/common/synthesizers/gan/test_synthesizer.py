from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.optim import Adam

from common.arrays import Integers, Weights
from common.columns.base import Codes
from common.columns.binning import Binning
from common.columns.categorical import Categorical
from common.encoding import Encoder
from common.marginals.loss import MarginalLoss
from common.marginals.queries import single_queries
from common.planning.plan import HospitalPlan
from common.privacy.discriminator import Discriminator
from common.privacy.dpsgd import clipped_gradient_sum
from common.privacy.mechanisms import SeededNoise
from common.privacy.quantization import ClippedGrid, QuantizationGrid
from common.study.schema import Schema
from common.study.synthesizers import GanSettings
from common.synthesizers.base import AdversarialSynthesizer, TrainingRows, discriminator_of, weights_of
from common.synthesizers.gan.descent import FIT_STEPS, fit_steps
from common.synthesizers.gan.generator import Blocks
from common.synthesizers.gan.synthesizer import (
    BETAS,
    DISCRIMINATOR_RATE,
    GENERATOR_RATES,
    MarginalGan,
)
from common.synthesizers.registry import make_adversarial
from tests.testbeds.marginals import DOMAIN, QUERIES, measured, random_codes
from tests.testbeds.training import WatchedNoise, are_equal

LABELS = ("a", "b", "c")
SCHEMA = Schema(columns=(Categorical(name="x", categories=LABELS), Categorical(name="y", categories=LABELS)))
ENCODER = Encoder(SCHEMA, np.zeros(6, dtype=np.int64), Binning(cells=16, bins=4))

VARIANTS = [
    GanSettings(generator="prototypes", prototypes=12, hidden=8),
    GanSettings(generator="mlp", prototypes=12, hidden=8),
]


def plan(*, noise_multiplier: float = 1.0, steps: int = 3, batch: int = 8, sample_rate: float = 0.25) -> HospitalPlan:
    return HospitalPlan("north", (), noise_multiplier, 1.0, sample_rate, batch, steps)


def dependent(rows: int) -> Codes:
    """The second column repeats the first; every label equally often."""
    return np.repeat(np.arange(rows) % 3, 2).reshape(rows, 2).astype(np.int16)


@pytest.fixture(params=VARIANTS, ids=lambda settings: settings.generator)
def synthesizer(request: pytest.FixtureRequest) -> AdversarialSynthesizer:
    return make_adversarial(request.param, ENCODER)


def test_initial_weights_depend_on_the_seed_alone(synthesizer: AdversarialSynthesizer) -> None:
    torch.manual_seed(1)
    first = synthesizer.initial_weights(3)
    torch.manual_seed(2)
    assert are_equal(first, synthesizer.initial_weights(3))
    assert not are_equal(first, synthesizer.initial_weights(4))
    assert {name.partition(".")[0] for name in first} == {"gen", "disc"}
    assert {str(value.dtype) for value in first.values()} == {"float32"}


class TestTrain:
    def test_repeats_with_the_same_noise_and_seed(self, synthesizer: AdversarialSynthesizer) -> None:
        weights = synthesizer.initial_weights(0)
        before = {name: value.copy() for name, value in weights.items()}

        def trained(noise: int, seed: int) -> Weights:
            return synthesizer.train(weights, TrainingRows(dependent(40), plan(), SeededNoise(noise)), None, seed)

        torch.manual_seed(1)
        first = trained(1, 2)
        torch.manual_seed(2)
        assert are_equal(first, trained(1, 2))
        assert not are_equal(first, trained(9, 2))
        assert not are_equal(first, trained(1, 9))
        assert are_equal(weights, before)

    def test_changes_both_networks_and_keeps_their_shapes(self, synthesizer: AdversarialSynthesizer) -> None:
        weights = synthesizer.initial_weights(0)
        trained = synthesizer.train(weights, TrainingRows(dependent(40), plan(), SeededNoise(1)), None, 2)
        assert trained.keys() == weights.keys()
        for name, value in trained.items():
            assert (value.shape, value.dtype) == (weights[name].shape, weights[name].dtype)
            assert np.isfinite(value).all()
        for network in ("gen.", "disc."):
            assert any(not np.array_equal(trained[name], weights[name]) for name in trained if name.startswith(network))

    @pytest.mark.parametrize("noise_multiplier", [0.0, 1.0])
    def test_works_without_rows(self, synthesizer: AdversarialSynthesizer, noise_multiplier: float) -> None:
        trained = synthesizer.train(
            synthesizer.initial_weights(0),
            TrainingRows(dependent(0), plan(noise_multiplier=noise_multiplier), SeededNoise(1)),
            None,
            2,
        )
        assert all(np.isfinite(value).all() for value in trained.values())

    def test_draws_one_batch_and_one_noise_vector_per_step(self, synthesizer: AdversarialSynthesizer) -> None:
        weights, noise = synthesizer.initial_weights(0), WatchedNoise(1)
        synthesizer.train(weights, TrainingRows(dependent(40), plan(noise_multiplier=1.5), noise), None, 2)
        discriminator = sum(value.size for name, value in weights.items() if name.startswith("disc."))
        assert noise.batches == [(40, 0.25)] * 3
        assert noise.vectors == [(discriminator, 1.5)] * 3

    def test_records_reach_weights_by_the_noisy_gradient_alone(
        self, synthesizer: AdversarialSynthesizer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def constant(net: Discriminator, *_: object, **__: object) -> list[torch.Tensor]:
            return [torch.full_like(parameter, 0.01) for parameter in net.parameters()]

        weights, rows = synthesizer.initial_weights(0), dependent(40)

        def trained() -> list[Weights]:
            given = [TrainingRows(codes, plan(), SeededNoise(1)) for codes in (rows, 2 - rows[:7])]
            return [synthesizer.train(weights, training, None, 2) for training in given]

        assert not are_equal(*trained())
        monkeypatch.setattr("common.synthesizers.gan.synthesizer.noisy_gradient", constant)
        assert are_equal(*trained())

    def test_weights_that_are_not_numbers_raise_no_error(self, synthesizer: AdversarialSynthesizer) -> None:
        weights = {name: np.full_like(value, np.nan) for name, value in synthesizer.initial_weights(0).items()}
        for rows in (0, 40):
            trained = synthesizer.train(weights, TrainingRows(dependent(rows), plan(), SeededNoise(1)), None, 2)
            assert all(np.isnan(value).all() for value in trained.values())

    @pytest.mark.slow
    def test_learns_dependence_without_noise(self) -> None:
        gan = MarginalGan(GanSettings(prototypes=20, hidden=32, marginal_weight=0), (3, 3))
        weights = gan.initial_weights(0)
        for number in range(3):
            quiet = plan(noise_multiplier=0.0, steps=200, batch=64)
            weights = gan.train(weights, TrainingRows(dependent(300), quiet, SeededNoise(number)), None, number)
        codes = gan.sample(weights, 3000, 0, {})
        joint = np.zeros((3, 3))
        np.add.at(joint, (codes[:, 0], codes[:, 1]), 1 / 3000)
        # The truth is 1/3 on the diagonal. Independent columns put 1/9 everywhere: 6 cells of 1/9 too many, so
        # their distance is 2/3.
        distance = 0.5 * np.abs(joint - np.eye(3) / 3).sum()
        assert distance < 1 / 3


SILENT = QuantizationGrid(2**22, 500, 0.0, 12)
"""For the networks above: 6 columns of codes, 8 hidden, (6 + 1) 8 + (8 + 1) 8 + 8 + 1 = 137 parameters."""


class Fixed(SeededNoise):
    """Draws the same patients in every step, and no noise."""

    def poisson_sample(self, rows: int, rate: float) -> Integers:
        return np.arange(rows)


class TestStep:
    def test_equals_central_dp_sgd_up_to_rounding(self, synthesizer: AdversarialSynthesizer) -> None:
        gan = synthesizer
        assert isinstance(gan, MarginalGan)
        rows, hospitals = dependent(12), (slice(0, 5), slice(5, 5), slice(5, 12))
        weights = gan.initial_weights(0)
        state = weights
        # Centralised, written out: one Adam for each network, the pooled batch, the same fakes.
        generator, discriminator = gan._load(weights)
        generator_step = Adam(generator.parameters(), GENERATOR_RATES[gan.settings.generator], betas=BETAS)
        discriminator_step = Adam(discriminator.parameters(), DISCRIMINATOR_RATE, betas=BETAS)
        for number in range(1, 9):
            here = discriminator_of(state)
            shares = [gan.gradient(here, TrainingRows(rows[part], plan(), Fixed(number)), SILENT) for part in hospitals]
            total = np.sum(shares, axis=0)
            state = gan.step(state, total, None, ClippedGrid(1.0, SILENT), seed=number)
            rng = torch.Generator().manual_seed(number)
            with torch.no_grad():
                fake = generator.sample(12, rng)
            real = Blocks((3, 3)).one_hot(torch.from_numpy(rows))
            parts = [clipped_gradient_sum(discriminator, real, torch.ones(12), 1.0)]
            parts.append(clipped_gradient_sum(discriminator, fake, torch.zeros(12), 1.0))
            for parameter, one, other in zip(discriminator.parameters(), *parts, strict=True):
                parameter.grad = ((one + other) / 12).float()
            discriminator_step.step()
            discriminator.requires_grad_(False)
            generator_step.zero_grad()
            generator.loss(discriminator, 12, rng).backward()  # type: ignore[no-untyped-call]
            generator_step.step()
            discriminator.requires_grad_(True)
        pooled = {f"disc.{name}": value.numpy() for name, value in discriminator.state_dict().items()}
        pooled |= {f"gen.{name}": value.numpy() for name, value in generator.state_dict().items()}
        assert weights_of(state).keys() == pooled.keys() == weights.keys()
        for name, value in pooled.items():
            assert np.abs(value - weights[name]).max() > 1e-3  # it did move
            assert np.allclose(state[name], value, atol=2e-4)

    def test_optimizers_continue_from_the_stored_state(self, synthesizer: AdversarialSynthesizer) -> None:
        first = synthesizer.step(synthesizer.initial_weights(0), np.arange(137), None, ClippedGrid(1.0, SILENT), 1)
        again = synthesizer.step(dict(first), np.arange(137), None, ClippedGrid(1.0, SILENT), 2)
        fresh = synthesizer.step(weights_of(first), np.arange(137), None, ClippedGrid(1.0, SILENT), 2)
        assert {str(value.dtype) for value in again.values()} == {"float32"}
        assert min(value.ndim for value in again.values()) >= 1
        assert again["adam.disc.0.step"].tolist() == [2.0]
        assert not are_equal(weights_of(again), weights_of(fresh))
        assert are_equal(again, synthesizer.step(dict(first), np.arange(137), None, ClippedGrid(1.0, SILENT), 2))

    def test_a_gradient_needs_the_discriminator_alone(self, synthesizer: AdversarialSynthesizer) -> None:
        weights = synthesizer.initial_weights(0)
        quantization = QuantizationGrid(2**22, 500, 2.0**20, 12)

        def asked(given: Weights, noise: int, rows: int = 40) -> Integers:
            return synthesizer.gradient(given, TrainingRows(dependent(rows), plan(), SeededNoise(noise)), quantization)

        assert asked(weights, 1).tolist() == asked(discriminator_of(weights), 1).tolist()
        assert asked(weights, 1).tolist() != asked(weights, 2).tolist()
        assert asked(weights, 1, rows=0).shape == (137,)


CODES = random_codes(60, DOMAIN)
PRECISE, NOISY = (measured(CODES, QUERIES, DOMAIN, deviation=deviation) for deviation in (0.1, 0.101))


class TestFitSteps:
    def test_double_where_measurements_are_precise(self) -> None:
        assert fit_steps(None, PRECISE, 0) == 2 * FIT_STEPS == 3000
        assert fit_steps(None, NOISY, 0) == FIT_STEPS == 1500

    def test_do_not_double_before_rounds(self) -> None:
        assert fit_steps(None, PRECISE, 1) == FIT_STEPS

    @pytest.mark.parametrize("steps", [1500, 1600])
    def test_of_the_study_are_taken_as_given(self, steps: int) -> None:
        assert fit_steps(steps, PRECISE, 0) == steps

    def test_do_not_double_for_single_columns(self) -> None:
        alone = measured(CODES, single_queries(3), DOMAIN, deviation=0.1)
        assert fit_steps(None, alone, 0) == FIT_STEPS  # there is nothing to reconcile

    def test_are_those_of_the_fit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        losses = []

        class Counted(MarginalLoss):
            def with_gradient(self, probabilities: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
                losses.append(probabilities.shape)
                return super().with_gradient(probabilities)

        monkeypatch.setattr("common.synthesizers.gan.synthesizer.MarginalLoss", Counted)
        gan = MarginalGan(GanSettings(prototypes=4, hidden=2, fit_steps=7), DOMAIN.sizes)
        gan.fit(gan.initial_weights(0), PRECISE, 0, rounds=0)
        assert losses == [(4, sum(DOMAIN.sizes))] * 7
