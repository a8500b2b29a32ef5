"""The fit of a generator to noisy marginals by gradient descent: how many steps, and how they are taken."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import Adam

from common.marginals.measurements import Measurements

FIT_STEPS = 1500
"""Optimizer steps of the fit where the study gives no number; twice as many where they pay off."""

PRECISE = 600.0
"""Ratio of patients to the noise of a coarse count from which twice the steps pay off. See docs/synthesizer.md."""


def fit_steps(given: int | None, measurements: Measurements, rounds: int) -> int:
    """Return the optimizer steps of the fit: the study's, or twice the default where they pay off and no round follows.

    The number depends on released tables alone, so it is post-processing.

    Args:
        given: the study's number of steps; None where it gives none.
        measurements: noisy marginals that the generator is fitted to.
        rounds: rounds of training after the fit.
    """
    if given is not None:
        return given
    has_several = any(len(query.columns) > 1 for query in measurements.queries)
    is_precise = PRECISE * measurements.noise <= 1
    return 2 * FIT_STEPS if is_precise and has_several and not rounds else FIT_STEPS


def descend(network: nn.Module, loss: Callable[[], Tensor], steps: int, rate: float) -> None:
    """Minimize the loss by Adam, with a learning rate that falls to zero along a half cosine.

    Args:
        network: its parameters are changed.
        loss: computes the loss anew for every step.
        steps: number of optimizer steps.
        rate: learning rate of the first step.
    """
    optimizer = Adam(network.parameters(), rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
