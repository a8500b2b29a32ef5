"""The DP-GAN as functions from weights to weights: what a hospital does in a round, and how rows are drawn.

State between calls is a `Weights` dictionary and nothing else: optimisers start afresh in every round, so a hospital
may miss one and lose nothing. In synchronous training they go on from step to step, at the server, as part of that
state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam

from common.arrays import Integers, Weights
from common.columns.base import Codes
from common.encoding import Encoder
from common.marginals.loss import MarginalLoss
from common.marginals.measurements import Measurements
from common.planning.plan import HospitalPlan
from common.privacy.discriminator import Discriminator
from common.privacy.dpsgd import noisy_gradient
from common.privacy.mechanisms import NoiseSource
from common.privacy.quantization import QuantizationGrid
from common.privacy.synchronous import gradient_of_sum, gradient_share
from common.study.sections import SynthesizerSettings
from common.synthesizers.gan.generator import Blocks, Generator, MlpGenerator, PrototypeGenerator
from common.synthesizers.gan.sampling import draw

DISCRIMINATOR_RATE = 3e-3
GENERATOR_RATES = {"prototypes": 3e-2, "mlp": 1e-3}
BETAS = (0.5, 0.9)
FIT_RATES = {"prototypes": 0.1, "mlp": 2e-3}
REFINE_RATES = {"prototypes": 0.02, "mlp": 5e-4}
ADAM = ("adam.gen.", "adam.disc.")
"""Names in the state of synchronous training: of the generator's optimiser and of the discriminator's."""
REFINE_STEPS, REFINE_BATCH = 300, 512


class Synthesizer(Protocol):
    """What the federation needs of a synthesizer. Every entry of `SYNTHESIZERS` passes one contract test."""

    def initial_weights(self, seed: int) -> Weights:
        """Weights that depend on the seed and on public sizes only."""

    def fit(self, weights: Weights, measurements: Measurements, seed: int, *, steps: int) -> Weights:
        """The generator fitted to the measurements alone; post-processing."""

    def train(
        self,
        weights: Weights,
        codes: Codes,
        measurements: Measurements | None,
        plan: HospitalPlan,
        noise: NoiseSource,
        seed: int,
    ) -> Weights:
        """One round at one hospital; the codes are touched only through `noisy_gradient`, `plan.steps` times."""

    def gradient(
        self, weights: Weights, codes: Codes, plan: HospitalPlan, quantization: QuantizationGrid, noise: NoiseSource
    ) -> Integers:
        """One synchronous step at one hospital, from the discriminator's weights; touches codes as `train` does."""

    def step(
        self,
        state: Weights,
        total: Integers,
        measurements: Measurements | None,
        clip: float,
        quantization: QuantizationGrid,
        seed: int,
    ) -> Weights:
        """One synchronous step at the server, from the hospitals' sum; post-processing.

        Args:
            state: weights, and with them the optimisers' state once there is one.
        """

    def refine(self, weights: Weights, ensemble: Weights, measurements: Measurements, seed: int) -> Weights:
        """The generator against a fixed discriminator and the measurements; post-processing."""

    def sample(self, weights: Weights, rows: int, seed: int, given: Mapping[int, int]) -> Codes:
        """`rows` rows of codes with the given columns at the given codes; post-processing of the weights."""


