"""A hospital answers requests: policy, then ledger, then mechanism, then reply. It knows no Flower."""

from __future__ import annotations

import logging
import math
import re
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import cached_property

import numpy as np

from client.consent.policy import Policy
from client.gate import Permit, let_out, stamped
from client.masking import Masking, check_attempt, slot_of
from client.shard import Records
from common.arrays import Array, Integers
from common.encoding import Encoder, histogram_length, histogram_max_changed_cells
from common.errors import LedgerError, MaskingError, PolicyRefusal, Reason, WireError
from common.ledger.ledger import Ledger, Slot
from common.ledger.receipts import receipts_from_json
from common.marginals.queries import Domain, Query, count
from common.marginals.released import assemble, requested
from common.planning.plan import HISTOGRAMS, HospitalPlan, Plan, VectorPhase
from common.planning.planner import make_plan
from common.planning.proposal import RUN_ID
from common.privacy.events import Event
from common.privacy.mechanisms import NoiseSource, release_counts
from common.privacy.quantization import layer_shapes
from common.protocol.messages import (
    EnrolReply,
    EnrolRequest,
    GradientRequest,
    HistogramsReply,
    HistogramsRequest,
    KeysRequest,
    MarginalsReply,
    MarginalsRequest,
    MaskedReply,
    MaskedRequest,
    MaskedStep,
    MaskingRequest,
    Message,
    Question,
    Reply,
    Request,
    RoundReply,
    RoundRequest,
    Unavailable,
    digest,
    to_bytes,
)
from common.protocol.signing import Identity
from common.secagg.terms import Terms, listed_identities, most_rows
from common.seeds import seed_for
from common.study.sections import SLUG
from common.study.study import Study, parse_study

DataRequest = HistogramsRequest | MarginalsRequest | RoundRequest

NO_RECEIPT = (0, "")
"""In place of counter and head while a reply is stored: the ledger gives the receipt for storing it."""

log = logging.getLogger(__name__)


NAME = SLUG.strip("^$")
TEXTS = {
    "run_id": RUN_ID,
    "fingerprint": re.compile("[0-9a-f]{64}"),
    "phase": re.compile("[a-z]{1,32}"),
    "question": re.compile("[0-9a-f]{64}"),
    "hospitals": re.compile(f"{NAME}(,{NAME})*"),
}
"""What the short texts of a request must look like, since they are looked up and logged."""

MOST_TEXT = 1_000_000
"""Characters of any text of a request; a study of a thousand columns has a tenth of that."""


