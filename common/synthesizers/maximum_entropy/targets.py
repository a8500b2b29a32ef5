"""What potentials are fitted to: the noisy tables of pairs at each resolution, and of sets, as tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from common.arrays import Array, Floats
from common.marginals.evidence import ColumnSetTable, Evidence, PairLevel
from common.marginals.queries import Domain
from common.marginals.resolutions import Resolution
from common.marginals.slopes import Slopes

NO_INTERACTION = 1e-6
"""Squared relative deviation from independence below which a pair has no potential at a resolution."""

LONGEST_STEP = 0.3
"""No potential moves further in one step: a cell that the chains rarely visit has a noisy estimate."""

LEAST_INDEPENDENT = 1e-9
"""Proportion. Stands for independence where it is smaller and a number is divided by it."""


def limited(step: Tensor) -> Tensor:
    """Return a step that moves no potential further than `LONGEST_STEP`."""
    return step.clamp(-LONGEST_STEP, LONGEST_STEP)


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.asarray(array, dtype=np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class _Slopes:
    """`Slopes` as tensors."""

    positions: Tensor
    above: Tensor
    below: Tensor
    weights: Tensor

    @classmethod
    def of(cls, slopes: Slopes) -> _Slopes:
        positions, above, below = map(torch.from_numpy, (slopes.positions, slopes.above, slopes.below))
        return cls(positions, above, below, _tensor(slopes.weights))

    def spread(self, square: Tensor) -> Tensor:
        """Return a square over parts from a square over groups."""
        if not self.weights.any():
            return square if len(square) == len(self.positions) else square[self.positions][:, self.positions]
        rows = square[self.positions] + self.weights[:, None] * (square[self.above] - square[self.below])
        return rows[:, self.positions] + self.weights * (rows[:, self.above] - rows[:, self.below])


@dataclass(frozen=True, slots=True, eq=False)
class PairTarget:
    """All pairs at one resolution, as squares over its groups.

    Attributes:
        to_codes: from theta of groups to theta of codes.
        positions: group of each code, shape (codes,).
        from_coarser: from relative residuals of the next coarser resolution to those that they explain; None for the
            coarsest.
        proportions: Y.
        independent: P.
        coarse: P at the next coarser resolution.
        ridge: V / tau, the weight of the prior; 0 where there is no potential.
        has_potential: where the noisy tables show an interaction that coarser resolutions do not explain, 0 or 1.
        values: theta.
    """

    to_codes: _Slopes
    positions: Tensor
    from_coarser: _Slopes | None
    proportions: Tensor
    independent: Tensor
    coarse: Tensor
    ridge: Tensor
    has_potential: Tensor
    values: Tensor

    @classmethod
    def of_levels(cls, evidence: Evidence) -> list[PairTarget]:
        """Return the targets of every resolution, coarse to fine, with potentials of zero."""
        resolutions, targets = evidence.resolutions, []
        refinements = (None, *resolutions.refinements)
        coarser: Slopes | None = None
        for resolution, pairs, refinement in zip(resolutions.levels, evidence.pairs, refinements, strict=True):
            to_codes = Slopes.of_codes(resolution, evidence.singles, resolutions.domain)
            within = None if coarser is None else coarser.to_groups(resolution, evidence.singles)
            coarse = pairs.independent if refinement is None else refinement.merge(pairs.independent)
            targets.append(cls._of(resolution, pairs, coarse, to_codes, within))
            coarser = to_codes
        return targets

    @classmethod
    def _of(
        cls, resolution: Resolution, pairs: PairLevel, coarse: Floats, to_codes: Slopes, within: Slopes | None
    ) -> PairTarget:
        prior = resolution.spread_columns(pairs.prior)
        has_potential = np.isfinite(pairs.variances) & (prior > NO_INTERACTION * pairs.independent)
        safe = np.maximum(pairs.independent, LEAST_INDEPENDENT)
        noise = np.where(has_potential, pairs.variances, 0.0)
        return cls(
            to_codes=_Slopes.of(to_codes),
            positions=torch.from_numpy(resolution.positions),
            from_coarser=None if within is None else _Slopes.of(within),
            proportions=_tensor(pairs.proportions),
            independent=_tensor(safe),
            coarse=_tensor(coarse),
            ridge=_tensor(noise / np.where(has_potential, prior, 1.0)),
            has_potential=_tensor(has_potential),
            values=torch.zeros(safe.shape),
        )

    def by_code(self) -> Tensor:
        """Return theta for every two codes."""
        return self.to_codes.spread(self.values)

    def _merged(self, square: Tensor) -> Tensor:
        """Return sums over groups of a square over codes."""
        codes, groups = len(self.positions), len(self.values)
        if codes == groups:
            return square
        rows = torch.zeros(groups, codes).index_add_(0, self.positions, square)
        return torch.zeros(groups, groups).index_add_(1, self.positions, rows)

    def step(self, expected: Tensor, coarser: Tensor | None, rate: float) -> tuple[Tensor, float]:
        """Move the potentials.

        Args:
            expected: the model's proportions, a square over codes.
            coarser: residual at the next coarser resolution.
            rate: length of the step, as a part of a Newton step.

        Returns:
            The residual Y - M, and the size of the gradient.
        """
        model = self._merged(expected)  # M
        residual = own = self.proportions - model
        if self.from_coarser is not None and coarser is not None:
            own = residual - self.independent * self.from_coarser.spread(coarser / self.coarse)
        gradient = self.has_potential * (own - self.ridge * self.values)
        self.values.add_(limited(rate * gradient / (torch.maximum(self.independent, model) + self.ridge)))
        return residual, float(gradient.abs().sum())


@dataclass(frozen=True, slots=True, eq=False)
class ColumnSetTarget:
    """A counted set of three or four columns, which its potentials are fitted to.

    Attributes:
        columns: indices of the columns, in increasing order.
        groups: as in `Domain.groups`.
        maps: group of each code, by column.
        proportions: Y.
        fractions: along each axis, what part of a margin's residual is taken out of every cell.
        independent: P.
        ridge: noise variance over prior variance.
        centered: axes along which the table was counted less its mean.
        values: phi.
    """

    columns: tuple[int, ...]
    groups: int
    maps: tuple[Tensor, ...]
    proportions: Tensor
    fractions: tuple[Tensor, ...]
    independent: Tensor
    ridge: Tensor
    centered: tuple[int, ...]
    values: Tensor

    @classmethod
    def of(cls, table: ColumnSetTable, domain: Domain) -> ColumnSetTarget:
        """Return the target of a counted set, with potentials of zero."""
        groups = table.resolution.groups
        independent = np.maximum(table.independent, LEAST_INDEPENDENT)
        fractions = [_tensor(independent / independent.sum(axis, keepdims=True)) for axis in range(independent.ndim)]
        ridge = table.deviation**2 / np.maximum(independent * table.prior, 1e-12)
        return cls(
            table.columns,
            groups,
            tuple(torch.from_numpy(domain.groups(column, groups)) for column in table.columns),
            _tensor(table.proportions),
            tuple(fractions),
            _tensor(independent),
            _tensor(ridge),
            table.centered,
            torch.zeros(table.proportions.shape),
        )

    def residual(self, expected: Tensor) -> Tensor:
        """Return what the noisy table has and the model lacks of the interaction of all its columns."""
        residual = self.proportions - expected
        for axis in self.centered:
            residual = residual - residual.mean(axis, keepdim=True)
        for axis, fraction in enumerate(self.fractions):
            residual = residual - fraction * residual.sum(axis, keepdim=True)
        return residual

    def step(self, expected: Tensor, rate: float) -> float:
        """Move the potentials and return the size of the gradient.

        Args:
            expected: the model's table.
            rate: length of the step, as a part of a Newton step.
        """
        gradient = self.residual(expected) - self.ridge * self.values
        self.values.add_(limited(rate * gradient / (torch.maximum(self.independent, expected) + self.ridge)))
        return float(gradient.abs().sum())
