from __future__ import annotations

import numpy as np
import pytest
import torch

from common.arrays import Floats, Integers, Weights
from common.columns.base import Codes
from common.columns.categorical import Categorical
from common.encoding import Binning, Encoder
from common.planning.plan import HospitalPlan
from common.privacy.discriminator import Discriminator
from common.privacy.dpsgd import clipped_gradient_sum
from common.privacy.mechanisms import SeededNoise
from common.privacy.quantization import QuantizationGrid
from common.study.schema import Schema
from common.study.sections import SynthesizerSettings
from common.synthesizers.gan.generator import Blocks
from common.synthesizers.gan.synthesizer import (
    SYNTHESIZERS,
    MarginalGan,
    Synthesizer,
    discriminator_of,
    make_synthesizer,
    weights_of,
)

LABELS = ("a", "b", "c")
SCHEMA = Schema(columns=(Categorical(name="x", categories=LABELS), Categorical(name="y", categories=LABELS)))
ENCODER = Encoder(SCHEMA, np.empty(0, dtype=np.int64), Binning(cells=16, bins=4))

VARIANTS = [
    SynthesizerSettings.model_validate({"kind": kind, "generator": generator, "prototypes": 12, "hidden": 8})
    for kind in SYNTHESIZERS
    for generator in ("prototypes", "mlp")
]


def plan(*, noise_multiplier: float = 1.0, steps: int = 3, batch: int = 8, sample_rate: float = 0.25) -> HospitalPlan:
    return HospitalPlan("north", (), noise_multiplier, 1.0, sample_rate, batch, steps)


def dependent(rows: int) -> Codes:
    """The second column repeats the first; every label equally often."""
    return np.repeat(np.arange(rows) % 3, 2).reshape(rows, 2).astype(np.int16)