class Hospital:
    """One hospital's side of every exchange.

    Args:
        policy: what the hospital agrees to.
        open_shard: reads and prepares the records for a study; called after the policy has said yes.
        ledger: the cohort's ledger.
        noise: where protective randomness comes from, secure at a site; or how a study gives it, in a rehearsal.
        identity: the hospital's key, to sign with where vectors are masked; an agent signs every reply with it.
        identities: of all hospitals of a study, in a simulation; elsewhere the study lists them.

    Raises:
        PolicyRefusal: the noise is predictable and the policy is neither a simulation's nor a rehearsal's.
    """

    def __init__(
        self,
        policy: Policy,
        open_shard: Callable[[Study], Records],
        ledger: Ledger,
        noise: NoiseSource | Callable[[Study], NoiseSource],
        *,
        identity: Identity | None = None,
        identities: Callable[[Study], Mapping[str, str]] = listed_identities,
    ) -> None:
        is_secure = isinstance(noise, NoiseSource) and noise.is_secure
        if not (is_secure or policy.is_simulation or policy.is_rehearsal):
            raise PolicyRefusal(Reason.NOISE_REFUSED, "predictable noise protects nobody; use SecureNoise at a site")
        self.policy = policy
        self.ledger = ledger
        self.identity = identity
        self._open_shard = open_shard
        self._noise = noise
        self._identities = identities
        self._masking = Masking(policy.hospital, identity)
        self._runs: dict[str, _Run] = {}
        self._lock = threading.Lock()
        if policy.is_rehearsal:
            log.warning("%s: REHEARSAL: the noise is predictable and protects nobody", policy.hospital)

    def handle(self, request: Request) -> Reply:
        """The reply to a request. Never raises: whatever goes wrong after enrolment travels as one constant."""
        reply, permit = self._answer(request)
        return let_out(reply, permit)

    def _answer(self, request: Request) -> tuple[Message, Permit]:
        """A reply, and what the gate must find it to be."""
        name = self.policy.hospital
        try:
            _check_texts(request)
            with self._lock:
                if isinstance(request, EnrolRequest):
                    return self._enrol(request)
                if isinstance(request, MaskedStep):
                    return self._mask(request)
                return self._release(request)
        except PolicyRefusal as refusal:
            log.warning("%s: refused %s: %s", name, request.kind, refusal.reason)
        except MaskingError as problem:  # its text is about keys and signatures
            log.warning("%s: refused %s: %s", name, request.kind, problem)
        except LedgerError as problem:  # its text is about the ledger's files and rows, never about a record
            log.error("%s: %s failed: %s", name, request.kind, problem)
        except Exception as problem:
            log.error("%s: %s failed: %s", name, request.kind, _place(problem))
        return Unavailable(name), Permit(name)

    def _enrol(self, request: EnrolRequest) -> tuple[Message, Permit]:
        name = self.policy.hospital
        try:
            study, plan = parse_study(request.study), Plan.from_json(request.plan)
            if study.fingerprint != request.fingerprint or plan.fingerprint != request.fingerprint:
                raise PolicyRefusal(Reason.STUDY_ALTERED)
            held = receipts_from_json(request.receipts).get(name)
            if held is not None:
                self.ledger.check_receipt(held)
            if self.ledger.enrolment(request.run_id) is None:
                self.policy.check(request.run_id, study, plan, self.ledger.committed(name, self.policy.max_epsilon))
            if plan.honest_hospitals:
                self._masking.check_identity(self._identities(study))
            self.ledger.enrol(request.run_id, request.fingerprint, request.study, request.plan)
            log.info("%s: accepted run %s of study %s", name, request.run_id, study.name)
            reason = Reason.ACCEPTED
        except PolicyRefusal as refusal:
            log.warning("%s: refused study %s: %s", name, request.fingerprint[:12], refusal)
            reason = refusal.reason
        receipt = self.ledger.head
        return EnrolReply(name, str(reason), receipt.counter, receipt.head), Permit(name, receipt)

    def _release(self, request: DataRequest) -> tuple[Message, Permit]:
        """Charge, compute, store, reply; or the stored reply, if this very request was answered before."""
        run = self._run(request.run_id)
        if run.plan.honest_hospitals and not isinstance(request, RoundRequest):
            raise PolicyRefusal(Reason.NOISE_REFUSED)  # one share of the noise hides nobody: only under masks
        number = request.round if isinstance(request, RoundRequest) else 0
        phase = f"{request.kind}.{request.phase}" if isinstance(request, MarginalsRequest) else request.kind
        slot, asked = Slot(run.plan.fingerprint, request.run_id, phase, number), digest(request)
        expected = run.expect(request)  # a request of another shape than the plan's costs nothing
        if self.ledger.stored_reply(slot, asked) is None:
            event, shard = run.event(request), run.shard
            self.ledger.charge(slot, asked, event)
            self.ledger.keep(slot, to_bytes(run.answer(request, shard, self._draw(run, slot))))
        answer = self.ledger.stored_reply(slot, asked)
        assert answer is not None, "the ledger keeps what it was given"
        return stamped(answer), replace(expected, receipt=answer.receipt, answer=answer)

    def _mask(self, request: MaskingRequest) -> tuple[Message, Permit]:
        """One step of a masked phase. Charges, as `_release` does, in the step after which the vector leaves."""
        name, run = self.policy.hospital, self._run(request.run_id)
        if not run.plan.honest_hospitals or request.phase not in run.plan.phases:
            raise PolicyRefusal(Reason.PLAN_MISMATCH)
        slot = slot_of(run.plan.fingerprint, request)
        if isinstance(request, KeysRequest) and not self._masking.is_live(request):
            check_attempt(slot, self.ledger.charged(request.run_id), run.plan.retries)
            self._masking.begin(request, run.plan.fingerprint, Terms.of(run.study, self._identities(run.study)))
        if not isinstance(request, MaskedRequest):
            return self._masking.answer(request)
        asked, question = digest(request), self._masking.receive(request)
        expected = run.expect(question)
        if self.ledger.stored_reply(slot, asked) is None:
            event, shard = run.event(question), run.shard
            check_attempt(slot, self.ledger.charged(request.run_id), run.plan.retries)
            self.ledger.charge(slot, asked, event)
            noisy = run.vector(question, shard, self._draw(run, slot))
            reply = MaskedReply(name, self._masking.mask(request, noisy), *NO_RECEIPT)
            self.ledger.keep(slot, to_bytes(reply))
        answer = self.ledger.stored_reply(slot, asked)
        assert answer is not None, "the ledger keeps what it was given"
        return stamped(answer), Permit(name, answer.receipt, answer, masked=expected.counts)

    def _draw(self, run: _Run, slot: Slot) -> NoiseSource:
        """The noise for one release."""
        noise = self._noise if isinstance(self._noise, NoiseSource) else self._noise(run.study)
        return noise.named(self.policy.hospital, slot.phase, slot.round)

    def _run(self, run_id: str) -> _Run:
        if run_id not in self._runs:
            enrolment = self.ledger.enrolment(run_id)
            if enrolment is None:
                raise PolicyRefusal(Reason.STUDY_NOT_APPROVED)
            study, plan = parse_study(enrolment[0]), Plan.from_json(enrolment[1])
            mine = plan.of(self.policy.hospital)
            if mine is None:
                raise PolicyRefusal(Reason.UNKNOWN_HOSPITAL)
            if plan != make_plan(study):  # another version of fedsynth may have accepted it
                raise PolicyRefusal(Reason.PLAN_MISMATCH)
            self._runs[run_id] = _Run(study, plan, mine, self._open_shard)
        run = self._runs[run_id]
        self.policy.check_still_agreed(run_id, run.study, run.plan)
        return run


