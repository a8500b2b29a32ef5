"""What the federation needs of a synthesizer.

`Synthesizer` is enough for one that is fitted to noisy marginals. `OrderingSynthesizer` adds how values lie within
codes, and `AdversarialSynthesizer` what hospitals and the server do in rounds. Callers ask for a capability, never for
a kind. A synthesizer keeps no state: everything that it learns is in a `Weights` dictionary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from common.arrays import Floats, Integers, Weights
from common.columns.base import Codes
from common.marginals.measurements import Measurements
from common.planning.plan import HospitalPlan
from common.privacy.mechanisms import NoiseSource
from common.privacy.quantization import ClippedGrid, QuantizationGrid

DISCRIMINATOR = "disc."
"""Prefix of the names of a discriminator's weights."""

OPTIMIZERS = ("adam.gen.", "adam.disc.")
"""Prefixes of the names of optimizer state: of the generator and of the discriminator."""


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """A hospital's training rows, with the plan and the noise under which they may be read.

    Attributes:
        codes: the rows, (rows, columns).
        plan: the hospital's part of the plan, the only source of privacy parameters.
        noise: source of the draws and of the noise, of one round.
    """

    codes: Codes
    plan: HospitalPlan
    noise: NoiseSource

    def poisson_batch(self) -> Codes:
        """Draw the rows of one step, each with the plan's sample rate."""
        return self.codes[self.noise.poisson_sample(len(self.codes), self.plan.sample_rate)]


class Synthesizer(Protocol):
    """A synthesizer that is fitted to noisy marginals. Every entry of the registry passes one contract test."""

    def fit(self, weights: Weights, measurements: Measurements, seed: int, *, rounds: int) -> Weights:
        """Return weights fitted to the measurements alone; post-processing.

        Args:
            weights: weights at which the fit starts; empty for a synthesizer that has no initial weights.
            measurements: noisy marginals.
            seed: seed of everything random in the fit.
            rounds: rounds of training that will follow; 0 where the fit is what the run releases.
        """

    def sample(self, weights: Weights, rows: int, seed: int, given: Mapping[int, int]) -> Codes:
        """Draw rows; post-processing of the weights.

        Args:
            weights: weights of a trained synthesizer.
            rows: number of rows.
            seed: the same seed gives the same rows.
            given: column to code; every row has these codes exactly.

        Returns:
            Codes of shape (rows, columns), int16, in random order.

        Raises:
            StudyError: the synthesizer gives a condition no weight, or cannot draw on condition.
        """


@runtime_checkable
class OrderingSynthesizer(Synthesizer, Protocol):
    """A synthesizer that also says how the values of a column lie within its codes, given the other columns."""

    def order_within(self, weights: Weights, codes: Codes, seed: int) -> Floats:
        """Return a larger number for a larger value among the rows of a code; post-processing of the weights.

        Args:
            weights: weights of a trained synthesizer.
            codes: rows that it drew, (rows, columns).
            seed: the same seed gives the same numbers.

        Returns:
            Numbers of shape (rows, columns); those of columns without order mean nothing.
        """


@runtime_checkable
class AdversarialSynthesizer(Synthesizer, Protocol):
    """A synthesizer that is also trained in rounds, by a discriminator that sees records under DP-SGD."""

    def initial_weights(self, seed: int) -> Weights:
        """Return weights that depend on the seed and on public sizes only."""

    def train(self, weights: Weights, rows: TrainingRows, measurements: Measurements | None, seed: int) -> Weights:
        """Do one round at one hospital.

        Args:
            weights: weights before the round; they are not changed.
            rows: the hospital's rows. They are read through `noisy_gradient` only, `rows.plan.steps` times.
            measurements: noisy marginals to hold the generator to; None where the plan has none.
            seed: seed of everything random that protects no patient.

        Returns:
            Weights of the same names, shapes and types.
        """

    def gradient(self, weights: Weights, rows: TrainingRows, quantization: QuantizationGrid) -> Integers:
        """Return one hospital's gradient for a synchronous step, to be sent under a mask.

        Args:
            weights: weights of the discriminator at least.
            rows: the hospital's rows, read as in `train` once.
            quantization: the grid that gradients are rounded to.

        Returns:
            int64 of shape (parameters of the discriminator,), with this hospital's share of the noise.
        """

    def step(
        self, state: Weights, total: Integers, measurements: Measurements | None, clipped: ClippedGrid, seed: int
    ) -> Weights:
        """Do one synchronous step at the server; post-processing of the hospitals' sum.

        Args:
            state: weights, and with them the optimizers' state once there is one.
            total: sum of the hospitals' gradients, (parameters,).
            measurements: noisy marginals to hold the generator to; None where the plan has none.
            clipped: the norm that one patient's gradient was clipped to, and the grid that sums were rounded to.
            seed: seed of the fake rows.

        Returns:
            Weights and optimizer state.
        """

    def refine(self, weights: Weights, ensemble: Weights, measurements: Measurements, seed: int) -> Weights:
        """Return weights with the generator trained against a fixed discriminator; post-processing.

        Args:
            weights: weights after the rounds.
            ensemble: mean of the discriminators of several rounds.
            measurements: noisy marginals to hold the generator to.
            seed: seed of the fake rows.
        """


def discriminator_of(weights: Weights) -> Weights:
    """Return the discriminator's part of the weights."""
    return {name: value for name, value in weights.items() if name.startswith(DISCRIMINATOR)}


def mean_of(ensemble: Sequence[Weights]) -> Weights:
    """Return the mean of weights of the same names, number by number."""
    return {name: np.mean([weights[name] for weights in ensemble], axis=0).astype(np.float32) for name in ensemble[0]}


def weights_of(state: Weights) -> Weights:
    """Return the weights of a state, without the optimizers'."""
    return {name: value for name, value in state.items() if not name.startswith(OPTIMIZERS)}
