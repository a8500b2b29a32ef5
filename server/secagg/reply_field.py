"""The field of a reply that an exchange of secure aggregation collects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from common.arrays import Array
from common.protocol.messages import Reply
from common.run_events.exclusions import Exclusion, Fault

R = TypeVar("R", bound=Reply)


@dataclass(frozen=True)
class ReplyField(Generic[R]):
    """The field that an exchange collects, and when it can be used.

    Attributes:
        kind: type of the replies.
        name: name of the field.
        length: required length of the field.
        is_good: whether the field of a hospital is valid.
    """

    kind: type[R]
    name: str
    length: int
    is_good: Callable[[str, Array], bool] = lambda name, vector: True

    def of(self, reply: R) -> Array:
        """Return the field of a reply."""
        vector: Array = getattr(reply, self.name)
        return vector

    def fault(self, reply: R) -> Fault | None:
        """Return what is wrong with the field; None if it can be used."""
        vector = self.of(reply)
        if vector.shape != (self.length,):
            return Fault(Exclusion.VECTOR_LENGTH, self.name)
        return None if self.is_good(reply.hospital, vector) else Fault(Exclusion.VECTOR_WRONG, self.name)
