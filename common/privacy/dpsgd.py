"""DP-SGD for the discriminator: clip every patient's gradient, sum, add noise once per batch.

Per-example gradients are never formed. For a linear layer the gradient of one example is the outer product of the
layer's input and the loss's gradient at its output, so its norm is the product of theirs (Goodfellow 2015, arXiv
1510.01799); the norms come from Opacus' norm samplers. Scaling the output gradients by the clip factors before the
one matrix product per layer gives the clipped sum ("book-keeping", Bu et al. 2023, arXiv 2210.00038): one forward and
one backward pass, where ghost clipping takes two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch
from opacus.grad_sample.linear import compute_linear_norm_sample
from torch import Tensor
from torch.nn import functional as F

from common.privacy.discriminator import SLOPE, Discriminator
from common.privacy.mechanisms import NoiseSource
from common.privacy.step import DpSgdStep

GRID_BITS = 16
"""Noisy sums are rounded to 2^-16 of the noise's standard deviation, so that no low-order bit of an exact sum leaks."""

LARGEST = 1e8
"""Largest absolute value of a layer input or output gradient; an example with a larger one contributes zero. Below it
no square overflows in double precision or loses a digit that counts."""

BLOCK = 64
"""Examples that go through the network together; the last block is filled up with zeros to this size."""

LANES = 16
"""Hidden units go through the network in multiples of this number, filled up with units that are zero: some processors
treat the rows of narrower products unevenly."""

MARGIN = 1e-9
"""Relative amount by which gradients are cut below `clip`: more than double precision can round up."""


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Compute with zero in the place of denormal numbers, in this thread, for as long as the block runs.

    Processors without this mode are left as they are.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@denormals_flushed()
def clipped_gradient_sum(net: Discriminator, rows: Tensor, labels: Tensor, clip: float | None) -> list[Tensor]:
    """Return the sum over examples of each example's loss gradient g, scaled down to an L2 norm of at most `clip`.

        sum_i g_i min(1, clip / |g_i|)

    Unit: one patient, one row. Neighboring tables: add or remove one row. Sensitivity: `clip` in L2. This needs that
    what one row contributes does not depend on the others. Two things could undo that, and the weights come from the
    server.

    - *Overflow.* Infinity or NaN in the sum would tell that a patient is there, whatever the noise. An example whose
      layer inputs or output gradients are not finite, or exceed `LARGEST`, contributes exactly zero.
    - *Rounding.* A matrix product chooses its kernel, and with it the order of its additions, by the number of rows.
      Hostile weights turn a difference in the last bit of one number into gradients of whole clips for every other
      row. So rows go through the network in blocks of one size, in which every position gives the same bits
      (`require_even_kernels` tries it out on the machine at hand), and what follows is in double precision: products
      of float32 numbers are exact there, and sums of contributions in another order differ by about 1e-12 clips.

    Two examples also take the same operations, whatever is in them: none is behind a condition, and denormal numbers,
    with which processors compute many times slower, are zero. The time still grows with the number of rows.

    Args:
        net: the discriminator; the norm is over all of its parameters together.
        rows: one-hot rows, (examples, width), float32; one patient is one example.
        labels: 1 for real and 0 for generated rows, (examples,); the loss is binary cross-entropy with logits.
        clip: upper bound on the L2 norm of one example's gradient; None sums unclipped gradients.

    Returns:
        One float64 tensor per parameter, in the order weight, bias of each layer.

    Raises:
        ArithmeticError: this machine's kernels treat the rows of a block unevenly.
    """
    wide = _widened(net)
    require_even_kernels(wide.linear[0].in_features, wide.linear[0].out_features)
    filled_inputs, filled_backprops = _through_in_blocks(wide, rows, labels)
    inputs = [filled[:, : layer.in_features] for layer, filled in zip(net.linear, filled_inputs, strict=True)]
    backprops = [filled[:, : layer.out_features] for layer, filled in zip(net.linear, filled_backprops, strict=True)]
    if clip is not None:
        _empty_unsound(inputs, backprops)
    inputs, backprops = [values.double() for values in inputs], [back.double() for back in backprops]
    if clip is not None:
        factors = _clip_factors(net, inputs, backprops, clip)
        backprops = [back.mul_(factors) for back in backprops]
    return _sums(inputs, backprops)


