"""The privacy loss distributions of Gaussian mechanisms, for all points of a grid at once.

`dp-accounting` loops over the points in Python, which was most of the time that a plan took; here they are arrays of
numpy. Bounds of the grid, distribution functions and pessimistic discretizations are those of `dp-accounting`: privacy
buckets for discrete noise, "connect the dots" (Doroshenko and others 2022, arXiv 2207.04380) for continuous noise.
"""

from __future__ import annotations

import math

import numpy as np
from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution
from dp_accounting.pld.privacy_loss_mechanism import AdjacencyType, DiscreteGaussianPrivacyLoss, GaussianPrivacyLoss

from common.arrays import Floats
from common.privacy.loss_pmf import LossPmf


def discrete_gaussian_loss(sigma: float, sensitivity: int, grid: float) -> PrivacyLossDistribution:
    """Return the loss of a discrete Gaussian mechanism of sensitivity s: s (-s / 2 - x) / sigma^2 at noise x.

    Unit: one patient; neighboring tables differ by adding or removing one.

    Args:
        sigma: parameter of the noise.
        sensitivity: s, the largest change of the value by one patient.
        grid: spacing of the discretized loss; losses are rounded up.

    Returns:
        The same distribution as `from_discrete_gaussian_mechanism` of `dp-accounting`.
    """
    mechanism = DiscreteGaussianPrivacyLoss(sigma, sensitivity)
    tail = mechanism.privacy_loss_tail()
    noise = np.arange(tail.lower_x_truncation - 1, tail.upper_x_truncation + 1)
    masses = np.diff(mechanism.mu_upper_cdf(noise))
    losses = np.ceil(sensitivity * (-0.5 * sensitivity - noise[1:]) / sigma**2 / grid).astype(np.int64)
    lowest = int(losses.min())
    infinity_mass = float(tail.tail_probability_mass_function[math.inf])
    return PrivacyLossDistribution(
        LossPmf(grid, lowest, np.bincount(losses - lowest, masses).astype(np.float64), infinity_mass)
    )


def gaussian_loss(noise_multiplier: float, sample_rate: float, grid: float) -> PrivacyLossDistribution:
    """Return the loss of a Gaussian mechanism of sensitivity 1, applied to a Poisson sample of the patients.

    Unit: one patient; neighboring tables differ by adding or removing one.

    Args:
        noise_multiplier: standard deviation of the noise, in units of the sensitivity; above 0.
        sample_rate: probability with which a patient is in the sample, in (0, 1].
        grid: spacing of the discretized loss; rounding is pessimistic.

    Returns:
        The same distribution as `from_gaussian_mechanism` of `dp-accounting`, up to the last bits.
    """
    removed = _discretized(noise_multiplier, sample_rate, grid, AdjacencyType.REMOVE)
    if sample_rate == 1:
        return PrivacyLossDistribution(removed)
    added = _discretized(noise_multiplier, sample_rate, grid, AdjacencyType.ADD)
    return PrivacyLossDistribution(removed, added)


def _discretized(noise_multiplier: float, sample_rate: float, grid: float, adjacency: AdjacencyType) -> LossPmf:
    """Return the loss of one adjacency, rounded up: between grid points, its divergence is linear in exp(epsilon).

        p_i = (delta_(i+1) - delta_i - e^d (delta_i - delta_(i-1))) / (e^d - 1)

    p_i is the probability of the loss i d, delta_i the divergence at epsilon = i d, and d the spacing `grid`.
    """
    loss = GaussianPrivacyLoss(noise_multiplier, sampling_prob=sample_rate, adjacency_type=adjacency)
    bounds = loss.connect_dots_bounds()
    low, high = math.floor(bounds.epsilon_lower / grid), math.ceil(bounds.epsilon_upper / grid)
    deltas = np.minimum.accumulate(_deltas(loss, np.arange(low, high + 1) * grid, noise_multiplier))
    if len(deltas) == 1:
        return LossPmf(grid, low, 1 - deltas, float(deltas[0]))
    steps = np.diff(deltas)
    first = 1 - deltas[0] + steps[0] / math.expm1(grid)
    between = (steps[1:] - steps[:-1] * math.exp(grid)) / math.expm1(grid)
    last = steps[-1] / math.expm1(-grid)
    return LossPmf(grid, low, np.maximum(0.0, np.concatenate(([first], between, [last]))), float(deltas[-1]))


def _deltas(loss: GaussianPrivacyLoss, epsilons: Floats, noise_multiplier: float) -> Floats:
    """Return the hockey-stick divergence at every epsilon.

    Where the loss falls in x, it is U(x) - exp(epsilon) L(x) at the largest x whose loss is at least epsilon, U and L
    being the distribution functions with and without the change. Sampled at rate q, a loss is log(1 - q + q exp(y))
    for a removed patient and -log(1 - q + q exp(-y)) for an added one, y being the loss without sampling, which is
    (-1/2 - x) / sigma^2 and (1/2 - x) / sigma^2.
    """
    is_added = loss.adjacency_type == AdjacencyType.ADD
    rate, sign = loss.sampling_prob, -1.0 if is_added else 1.0
    signed = sign * epsilons
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        small = np.log1p(np.expm1(signed) / rate)
        large = signed - math.log(rate) + np.log1p((rate - 1) * np.exp(-signed))
        unsampled = sign * np.where(signed > 1, large, small)
        deltas = np.zeros_like(epsilons) if is_added else np.maximum(-np.expm1(epsilons), 0.0)
    is_reached = np.isfinite(unsampled)  # where not, no outcome has such a loss, or every one has
    at = sign * -0.5 - unsampled[is_reached] * noise_multiplier**2
    deltas[is_reached] = loss.mu_upper_cdf(at) - np.exp(epsilons[is_reached] + loss.mu_lower_log_cdf(at))
    return np.clip(deltas, 0.0, 1.0)
