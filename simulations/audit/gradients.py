"""The white-box attack on DP-SGD: the attacker sees every noisy gradient, and canaries are worst-case records.

A canary is a row whose clipped gradient is one unit vector of its own: a long one-hot row in a network whose later
layers are steep, so that almost all of the gradient is in the row's own weight. Many canaries then share a
run without touching each other: noise is independent in every coordinate, and so is the sampling of every row. Each
canary is in the table or not by a fair coin, so one run of the mechanism is many trials.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from common.arrays import Floats, Integers
from common.privacy.discriminator import Discriminator
from common.privacy.dpsgd import noisy_gradient
from common.privacy.events import DpSgdRun
from common.privacy.mechanisms import NoiseSource
from common.privacy.step import DpSgdStep
from simulations.audit.bounds import Scores

LENGTH, STEEPNESS = 1000.0, 10.0
"""Length of canary rows, steepness of later layers: all but a millionth of a canary's squared gradient is its own."""

CANARIES = 1000
"""Canaries in one run. More of them cost more time per trial, because a batch is a dense matrix."""

DECOYS = 128
"""Coordinates that no row changes. They show noise that is common to all coordinates; there should be none."""


@dataclass(frozen=True, slots=True)
class Steps:
    """The attacked mechanism: the parameters of DP-SGD, as in a plan."""

    noise_multiplier: float
    sample_rate: float
    steps: int
    clip: float
    batch: int

    @property
    def event(self) -> DpSgdRun:
        """The event that these steps are charged as."""
        return DpSgdRun(self.noise_multiplier, self.sample_rate, self.steps)

    @property
    def each(self) -> DpSgdStep:
        """One of these steps."""
        return DpSgdStep(self.clip, self.noise_multiplier, self.batch)


def steep_network(width: int) -> Discriminator:
    """Return a discriminator with one hidden unit and zero logits: the gradient of a row is parallel to the row."""
    net = Discriminator(width, 1, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        for layer in net.linear[1:]:
            layer.weight.fill_(STEEPNESS)
    return net


def attack_run(steps: Steps, noise: NoiseSource, coins: np.random.Generator, canaries: int = CANARIES) -> Scores:
    """Run DP-SGD once over a table of canaries; each canary is a trial.

    Scores are the sums over steps of `log_ratio`, the optimal test.

    Args:
        steps: the attacked mechanism.
        noise: source of batches and noise.
        coins: decides which canaries are in the table.
        canaries: number of canaries.

    Returns:
        Scores of the canaries in the table, and of the others.
    """
    members = np.flatnonzero(coins.random(canaries) < 0.5)
    net = steep_network(canaries + DECOYS)
    total = np.zeros(canaries)
    no_rows = torch.zeros(0, canaries + DECOYS)
    for _ in range(steps.steps):
        chosen = members[noise.poisson_sample(len(members), steps.sample_rate)]
        gradient = noisy_gradient(net, canary_rows(chosen, canaries + DECOYS), no_rows, steps.each, noise)
        seen = -gradient[0].reshape(-1).double().numpy() * (steps.batch / steps.clip)
        x = seen[:canaries] - seen[canaries:].mean()
        total += log_ratio(x, steps.noise_multiplier, steps.sample_rate)
    is_member = np.zeros(canaries, dtype=bool)
    is_member[members] = True
    return Scores(total[is_member], total[~is_member])


def canary_rows(chosen: Integers, width: int) -> Tensor:
    """Return one long one-hot row for each chosen canary, (canaries, width)."""
    rows = torch.zeros(len(chosen), width)
    rows[torch.arange(len(chosen)), torch.from_numpy(chosen)] = LENGTH
    return rows


def log_ratio(seen: Floats, multiplier: float, rate: float) -> Floats:
    """Return the log-likelihood ratio of presence in one step, log(1 - rate + rate exp((2 x - 1) / (2 multiplier^2))).

    Args:
        seen: x, the canary's part of a noisy gradient in units of what the canary adds to it.
        multiplier: standard deviation of the noise in the same units.
        rate: probability with which a member is in the batch.
    """
    shift = (2 * seen - 1) / (2 * multiplier**2)
    return np.asarray(shift if rate == 1 else np.logaddexp(math.log1p(-rate), math.log(rate) + shift))