def _check_texts(request: Request) -> None:
    """Raise `WireError` unless every text of the request is short and, where it names something, a name."""
    for field in fields(request):
        value = getattr(request, field.name)
        if not isinstance(value, str):
            continue
        pattern = TEXTS.get(field.name)
        if len(value) > MOST_TEXT or (pattern is not None and not pattern.fullmatch(value)):
            raise WireError(f"'{field.name}' of '{request.kind}' is too long or no name")


class _Run:
    """One accepted run: its approved plan and, once they are needed, the records it may see."""

    def __init__(self, study: Study, plan: Plan, mine: HospitalPlan, open_shard: Callable[[Study], Records]) -> None:
        self.study, self.plan, self.mine = study, plan, mine
        self._open_shard = open_shard

    @cached_property
    def shard(self) -> Records:
        """The records. Opened before anything is charged for them, and not to repeat a stored reply."""
        return self._open_shard(self.study)

    def event(self, request: DataRequest | GradientRequest) -> Event:
        """What answering will cost. Requests carry no privacy parameter: all come from the approved plan."""
        match request:
            case HistogramsRequest():
                return self.plan.vector_event(self.mine, HISTOGRAMS, self._nodes())
            case MarginalsRequest():
                return self.plan.vector_event(self.mine, request.phase, len(self._queries(request)))
            case RoundRequest() | GradientRequest():
                is_synchronous = self.plan.quantization is not None
                if isinstance(request, GradientRequest) != is_synchronous or not 1 <= request.round <= self.plan.rounds:
                    raise PolicyRefusal(Reason.PLAN_MISMATCH)
                return self.plan.round_event(self.mine)

    def answer(
        self, request: DataRequest, shard: Records, noise: NoiseSource
    ) -> HistogramsReply | MarginalsReply | RoundReply:
        """The reply, still without its receipt."""
        match request:
            case HistogramsRequest():
                return HistogramsReply(self.mine.hospital, self.vector(request, shard, noise), *NO_RECEIPT)
            case MarginalsRequest():
                return MarginalsReply(self.mine.hospital, self.vector(request, shard, noise), *NO_RECEIPT)
            case RoundRequest():
                return self._train(request, shard, noise)

    def vector(self, request: Question, shard: Records, noise: NoiseSource) -> Integers:
        """The noisy integers that a request asks for, which leave as they are or under a mask."""
        match request:
            case HistogramsRequest():
                counts, phase = shard.histograms(self.plan.cells), HISTOGRAMS
            case MarginalsRequest():
                encoder, codes = shard.encoded(request.histograms, self.plan)
                counts, phase = count(codes, self._queries(request), Domain.of(encoder)), request.phase
            case GradientRequest():
                return self._gradient(request, shard, noise)
        return release_counts(self._capped(counts), self.plan.sigma(self.mine, phase), noise)

    def _capped(self, counts: Integers) -> Integers:
        """Counts of which sums cannot leave the range of masked integers, see `common.secagg.terms`.

        One patient still changes each count by one at most.
        """
        return np.minimum(counts, most_rows(self.study, self.mine.hospital)) if self.plan.honest_hospitals else counts

    def expect(self, request: DataRequest | GradientRequest) -> Permit:
        """What the reply must look like, worked out from study, plan and released histograms alone."""
        name = self.mine.hospital
        match request:
            case HistogramsRequest():
                return Permit(name, counts=histogram_length(self.study.table, self.plan.cells))
            case MarginalsRequest():
                return Permit(name, counts=Domain.of(self._encoder(request.histograms)).cells(self._queries(request)))
            case RoundRequest():
                from common.synthesizers.registry import make_adversarial  # torch: only where a hospital trains

                weights = make_adversarial(self.study.synthesizer, self._encoder(request.histograms)).initial_weights(0)
                return Permit(name, weights={key: value.shape for key, value in weights.items()})
            case GradientRequest():
                shapes = layer_shapes(sum(self._encoder(request.histograms).sizes), self.study.adversarial.hidden)
                if {key: value.shape for key, value in request.weights.items()} != shapes:
                    raise PolicyRefusal(Reason.PLAN_MISMATCH)
                return Permit(name, counts=sum(map(math.prod, shapes.values())))

    def _encoder(self, histograms: Array) -> Encoder:
        """An encoder that no record came near."""
        return Encoder(self.study.table, histograms, self.plan.binning)

    def _gradient(self, request: GradientRequest, shard: Records, noise: NoiseSource) -> Integers:
        from common.synthesizers.registry import make_adversarial  # torch: only where a hospital trains

        encoder, codes = shard.encoded(request.histograms, self.plan)
        synthesizer = make_adversarial(self.study.synthesizer, encoder)
        assert self.plan.quantization, "`event` refused"
        return synthesizer.gradient(request.weights, codes, self.mine, self.plan.quantization, noise)

    def _train(self, request: RoundRequest, shard: Records, noise: NoiseSource) -> RoundReply:
        from common.synthesizers.registry import make_adversarial  # torch: only where a hospital trains

        name = self.mine.hospital
        encoder, codes = shard.encoded(request.histograms, self.plan)
        measurements = assemble(self.plan, Domain.of(encoder), request.pairs, request.triples, request.measurements)
        synthesizer = make_adversarial(self.study.synthesizer, encoder)
        seed = seed_for(self.study.seed, "train", name, request.round)
        weights = synthesizer.train(request.weights, codes, measurements, self.mine, noise, seed)
        return RoundReply(name, weights, *NO_RECEIPT)

    def _phase(self, name: str) -> VectorPhase:
        phase = self.plan.vector(name)
        if phase is None:
            raise PolicyRefusal(Reason.PLAN_MISMATCH)
        return phase

    def _nodes(self) -> int:
        """How many counts of the histograms a patient is in: worked out anew, and no more than was planned."""
        nodes = histogram_max_changed_cells(self.study.table, self.plan.cells)
        if nodes > self._phase(HISTOGRAMS).max_changed_cells:
            raise PolicyRefusal(Reason.PLAN_MISMATCH)
        return nodes

    def _queries(self, request: MarginalsRequest) -> tuple[Query, ...]:
        """The tables asked for, each once. Their number is the squared sensitivity, and the plan bounds it."""
        phase = self._phase(request.phase)
        queries = requested(phase.name, phase.groups, request.columns, len(self.study.table.columns))
        if len(queries) > phase.max_changed_cells:
            raise PolicyRefusal(Reason.PLAN_MISMATCH)
        return queries


def _place(problem: Exception) -> str:
    """Kind and place of a failure for the local log: its text might quote a record, so it is left out."""
    frames = traceback.extract_tb(problem.__traceback__)
    last = frames[-1] if frames else None
    return f"{type(problem).__name__} at {last.name}:{last.lineno}" if last else type(problem).__name__
