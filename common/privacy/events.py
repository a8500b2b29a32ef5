"""What was released: the records that a ledger keeps and an accountant composes.

Epsilon is computed from them, never stored in their place. Unit: one patient, who holds one row. Neighbouring tables
differ by adding or removing one patient.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import ClassVar

MOST_SIGMA = 2.0**40
"""More noise would leave the range of the integers that it is drawn in, where it could no longer hide a count."""


@dataclass(frozen=True, slots=True)
class DiscreteGaussianVector:
    """An integer vector plus independent discrete Gaussian noise of parameter `sigma` in every coordinate.

    One patient adds one to exactly the coordinates it falls in, at most `changed` of them, so the L2
    sensitivity is sqrt(changed). Noise: Canonne, Kamath and Steinke (2020), arXiv 2004.00010.
    """

    kind: ClassVar[str] = "discrete-gaussian-vector"
    sigma: float
    changed: int

    def __post_init__(self) -> None:
        if not 0 < self.sigma <= MOST_SIGMA:
            raise ValueError(f"sigma={self.sigma} is not a positive number up to {MOST_SIGMA:g}")
        if self.changed < 1:
            raise ValueError(f"changed={self.changed} is below 1")


@dataclass(frozen=True, slots=True)
class DpSgdRun:
    """`steps` Poisson-sampled Gaussian steps: all an accountant needs to know."""

    kind: ClassVar[str] = "dp-sgd"
    noise_multiplier: float
    sample_rate: float
    steps: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.noise_multiplier) and self.noise_multiplier > 0):
            raise ValueError(f"noise_multiplier={self.noise_multiplier} is not a positive number")
        if not 0 < self.sample_rate <= 1:
            raise ValueError(f"sample_rate={self.sample_rate} is not in (0, 1]")
        if self.steps < 1:
            raise ValueError(f"steps={self.steps} is below 1")


@dataclass(frozen=True, slots=True)
class Unprotected:
    """A release without noise. Its epsilon is infinite; it exists so that a ledger can say so."""

    kind: ClassVar[str] = "unprotected"


Event = DiscreteGaussianVector | DpSgdRun | Unprotected
EVENTS: dict[str, type[Event]] = {event.kind: event for event in (DiscreteGaussianVector, DpSgdRun, Unprotected)}


def event_to_json(event: Event) -> str:
    """The event as one line of JSON; floats survive exactly."""
    return json.dumps({"kind": event.kind, **asdict(event)}, sort_keys=True)


def event_from_json(text: str) -> Event:
    """The event that `event_to_json` wrote. Raises `ValueError` for a kind nobody can account for."""
    fields = json.loads(text)
    kind = fields.pop("kind", None)
    if kind not in EVENTS:
        raise ValueError(f"no accountant knows the event kind {kind!r}")
    return EVENTS[kind](**fields)
