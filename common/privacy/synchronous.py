"""One step of DP-SGD by all hospitals together: each sends integers under a mask, the server sees their noisy sum.

Equal to a step of centralised DP-SGD on the pooled table, but for rounding: a patient is drawn with the same
probability at every hospital, the sum of clipped gradients is that of the pooled batch, and any `Plan.shares` honest
hospitals supply the noise.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from common.arrays import Integers
from common.privacy.discriminator import Discriminator
from common.privacy.dpsgd import clipped_gradient_sum, fake_gradient_sum, in_shape
from common.privacy.mechanisms import NoiseSource
from common.privacy.quantization import QuantizationGrid


def gradient_share(
    net: Discriminator, real: Tensor, *, clip: float, quantization: QuantizationGrid, batch: int, noise: NoiseSource
) -> Integers:
    """What a hospital puts under its mask: rounded sum of clipped gradients, and its share of the noise.

    Unit: one patient, one row. Neighbours: add or remove one patient at this hospital. Sensitivity: the Poisson batch
    holds the patient or not; a clipped gradient has an L2 norm of at most `clip` and depends on nobody else
    (`clipped_gradient_sum`, which also says why rounding errors of floating point stay far below a quantization
    point), so the rounded and cut sum moves by at most `quantization.sensitivity` points. The noise is a discrete
    Gaussian of parameter `quantization.share_sigma`; with that of the other honest hospitals the step is one
    `SynchronousRun(share_sigma / sensitivity, shares, sample_rate, 1)`. Alone it is worth less: the caller lets it out
    under a mask only.

    Args:
        real: the Poisson batch, (drawn rows, width), possibly no rows.
        batch: how many rows this hospital expects to draw; never the drawn number, which is private.

    Returns:
        int64 of shape (parameters,), each within `quantization.reach(batch)` and the noise.

    Raises:
        ValueError: the network has more parameters than the quantization was chosen for.
    """
    parts = clipped_gradient_sum(net, real, torch.ones(len(real)), clip)
    flat = torch.cat([part.reshape(-1) for part in parts]).numpy()
    if len(flat) > quantization.parameters:
        raise ValueError(f"{len(flat)} parameters, and the plan counts on {quantization.parameters} at most")
    furthest = quantization.reach(batch)
    points = np.rint(flat * (quantization.units / clip)).clip(-furthest, furthest).astype(np.int64)
    if not quantization.share_sigma:
        return points
    return points + noise.discrete_gaussian(len(points), quantization.share_sigma)


def gradient_of_sum(
    net: Discriminator, total: Integers, fake: Tensor, *, clip: float, quantization: QuantizationGrid
) -> list[Tensor]:
    """The step's gradient at the server, from the opened sum and the fakes, which no record is near.

    Args:
        total: what `gradient_share` gave, summed over hospitals.
        fake: (expected batch, width).

    Returns:
        One tensor per parameter, in the order of `clipped_gradient_sum`; what `noisy_gradient` returns.
    """
    drawn = torch.from_numpy(total.astype(np.float64)) * (clip / quantization.units)
    made = torch.cat([part.reshape(-1) for part in fake_gradient_sum(net, fake, clip)])
    return in_shape((drawn + made) / quantization.batch, net)
