"""Whether this machine's kernels keep the promises of DP-SGD: the tests of `fedsynth site selftest`."""

from __future__ import annotations

import numpy as np

from client.selftest.checks import CheckError, require
from client.site.config import Site

SIZES = ((24, 16), (80, 64), (300, 128), (1000, 256))
"""Width of the rows and hidden units of the discriminators that are tried; every study tries its own size again."""

CLIP = 0.5

SCALES = (1.0, 10.0, 100.0)
"""Factors of the weights: steep networks turn the last bit of a number into whole clips."""

REMEDY = "take part in no study with rounds; use another machine, or the build of torch in constraints.txt"


def check_kernels(site: Site) -> str:
    """Check that what a patient adds to a gradient depends on no other patient and stays within the clip norm.

    Raises:
        CheckError: the kernels of this machine do not keep this.
    """
    import torch

    from common.privacy.dpsgd import require_even_kernels

    torch.set_num_threads(1)
    for width, hidden in SIZES:
        try:
            require_even_kernels(width, hidden)
        except ArithmeticError as problem:
            raise CheckError(f"{problem} ({width} inputs, {hidden} hidden units): {REMEDY}") from None
    for others in (0, 1, 63, 64, 130):
        moved = max(moved_by_one(others, scale) for scale in SCALES)
        require(
            0 < moved <= CLIP, f"one patient beside {others} moves a sum by {moved / CLIP:.3g} clip norms: {REMEDY}"
        )
    can_flush = torch.set_flush_denormal(True)
    torch.set_flush_denormal(False)
    note = "" if can_flush else "; this processor is slower on denormal numbers, and a step's time may show weights"
    return f"{len(SIZES)} sizes of discriminators treat every row of a block alike; sums move by one clip norm{note}"


def moved_by_one(others: int, scale: float) -> float:
    """Return the L2 norm by which one patient moves a clipped sum beside others.

    Args:
        others: number of the other rows.
        scale: factor of the weights.
    """
    import torch

    from common.privacy.discriminator import Discriminator
    from common.privacy.dpsgd import clipped_gradient_sum

    rng = torch.Generator().manual_seed(others)
    width, hidden = SIZES[1]
    net = Discriminator(width, hidden, rng)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(scale)
    rows = torch.nn.functional.one_hot(torch.randint(width, (others + 1,), generator=rng), width).float()
    sums = []
    for batch in (rows, rows[:-1]):
        parts = clipped_gradient_sum(net, batch, torch.ones(len(batch)), CLIP)
        sums.append(torch.cat([part.reshape(-1) for part in parts]).numpy())
    return float(np.linalg.norm(sums[0] - sums[1]))
