"""The variational autoencoder held to noisy marginals: a mixture of prototypes whose classes follow their encoder.

Its rounds are counts by latent class (`common.planning.classes`), so they are part of the measurements: the synthesizer
itself is fitted once, after them, and does not see a hospital.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from common.arrays import Weights
from common.columns.base import Codes
from common.marginals.latent_classes import ClassTables
from common.marginals.loss import MarginalLoss
from common.marginals.measurements import Measurements
from common.study.synthesizers import VaeSettings
from common.synthesizers.gan.descent import descend, fit_steps
from common.synthesizers.gan.generator import PrototypeGenerator
from common.synthesizers.gan.sampling import draw
from common.synthesizers.gan.weights import dump, restore

DECODER = "dec."
"""Prefix of the names of the decoder's weights."""

FIT_RATE = 0.1
"""Adam's learning rate in the fit."""


class ClassLoss:
    """The weighted squared distance of a mixture's classes from the class tables that the rounds released.

        L(P) = w sum_k pi_k^2 |mean of P over the prototypes of class k - p_k|^2

    pi_k and p_k are the weight and the code probabilities of class k (`ClassTables`), w the inverse noise variance of
    their counts relative to that of the marginal loss: a class is one more column whose tables with all others are
    counted.

    Args:
        tables: the class tables.
        measurements: the noisy marginals beside them.
        prototypes: number of prototypes; class k gets a part of them close to pi_k, at least one.
    """

    def __init__(self, tables: ClassTables, measurements: Measurements, prototypes: int) -> None:
        counts = prototypes_of_classes(tables, prototypes)
        self.owners = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
        self.logits = torch.tensor(np.log(tables.probabilities), dtype=torch.float32)[self.owners]
        self._sizes = torch.tensor(counts, dtype=torch.float32)[:, None]
        self._targets = torch.tensor(tables.probabilities, dtype=torch.float32)  # p
        self._weights = torch.tensor(tables.weights, dtype=torch.float32)[:, None]  # pi
        self._precision = measurements.precision(tables.deviation)  # w

    def __call__(self, probabilities: Tensor) -> Tensor:
        """Return the loss, a scalar, of column probabilities (prototypes, width)."""
        means = torch.zeros_like(self._targets).index_add(0, self.owners, probabilities) / self._sizes
        return self._precision * ((self._weights * (means - self._targets)) ** 2).sum()


def prototypes_of_classes(tables: ClassTables, prototypes: int) -> list[int]:
    """Return how many prototypes each class gets: one each, the others by its weight (largest remainders).

    Args:
        tables: the class tables.
        prototypes: number of all prototypes, at least one per class.
    """
    further = tables.weights * (prototypes - len(tables.weights))
    counts = np.floor(further).astype(np.int64)
    largest = np.argsort(counts - further, kind="stable")[: prototypes - len(counts) - int(counts.sum())]
    counts[largest] += 1
    return [int(count) + 1 for count in counts]


@dataclass(frozen=True)
class MarginalVae:
    """A decoder of discrete latent classes, held to the noisy marginals and to the counts of its encoder.

    The methods are described in `common.synthesizers.base`.

    Args:
        settings: the study's settings of the synthesizer.
        sizes: number of codes of each column.
    """

    settings: VaeSettings
    sizes: tuple[int, ...]

    def fit(self, weights: Weights, measurements: Measurements, seed: int, *, rounds: int) -> Weights:
        """Return a decoder fitted to the measurements: to the marginals, and to the class tables where there are any.

        Prototypes start at their class with noise on the logits, so that those of one class can differ; without class
        tables they start at noise alone.
        """
        rng = torch.Generator().manual_seed(seed)
        decoder, marginal_loss = (
            PrototypeGenerator(self.sizes, self.settings.prototypes, rng),
            MarginalLoss(measurements),
        )
        class_loss: ClassLoss | None = None
        if measurements.classes is not None:
            class_loss = ClassLoss(measurements.classes, measurements, self.settings.prototypes)
            with torch.no_grad():
                decoder.table.add_(class_loss.logits)

        def loss() -> Tensor:
            probabilities = decoder.probabilities(rng)
            loss = marginal_loss(probabilities)
            return loss + class_loss(probabilities) if class_loss else loss

        descend(decoder, loss, fit_steps(self.settings.fit_steps, measurements, rounds), FIT_RATE)
        return dump(decoder, DECODER)

    def sample(self, weights: Weights, rows: int, seed: int, given: Mapping[int, int]) -> Codes:
        """Draw rows with the given columns at the given codes."""
        decoder = PrototypeGenerator(self.sizes, self.settings.prototypes, torch.Generator())
        restore(decoder, DECODER, weights)
        return draw(decoder, rows, seed, given)