@dataclass(frozen=True)
class MarginalGan:
    """A Gumbel-softmax generator held to noisy marginals, against a discriminator trained by DP-SGD."""

    settings: SynthesizerSettings
    sizes: tuple[int, ...]

    @classmethod
    def for_encoder(cls, settings: SynthesizerSettings, encoder: Encoder) -> MarginalGan:
        return cls(settings, encoder.sizes)

    def _networks(self, seed: int) -> tuple[Generator, Discriminator]:
        rng = torch.Generator().manual_seed(seed)
        hidden = self.settings.hidden
        generator: Generator
        if self.settings.generator == "prototypes":
            generator = PrototypeGenerator(self.sizes, self.settings.prototypes, rng)
        else:
            generator = MlpGenerator(self.sizes, hidden, rng)
        return generator, Discriminator(sum(self.sizes), hidden, rng)

    def _load(self, weights: Weights) -> tuple[Generator, Discriminator]:
        generator, discriminator = self._networks(seed=0)
        _restore(generator, "gen.", weights)
        _restore(discriminator, "disc.", weights)
        return generator, discriminator

    def initial_weights(self, seed: int) -> Weights:
        generator, discriminator = self._networks(seed)
        return _dump(generator, "gen.") | _dump(discriminator, "disc.")

    def fit(self, weights: Weights, measurements: Measurements, seed: int, *, steps: int) -> Weights:
        generator, _ = self._load(weights)
        rng = torch.Generator().manual_seed(seed)
        miss = MarginalLoss(measurements)
        rate = FIT_RATES[self.settings.generator]
        _descend(generator, lambda: miss(generator.probabilities(rng)), steps, rate)
        return weights | _dump(generator, "gen.")

    def refine(self, weights: Weights, ensemble: Weights, measurements: Measurements, seed: int) -> Weights:
        generator, discriminator = self._load(weights | ensemble)
        discriminator.requires_grad_(False)
        rng = torch.Generator().manual_seed(seed)
        miss = MarginalLoss(measurements)

        def loss() -> Tensor:
            return generator.loss(discriminator, REFINE_BATCH, rng) + self.settings.marginal_weight * miss(
                generator.probabilities(rng)
            )

        _descend(generator, loss, REFINE_STEPS, REFINE_RATES[self.settings.generator])
        return weights | _dump(generator, "gen.")

    def train(
        self,
        weights: Weights,
        codes: Codes,
        measurements: Measurements | None,
        plan: HospitalPlan,
        noise: NoiseSource,
        seed: int,
    ) -> Weights:
        generator, discriminator = self._load(weights)
        rng = torch.Generator().manual_seed(seed)
        miss = MarginalLoss(measurements) if measurements else None
        blocks = Blocks(self.sizes)
        optimisers = self._optimisers(generator, discriminator)
        for _ in range(plan.steps):
            chosen = noise.poisson_sample(len(codes), plan.sample_rate)
            real = blocks.one_hot(torch.from_numpy(codes[chosen]))
            with torch.no_grad():
                fake = generator.sample(plan.batch, rng)
            gradient = noisy_gradient(
                discriminator,
                real,
                fake,
                clip=plan.clip,
                noise_multiplier=plan.noise_multiplier,
                expected_batch=plan.batch,
                noise=noise,
            )
            self._both(generator, discriminator, optimisers, gradient, plan.batch, miss, rng)
        return _dump(generator, "gen.") | _dump(discriminator, "disc.")

    def _optimisers(self, generator: Generator, discriminator: Discriminator) -> tuple[Adam, Adam]:
        """Of the generator and of the discriminator, afresh."""
        rate = GENERATOR_RATES[self.settings.generator]
        return (
            Adam(generator.parameters(), rate, betas=BETAS),
            Adam(discriminator.parameters(), DISCRIMINATOR_RATE, betas=BETAS),
        )

    def _both(
        self,
        generator: Generator,
        discriminator: Discriminator,
        optimisers: tuple[Adam, Adam],
        gradient: Sequence[Tensor],
        batch: int,
        miss: MarginalLoss | None,
        rng: torch.Generator,
    ) -> None:
        """A step of the discriminator along a noisy gradient, then one of the generator."""
        generator_step, discriminator_step = optimisers
        for parameter, part in zip(discriminator.parameters(), gradient, strict=True):
            parameter.grad = part
        discriminator_step.step()
        # From here on everything is post-processing: the generator sees the noisy discriminator, no record.
        discriminator.requires_grad_(False)
        loss = generator.loss(discriminator, batch, rng)
        if miss:
            loss = loss + self.settings.marginal_weight * miss(generator.probabilities(rng))
        generator_step.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        generator_step.step()
        discriminator.requires_grad_(True)

    def gradient(
        self, weights: Weights, codes: Codes, plan: HospitalPlan, quantization: QuantizationGrid, noise: NoiseSource
    ) -> Integers:
        discriminator = Discriminator(sum(self.sizes), self.settings.hidden, torch.Generator())
        _restore(discriminator, "disc.", weights)
        chosen = noise.poisson_sample(len(codes), plan.sample_rate)
        real = Blocks(self.sizes).one_hot(torch.from_numpy(codes[chosen]))
        return gradient_share(
            discriminator, real, clip=plan.clip, quantization=quantization, batch=plan.batch, noise=noise.named("share")
        )

    def step(
        self,
        state: Weights,
        total: Integers,
        measurements: Measurements | None,
        clip: float,
        quantization: QuantizationGrid,
        seed: int,
    ) -> Weights:
        generator, discriminator = self._load(state)
        rng = torch.Generator().manual_seed(seed)
        optimisers = self._optimisers(generator, discriminator)
        for optimiser, prefix in zip(optimisers, ADAM, strict=True):
            _restore_adam(optimiser, prefix, state)
        with torch.no_grad():
            fake = generator.sample(quantization.batch, rng)
        gradient = gradient_of_sum(discriminator, total, fake, clip=clip, quantization=quantization)
        miss = MarginalLoss(measurements) if measurements else None
        self._both(generator, discriminator, optimisers, gradient, quantization.batch, miss, rng)
        after = _dump(generator, "gen.") | _dump(discriminator, "disc.")
        for optimiser, prefix in zip(optimisers, ADAM, strict=True):
            after |= _dump_adam(optimiser, prefix)
        return after

    def sample(self, weights: Weights, rows: int, seed: int, given: Mapping[int, int]) -> Codes:
        generator, _ = self._load(weights)
        return draw(generator, rows, seed, given)


