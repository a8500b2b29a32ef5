"""How numbers lie within their codes, given all other columns: the model's potentials, interpolated between codes.

A code of a numeric column is a bin. The model says how likely each bin is given the other columns; within a bin it says
nothing, but likelihoods rarely jump at a border. With t in (-1/2, 1/2) the position of a number in its bin, a potential
between bins i and j of columns a and b is continued as

    theta(i + t_a, j + t_b) = theta_ij + t_a d_a theta_ij + t_b d_b theta_ij + t_a t_b d_a d_b theta_ij

with d the difference of neighboring bins. Given all else, t_a has a density proportional to exp(s t_a), whose slope s
sums over the other columns. A few Gibbs sweeps over the t of all columns then correlate numbers within their bins. Only
the order of the t of one bin is used, so single columns stay as their histograms say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from common.arrays import Floats, Integers
from common.columns.base import Codes
from common.marginals.queries import FULL
from common.marginals.resolutions import Resolution
from common.marginals.slopes import Slopes
from common.synthesizers.maximum_entropy.fit import Fit
from common.synthesizers.maximum_entropy.potentials import ColumnSetPotentials

SWEEPS = 3
"""Gibbs sweeps over the positions. Most of a slope comes from the codes, so they settle at once."""

STEEPEST = 30.0
"""Largest slope; at twice as much, nearly all rows would be at a border."""

FLAT = 1e-3
"""Slope below which positions are uniform."""

LEAST_PROPORTION = 1e-6
"""Of a code; its logarithm is taken."""

CHUNK = 65_536
"""Rows whose positions are drawn at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Interpolation:
    """Differences of the potentials of neighboring codes.

    Attributes:
        offsets: first code of each column among the codes of all columns.
        ordered: columns whose codes are bins of numbers.
        singles: slopes of single columns, less those of their proportions, shape (codes,).
        pairs: d_a theta, shape (codes, codes).
        twists: d_a d_b theta, the same shape.
        sets: for each set of columns and each of those with order, the column, the set and d phi, whose axis of the
            column goes over codes instead of groups.
    """

    offsets: Integers
    ordered: tuple[int, ...]
    singles: Floats
    pairs: Floats
    twists: Floats
    sets: tuple[tuple[int, ColumnSetPotentials, Floats], ...]

    @classmethod
    def of(cls, fit: Fit) -> Interpolation:
        """Return the differences of a model's potentials."""
        potentials, domain = fit.potentials, fit.potentials.domain
        proportions = np.maximum(fit.singles.numpy(), LEAST_PROPORTION).astype(np.float64)
        full = Resolution.of(domain, FULL)
        slopes = Slopes.of_codes(full, proportions, domain)
        is_sloped = np.maximum.reduceat(slopes.above - slopes.below, full.offsets[:-1]) > 0
        ordered = tuple(np.flatnonzero(is_sloped).tolist())
        pairs = slopes.differences(potentials.pairs.numpy())
        sets = []
        for held in potentials.sets:
            resolution = Resolution.of(domain, held.groups)
            grouped = Slopes.of_codes(resolution, proportions, domain)
            for axis, column in enumerate(held.columns):
                if column in ordered:
                    per_code = resolution.size(column) / full.size(column)
                    across = np.moveaxis(held.values.numpy(), axis, 0)
                    differences = grouped.of_column(full.span(column), resolution.offsets[column]).differences(across)
                    sets.append((column, held, np.moveaxis(differences * per_code, 0, axis)))
        singles = slopes.differences(potentials.singles.numpy() - np.log(proportions))
        return cls(full.offsets[:-1], ordered, singles, pairs, slopes.differences(pairs.T).T, tuple(sets))

    def positions(self, codes: Codes, rng: np.random.Generator) -> Floats:
        """Return t for every row and column, 0 in columns without order."""
        positions = np.zeros(codes.shape)
        at = codes.astype(np.int64) + self.offsets
        by_codes = {column: self._by_codes(column, codes, at) for column in self.ordered}
        for _ in range(SWEEPS):
            for column in self.ordered:
                others = [other for other in self.ordered if other != column]
                twists = self.twists[at[:, [column]], at[:, others]]
                slopes = by_codes[column] + (twists * positions[:, others]).sum(1)
                positions[:, column] = draw_positions(slopes, rng)
        return positions

    def _by_codes(self, column: int, codes: Codes, at: Integers) -> Floats:
        """Return what the codes of all columns alone add to a column's slope, shape (rows,)."""
        slopes = self.singles[at[:, column]] + self.pairs[at[:, [column]], at].sum(1)
        for sloped, held, differences in self.sets:
            if sloped == column:
                groups = [
                    codes[:, other] if other == column else merged.numpy()[codes[:, other]]
                    for other, merged in zip(held.columns, held.maps, strict=True)
                ]
                slopes += differences[tuple(groups)]
        return np.asarray(slopes)


def order_within(fit: Fit, codes: Codes, seed: int) -> Floats:
    """Return positions of numbers within their codes, shape (rows, columns).

    Args:
        fit: the model.
        codes: rows that it drew.
        seed: seed of all draws.
    """
    interpolation, rng = Interpolation.of(fit), np.random.default_rng(seed)
    parts = [interpolation.positions(chunk, rng) for chunk in _chunks(codes)]
    return np.concatenate(parts) if parts else np.zeros(codes.shape)


def _chunks(codes: Codes) -> Iterator[Codes]:
    for start in range(0, len(codes), CHUNK):
        yield codes[start : start + CHUNK]


def draw_positions(slopes: Floats, rng: np.random.Generator) -> Floats:
    """Return t in (-1/2, 1/2), each drawn with density proportional to exp(s t), by inverting its distribution."""
    uniform = rng.random(len(slopes))
    steep = np.where(np.abs(slopes) < FLAT, FLAT, np.clip(slopes, -STEEPEST, STEEPEST))
    return np.asarray(np.log((1 - uniform) * np.exp(-steep / 2) + uniform * np.exp(steep / 2)) / steep)
