"""Measure what secure aggregation costs one hospital: CPU seconds and bytes, by hospitals and length of the vector.

    python -m simulations.experiments.masking_costs [--hospitals 4,25,100] [--cells 1000,100000]

All hospitals and the coordinator run here, one after the other, with the messages that travel in a run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from rich.console import Console
from rich.table import Table

from client.masking import Masking
from client.peers import Peers
from common.arrays import Array
from common.ledger.receipts import Receipt
from common.planning.phases import HISTOGRAMS
from common.protocol.byte_form import to_bytes
from common.protocol.messages import (
    CountsReply,
    CountsRequest,
    KeysRequest,
    MaskedReply,
    MaskedRequest,
    Reply,
    Request,
)
from common.protocol.signing import Identity
from common.secagg.terms import Terms
from server.secagg.masked_sums import MaskedSums

RUN, FINGERPRINT = "costs", "0" * 64


@dataclass
class MaskingCosts:
    """What one masked sum costs: at the hospital that needs most, and at the coordinator for all hospitals.

    Attributes:
        hospitals: number of hospitals in the sum.
        cells: length of the vector.
        seconds: CPU seconds at the hospital.
        coordinator: CPU seconds at the coordinator.
        masked: bytes of the message with the masked vector.
        keys_up: bytes of all other messages that the hospital sends.
        keys_down: bytes of all messages that it receives.
        plain: bytes of the message with the vector as it would travel without masks.
    """

    hospitals: int
    cells: int
    seconds: float
    coordinator: float
    masked: int
    keys_up: int
    keys_down: int
    plain: int


@dataclass
class _Site:
    """A hospital without records: its half of the protocol, timed."""

    masking: Masking
    terms: Terms
    vector: Array
    seconds: float = 0.0
    masked: int = 0
    up: int = 0
    down: int = 0

    def handle(self, name: str, request: Request) -> Reply:
        self.down += len(to_bytes(request))
        with self._timed():
            reply = self._answer(name, request)
        size = len(to_bytes(reply))
        if isinstance(reply, MaskedReply):
            self.masked = size
        else:
            self.up += size
        return reply

    def _answer(self, name: str, request: Request) -> Reply:
        if isinstance(request, KeysRequest):
            self.masking.begin(request, FINGERPRINT, self.terms, Receipt(0, FINGERPRINT))
        if isinstance(request, MaskedRequest):
            self.masking.receive(request)
            return MaskedReply(name, self.masking.mask(request, self.vector), 1, FINGERPRINT)
        return self.masking.answer(request)[0]  # type: ignore[arg-type]  # the coordinator asks for nothing else

    @contextmanager
    def _timed(self) -> Iterator[None]:
        start = time.process_time()
        yield
        self.seconds += time.process_time() - start


@dataclass
class _Federation:
    """All hospitals, as the coordinator reaches them. Nothing is resumed, so no notes are kept."""

    sites: dict[str, _Site]
    kept: dict[str, dict[str, Array]] = field(default_factory=dict)

    def ask(self, requests, kind, fault):  # type: ignore[no-untyped-def]  # as `server.secagg.masked_sums.Ask`
        replies = {name: self.sites[name].handle(name, request) for name, request in requests.items()}
        faulty = [name for name, reply in replies.items() if not isinstance(reply, kind) or fault(reply)]
        assert not faulty, "these hospitals are honest"
        return replies

    def note(self, name: str, value: bool) -> None:
        raise AssertionError(f"'{name}' failed, and these hospitals are honest")

    def noted(self, name: str) -> object:
        return None


def measure(hospitals: int, cells: int) -> MaskingCosts:
    """Measure one masked sum of `hospitals` vectors of `cells` counts, one colluder, no dropout; check the sum."""
    names = [f"hospital-{number:03d}" for number in range(hospitals)]
    identities = {name: Identity.simulated(0, name) for name in names}
    terms = Terms({name: identity.public for name, identity in identities.items()}, hospitals, hospitals, 1)
    rng = np.random.default_rng(0)
    vectors = {name: rng.integers(-1000, 100_000, cells) for name in names}
    sites = {name: _Site(Masking(name, identities[name], Peers(None)), terms, vectors[name]) for name in names}
    federation = _Federation(sites)
    question = CountsRequest(RUN, "histograms")
    sums = MaskedSums(RUN, FINGERPRINT, terms, 0, federation.ask, lambda step, compute: compute(), federation)
    start = time.process_time()
    total = sums.sum(question, HISTOGRAMS, names, length=cells, most=2**31 - 1)
    seconds = time.process_time() - start
    assert (total == np.sum(list(vectors.values()), axis=0)).all(), "not the sum"
    plain = len(to_bytes(CountsReply(names[0], vectors[names[0]], 1, FINGERPRINT)))
    return MaskingCosts(
        hospitals,
        cells,
        max(site.seconds for site in federation.sites.values()),
        seconds - sum(site.seconds for site in federation.sites.values()),
        max(site.masked for site in federation.sites.values()),
        max(site.up for site in federation.sites.values()),
        max(site.down for site in federation.sites.values()) - len(to_bytes(question)),
        plain,
    )


def show(measured: list[MaskingCosts]) -> None:
    """Print one line for each measurement."""
    table = Table(title="One masked vector, at one hospital", title_justify="left", box=None)
    for heading in ("hospitals", "cells", "CPU s", "masked bytes", "of plain", "keys up", "keys down", "coordinator s"):
        table.add_column(heading, justify="right")
    for costs in measured:
        table.add_row(
            f"{costs.hospitals}",
            f"{costs.cells:,}",
            f"{costs.seconds:.3f}",
            f"{costs.masked:,}",
            f"{costs.masked / costs.plain:.2f}",
            f"{costs.keys_up:,}",
            f"{costs.keys_down:,}",
            f"{costs.coordinator:.2f}",
        )
    Console(width=120).print(table)


def main() -> None:
    """Measure every number of hospitals with every number of cells, and print the costs."""
    parser = argparse.ArgumentParser(description="What secure aggregation costs one hospital.")
    parser.add_argument("--hospitals", default="4,25,100")
    parser.add_argument("--cells", default="1000,100000")
    options = parser.parse_args()
    sizes = [
        (int(several), int(cells)) for several in options.hospitals.split(",") for cells in options.cells.split(",")
    ]
    show([measure(several, cells) for several, cells in sizes])


if __name__ == "__main__":
    main()
