"""How to read a number: its name, what it means, and which values are better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Scale:
    """What readers are told about a measure of any kind.

    Attributes:
        key: name in report.json and in results files.
        title: a few words for a heading.
        meaning: a sentence for readers.
        best: the best value.
        worst: the value at which a table is unusable; a gauge shows the range from `worst` to `best`.
    """

    key: str
    title: str
    meaning: str
    best: float
    worst: float

    @property
    def direction(self) -> Literal["lower", "higher"]:
        """Return which values are better, seen from `worst`."""
        return "lower" if self.best < self.worst else "higher"
