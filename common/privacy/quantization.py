"""The integers that gradients are rounded to before hospitals sum them under masks: how fine, how far, how noisy.

The distance between two points of the quantization grid is clip / `units`. On a finer grid rounding costs less; on a
coarser one the sum stays further from the ends of the range of masked integers. The grid follows from the study, before
any record is read, and is the same at every hospital: with a coarser grid at one hospital there would be less noise for
the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from common.errors import StudyError
from common.secagg.words import MOST

FINE_SHARE = 16.0
"""Smallest parameter of one hospital's share of the noise, in grid points. From here on a sum of shares is a discrete
Gaussian for all purposes, see `SynchronousRun`."""

COARSEST = 16
"""Fewest points in a clip, in units of sqrt(parameters). Rounding then adds at most a sixteenth to the sensitivity."""

OVERFLOW = 2.0**-40
"""Largest probability that any coordinate of a step's sum leaves the range of masked integers and spoils the step."""


@dataclass(frozen=True, slots=True)
class QuantizationGrid:
    """How the gradient sums of synchronous training are rounded, and the noise that each hospital adds to them.

    Attributes:
        units: grid points in one clip.
        parameters: upper bound on the number of coordinates.
        share_sigma: parameter of a hospital's discrete Gaussian, in grid points; 0 only in comparisons.
        batch: expected patients of a step, all hospitals together; what the sum is divided by.

    Raises:
        ValueError: the grid is too coarse for its parameters, or a share of noise too small.
    """

    units: int
    parameters: int
    share_sigma: float
    batch: int

    def __post_init__(self) -> None:
        if self.units < COARSEST * math.sqrt(self.parameters):
            raise ValueError(f"units={self.units} grid points in a clip are too few for {self.parameters} parameters")
        if self.share_sigma and not self.share_sigma >= FINE_SHARE:
            raise ValueError(f"share_sigma={self.share_sigma} is below {FINE_SHARE} grid points")

    @property
    def sensitivity(self) -> float:
        """L2 sensitivity of a hospital's rounded sum to one patient, in grid points.

            s = units + sqrt(parameters)

        A clipped gradient has an L2 norm of at most `units`. Rounding two sums that differ by it moves each coordinate
        by less than one more, |round(a) - round(b)| < |a - b| + 1, so by sqrt(parameters) in all. Cutting at `reach`
        moves no two sums further apart.
        """
        return sensitivity(self.units, self.parameters)

    def reach(self, batch: int) -> int:
        """Return where a hospital that expects `batch` patients a step cuts each coordinate of its rounded sum."""
        return self.units * most_drawn(batch)


@dataclass(frozen=True, slots=True)
class ClippedGrid:
    """A quantization grid, and what its points are worth: clip / `grid.units` each.

    Attributes:
        clip: upper bound on the L2 norm of one patient's gradient.
        grid: the grid.
    """

    clip: float
    grid: QuantizationGrid


def sensitivity(units: int, parameters: int) -> float:
    """Return `QuantizationGrid.sensitivity` for these units and parameters."""
    return units + math.sqrt(parameters)


def most_drawn(batch: int) -> int:
    """Return a size that a Poisson sample of `batch` expected rows exceeds with probability below 10^-8 (Chernoff)."""
    return batch + math.ceil(6 * math.sqrt(batch)) + 10


def furthest_sum(units: int, parameters: int, share_sigma: float, batches: Iterable[int]) -> float:
    """Return a bound on the coordinates of a sum over hospitals, exceeded with a probability of at most `OVERFLOW`.

        bound = units sum_h b_h + sigma sqrt(2 K ln(2 d / OVERFLOW))

    b_h is `most_drawn` of hospital h, since rounded gradients are cut there; K the number of hospitals, d that of
    parameters. Each share of noise is subgaussian with its parameter sigma (Canonne, Kamath and Steinke 2020), so a sum
    of K exceeds t in one of d coordinates with probability at most 2 d exp(-t^2 / (2 K sigma^2)).

    Args:
        units: grid points in one clip.
        parameters: number of coordinates.
        share_sigma: parameter of a hospital's noise, in grid points.
        batches: expected patients of a step at each hospital.

    Returns:
        Grid points.
    """
    drawn = [most_drawn(batch) for batch in batches]
    noise = share_sigma * math.sqrt(2 * len(drawn) * math.log(2 * parameters / OVERFLOW))
    return units * sum(drawn) + noise


def parameters_of(width: int, hidden: int) -> int:
    """Return the number of weights and biases of a discriminator over rows of that width."""
    return sum(map(math.prod, layer_shapes(width, hidden).values()))


def layer_shapes(width: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Return its weights' shapes by name: two hidden layers and one output, as in `common.privacy.discriminator`."""
    sizes = ((hidden, width), (hidden, hidden), (1, hidden))
    return {
        f"disc.layers.{layer}.{kind}": shape
        for layer, (rows, columns) in enumerate(sizes)
        for kind, shape in (("weight", (rows, columns)), ("bias", (rows,)))
    }


def choose_grid(parameters: int, batches: Iterable[int], share_multiplier: float, batch: int) -> QuantizationGrid:
    """Return the finest grid, of a power of two, on which sums stay within the range of masked integers.

    Args:
        parameters: number of coordinates.
        batches: expected patients of a step at each hospital.
        share_multiplier: parameter of a hospital's noise over the sensitivity.
        batch: expected patients of a step, all hospitals together.

    Raises:
        StudyError: no grid is both fine enough and within the range.
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
