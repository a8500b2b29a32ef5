"""One step of DP-SGD by all hospitals together: each sends integers under a mask, the server sees their noisy sum.

Apart from rounding this equals a step of centralized DP-SGD on the pooled table: a patient is drawn with the same
probability at every hospital, the sum of clipped gradients is that of the pooled batch, and any honest hospitals,
`Plan.honest_hospitals` of them, supply the noise.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from common.arrays import Integers
from common.privacy.discriminator import Discriminator
from common.privacy.dpsgd import clipped_gradient_sum, fake_gradient_sum, in_shape
from common.privacy.mechanisms import NoiseSource
from common.privacy.quantization import ClippedGrid


def gradient_share(
    net: Discriminator, real: Tensor, clipped: ClippedGrid, *, batch: int, noise: NoiseSource
) -> Integers:
    """Return what a hospital masks: its rounded sum of clipped gradients plus its share of the noise.

    Unit: one patient, one row. Neighboring tables: add or remove one patient at this hospital. Sensitivity:
    `clipped.grid.sensitivity` points in L2. The Poisson batch holds the patient or not; a clipped gradient has an L2
    norm of at most `clipped.clip` and depends on no other row (`clipped_gradient_sum`, which also says why rounding
    errors of floating point stay far below a quantization point); rounding and cutting are accounted for in
    `QuantizationGrid.sensitivity`. The noise is a discrete Gaussian of parameter `clipped.grid.share_sigma`. With the
    noise of the other honest hospitals the step is one
    `SynchronousRun(share_sigma / sensitivity, honest_hospitals, sample_rate, 1)`. One share alone protects less, so the
    caller may send the result under a mask only.

    Args:
        net: the discriminator with the weights of this step.
        real: the Poisson batch, (drawn rows, width), possibly no rows.
        clipped: clip norm and grid, with the noise of one share in the grid's points.
        batch: how many rows this hospital expects to draw; never the drawn number, which is private.
        noise: source of this hospital's share.

    Returns:
        int64 of shape (parameters,), each within `clipped.grid.reach(batch)` before the noise.

    Raises:
        ValueError: the network has more parameters than the grid was chosen for.
    """
    clip, quantization = clipped.clip, clipped.grid
    parts = clipped_gradient_sum(net, real, torch.ones(len(real)), clip)
    flat = torch.cat([gradient.reshape(-1) for gradient in parts]).numpy()
    if len(flat) > quantization.parameters:
        raise ValueError(f"{len(flat)} parameters exceed the {quantization.parameters} that the plan allows")
    furthest = quantization.reach(batch)
    points = np.rint(flat * (quantization.units / clip)).clip(-furthest, furthest).astype(np.int64)
    if not quantization.share_sigma:
        return points
    return points + noise.discrete_gaussian(len(points), quantization.share_sigma)


def gradient_of_sum(net: Discriminator, total: Integers, fake: Tensor, clipped: ClippedGrid) -> list[Tensor]:
    """Return the step's gradient at the server, from the opened sum and generated rows, which depend on no record.

    Post-processing of a `SynchronousRun`.

    Args:
        net: the discriminator with the weights that the hospitals used.
        total: sum over hospitals of the results of `gradient_share`, (parameters,).
        fake: generated rows, (expected batch, width).
        clipped: clip norm and grid, as in `gradient_share`.

    Returns:
        One tensor per parameter, in the order of `clipped_gradient_sum`; what `noisy_gradient` returns.
    """
    clip, quantization = clipped.clip, clipped.grid
    drawn = torch.from_numpy(total.astype(np.float64)) * (clip / quantization.units)
    fake_sum = torch.cat([gradient.reshape(-1) for gradient in fake_gradient_sum(net, fake, clip)])
    return in_shape((drawn + fake_sum) / quantization.batch, net)
