"""What potentials are fitted to: the noisy tables of pairs at each resolution, and of sets, as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from common.arrays import Array, Floats
from common.marginals.evidence import ColumnSetTable, Evidence
from common.marginals.pair_priors import PairLevel
from common.marginals.queries import Domain
from common.marginals.resolutions import Resolution
from common.marginals.slopes import Slopes

NO_INTERACTION = 1e-6
"""Squared relative deviation from independence below which a pair has no potential at a resolution."""

MISSED = 3.0
"""Standard deviations of the noise. A pair's table that the fitted model misses by more has too narrow a prior."""

LONGEST_STEP = 0.3
"""No potential moves further in one step: a cell that the chains rarely visit has a noisy estimate."""

LEAST_INDEPENDENT = 1e-9
"""Proportion. Stands for independence where it is smaller and a number is divided by it."""


def limited(step: Tensor) -> Tensor:
    """Return the step, cut in place, so that it moves no potential further than `LONGEST_STEP`."""
    return step.clamp_(-LONGEST_STEP, LONGEST_STEP)


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.asarray(array, dtype=np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class _Slopes:
    """`Slopes` as tensors.

    Attributes:
        groups: groups that a part takes its value from, shape (parts, 1 or 3).
        weights: of each of them; None if every part has the value of its group.
    """

    groups: Tensor
    weights: Tensor | None

    @classmethod
    def of(cls, slopes: Slopes) -> _Slopes:
        if not slopes.weights.any():
            return cls(torch.from_numpy(slopes.positions)[:, None], None)
        groups = torch.from_numpy(np.stack([slopes.positions, slopes.above, slopes.below], axis=1))
        weights = np.stack([np.ones_like(slopes.weights), slopes.weights, -slopes.weights], axis=1)
        return cls(groups, _tensor(weights))

    def spread(self, square: Tensor) -> Tensor:
        """Return a symmetric square over parts from a symmetric square over groups."""
        if self.weights is None and len(square) == len(self.groups):
            return square
        return self._rows(self._rows(square).T.contiguous())  # rows twice: a row is in one place of the memory

    def _rows(self, values: Tensor) -> Tensor:
        if self.weights is None:
            return values[self.groups[:, 0]]
        return F.embedding_bag(self.groups, values, per_sample_weights=self.weights, mode="sum")


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
        ridge, has_potential = _ridge(resolution, pairs, pairs.prior)
        safe = np.maximum(pairs.independent, LEAST_INDEPENDENT)
        return cls(
            to_codes=_Slopes.of(to_codes),
            positions=torch.from_numpy(resolution.positions),
            from_coarser=None if within is None else _Slopes.of(within),
            proportions=_tensor(pairs.proportions),
            independent=_tensor(safe),
            coarse=_tensor(coarse),
            ridge=ridge,
            has_potential=has_potential,
            values=torch.zeros(safe.shape),
        )

    def widened(self, expected: Tensor, resolution: Resolution, pairs: PairLevel) -> PairTarget:
        """Return the target with wider priors for the pairs whose tables the model misses.

        tau is estimated from how far a pair is from independence. Where other columns bind the two, independence needs
        a large potential, which a tau near 0 holds back. A pair is missed if sum(r^2 - V f), with r = Y - M, exceeds
        `MISSED` of its standard deviations under noise alone. What the model and r show together, P theta + r, then
        says how large potentials have to be, and empirical Bayes as in `common.marginals.pair_priors`

            tau = sum((P theta + r)^2 - V f) / sum(g),

        if that is wider.

        Args:
            expected: the fitted model's proportions, a square over codes.
            resolution: of this target.
            pairs: its noisy tables.
        """
        is_known = np.isfinite(pairs.variances)
        variances = np.where(is_known, pairs.variances, 0.0)
        beyond_margins = pairs.unexplained.without_coarser()
        noise = variances * beyond_margins.freedom()
        lacking = np.where(is_known, pairs.proportions - self._merged(expected).numpy(), 0.0)
        dependence = np.where(is_known, pairs.independent * self.values.numpy(), 0.0) + lacking
        spread = np.sqrt(2 * resolution.column_sums(variances * noise))
        is_missed = resolution.column_sums(lacking**2 - noise) > MISSED * spread
        signal = np.where(is_known, beyond_margins.signal(), 0.0)
        scale = np.maximum(resolution.column_sums(signal), LEAST_INDEPENDENT)
        needed = resolution.column_sums(dependence**2 - noise) / scale
        prior = np.where(is_missed, np.maximum(needed, pairs.prior), pairs.prior)
        np.fill_diagonal(prior, 0.0)
        ridge, has_potential = _ridge(resolution, pairs, prior)
        return replace(self, ridge=ridge, has_potential=has_potential)

    @staticmethod
    def widened_levels(levels: Sequence[PairTarget], expected: Tensor, evidence: Evidence) -> list[PairTarget]:
        """Return the targets of every resolution with wider priors, as `widened` does.

        Args:
            levels: targets, coarse to fine.
            expected: the fitted model's proportions, a square over codes.
            evidence: the noisy tables that the targets were made of.
        """
        resolutions = evidence.resolutions.levels
        return [
            target.widened(expected, resolution, pairs)
            for target, resolution, pairs in zip(levels, resolutions, evidence.pairs, strict=True)
        ]

    def by_code(self) -> Tensor:
        """Return theta for every two codes."""
        return self.to_codes.spread(self.values)

    def _merged(self, square: Tensor) -> Tensor:
        """Return sums over groups of a symmetric square over codes."""
        codes, groups = len(self.positions), len(self.values)
        if codes == groups:
            return square
        rows = torch.zeros(groups, codes).index_add_(0, self.positions, square)
        return torch.zeros(groups, groups).index_add_(0, self.positions, rows.T.contiguous())

    def step(self, expected: Tensor, coarser: Tensor | None, rate: float) -> tuple[Tensor, float]:
        """Move the potentials.

        Args:
            expected: the model's proportions, a square over codes.
            coarser: what coarser resolutions answer for, at the next coarser one.
            rate: length of the step, as a part of a Newton step.

        Returns:
            What this resolution and coarser ones answer for, and the size of the gradient. Where there is a potential,
            that is the residual Y - M. Where there is none, nothing here can move, and it is what coarser ones explain.
        """
        model = self._merged(expected)  # M
        residual, explained = self.proportions - model, torch.zeros_like(self.independent)
        if self.from_coarser is not None and coarser is not None:
            explained = self.independent * self.from_coarser.spread(coarser / self.coarse)
        scale = self.ridge * self.values
        gradient = (residual - explained).sub_(scale).mul_(self.has_potential)
        size = float(torch.linalg.vector_norm(gradient, 1))
        torch.maximum(self.independent, model, out=scale).add_(self.ridge)
        self.values.add_(limited(gradient.mul_(rate).div_(scale)))
        return torch.lerp(explained, residual, self.has_potential), size  # of weights 0 and 1, lerp chooses


def _ridge(resolution: Resolution, pairs: PairLevel, prior: Floats) -> tuple[Tensor, Tensor]:
    """Return V / tau, and where there are potentials, as squares over groups.

    Args:
        resolution: of the tables.
        pairs: the tables.
        prior: tau, by pair of columns.
    """
    tau = resolution.spread_columns(prior)
    has_potential = np.isfinite(pairs.variances) & (tau > NO_INTERACTION * pairs.independent)
    noise = np.where(has_potential, pairs.variances, 0.0)
    return _tensor(noise / np.where(has_potential, tau, 1.0)), _tensor(has_potential)


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
