"""DP-SGD for the discriminator: clip every patient's gradient, sum, add noise once per batch.

Per-example gradients are never formed. For a linear layer the gradient of one example is the outer product of the
layer's input and the loss's gradient at its output, so its norm is the product of theirs (Goodfellow 2015, arXiv
1510.01799); the norms come from Opacus' norm samplers. Scaling the output gradients by the clip factors before the
one matrix product per layer gives the clipped sum ("book-keeping", Bu et al. 2023, arXiv 2210.00038): one forward and
one backward pass, where ghost clipping takes two.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from opacus.grad_sample.linear import compute_linear_norm_sample
from torch import Tensor
from torch.nn import functional as F

from common.privacy.discriminator import Discriminator
from common.privacy.mechanisms import NoiseSource

GRID_BITS = 16
"""Noisy sums are rounded to 2^-16 of the noise's standard deviation, so that no low-order bits of a sum survive."""

LARGEST = 1e8
"""An example with a larger number on its way through the network contributes nothing. Below it no square in double
precision overflows or loses anything that counts."""

BLOCK = 64
"""Examples that go through the network together, always so many: the last block is filled up."""

LANES = 16
"""Hidden units go through the network in multiples of this, filled up with units that are zero: some processors treat
the rows of narrower products unevenly."""

MARGIN = 1e-9
"""By so much less than `clip` are gradients cut, which is more than double precision can round up."""


def clipped_gradient_sum(net: Discriminator, rows: Tensor, labels: Tensor, clip: float | None) -> list[Tensor]:
    """The sum over examples of each example's loss gradient, scaled down to an L2 norm of at most `clip`.

    The norm is over all parameters together. `clip=None` sums unclipped gradients.

    Unit: one patient, one row. Neighbours: add or remove one row. Sensitivity: `clip`, which needs that what one row
    contributes does not depend on the others. Two things could undo that, and the weights come from the server.

    - *Overflow.* Infinity or NaN in the sum would tell that a patient is there, whatever the noise. An example whose
      layer inputs or output gradients are not finite, or exceed `LARGEST`, contributes exactly zero.
    - *Rounding.* A matrix product chooses its kernel, and with it the order of its additions, by the number of rows.
      Hostile weights turn a difference in the last bit of one number into gradients of whole clips for every other
      row. So rows go through the network in blocks of one size, in which every place gives the same bits
      (`require_even_kernels` tries it out on the machine at hand), and what follows is in double precision: products
      of float32 numbers are exact there, and sums of contributions in another order differ by about 1e-12 clips.

    Args:
        rows: (examples, width), float32; one patient is one example.
        labels: (examples,), 1 for real and 0 for generated; the loss is binary cross-entropy with logits.

    Returns:
        One float64 tensor per parameter, in the order weight, bias of each layer.

    Raises:
        ArithmeticError: this machine's kernels treat the rows of a block unevenly.
    """
    wide = _widened(net)
    require_even_kernels(wide.linear[0].in_features, wide.linear[0].out_features)
    filled_inputs, filled_backprops = _through_in_blocks(wide, rows, labels)
    inputs = [one[:, : layer.in_features].double() for layer, one in zip(net.linear, filled_inputs, strict=True)]
    backprops = [one[:, : layer.out_features].double() for layer, one in zip(net.linear, filled_backprops, strict=True)]
    return _clipped_sum(net, inputs, backprops, clip)


def _clipped_sum(net: Discriminator, inputs: list[Tensor], backprops: list[Tensor], clip: float | None) -> list[Tensor]:
    """The sum, in the precision of what is given."""
    with torch.no_grad():
        if clip is not None:
            squares = torch.zeros(len(inputs[0]), dtype=torch.float64)
            is_sound = torch.ones(len(inputs[0]), dtype=torch.bool)
            for layer, values, back in zip(net.linear, inputs, backprops, strict=True):
                is_sound &= (values.abs().amax(1) <= LARGEST) & (back.abs().amax(1) <= LARGEST)  # False for NaN
                for norms in compute_linear_norm_sample(layer, [values], back).values():
                    squares += norms.double().square()
            factors = (clip * (1 - MARGIN) / squares.sqrt()).clamp(max=1.0).to(backprops[0].dtype)
            backprops = [back * factors[:, None] for back in backprops]
            if not is_sound.all():  # not a factor of 0, which infinity turns into NaN
                inputs = [torch.where(is_sound[:, None], values, 0.0) for values in inputs]
                backprops = [torch.where(is_sound[:, None], back, 0.0) for back in backprops]
        return [part for values, back in zip(inputs, backprops, strict=True) for part in (back.T @ values, back.sum(0))]