def _empty_unsound(inputs: list[Tensor], backprops: list[Tensor]) -> None:
    """Set all numbers of an example to zero, in place, where one is not finite or exceeds `LARGEST`.

    Always, and bit by bit: a branch would take longer for the one patient that overflows, and a factor of 0 would turn
    infinity into NaN.

    Args:
        inputs: inputs of each layer, (examples, features), float32.
        backprops: gradients of the loss at each layer's output, (examples, features), float32.
    """
    parts = (*inputs, *backprops)
    largest = torch.stack([torch.maximum(part.amax(1), -part.amin(1)) for part in parts])
    kept = -(largest <= LARGEST).all(0).int()[:, None]  # all bits of a sound example, no bit of another; NaN is not <=
    for part in parts:
        part.view(torch.int32).bitwise_and_(kept)


@torch.no_grad()
def _clip_factors(net: Discriminator, inputs: list[Tensor], backprops: list[Tensor], clip: float) -> Tensor:
    """Return the factor of each example's gradient, (examples, 1), that brings its norm down to at most `clip`.

    A layer's gradient of one example is the outer product b_i x_i^T of its output gradient and its input, so

        |g_i|^2 = sum over layers of |b_i|^2 (|x_i|^2 + 1)              (weights and biases)
        f_i     = min(1, clip / |g_i|)

    Args:
        net: the discriminator.
        inputs: as in `_empty_unsound`, in the precision in which norms are computed.
        backprops: likewise.
        clip: clip norm, as in `clipped_gradient_sum`.
    """
    layers = zip(net.linear, inputs, backprops, strict=True)
    norms = [norm for layer, x, b in layers for norm in compute_linear_norm_sample(layer, [x], b).values()]
    squares = torch.stack(norms).double().square().sum(0)
    return (clip * (1 - MARGIN) / squares.sqrt()).clamp(max=1.0).to(inputs[0].dtype)[:, None]


def _sums(inputs: list[Tensor], backprops: list[Tensor]) -> list[Tensor]:
    """Return each layer's b^T x, the sum of its weights' gradients, and the sum of b, that of its biases'."""
    return [part for values, back in zip(inputs, backprops, strict=True) for part in (back.T @ values, back.sum(0))]


