"""What a coordinator and the hospitals that side with it learn: one hospital's reply, or the opened sum of several.

Under shared noise the coordinator sees a sum over the hospitals that survived the masked phase, and the colluders tell
it their own vectors. Colluders here add no noise, so subtracting theirs is no work. As many hospitals drop out as the
study allows: what is opened holds the noise of the fewest honest hospitals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from client.hospital import Hospital
from client.shard import Shard
from common.arrays import Floats, Integers
from common.planning.capacity import most_counted
from common.planning.phases import Records
from common.planning.plan import ROUNDS, Plan
from common.planning.planner import make_plan
from common.privacy.events import Event
from common.privacy.mechanisms import NoiseSource
from common.protocol.messages import (
    CountsReply,
    CountsRequest,
    GradientRequest,
    MaskedRequest,
    OpenRequest,
    Question,
    Reply,
    Request,
    SurvivorsRequest,
)
from common.run_events.exclusions import Fault
from common.secagg.terms import Terms, simulated_identities
from common.study.study import Study
from server.secagg.masked_sums import MaskedSums, R
from simulations.audit.site import KEY, RUN, invented_patients, throwaway_hospitals

LATE = (MaskedRequest, SurvivorsRequest, OpenRequest)
"""Requests that a hospital does not answer that drops out once its masks are agreed."""


class MuteNoise(NoiseSource):
    """Adds no noise and records the requested sigmas: shows the counts to which a hospital would add noise."""

    is_secure = False

    def __init__(self) -> None:
        self.sigmas: list[float] = []

    def named(self, *names: str | int) -> MuteNoise:
        return self

    def uniform(self, count: int) -> Floats:
        """Return one half for every number: which rows of such a hospital are in a batch is of no interest."""
        return np.full(count, 0.5)

    def discrete_gaussian(self, count: int, sigma: float) -> Integers:
        self.sigmas.append(sigma)
        return np.zeros(count, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Parties:
    """Who does what in the sums of a study, seen from one hospital.

    Args:
        attacked: the hospital whose patient is the target.
        honest: the other honest hospitals whose vectors are in the sums.
        colluders: hospitals that side with the coordinator.
        lost: honest hospitals that drop out of every sum.
    """

    attacked: str
    honest: tuple[str, ...] = ()
    colluders: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    @classmethod
    def of(cls, study: Study, attacked: str) -> Parties:
        """Return the parties with the most colluders and dropouts that the study allows; one alone without sums."""
        if study.privacy.noise != "distributed":
            return cls(attacked)
        others = [facts.name for facts in study.hospitals if facts.name != attacked]
        colluders, dropouts = study.federation.colluders, study.federation.dropouts
        honest = len(others) - colluders - dropouts
        return cls(
            attacked, tuple(others[:honest]), tuple(others[honest + dropouts :]), tuple(others[honest:][:dropouts])
        )

    @property
    def words(self) -> str:
        """What the attacker sees, for people."""
        if not self.colluders:
            return "the reply of one hospital"
        survivors = 1 + len(self.honest) + len(self.colluders)
        return (
            f"the opened sum of {survivors} of {survivors + len(self.lost)} hospitals, {len(self.colluders)} colluding"
        )


@dataclass(frozen=True, slots=True)
class Opened:
    """A run as the coordinator sees it.

    Args:
        study: study of the run.
        plan: its plan.
        parties: who does what.
        hospitals: the hospitals, which have accepted the run.
    """

    study: Study
    plan: Plan
    parties: Parties
    hospitals: Mapping[str, Hospital]

    def answer(self, request: CountsRequest | GradientRequest, length: int) -> Integers:
        """Return the answer to a request: the reply of the attacked hospital, or the opened sum.

        Args:
            request: asks for counts, or for the gradient of a synchronous step.
            length: number of cells of the vector.
        """
        if not self.plan.honest_hospitals:
            assert isinstance(request, CountsRequest), "steps are synchronous under shared noise only"
            reply = self.hospitals[self.parties.attacked].handle(request)
            assert isinstance(reply, CountsReply), "an accepted run is answered"
            return reply.counts
        is_step = isinstance(request, GradientRequest)
        most = self.plan.furthest_gradient if is_step else most_counted(self.study, self.plan, _phase(request))
        return self._sums().sum(request, _phase(request), tuple(self.hospitals), length=length, most=most)

    @property
    def events(self) -> tuple[Event, ...]:
        """What the attacked hospital was charged."""
        return self.hospitals[self.parties.attacked].ledger.events()

    def _sums(self) -> MaskedSums:
        terms = Terms.of(self.study, simulated_identities(self.study))
        return MaskedSums(RUN, self.study.fingerprint, terms, 0, self._ask, lambda step, compute: compute(), _Nothing())

    def _ask(
        self, requests: Mapping[str, Request], kind: type[R], fault: Callable[[R], Fault | None], /
    ) -> dict[str, R]:
        replies: dict[str, R] = {}
        for name, request in requests.items():
            if name in self.parties.lost and isinstance(request, LATE):
                continue
            reply: Reply = self.hospitals[name].handle(request)
            if isinstance(reply, kind) and fault(reply) is None:
                replies[name] = reply
        return replies


class _Nothing:
    """Notes of a run that is not resumed."""

    def note(self, name: str, value: bool) -> None:
        return

    def noted(self, name: str) -> object:
        return None


@contextmanager
def opened(study: Study, attacked: str, records: Records, noise: Callable[[str], NoiseSource]) -> Iterator[Opened]:
    """Yield a run of a study in which one hospital is attacked. The others hold a few rows drawn from the schema.

    Args:
        study: the study.
        attacked: name of the hospital whose patient is the target.
        records: its records.
        noise: returns the noise of an honest hospital.
    """
    parties = Parties.of(study, attacked)
    opening: dict[str, Callable[[Study], Records]] = {attacked: lambda _: records}
    others = Shard(invented_patients(study, 5, 2), study, key=KEY)
    opening |= {name: lambda _: others for name in (*parties.honest, *parties.lost, *parties.colluders)}
    with throwaway_hospitals(
        study, opening, lambda name: MuteNoise() if name in parties.colluders else noise(name)
    ) as hospitals:
        yield Opened(study, make_plan(study), parties, hospitals)


def _phase(request: Question) -> str:
    return request.phase if isinstance(request, CountsRequest) else ROUNDS