def are_equal(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.fixture(params=VARIANTS, ids=lambda settings: f"{settings.kind}-{settings.generator}")
def synthesizer(request: pytest.FixtureRequest) -> Synthesizer:
    return make_synthesizer(request.param, ENCODER)


def test_initial_weights_depend_on_the_seed_alone(synthesizer: Synthesizer) -> None:
    torch.manual_seed(1)
    first = synthesizer.initial_weights(3)
    torch.manual_seed(2)
    assert are_equal(first, synthesizer.initial_weights(3))
    assert not are_equal(first, synthesizer.initial_weights(4))
    assert {name.partition(".")[0] for name in first} == {"gen", "disc"}
    assert {str(value.dtype) for value in first.values()} == {"float32"}


def test_training_repeats_with_the_same_noise_and_seed(synthesizer: Synthesizer) -> None:
    weights = synthesizer.initial_weights(0)
    before = {name: value.copy() for name, value in weights.items()}

    def trained(noise: int, seed: int) -> Weights:
        return synthesizer.train(weights, dependent(40), None, plan(), SeededNoise(noise), seed)

    torch.manual_seed(1)
    first = trained(1, 2)
    torch.manual_seed(2)
    assert are_equal(first, trained(1, 2))
    assert not are_equal(first, trained(9, 2))
    assert not are_equal(first, trained(1, 9))
    assert are_equal(weights, before)


def test_training_changes_both_networks_and_keeps_names_shapes_and_types(synthesizer: Synthesizer) -> None:
    weights = synthesizer.initial_weights(0)
    trained = synthesizer.train(weights, dependent(40), None, plan(), SeededNoise(1), 2)
    assert trained.keys() == weights.keys()
    for name, value in trained.items():
        assert (value.shape, value.dtype) == (weights[name].shape, weights[name].dtype)
        assert np.isfinite(value).all()
    for network in ("gen.", "disc."):
        assert any(not np.array_equal(trained[name], weights[name]) for name in trained if name.startswith(network))


@pytest.mark.parametrize("noise_multiplier", [0.0, 1.0])
def test_a_hospital_without_rows_can_train(synthesizer: Synthesizer, noise_multiplier: float) -> None:
    trained = synthesizer.train(
        synthesizer.initial_weights(0), dependent(0), None, plan(noise_multiplier=noise_multiplier), SeededNoise(1), 2
    )
    assert all(np.isfinite(value).all() for value in trained.values())


def test_sampling_repeats_with_the_seed_and_stays_below_the_sizes(synthesizer: Synthesizer) -> None:
    weights = synthesizer.initial_weights(0)
    codes = synthesizer.sample(weights, 500, 7, {})
    assert codes.shape == (500, 2)
    assert codes.dtype == np.int16
    assert (codes == synthesizer.sample(weights, 500, 7, {})).all()
    assert (codes != synthesizer.sample(weights, 500, 8, {})).any()
    assert codes.min() >= 0
    assert codes.max() < 3
    assert synthesizer.sample(weights, 0, 7, {}).shape == (0, 2)


def test_every_step_asks_for_one_batch_at_the_plans_rate_and_one_noise_vector(
    synthesizer: Synthesizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches, vectors = [], []

    class Watched(SeededNoise):
        def poisson_sample(self, rows: int, rate: float) -> Integers:
            batches.append((rows, rate))
            return super().poisson_sample(rows, rate)

        def gaussian(self, count: int, std: float) -> Floats:
            vectors.append((count, std))
            return super().gaussian(count, std)

    weights = synthesizer.initial_weights(0)
    synthesizer.train(weights, dependent(40), None, plan(noise_multiplier=1.5), Watched(1), 2)
    discriminator = sum(value.size for name, value in weights.items() if name.startswith("disc."))
    assert batches == [(40, 0.25)] * 3
    assert vectors == [(discriminator, 1.5)] * 3


def test_records_reach_the_weights_through_the_noisy_gradient_alone(
    synthesizer: Synthesizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def constant(net: Discriminator, *_: object, **__: object) -> list[torch.Tensor]:
        return [torch.full_like(parameter, 0.01) for parameter in net.parameters()]

    weights, rows = synthesizer.initial_weights(0), dependent(40)
    honest = [synthesizer.train(weights, codes, None, plan(), SeededNoise(1), 2) for codes in (rows, 2 - rows[:7])]
    assert not are_equal(*honest)
    monkeypatch.setattr("common.synthesizers.gan.synthesizer.noisy_gradient", constant)
    blind = [synthesizer.train(weights, codes, None, plan(), SeededNoise(1), 2) for codes in (rows, 2 - rows[:7])]
    assert are_equal(*blind)


SILENT = QuantizationGrid(2**22, 500, 0.0, 12)
"""For the networks above: 6 columns of codes, 8 hidden, (6 + 1) 8 + (8 + 1) 8 + 8 + 1 = 137 parameters."""


class Fixed(SeededNoise):
    """Draws the same patients in every step, and no noise."""

    def poisson_sample(self, rows: int, rate: float) -> Integers:
        return np.arange(rows)


def test_lockstep_training_gives_the_weights_of_centralised_dp_sgd_up_to_rounding(synthesizer: Synthesizer) -> None:
    gan = synthesizer
    assert isinstance(gan, MarginalGan)
    rows, hospitals = dependent(12), (slice(0, 5), slice(5, 5), slice(5, 12))
    weights = gan.initial_weights(0)
    state = weights
    # Centralised, written out: one Adam for each network, the pooled batch, the same fakes.
    generator, discriminator = gan._load(weights)
    generator_step, discriminator_step = gan._optimisers(generator, discriminator)
    for number in range(1, 9):
        here = discriminator_of(state)
        shares = [gan.gradient(here, rows[part], plan(), SILENT, Fixed(number)) for part in hospitals]
        total = np.sum(shares, axis=0)
        state = gan.step(state, total, None, 1.0, SILENT, seed=number)
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


def test_the_optimisers_go_on_from_step_to_step_and_survive_being_stored(synthesizer: Synthesizer) -> None:
    first = synthesizer.step(synthesizer.initial_weights(0), np.arange(137), None, 1.0, SILENT, 1)
    again = synthesizer.step(dict(first), np.arange(137), None, 1.0, SILENT, 2)
    fresh = synthesizer.step(weights_of(first), np.arange(137), None, 1.0, SILENT, 2)
    assert {str(value.dtype) for value in again.values()} == {"float32"}
    assert min(value.ndim for value in again.values()) >= 1
    assert again["adam.disc.0.step"].tolist() == [2.0]
    assert not are_equal(weights_of(again), weights_of(fresh))
    assert are_equal(again, synthesizer.step(dict(first), np.arange(137), None, 1.0, SILENT, 2))


def test_a_hospitals_part_of_a_step_needs_the_discriminator_alone(synthesizer: Synthesizer) -> None:
    weights = synthesizer.initial_weights(0)
    quantization = QuantizationGrid(2**22, 500, 2.0**20, 12)

    def asked(given: Weights, noise: int, rows: int = 40) -> Integers:
        return synthesizer.gradient(given, dependent(rows), plan(), quantization, SeededNoise(noise))

    assert asked(weights, 1).tolist() == asked(discriminator_of(weights), 1).tolist()
    assert asked(weights, 1).tolist() != asked(weights, 2).tolist()
    assert asked(weights, 1, rows=0).shape == (137,)


def test_weights_that_are_no_numbers_come_back_without_an_error(synthesizer: Synthesizer) -> None:
    weights = {name: np.full_like(value, np.nan) for name, value in synthesizer.initial_weights(0).items()}
    for rows in (0, 40):
        trained = synthesizer.train(weights, dependent(rows), None, plan(), SeededNoise(1), 2)
        assert all(np.isnan(value).all() for value in trained.values())


def test_without_noise_the_gan_learns_that_two_columns_depend_on_each_other() -> None:
    gan = MarginalGan(SynthesizerSettings(prototypes=20, hidden=32, marginal_weight=0), (3, 3))
    weights = gan.initial_weights(0)
    for number in range(3):
        quiet = plan(noise_multiplier=0.0, steps=200, batch=64)
        weights = gan.train(weights, dependent(300), None, quiet, SeededNoise(number), number)
    codes = gan.sample(weights, 3000, 0, {})
    joint = np.zeros((3, 3))
    np.add.at(joint, (codes[:, 0], codes[:, 1]), 1 / 3000)
    # The truth is 1/3 on the diagonal. Independent columns put 1/9 everywhere: 6 cells of 1/9 too many, distance 2/3.
    distance = 0.5 * np.abs(joint - np.eye(3) / 3).sum()
    assert distance < 1 / 3
