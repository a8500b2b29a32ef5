"""The public numbers of one step of DP-SGD."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DpSgdStep:
    """How far one patient's gradient reaches in a step, under how much noise, and what the sum is divided by.

    Attributes:
        clip: upper bound on the L2 norm of one patient's gradient.
        noise_multiplier: standard deviation of the noise over `clip`; 0 neither clips nor adds noise and is charged as
            `Unprotected`.
        expected_batch: number of patients that the sum is divided by; never the drawn number, which is private.

    Raises:
        ValueError: the clip norm is not positive, the noise is negative, or less than one patient is expected.
    """

    clip: float
    noise_multiplier: float
    expected_batch: int

    def __post_init__(self) -> None:
        if not (self.clip > 0 and self.noise_multiplier >= 0 and self.expected_batch >= 1):
            raise ValueError(f"{self} is no step of DP-SGD: clip norm and batch are positive, noise is not negative")

    @property
    def deviation(self) -> float:
        """Standard deviation of the noise in each coordinate of the sum."""
        return self.noise_multiplier * self.clip