def _widened(net: Discriminator) -> Discriminator:
    """Return the same function of a row with hidden units filled up to a multiple of `LANES`; those added are zero.

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
    """Return what `_passes` does, for any number of rows including none."""
    missing = max(math.ceil(len(rows) / BLOCK), 1) * BLOCK - len(rows)  # no rows take as long as one
    filled, targets = F.pad(rows, (0, 0, 0, missing)), F.pad(labels, (0, missing))
    inputs, backprops = _passes(net, filled, targets, BLOCK)
    return [part[: len(rows)] for part in inputs], [part[: len(rows)] for part in backprops]


@torch.no_grad()
def _passes(net: Discriminator, rows: Tensor, labels: Tensor, block: int) -> tuple[list[Tensor], list[Tensor]]:
    """Return the inputs of every layer, and the loss's gradients at every layer's output.

    Matrix products and the sigmoid, in which a row could get other bits among other rows, take `block` rows at a time.
    Everything else is one choice, addition or multiplication for each number, which is the same wherever it stands.

    Args:
        net: the discriminator.
        rows: one-hot rows, (rows, width), in whole blocks.
        labels: as in `clipped_gradient_sum`, (rows,).
        block: rows that go through a matrix product together.

    Returns:
        Two lists with one tensor per layer, (rows, features).
    """
    inputs = [rows]
    for layer in net.linear:
        values = torch.empty(len(rows), layer.out_features)
        for before, after in zip(torch.split(inputs[-1], block), torch.split(values, block), strict=True):
            torch.addmm(layer.bias, before, layer.weight.T, out=after)
        inputs.append(values if layer is net.linear[-1] else F.leaky_relu_(values, SLOPE))
    logits = inputs.pop()
    backprops = [torch.cat([part.sigmoid() for part in torch.split(logits, block)]) - labels[:, None]]
    for layer, values in zip(net.linear[:0:-1], inputs[:0:-1], strict=True):
        back = torch.empty(len(rows), layer.in_features)
        for after, before in zip(torch.split(backprops[-1], block), torch.split(back, block), strict=True):
            torch.mm(after, layer.weight, out=before)
        backprops.append(torch.ops.aten.leaky_relu_backward.grad_input(back, values, SLOPE, True, grad_input=back))
    return inputs, backprops[::-1]


@lru_cache(maxsize=32)
def require_even_kernels(width: int, hidden: int) -> None:
    """Raise `ArithmeticError` unless a row's numbers are the same, to the bit, at every position of a block.

    Random rows and weights show it where the order of additions differs: with thousands of sums the last bit does.
    """
    rng = torch.Generator().manual_seed(0)
    net = Discriminator(width, hidden, rng)
    probe, others = torch.randn(width, generator=rng), torch.randn(BLOCK, width, generator=rng)
    outcomes = []
    for position in range(BLOCK):
        rows = others.clone()
        rows[position] = probe
        inputs, backprops = _passes(net, rows, torch.ones(BLOCK), BLOCK)
        outcomes.append(torch.cat([values[position] for values in (*inputs, *backprops)]))
    if any(not torch.equal(outcomes[0], outcome) for outcome in outcomes[1:]):
        raise ArithmeticError(
            "matrix products of this machine depend on a row's position, so training would not be private; use another "
            "machine or another build of torch"
        )


def noisy_gradient(net: Discriminator, real: Tensor, fake: Tensor, step: DpSgdStep, noise: NoiseSource) -> list[Tensor]:
    """Return the noisy gradient of one step of DP-SGD, over a Poisson batch and generated rows.

        (sum over real rows + sum over generated rows + N(0, (noise_multiplier clip)^2)) / expected_batch

    Unit: one patient, one row. Neighboring tables: add or remove one patient. Sensitivity: `clip` in L2. The batch
    holds a patient or not, its clipped gradient has a norm of at most `clip` and depends on no other row
    (`clipped_gradient_sum`), and generated rows are drawn and summed without looking at records. The step is one
    `DpSgdRun(noise_multiplier, sample_rate, steps=1)`. An empty batch is a step like any other.
    Source: Abadi et al. 2016, arXiv 1607.00133.

    Args:
        net: the discriminator.
        real: the Poisson batch, (drawn rows, width), possibly no rows.
        fake: generated rows, (rows, width).
        step: clip norm, noise and expected batch.
        noise: source of the noise.

    Returns:
        One tensor per parameter, in the order of `clipped_gradient_sum`.
    """
    bound = step.clip if step.noise_multiplier else None
    drawn = clipped_gradient_sum(net, real, torch.ones(len(real)), bound)
    generated = fake_gradient_sum(net, fake, bound)
    sums = [part.add_(other).reshape(-1) for part, other in zip(drawn, generated, strict=True)]
    if not step.noise_multiplier:
        return in_shape(torch.cat(sums) / step.expected_batch, net)
    sizes = [len(part) for part in sums]
    total = torch.from_numpy(noise.gaussian(sum(sizes), step.deviation))
    for noisy, part in zip(torch.split(total, sizes), sums, strict=True):
        noisy += part
    grid = 2.0 ** (math.floor(math.log2(step.deviation)) - GRID_BITS)
    return in_shape(total.mul_(1 / grid).round_().mul_(grid / step.expected_batch), net)


@denormals_flushed()
def fake_gradient_sum(net: Discriminator, fake: Tensor, clip: float | None) -> list[Tensor]:
    """Return `clipped_gradient_sum` of generated rows, which depend on no record and so need no blocks.

    Args:
        net: the discriminator.
        fake: generated rows, one-hot, (rows, width).
        clip: clip norm of one row's gradient; None does not clip.
    """
    inputs, backprops = _passes(net, fake, torch.zeros(len(fake)), max(len(fake), 1))
    if clip is not None:
        factors = _clip_factors(net, inputs, backprops, clip)
        if not bool((factors > 0).all()):  # a norm of infinity or NaN; of generated rows the time may tell it
            inputs[0] = fake.clone()
            _empty_unsound(inputs, backprops)
            factors = _clip_factors(net, inputs, backprops, clip)
        backprops = [back.mul_(factors) for back in backprops]
    return _sums(inputs, backprops)


def in_shape(flat: Tensor, net: Discriminator) -> list[Tensor]:
    """Split a gradient of all parameters, one after the other, into one float32 tensor per parameter of `net`."""
    shapes = [parameter.shape for parameter in net.parameters()]
    pieces = torch.split(flat.float(), [shape.numel() for shape in shapes])
    return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]
