"""Four clinics that share their noise, and their coordinator, without Flower between them: every message as bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client import answers
from client.agent.transport import Transport
from client.answers import ANSWERS, AcceptedRun
from client.hospital import Hospital
from common.arrays import Integers
from common.ledger.ledger import Ledger
from common.marginals.released import ReleasedMarginals
from common.planning.planner import make_plan
from common.privacy.mechanisms import NoiseSource, release_counts
from common.protocol.byte_form import from_bytes, to_bytes
from common.protocol.messages import CountsRequest, Reply, Request
from common.protocol.signing import Identity
from common.run_events.events import RunEvent
from common.secagg.terms import simulated_identities
from common.study.sections import HospitalFacts
from common.study.study import Study
from common.system.folder import RunFolder
from server.receipts import Receipts
from server.run.agreed_run import AgreedRun, Resources
from server.run.checkpoints import Checkpoints
from server.run.counting import Counting
from server.run.enrollment import enroll
from server.run.exchange import Exchange
from server.run.federation import Federation
from simulations.federation.prepare import Prepared
from simulations.federation.sites import Shards, open_hospitals, open_shards
from tests.testbeds.clinic import clinic_study, clinic_table

NAMES = ("east", "north", "south", "west")
RUN = "masked-run"

Spoil = Callable[[Request, Callable[[], Reply]], Reply]
"""What becomes of one hospital's reply."""


def shared_study(*, dropouts: int = 1, retries: int = 0, min_hospitals: int = 2) -> Study:
    """Four hospitals: 2 x 3 > 4 + 1 with one dropout. Histograms and coarse tables only."""
    facts = tuple(HospitalFacts(name=name, declared_rows=90) for name in NAMES)
    study = clinic_study(
        privacy={"noise": "distributed"},
        synthesizer={"pairs": 0},
        training={"rounds": 0},
        federation={"min_hospitals": min_hospitals},
    ).with_hospitals(facts)
    return study.amended(federation={"dropouts": dropouts, "retries": retries})


class Direct(Exchange):
    """Hands every request over and takes the reply, both as bytes; a hospital that raises is one that is silent."""

    def __init__(self, transports: Mapping[str, Transport]) -> None:
        self._transports = dict(enumerate(transports[name] for name in sorted(transports)))
        self.deadline_s = 0.5
        self.sent: list[tuple[Request, Reply]] = []

    def nodes(self) -> list[int]:
        return sorted(self._transports)

    def ask_each(self, requests: Mapping[int, Request], nodes: Mapping[int, str]) -> dict[int, Reply]:
        arrived = {}
        for node, request in requests.items():
            try:
                reply = self._transports[node].handle(from_bytes(to_bytes(request)))  # type: ignore[arg-type]
            except RuntimeError:
                continue
            arrived[node] = from_bytes(to_bytes(reply))
            self.sent.append((request, arrived[node]))  # type: ignore[arg-type]
        return arrived  # type: ignore[return-value]


class Spoilt:
    """Stands before a hospital."""

    def __init__(self, hospital: Hospital, spoil: Spoil) -> None:
        self._hospital, self._spoil = hospital, spoil

    def handle(self, request: Request) -> Reply:
        return self._spoil(request, lambda: self._hospital.handle(request))


@dataclass
class MaskedFederation:
    """The clinics, and what each of them counted and drew: `counts` and `noisy` by hospital, one for each vector."""

    study: Study
    folder: Path
    stack: ExitStack
    spoil: Mapping[str, Spoil] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tables = {name: clinic_table(90, seed) for seed, name in enumerate(NAMES)}
        self.shards: Shards = open_shards(Prepared(self.study, tables, None, ()))
        self.hospitals = open_hospitals(self.study, self.shards, self.folder / "sites", self.stack)
        self.events: list[RunEvent] = []
        self.counts: dict[str, list[Integers]] = {name: [] for name in NAMES}
        self.noisy: dict[str, list[Integers]] = {name: [] for name in NAMES}

    def watch(self, patch: pytest.MonkeyPatch) -> MaskedFederation:
        """Note what every hospital counts and what its noise makes of it."""

        honest, names = ANSWERS[CountsRequest], []

        def compute(run: AcceptedRun, *rest: Any) -> Integers:
            names.append(run.hospital_plan.hospital)
            return np.asarray(honest.compute(run, *rest))

        def noting(counts: Integers, sigma: float, noise: NoiseSource) -> Integers:
            noisy = release_counts(counts, sigma, noise)
            self.counts[names[-1]].append(counts)
            self.noisy[names[-1]].append(noisy)
            return noisy

        patch.setattr(answers, "release_counts", noting)
        patch.setitem(ANSWERS, CountsRequest, replace(honest, compute=compute))
        return self

    def restarted(self, name: str, ledger: Ledger | None = None) -> Hospital:
        """The hospital as a new process finds it: its ledger, or an older one, is there, its memory is not."""
        old = self.hospitals[name]
        return Hospital(
            old.policy,
            lambda study: self.shards[name](),
            ledger or old.ledger,
            old._noise,
            identity=Identity.simulated(self.study.seed, name),
            identities=simulated_identities,
        )

    def federation(self) -> Federation:
        transports = {
            name: Spoilt(one, self.spoil[name]) if name in self.spoil else one for name, one in self.hospitals.items()
        }
        plan, out = make_plan(self.study), self.folder / "out"
        checkpoints = Checkpoints(RunFolder(out), RUN, plan)
        receipts = Receipts(out / "receipts.json")
        identities = simulated_identities(self.study)
        agreed = AgreedRun(RUN, self.study, plan, identities)
        direct = Direct(transports)
        self.sent = direct.sent
        return Federation(agreed, Resources(direct, checkpoints, receipts, self.events.append))

    def run(self) -> ReleasedMarginals:
        """Enroll all hospitals and count every phase."""
        return self.counting().run().released

    def counting(self) -> Counting:
        """Enroll all hospitals; what is sent from then on is in `sent`."""
        federation = self.federation()
        members = enroll(federation.agreed, federation.resources)
        return federation.counting(members, federation.masked_sums(members))

    def charged(self) -> dict[str, list[tuple[str, int]]]:
        """Phase and attempt of the ledgers' lines."""
        slots = {name: [line.slot for line in hospital.ledger.lines()] for name, hospital in self.hospitals.items()}
        return {name: [(slot.phase, slot.attempt) for slot in charged] for name, charged in slots.items()}


def total(vectors: Mapping[str, list[Integers]], place: int, *, without: tuple[str, ...] = ()) -> Integers:
    """The sum over hospitals of what each noted at that place."""
    return np.asarray(np.sum([noted[place] for name, noted in vectors.items() if name not in without], axis=0))