def _widened(net: Discriminator) -> Discriminator:
    """The same function of a row, with hidden units that are always zero where their number is no multiple of `LANES`.

    A weight that is not finite may turn these into NaN too, in rows that contribute nothing for the same reason.
    """
    width, hidden = net.linear[0].in_features, net.linear[0].out_features
    if hidden % LANES == 0:
        return net
    wide = Discriminator(width, math.ceil(hidden / LANES) * LANES, torch.Generator())
    with torch.no_grad():
        for filled, layer in zip(wide.linear, net.linear, strict=True):
            filled.weight.zero_()[: layer.out_features, : layer.in_features] = layer.weight
            filled.bias.zero_()[: layer.out_features] = layer.bias
    return wide


def _through_in_blocks(net: Discriminator, rows: Tensor, labels: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """What `_passes` gives for any number of rows, none included."""
    blocks: list[list[list[Tensor]]] = []
    for first in range(0, max(len(rows), 1), BLOCK):
        here = rows[first : first + BLOCK]
        block, targets = torch.zeros(BLOCK, rows.shape[1]), torch.zeros(BLOCK)
        block[: len(here)], targets[: len(here)] = here, labels[first : first + BLOCK]
        blocks.append([[part[: len(here)] for part in parts] for parts in _passes(net, block, targets)])
    inputs, backprops = ([torch.cat(parts) for parts in zip(*kind, strict=True)] for kind in zip(*blocks, strict=True))
    return inputs, backprops


def _passes(net: Discriminator, rows: Tensor, labels: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Inputs of every layer, and the loss's gradients at every layer's output."""
    trace = net.trace(rows)
    loss = F.binary_cross_entropy_with_logits(trace.logits, labels, reduction="sum")
    backprops = torch.autograd.grad(loss, trace.outputs)
    return [values.detach() for values in trace.inputs], list(backprops)


@lru_cache(maxsize=32)
def require_even_kernels(width: int, hidden: int) -> None:
    """Raise `ArithmeticError` unless a row's numbers are the same, to the bit, at every place of a block.

    Random rows and weights show it where the order of additions differs: with thousands of sums the last bit does.
    """
    rng = torch.Generator().manual_seed(0)
    net = Discriminator(width, hidden, rng)
    probe, others = torch.randn(width, generator=rng), torch.randn(BLOCK, width, generator=rng)
    found = []
    for place in range(BLOCK):
        rows = others.clone()
        rows[place] = probe
        inputs, backprops = _passes(net, rows, torch.ones(BLOCK))
        found.append(torch.cat([part[place] for part in (*inputs, *backprops)]))
    if any(not torch.equal(found[0], one) for one in found[1:]):
        raise ArithmeticError("matrix products of this machine depend on a row's place; training would not be private")


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
    its clipped gradient has an L2 norm of at most `clip` and depends on nobody else (`clipped_gradient_sum`), and fakes
    are drawn and summed without looking at records; so the sum moves by at most `clip`. Noise of standard deviation
    `noise_multiplier * clip` in every coordinate makes the step one `DpSgdRun(noise_multiplier, sample_rate, steps=1)`.
    An empty batch is a step like any other.
    `noise_multiplier = 0` neither clips nor adds noise and is charged as `Unprotected`.

    Args:
        real: the Poisson batch, (drawn rows, width), possibly no rows.
        expected_batch: what the sum is divided by; never the drawn size, which is private.

    Returns:
        One tensor per parameter, in the order of `clipped_gradient_sum`.
    """
    bound = clip if noise_multiplier else None
    drawn = clipped_gradient_sum(net, real, torch.ones(len(real)), bound)
    made = fake_gradient_sum(net, fake, bound)
    parts = [mine + theirs for mine, theirs in zip(drawn, made, strict=True)]
    if not noise_multiplier:
        return [(part / expected_batch).float() for part in parts]
    std = noise_multiplier * clip
    flat = torch.cat([part.reshape(-1) for part in parts])
    flat += torch.from_numpy(noise.gaussian(len(flat), std))
    grid = 2.0 ** (math.floor(math.log2(std)) - GRID_BITS)
    flat = (flat / grid).round_() * (grid / expected_batch)
    return in_shape(flat, net)


def fake_gradient_sum(net: Discriminator, fake: Tensor, clip: float | None) -> list[Tensor]:
    """As `clipped_gradient_sum`, of rows that no record is near: always so many, so all at once."""
    return _clipped_sum(net, *_passes(net, fake, torch.zeros(len(fake))), clip)


def in_shape(flat: Tensor, net: Discriminator) -> list[Tensor]:
    """A gradient of all parameters one after the other, as one float32 tensor for each."""
    shapes = [parameter.shape for parameter in net.parameters()]
    pieces = torch.split(flat.float(), [shape.numel() for shape in shapes])
    return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]
