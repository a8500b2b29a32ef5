"""DP-SGD for the discriminator: clip every patient's gradient, sum, add noise once per batch.

Per-example gradients are never formed. For a linear layer the gradient of one example is the outer product of the
layer's input and the loss's gradient at its output, so its norm is the product of theirs (Goodfellow 2015, arXiv
1510.01799); the norms come from Opacus' norm samplers. Scaling the output gradients by the clip factors before the
one matrix product per layer gives the clipped sum ("book-keeping", Bu et al. 2023, arXiv 2210.00038): one forward and
one backward pass, where ghost clipping takes two.
"""

from __future__ import annotations

import math

import torch
from opacus.grad_sample.linear import compute_linear_norm_sample
from torch import Tensor
from torch.nn import functional as F

from common.privacy.mechanisms import NoiseSource
from common.synthesizers.discriminator import Discriminator

GRID_BITS = 16
"""Noisy sums are rounded to 2^-16 of the noise's standard deviation, so that no low-order bits of a sum survive."""

LARGEST = 1e8
"""An example with a larger number on its way through the network contributes nothing. Below it float32 errs by less
than the 1e-6 that is added to every norm: squares neither overflow nor lose anything that counts."""


def clipped_gradient_sum(net: Discriminator, rows: Tensor, labels: Tensor, clip: float | None) -> list[Tensor]:
    """The sum over examples of each example's loss gradient, scaled down to an L2 norm of at most `clip`.

    The norm is over all parameters together. `clip=None` sums unclipped gradients.

    The weights come from the server, which may choose them so that one patient's numbers overflow: infinity or NaN in
    the sum would tell that the patient is there, whatever the noise. So an example whose layer inputs or output
    gradients are not finite, or exceed `LARGEST`, contributes exactly zero. That depends on the example alone and
    hence keeps the sensitivity.

    Args:
        rows: (examples, width); one patient is one example.
        labels: (examples,), 1 for real and 0 for generated; the loss is binary cross-entropy with logits.

    Returns:
        One tensor per parameter, in the order weight, bias of each layer.
    """
    trace = net.trace(rows)
    loss = F.binary_cross_entropy_with_logits(trace.logits, labels, reduction="sum")
    backprops = torch.autograd.grad(loss, trace.outputs)
    with torch.no_grad():
        inputs = [values.detach() for values in trace.inputs]
        if clip is not None:
            squares = torch.zeros(len(rows))
            is_sound = torch.ones(len(rows), dtype=torch.bool)
            for layer, values, back in zip(net.linear, inputs, backprops, strict=True):
                is_sound &= (values.abs().amax(1) <= LARGEST) & (back.abs().amax(1) <= LARGEST)  # False for NaN
                for norms in compute_linear_norm_sample(layer, [values], back).values():
                    squares += norms.square()
            factors = (clip / (squares.sqrt() + 1e-6)).clamp(max=1.0)
            backprops = tuple(back * factors[:, None] for back in backprops)
            if not is_sound.all():  # not a factor of 0, which infinity turns into NaN
                inputs = [torch.where(is_sound[:, None], values, 0.0) for values in inputs]
                backprops = tuple(torch.where(is_sound[:, None], back, 0.0) for back in backprops)
        return [part for values, back in zip(inputs, backprops, strict=True) for part in (back.T @ values, back.sum(0))]


def noisy_gradient(
    net: Discriminator,
    real: Tensor,
    fake: Tensor,
    *,
    clip: float,
    noise_multiplier: float,
    expected_batch: int,
    noise: NoiseSource,
) -> list[Tensor]:
    """One step of DP-SGD's gradient (Abadi et al. 2016, arXiv 1607.00133) over a Poisson batch and as many fakes.

    Unit: one patient, one row. Neighbours: add or remove one patient. Sensitivity: the batch holds a patient or not,
    its clipped gradient has an L2 norm of at most `clip`, and fakes are drawn without looking at records; so the sum
    moves by at most `clip`. Noise of standard deviation `noise_multiplier * clip` in every coordinate makes the
    step one `DpSgdRun(noise_multiplier, sample_rate, steps=1)`. An empty batch is a step like any other.
    `noise_multiplier = 0` neither clips nor adds noise and is charged as `Unprotected`.

    Args:
        real: the Poisson batch, (drawn rows, width), possibly no rows.
        expected_batch: what the sum is divided by; never the drawn size, which is private.

    Returns:
        One tensor per parameter, in the order of `clipped_gradient_sum`.
    """
    rows = torch.cat([real, fake])
    labels = torch.cat([torch.ones(len(real)), torch.zeros(len(fake))])
    if not noise_multiplier:
        return [part / expected_batch for part in clipped_gradient_sum(net, rows, labels, None)]
    parts = clipped_gradient_sum(net, rows, labels, clip)
    std = noise_multiplier * clip
    flat = torch.cat([part.reshape(-1) for part in parts]).double()
    flat += torch.from_numpy(noise.gaussian(len(flat), std))
    grid = 2.0 ** (math.floor(math.log2(std)) - GRID_BITS)
    flat = (flat / grid).round_() * (grid / expected_batch)
    shapes = [part.shape for part in parts]
    pieces = torch.split(flat.float(), [part.numel() for part in parts])
    return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]