SYNTHESIZERS: dict[str, Callable[[SynthesizerSettings, Encoder], Synthesizer]] = {
    "marginal-gan": MarginalGan.for_encoder,
}


def make_synthesizer(settings: SynthesizerSettings, encoder: Encoder) -> Synthesizer:
    """The synthesizer that the study names, sized for the encoder."""
    return SYNTHESIZERS[settings.kind](settings, encoder)


def discriminator_of(weights: Weights) -> Weights:
    """The discriminator's part."""
    return {name: value for name, value in weights.items() if name.startswith("disc.")}


def mean_of(several: Sequence[Weights]) -> Weights:
    """The mean, number by number: a ensemble of the discriminators of several rounds."""
    return {name: np.mean([one[name] for one in several], axis=0).astype(np.float32) for name in several[0]}


def weights_of(state: Weights) -> Weights:
    """Both networks, without the optimisers."""
    return {name: value for name, value in state.items() if not name.startswith(ADAM)}


def _descend(net: nn.Module, loss: Callable[[], Tensor], steps: int, rate: float) -> None:
    """Adam with a rate that falls to zero along a half cosine."""
    optimizer = torch.optim.Adam(net.parameters(), rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()


def _dump(net: nn.Module, prefix: str) -> Weights:
    return {prefix + name: value.detach().numpy().copy() for name, value in net.state_dict().items()}


def _restore(net: nn.Module, prefix: str, weights: Weights) -> None:
    net.load_state_dict({name: torch.from_numpy(np.array(weights[prefix + name])) for name in net.state_dict()})


def _dump_adam(optimiser: Adam, prefix: str) -> Weights:
    """Steps taken and both moments of every parameter, as float32 arrays of at least one dimension."""
    return {
        f"{prefix}{place}.{key}": np.atleast_1d(value.numpy().copy())
        for place, moments in optimiser.state_dict()["state"].items()
        for key, value in moments.items()
    }


def _restore_adam(optimiser: Adam, prefix: str, state: Weights) -> None:
    """Put back what `_dump_adam` gave; nothing where there is nothing yet."""
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in state.items():
        if name.startswith(prefix):
            place, _, key = name.removeprefix(prefix).partition(".")
            tensor = torch.from_numpy(np.array(value))
            moments.setdefault(int(place), {})[key] = tensor.reshape(()) if key == "step" else tensor
    if moments:
        optimiser.load_state_dict(optimiser.state_dict() | {"state": moments})
