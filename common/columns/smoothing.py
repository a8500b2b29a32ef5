"""A smooth distribution from a noisy histogram: neighboring cells are alike, and the counts say how much.

What is alike is how often each of a cell's values occurs: a cell of twice as many values has twice the patients, and
where most values are whole numbers, a cell without one has few. With w what each cell would have if all its values were
equally likely, the logarithms f of p / w, p the cells' proportions, have a normal prior whose second differences are
small (a random walk of second order), and the released counts of nodes y have normal noise:

    y = N A p + noise,    p = softmax(log w + f),    f ~ exp(-lambda |D f|^2 / 2)

with A the nodes' sums of cells, N the estimated number of patients and D second differences. The most likely f is found
by Gauss-Newton steps. Of several lambda, that of the largest marginal likelihood is taken (Laplace's approximation), so
that a spike which stands out of the noise stays a spike. All of it is post-processing of released sums.

Source: Fahrmeir and Lang 2001 for random-walk priors; MacKay 1992, "Bayesian interpolation", for the choice of lambda.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from common.arrays import Floats, Integers
from common.columns.histograms import estimate, node_sums

FEWEST_CELLS = 8
"""Fewest cells that are smoothed. With fewer, every cell has enough patients."""

CLEAR = 4.0
"""Standard deviations of the noise. Where the mean cell holds more, cells are taken as they are: smoothing gains little
there and takes a tenth of a second a column."""

SMOOTHNESS = tuple(10.0**exponent for exponent in range(4, -5, -1))
"""Values of lambda, from smooth to rough."""

RIDGE = 1e-4
"""Part of lambda by which f itself is drawn to zero, which makes the prior proper."""

WORSE = 3.0
"""The search ends where the logarithm of the marginal likelihood is this much below the best so far."""

MOST_STEPS, SETTLED = 25, 0.05
"""Gauss-Newton steps for one lambda: as many as it takes until one gains less than the second number."""

SHORTEST_STEP = 1e-3
"""Part of a Gauss-Newton step. If even this makes the objective worse, f is as good as it gets."""

PLACES = 4
"""Decimals that are kept of a cell's weight relative to the mean cell: all hospitals must cut the same bins, so what
their processors' rounding errors change is rounded off."""


def denoise(noisy: Integers, even: Floats, deviation: float) -> Floats:
    """Return non-negative patients per cell, shape (cells,): smooth, or as `estimate` gives them where noise is small.

    Args:
        noisy: counts of all nodes with noise, as `count_nodes` orders them.
        even: w, above 0, up to a factor, shape (cells,).
        deviation: standard deviation of the noise in each node, in patients; 0 for no noise.
    """
    cells = len(even)
    rough = estimate(noisy, cells, deviation)
    if cells < FEWEST_CELLS or rough.sum() >= CLEAR * deviation * cells:
        return rough
    counts = np.ascontiguousarray(noisy, dtype=np.int64).tobytes()
    offsets = np.log(even / even.mean()).tobytes()
    return _smoothed(counts, offsets, deviation, float(rough.sum())).copy()


@lru_cache(maxsize=8192)
def _smoothed(noisy: bytes, offsets: bytes, deviation: float, patients: float) -> Floats:
    """Return smooth patients per cell; kept, as coordinator and hospitals make the same encoder several times.

    Args:
        noisy: int64 counts of all nodes.
        offsets: float64 logarithms of w.
        deviation: standard deviation of the noise in each node, in patients.
        patients: N.
    """
    posterior = _Posterior.of(np.frombuffer(noisy, dtype=np.int64), np.frombuffer(offsets), deviation, patients)
    cells = len(posterior.offsets)
    logs, best, best_logs = np.zeros(cells), -np.inf, np.zeros(cells)
    for smoothness in SMOOTHNESS:
        logs, evidence = posterior.most_likely(logs, smoothness)
        if evidence > best:
            best, best_logs = evidence, logs
        elif evidence < best - WORSE:
            break
    return np.asarray(np.round(posterior.proportions(best_logs) * cells, PLACES) * (patients / cells))


