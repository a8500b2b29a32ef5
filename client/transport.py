"""How the Flower ClientApp reaches the hospital's own process. In a simulation both are one process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from common.messages import Reply, Request

_IN_PROCESS: dict[str, Transport] = {}


class Transport(Protocol):
    """Anything that answers requests for a hospital."""

    def handle(self, request: Request) -> Reply:
        """The reply to a request; never raises for reasons that lie in the records."""


@contextmanager
def in_process(hospitals: Mapping[str, Transport]) -> Iterator[None]:
    """Make hospitals reachable inside this process, by address, for as long as the block runs."""
    _IN_PROCESS.update(hospitals)
    try:
        yield
    finally:
        for address in hospitals:
            _IN_PROCESS.pop(address, None)


def connect(node_config: Mapping[str, object]) -> Transport:
    """The transport that the node's configuration names: `agent = "<address>"`.

    Raises:
        LookupError: no hospital answers at that address.
    """
    return _IN_PROCESS[str(node_config["agent"])]
