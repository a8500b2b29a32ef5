"""The DP-GAN as functions from weights to weights: what a hospital does in a round, and how rows are drawn.

State between calls is a `Weights` dictionary and nothing else: optimisers start afresh in every round, so a hospital
may miss one and lose nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from common.encoding import Codes, Encoder
from common.messages import Weights
from common.privacy.dpsgd import noisy_gradient
from common.privacy.mechanisms import NoiseSource
from common.privacy.plan import HospitalPlan
from common.study import SynthesizerSettings
from common.synthesizers.anchors import AnchorLoss, Anchors
from common.synthesizers.discriminator import Discriminator
from common.synthesizers.generator import Blocks, Generator, MlpGenerator, PrototypeGenerator
from common.synthesizers.sampling import draw

DISCRIMINATOR_RATE = 3e-3
GENERATOR_RATES = {"prototypes": 3e-2, "mlp": 1e-3}
BETAS = (0.5, 0.9)
FIT_RATES = {"prototypes": 0.1, "mlp": 2e-3}
POLISH_RATES = {"prototypes": 0.02, "mlp": 5e-4}
POLISH_STEPS, POLISH_BATCH = 300, 512


class Synthesizer(Protocol):
    """What the federation needs of a synthesizer. Every entry of `SYNTHESIZERS` passes one contract test."""

    def initial_weights(self, seed: int) -> Weights:
        """Weights that depend on the seed and on public sizes only."""

    def fit(self, weights: Weights, anchors: Anchors, seed: int) -> Weights:
        """The generator fitted to the anchors alone; post-processing."""

    def train(
        self,
        weights: Weights,
        codes: Codes,
        anchors: Anchors | None,
        plan: HospitalPlan,
        noise: NoiseSource,
        seed: int,
    ) -> Weights:
        """One round at one hospital; the codes are touched only through `noisy_gradient`, `plan.steps` times."""

    def polish(self, weights: Weights, jury: Weights, anchors: Anchors, seed: int) -> Weights:
        """The generator against a fixed discriminator and the anchors; post-processing."""

    def sample(self, weights: Weights, rows: int, seed: int, given: Mapping[int, int]) -> Codes:
        """`rows` rows of codes with the given columns at the given codes; post-processing of the weights."""


@dataclass(frozen=True)
class AnchoredGan:
    """A Gumbel-softmax generator held to noisy marginals, against a discriminator trained by DP-SGD."""

    settings: SynthesizerSettings
    sizes: tuple[int, ...]

    @classmethod
    def for_encoder(cls, settings: SynthesizerSettings, encoder: Encoder) -> AnchoredGan:
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

    def fit(self, weights: Weights, anchors: Anchors, seed: int) -> Weights:
        generator, _ = self._load(weights)
        rng = torch.Generator().manual_seed(seed)
        miss = AnchorLoss(anchors)
        rate = FIT_RATES[self.settings.generator]
        _descend(generator, lambda: miss(generator.probabilities(rng)), self.settings.fit_steps, rate)
        return weights | _dump(generator, "gen.")

    def polish(self, weights: Weights, jury: Weights, anchors: Anchors, seed: int) -> Weights:
        generator, discriminator = self._load(weights | jury)
        discriminator.requires_grad_(False)
        rng = torch.Generator().manual_seed(seed)
        miss = AnchorLoss(anchors)

        def loss() -> Tensor:
            return generator.loss(discriminator, POLISH_BATCH, rng) + self.settings.anchor_weight * miss(
                generator.probabilities(rng)
            )

        _descend(generator, loss, POLISH_STEPS, POLISH_RATES[self.settings.generator])
        return weights | _dump(generator, "gen.")

    def train(
        self,
        weights: Weights,
        codes: Codes,
        anchors: Anchors | None,
        plan: HospitalPlan,
        noise: NoiseSource,
        seed: int,
    ) -> Weights:
        generator, discriminator = self._load(weights)
        rng = torch.Generator().manual_seed(seed)
        miss = AnchorLoss(anchors) if anchors else None
        blocks = Blocks(self.sizes)
        critic_step = torch.optim.Adam(discriminator.parameters(), DISCRIMINATOR_RATE, betas=BETAS)
        generator_rate = GENERATOR_RATES[self.settings.generator]
        generator_step = torch.optim.Adam(generator.parameters(), generator_rate, betas=BETAS)
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
            for parameter, part in zip(discriminator.parameters(), gradient, strict=True):
                parameter.grad = part
            critic_step.step()
            # From here on everything is post-processing: the generator sees the noisy discriminator, no record.
            discriminator.requires_grad_(False)
            loss = generator.loss(discriminator, plan.batch, rng)
            if miss:
                loss = loss + self.settings.anchor_weight * miss(generator.probabilities(rng))
            generator_step.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            generator_step.step()
            discriminator.requires_grad_(True)
        return _dump(generator, "gen.") | _dump(discriminator, "disc.")

    def sample(self, weights: Weights, rows: int, seed: int, given: Mapping[int, int]) -> Codes:
        generator, _ = self._load(weights)
        return draw(generator, rows, seed, given)


SYNTHESIZERS: dict[str, Callable[[SynthesizerSettings, Encoder], Synthesizer]] = {
    "anchored-gan": AnchoredGan.for_encoder,
}


def make_synthesizer(settings: SynthesizerSettings, encoder: Encoder) -> Synthesizer:
    """The synthesizer that the study names, sized for the encoder."""
    return SYNTHESIZERS[settings.kind](settings, encoder)


def discriminator_of(weights: Weights) -> Weights:
    """The discriminator's part."""
    return {name: value for name, value in weights.items() if name.startswith("disc.")}


def mean_of(several: Sequence[Weights]) -> Weights:
    """The mean, number by number: a jury of the discriminators of several rounds."""
    return {name: np.mean([one[name] for one in several], axis=0).astype(np.float32) for name in several[0]}


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
