"""The integers that gradients are rounded to before hospitals sum them under masks: how fine, how far, how noisy.

A quantization point is clip / `units`. The finer it is the less rounding costs; the coarser, the further the sum stays
from the ends of the masks' integers. Everything follows from the study, before any record is read, and is the same at
every
hospital: a coordinator that talked one of them into a coarser quantization would take noise away from the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from common.errors import StudyError
from common.secagg.masks import MOST

FINE_SHARE = 16.0
"""Shares of noise are no smaller, in quantization points: so a sum of them is a discrete Gaussian, see
`SynchronousRun`."""

COARSEST = 16
"""A clip has at least so many times sqrt(parameters) points: rounding adds at most a sixteenth to the sensitivity."""

OVERFLOW = 2.0**-40
"""With at most this probability does any coordinate of a step's sum leave the masks' integers."""


@dataclass(frozen=True, slots=True)
class QuantizationGrid:
    """How the gradient sums of synchronous training are rounded, and the noise that each hospital adds to them.

    Attributes:
        units: quantization points in one clip.
        parameters: at most so many coordinates.
        share_sigma: parameter of a hospital's discrete Gaussian, in quantization points; 0 only in comparisons.
        batch: expected patients of a step, all hospitals together; what the sum is divided by.
    """

    units: int
    parameters: int
    share_sigma: float
    batch: int

    def __post_init__(self) -> None:
        if self.units < COARSEST * math.sqrt(self.parameters):
            raise ValueError(f"{self.units} points in a clip are too few for {self.parameters} parameters")
        if self.share_sigma and not self.share_sigma >= FINE_SHARE:
            raise ValueError(f"share_sigma={self.share_sigma} is below {FINE_SHARE} quantization points")

    @property
    def sensitivity(self) -> float:
        """The L2 norm, in quantization points, that one patient can move a hospital's rounded sum by.

        A clipped gradient has at most `units`. Rounding two sums that differ by it moves each coordinate by less than
        one more, |round(a) - round(b)| < |a - b| + 1, so sqrt(parameters) in all. Cutting at `reach` moves no two sums
        further apart.
        """
        return sensitivity(self.units, self.parameters)

    def reach(self, batch: int) -> int:
        """Where a hospital that expects `batch` patients a step cuts its rounded sum, coordinate by coordinate."""
        return self.units * most_drawn(batch)


def sensitivity(units: int, parameters: int) -> float:
    """`QuantizationGrid.sensitivity`."""
    return units + math.sqrt(parameters)


def most_drawn(batch: int) -> int:
    """A Poisson sample of `batch` expected patients is larger with probability below 10^-8 (Chernoff's bound)."""
    return batch + math.ceil(6 * math.sqrt(batch)) + 10


def furthest_sum(units: int, parameters: int, share_sigma: float, batches: Iterable[int]) -> float:
    """How far from 0 any coordinate of a sum over hospitals is, but for a probability of `OVERFLOW`.

    Rounded gradients are cut. Each share of noise is subgaussian with its parameter (Canonne, Kamath and Steinke 2020),
    so the sum of K of them exceeds t in one of d coordinates with probability at most 2 d exp(-t^2 / (2 K sigma^2)).
    """
    drawn = [most_drawn(batch) for batch in batches]
    noise = share_sigma * math.sqrt(2 * len(drawn) * math.log(2 * parameters / OVERFLOW))
    return units * sum(drawn) + noise


def parameters_of(width: int, hidden: int) -> int:
    """Weights and biases of a discriminator over rows of that width."""
    return sum(map(math.prod, layer_shapes(width, hidden).values()))


def layer_shapes(width: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Its weights by name: two hidden layers and one number, as `common.privacy.discriminator` makes them."""
    sizes = ((hidden, width), (hidden, hidden), (1, hidden))
    return {
        f"disc.layers.{place}.{part}": shape
        for place, (rows, columns) in enumerate(sizes)
        for part, shape in (("weight", (rows, columns)), ("bias", (rows,)))
    }


def choose_grid(parameters: int, batches: Iterable[int], share_multiplier: float, batch: int) -> QuantizationGrid:
    """The finest quantization, of a power of two, on which sums stay within the masks' integers.

    Args:
        batches: expected patients of a step at each hospital.
        share_multiplier: a hospital's noise over the sensitivity.
        batch: expected patients of a step.

    Raises:
        StudyError: no quantization is both fine and short enough.
    """
    batches = tuple(batches)
    for bits in range(30, 0, -1):
        units = 2**bits
        # Rounded up, so that the plan is the same on every machine.
        sigma = math.ceil(share_multiplier * sensitivity(units, parameters) * 1e3) / 1e3
        if furthest_sum(units, parameters, sigma, batches) <= MOST:
            if units < COARSEST * math.sqrt(parameters) or sigma < FINE_SHARE:
                break
            return QuantizationGrid(units, parameters, sigma, batch)
    raise StudyError(
        f"[training] steps = 1: sums of {parameters} gradients over {len(batches)} hospitals do not fit masked "
        "integers; lower [training] batch or [synthesizer] hidden, or raise epsilon"
    )