def _softmax(logs: Floats) -> Floats:
    weights = np.exp(logs - logs.max())
    return np.asarray(weights / weights.sum())


@dataclass(frozen=True, slots=True, eq=False)
class _Posterior:
    """What the counts and the prior say of f.

    Attributes:
        information: N^2 A^T A / s^2, with s the deviation of the noise.
        observed: N A^T y / s^2.
        constant: y^T y / s^2.
        offsets: log w.
        prior: D^T D and the ridge.
        prior_determinant: logarithm of its determinant.
    """

    information: Floats
    observed: Floats
    constant: float
    offsets: Floats
    prior: Floats
    prior_determinant: float

    @classmethod
    def of(cls, noisy: Integers, offsets: Floats, deviation: float, patients: float) -> _Posterior:
        """Return the posterior of one histogram; arguments as those of `_smoothed`."""
        cells = len(offsets)
        overlaps, prior, determinant = _shape_of(cells)
        variance = deviation**2
        observed = patients * (noisy @ node_sums(cells)) / variance
        information, constant = patients**2 / variance * overlaps, float(noisy @ noisy) / variance
        return cls(information, observed, constant, offsets, prior, determinant)

    def proportions(self, logs: Floats) -> Floats:
        """Return p."""
        return _softmax(self.offsets + logs)

    def objective(self, logs: Floats, smoothness: float) -> float:
        """Return what is minimized: |y - N A p|^2 / (2 s^2) + lambda |D f|^2 / 2."""
        p = self.proportions(logs)
        misfit = self.constant - 2 * p @ self.observed + p @ self.information @ p
        return float(misfit + smoothness * (logs @ self.prior @ logs)) / 2

    def most_likely(self, logs: Floats, smoothness: float) -> tuple[Floats, float]:
        """Return the most likely f, and the logarithm of the marginal likelihood of lambda up to a constant.

        Args:
            logs: f at the start.
            smoothness: lambda.
        """
        now = self.objective(logs, smoothness)
        for _ in range(MOST_STEPS):
            gradient, factor = self._gauss_newton(logs, smoothness)
            step = cho_solve(factor, gradient, check_finite=False)
            length, after = 1.0, self.objective(logs + step, smoothness)
            while after > now and length > SHORTEST_STEP:
                length /= 2
                after = self.objective(logs + length * step, smoothness)
            if after > now:
                break
            gained, now, logs = now - after, after, logs + length * step
            if gained < SETTLED:
                break
        determinant = 2 * float(np.log(np.diag(factor[0])).sum())
        return logs, -now + (self.prior_determinant + len(logs) * np.log(smoothness) - determinant) / 2

    def _gauss_newton(self, logs: Floats, smoothness: float) -> tuple[Floats, tuple[Floats, bool]]:
        """Return the descent direction and the factor of the Hessian, J^T J / s^2 + lambda D^T D, J = N A dp/df."""
        p = self.proportions(logs)
        moved = self.information @ p
        hessian = np.outer(p, p) * (self.information - moved[:, None] - moved[None, :] + p @ moved)
        hessian += smoothness * self.prior
        residual = self.observed - moved
        gradient = p * (residual - p @ residual) - smoothness * (self.prior @ logs)
        return gradient, cho_factor(hessian, lower=True, check_finite=False)


@lru_cache(maxsize=64)
def _shape_of(cells: int) -> tuple[Floats, Floats, float]:
    """Return A^T A, the prior's precision for lambda = 1, and the logarithm of its determinant."""
    nodes = node_sums(cells)
    differences = np.diff(np.eye(cells), 2, axis=0)
    prior = differences.T @ differences + RIDGE * np.eye(cells)
    return nodes.T @ nodes, prior, float(np.linalg.slogdet(prior)[1])
