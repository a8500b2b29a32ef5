"""A hospital answers requests: policy, then ledger, then mechanism, then reply. It knows no Flower."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable
from typing import cast

from client.policy import Policy
from client.shard import Shard
from common.errors import PolicyRefusal, Reason
from common.messages import (
    AnchorsReply,
    AnchorsRequest,
    EnrolReply,
    EnrolRequest,
    HistogramsReply,
    HistogramsRequest,
    Reply,
    Request,
    RoundReply,
    RoundRequest,
    Unavailable,
    digest,
    from_bytes,
    to_bytes,
)
from common.privacy.events import Event
from common.privacy.ledger import Ledger, Slot
from common.privacy.mechanisms import NoiseSource, release_counts
from common.privacy.plan import HISTOGRAMS, HospitalPlan, Plan, VectorPhase
from common.seeds import seed_for
from common.study import Study, parse_study
from common.synthesizers.marginals import Layout, Query, count, requested

DataRequest = HistogramsRequest | AnchorsRequest | RoundRequest

log = logging.getLogger(__name__)


class Hospital:
    """One hospital's side of every exchange.

    Args:
        policy: what the hospital agrees to.
        open_shard: reads and prepares the records for a study; called after the policy has said yes.
        ledger: the cohort's ledger.
        noise: where protective randomness comes from; secure at a site.

    Raises:
        PolicyRefusal: the noise is predictable and the policy is not a simulation's.
    """

    def __init__(
        self, policy: Policy, open_shard: Callable[[Study], Shard], ledger: Ledger, noise: NoiseSource
    ) -> None:
        if not (noise.is_secure or policy.is_simulation):
            raise PolicyRefusal(Reason.NOISE_REFUSED, "predictable noise protects nobody; use SecureNoise at a site")
        self.policy = policy
        self.ledger = ledger
        self._open_shard = open_shard
        self._noise = noise
        self._runs: dict[str, _Run] = {}
        self._lock = threading.Lock()

    def handle(self, request: Request) -> Reply:
        """The reply to a request. Never raises: whatever goes wrong after enrolment travels as one constant."""
        try:
            with self._lock:
                if isinstance(request, EnrolRequest):
                    return self._enrol(request)
                return self._release(request)
        except PolicyRefusal as refusal:
            log.warning("%s: refused %s: %s", self.policy.hospital, request.kind, refusal.reason)
            return Unavailable(self.policy.hospital)
        except Exception as problem:
            log.error("%s: %s failed: %s", self.policy.hospital, request.kind, _place(problem))
            return Unavailable(self.policy.hospital)

    def _enrol(self, request: EnrolRequest) -> Reply:
        try:
            study, plan = parse_study(request.study), Plan.from_json(request.plan)
            if study.fingerprint != request.fingerprint or plan.fingerprint != request.fingerprint:
                raise PolicyRefusal(Reason.STUDY_ALTERED)
            known = self.ledger.enrolment(request.run_id)
            if known is None:
                self.policy.check(study, plan, self._committed())
            self.ledger.enrol(request.run_id, request.fingerprint, request.study, request.plan)
        except PolicyRefusal as refusal:
            log.warning("%s: refused study '%s': %s", self.policy.hospital, request.fingerprint[:12], refusal)
            return EnrolReply(self.policy.hospital, str(refusal.reason))
        log.info("%s: accepted run %s of study %s", self.policy.hospital, request.run_id, study.name)
        return EnrolReply(self.policy.hospital, str(Reason.ACCEPTED))

    def _committed(self) -> tuple[Event, ...]:
        """Every event of every accepted run: a run reserves its whole plan, so that many cannot share one budget."""
        plans = [Plan.from_json(text) for text in self.ledger.plans()]
        mine = [(plan, plan.of(self.policy.hospital)) for plan in plans]
        return tuple(event for plan, part in mine if part is not None for event in plan.events(part))

    def _release(self, request: DataRequest) -> Reply:
        """Charge, compute, store, reply; or the stored reply, if this very request was answered before."""
        run = self._run(request.run_id)
        number = request.round if isinstance(request, RoundRequest) else 0
        phase = f"{request.kind}.{request.phase}" if isinstance(request, AnchorsRequest) else request.kind
        slot, asked = Slot(run.plan.fingerprint, request.run_id, phase, number), digest(request)
        stored = self.ledger.stored_reply(slot, asked)
        if stored is not None:
            return cast("Reply", from_bytes(stored))
        event = run.event(request)
        self.ledger.charge(slot, asked, event)
        reply = run.answer(request, self._noise.named(self.policy.hospital, phase, number))
        self.ledger.keep(slot, to_bytes(reply))
        return reply

    def _run(self, run_id: str) -> _Run:
        if run_id not in self._runs:
            enrolment = self.ledger.enrolment(run_id)
            if enrolment is None:
                raise PolicyRefusal(Reason.STUDY_NOT_APPROVED)
            study, plan = parse_study(enrolment[0]), Plan.from_json(enrolment[1])
            mine = plan.of(self.policy.hospital)
            if mine is None:
                raise PolicyRefusal(Reason.UNKNOWN_HOSPITAL)
            self._runs[run_id] = _Run(study, plan, mine, self._open_shard(study))
        return self._runs[run_id]


class _Run:
    """One accepted run: its approved plan and the records it may see."""

    def __init__(self, study: Study, plan: Plan, mine: HospitalPlan, shard: Shard) -> None:
        self.study, self.plan, self.mine, self.shard = study, plan, mine, shard

    def event(self, request: DataRequest) -> Event:
        """What answering will cost. Requests carry no privacy parameter: all come from the approved plan."""
        match request:
            case HistogramsRequest():
                phase = self._phase(HISTOGRAMS)
                return self.plan.vector_event(self.mine, HISTOGRAMS, phase.changed)
            case AnchorsRequest():
                return self.plan.vector_event(self.mine, request.phase, len(self._queries(request)))
            case RoundRequest():
                if not 1 <= request.round <= self.plan.rounds:
                    raise PolicyRefusal(Reason.PLAN_MISMATCH)
                return self.plan.round_event(self.mine)

    def answer(self, request: DataRequest, noise: NoiseSource) -> HistogramsReply | AnchorsReply | RoundReply:
        name = self.mine.hospital
        match request:
            case HistogramsRequest():
                counts = self.shard.histograms(self.plan.cells)
                return HistogramsReply(name, release_counts(counts, self.plan.sigma(self.mine, HISTOGRAMS), noise))
            case AnchorsRequest():
                encoder, codes = self.shard.encoded(request.histograms, self.plan)
                counts = count(codes, self._queries(request), Layout.of(encoder))
                return AnchorsReply(name, release_counts(counts, self.plan.sigma(self.mine, request.phase), noise))
            case RoundRequest():
                return self._train(request, noise)

    def _train(self, request: RoundRequest, noise: NoiseSource) -> RoundReply:
        from common.synthesizers.anchors import assemble  # torch: only where a hospital trains
        from common.synthesizers.gan import make_synthesizer

        name = self.mine.hospital
        encoder, codes = self.shard.encoded(request.histograms, self.plan)
        anchors = assemble(self.plan, Layout.of(encoder), request.pairs, request.triples, request.anchors)
        synthesizer = make_synthesizer(self.study.synthesizer, encoder)
        seed = seed_for(self.study.seed, "train", name, request.round)
        return RoundReply(name, synthesizer.train(request.weights, codes, anchors, self.mine, noise, seed))

    def _phase(self, name: str) -> VectorPhase:
        phase = self.plan.vector(name)
        if phase is None:
            raise PolicyRefusal(Reason.PLAN_MISMATCH)
        return phase

    def _queries(self, request: AnchorsRequest) -> tuple[Query, ...]:
        """The tables asked for, each once. Their number is the squared sensitivity, and the plan bounds it."""
        phase = self._phase(request.phase)
        queries = requested(phase.name, phase.groups, request.columns, len(self.study.table.columns))
        if len(queries) > phase.changed:
            raise PolicyRefusal(Reason.PLAN_MISMATCH)
        return queries


def _place(problem: Exception) -> str:
    """Kind and place of a failure for the local log: its text might quote a record, so it is left out."""
    frames = traceback.extract_tb(problem.__traceback__)
    last = frames[-1] if frames else None
    return f"{type(problem).__name__} at {last.name}:{last.lineno}" if last else type(problem).__name__
