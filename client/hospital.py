"""A hospital answers requests: policy, then ledger, then mechanism, then reply. Independent of Flower."""

from __future__ import annotations

import logging
import re
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import fields

from client.answers import ANSWERS, AcceptedRun
from client.consent.policy import Policy
from client.gate import NO_RECEIPT, Permit, checked_reply, stamped
from client.masking import Masking, check_attempt
from client.peers import Peers
from common.errors import LedgerError, MaskingError, PolicyRefusal, Reason, WireError
from common.ledger.draws import Draws
from common.ledger.ledger import Enrollment, Ledger, Slot
from common.ledger.receipts import Shown, receipts_from_json
from common.planning.phases import Records
from common.planning.plan import Plan
from common.planning.planner import make_plan
from common.planning.proposal import RUN_ID
from common.privacy.mechanisms import NoiseSource, SecureNoise
from common.protocol.byte_form import digest, to_bytes
from common.protocol.messages import (
    DataRequest,
    EnrollReply,
    EnrollRequest,
    KeysRequest,
    MaskedReply,
    MaskedRequest,
    MaskedStep,
    MaskingRequest,
    Message,
    Reply,
    Request,
    Unavailable,
)
from common.protocol.signing import Identity
from common.secagg.terms import Terms, listed_identities
from common.study.sections import SLUG
from common.study.study import Study, parse_study

log = logging.getLogger(__name__)


NAME = SLUG.strip("^$")
TEXTS = {
    "run_id": RUN_ID,
    "fingerprint": re.compile("[0-9a-f]{64}"),
    "phase": re.compile("[a-z-]{1,32}"),
    "question": re.compile("[0-9a-f]{64}"),
    "hospitals": re.compile(f"{NAME}(,{NAME})*"),
}
"""Pattern of each short text of a request, which is looked up and logged."""

MOST_TEXT = 1_000_000
"""Upper bound on the characters of any text of a request; a study of a thousand columns has a tenth of that."""


class Hospital:
    """One hospital's side of every exchange.

    Args:
        policy: what the hospital agrees to.
        open_shard: reads and prepares the records for a study; called after a release from them was charged, once for
            each run and process.
        ledger: the cohort's ledger.
        noise: source of the noise that protects patients, secure at a site; in a rehearsal, a function of the study.
        identity: the hospital's key. It signs masking keys; an agent signs every reply with it.
        identities: returns the public keys of a study's hospitals; a simulation supplies its own.
        table: returns the digest of the records, or raises `PolicyRefusal` if they are not those that were imported. A
            run is answered from the table that it was accepted over, and from no other.

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
        table: Callable[[], str] = lambda: "",
    ) -> None:
        is_secure = isinstance(noise, NoiseSource) and noise.is_secure
        if not (is_secure or policy.is_simulation or policy.is_rehearsal):
            raise PolicyRefusal(
                Reason.NOISE_REFUSED, "predictable noise protects no patient; use SecureNoise at a site"
            )
        self.policy = policy
        self.ledger = ledger
        self.identity = identity
        self._open_shard = open_shard
        self._noise = noise
        self._identities = identities
        self._table = table
        memory = None if policy.is_simulation else ledger.path.with_suffix(".peers.json")
        self._masking = Masking(policy.hospital, identity, Peers(memory))
        self._runs: dict[str, AcceptedRun] = {}
        self._lock = threading.Lock()
        self._draws = Draws(ledger.path)
        self._draws.forget_all_but(line.slot for line in ledger.lines() if not line.is_answered)
        if policy.is_rehearsal:
            log.warning("%s: REHEARSAL: the noise is predictable and protects no patient", policy.hospital)

    def handle(self, request: Request) -> Reply:
        """Return the reply to a request. Never raises: every failure after enrollment is answered with one constant."""
        reply, permit = self._answer(request)
        return checked_reply(reply, permit)

    def _answer(self, request: Request) -> tuple[Message, Permit]:
        """Return a reply, and the permit that the gate checks it against."""
        name = self.policy.hospital
        try:
            _check_texts(request)
            with self._lock:
                if isinstance(request, EnrollRequest):
                    return self._enroll(request)
                answer = self._mask(request) if isinstance(request, MaskedStep) else self._release(request)
                self._run(request.run_id)  # people may have taken their consent back while it was computed
                return answer
        except PolicyRefusal as refusal:
            log.warning("%s: refused %s: %s (%s)", name, request.kind, refusal.reason, refusal)
        except MaskingError as problem:  # its text is about keys and signatures
            log.warning("%s: refused %s: %s", name, request.kind, problem)
        except LedgerError as problem:  # its text is about the ledger's files and rows, never about a record
            log.error("%s: %s failed: %s", name, request.kind, problem)
        except Exception as problem:
            log.error("%s: %s failed: %s", name, request.kind, _kind_and_line(problem))
        return Unavailable(name), Permit(name)

    def _enroll(self, request: EnrollRequest) -> tuple[Message, Permit]:
        name = self.policy.hospital
        try:
            study, plan = parse_study(request.study), Plan.from_json(request.plan)
            if study.fingerprint != request.fingerprint or plan.fingerprint != request.fingerprint:
                raise PolicyRefusal(Reason.STUDY_ALTERED)
            held, key = receipts_from_json(request.receipts).get(name), study.federation.coordinator
            shown = None if key is None else Shown(key, held)
            if shown is not None:
                self.ledger.check_shown(shown)
            if held is not None:
                self.ledger.check_receipt(held)
            self._record_decisions(request.run_id)
            is_new = self.ledger.enrollment(request.run_id) is None
            table = self._table()
            if is_new:
                self.ledger.check_unit(study.privacy.unit)
                spent = self.ledger.committed(name, self.policy.max_epsilon)
                self.policy.check(request.run_id, study, plan, spent, table=table)
            else:
                self.policy.check_still_agreed(request.run_id, study, plan, table=table)
            if plan.honest_hospitals:
                self._masking.check_identity(self._identities(study))
            enrollment = Enrollment(request.fingerprint, request.study, request.plan, table)
            self.ledger.enroll(request.run_id, enrollment, shown=shown)
            log.info("%s: accepted run %s of study %s", name, request.run_id, study.name)
            reason = Reason.ACCEPTED
        except PolicyRefusal as refusal:
            log.warning("%s: refused study %s: %s", name, request.fingerprint[:12], refusal)
            reason = refusal.reason
        receipt = self.ledger.head
        return EnrollReply(name, str(reason), receipt.counter, receipt.head), Permit(name, receipt)

    def _release(self, request: DataRequest) -> tuple[Message, Permit]:
        """Charge, open the records, compute, store, reply; or return the stored reply to exactly this request."""
        name, run, answering = self.policy.hospital, self._run(request.run_id), ANSWERS[type(request)]
        if answering.is_masked(run.plan):
            raise PolicyRefusal(Reason.NOISE_REFUSED)
        slot, asked = run.slot(request), digest(request)
        expected = answering.expect(run, request)  # a request that does not match the plan costs nothing
        answer = self.ledger.stored_reply(slot, asked)
        if answer is None:
            self.ledger.charge(slot, asked, expected.event)
            noise = self._draw(run, slot)
            if noise.is_secure:
                assert isinstance(noise, SecureNoise), "secure noise has a key"
                noise = self._draws.noise(slot, noise)
            reply = self._computed_once(
                slot, lambda: answering.reply(name, answering.compute(run, request, expected.public, noise))
            )
            answer = self.ledger.store_reply(slot, reply)
            self._draws.forget(slot)
        permit = Permit(name, answer.receipt, answer, counts=expected.length, weights=expected.weights)
        return stamped(answer), permit

    def _mask(self, request: MaskingRequest) -> tuple[Message, Permit]:
        """Take one step of a masked phase. The step in which the vector leaves is charged, as in `_release`."""
        name, run = self.policy.hospital, self._run(request.run_id)
        if not run.plan.honest_hospitals or request.phase not in run.plan.phases:
            raise PolicyRefusal(Reason.PLAN_MISMATCH)
        slot = Slot(run.plan.fingerprint, request.run_id, request.phase, request.round, request.attempt)
        if isinstance(request, KeysRequest) and not self._masking.is_live(request):
            check_attempt(slot, self.ledger.charged(request.run_id), run.plan.retries)
            terms = Terms.of(run.study, self._identities(run.study))
            self._masking.begin(request, run.plan.fingerprint, terms, self.ledger.head)
        if not isinstance(request, MaskedRequest):
            return self._masking.answer(request)
        asked, question = digest(request), self._masking.receive(request)
        answering = ANSWERS[type(question)]
        expected = answering.expect(run, question)
        answer = self.ledger.stored_reply(slot, asked)
        if answer is None:
            check_attempt(slot, self.ledger.charged(request.run_id), run.plan.retries)
            self.ledger.charge(slot, asked, expected.event)
            noise = self._draw(run, slot)  # not recorded: a process that was killed has no masks to send it under

            def masked() -> MaskedReply:
                noisy = answering.compute(run, question, expected.public, noise)
                return MaskedReply(name, self._masking.mask(request, noisy), *NO_RECEIPT)

            answer = self.ledger.store_reply(slot, self._computed_once(slot, masked))
        return stamped(answer), Permit(name, answer.receipt, answer, masked=expected.length)

    def _computed_once(self, slot: Slot, compute: Callable[[], Message]) -> bytes:
        """Return the bytes of the reply to store; if computing it fails, those of `unavailable`, for ever.

        A failure may depend on the records or on the noise that was drawn, and the coordinator sees it. Were the
        request computed again, the coordinator would have seen something of two draws under one charge. So a failure is
        the one answer that was paid for. If storing fails, or the process is killed before, nothing of the draw was
        seen and the next computation has the same noise (`common.ledger.draws`).

        Args:
            slot: the charged release.
            compute: returns the reply without its receipt.
        """
        try:
            return to_bytes(compute())
        except Exception as problem:
            is_ours = isinstance(problem, MaskingError)  # whose text is about keys and signatures
            cause = str(problem) if is_ours else _kind_and_line(problem)
            log.error("%s: %s failed: %s", self.policy.hospital, slot.phase, cause)
            return to_bytes(Unavailable(self.policy.hospital))

    def _draw(self, run: AcceptedRun, slot: Slot) -> NoiseSource:
        """Return the noise for one release."""
        noise = self._noise if isinstance(self._noise, NoiseSource) else self._noise(run.study)
        return noise.named(self.policy.hospital, slot.phase, slot.round, slot.attempt)

    def _run(self, run_id: str) -> AcceptedRun:
        """Return an accepted run, if the hospital still agrees to it."""
        if run_id not in self._runs:
            enrollment = self.ledger.enrollment(run_id)
            if enrollment is None:
                raise PolicyRefusal(Reason.STUDY_NOT_APPROVED)
            study, plan = parse_study(enrollment.study), Plan.from_json(enrollment.plan)
            hospital_plan = plan.of(self.policy.hospital)
            if hospital_plan is None:
                raise PolicyRefusal(Reason.UNKNOWN_HOSPITAL)
            if plan != make_plan(study):  # another version of fedsynth may have accepted it
                raise PolicyRefusal(Reason.PLAN_MISMATCH)
            self._runs[run_id] = AcceptedRun(study, plan, hospital_plan, self._open_shard)
        run = self._runs[run_id]
        self._record_decisions(run_id)
        table = self._table()
        self.ledger.check_table(run_id, table)
        self.policy.check_still_agreed(run_id, run.study, run.plan, table=table)
        return run

    def _record_decisions(self, run_id: str) -> None:
        """Enter what people decided about the run since the last request, before anything is answered about it."""
        if self.policy.consent is not None:
            self.policy.consent.record(run_id, self.ledger)


def _check_texts(request: Request) -> None:
    """Raise `WireError` unless every text of the request is short and, where it names something, a name."""
    for field in fields(request):
        value = getattr(request, field.name)
        if not isinstance(value, str):
            continue
        pattern = TEXTS.get(field.name)
        if len(value) > MOST_TEXT or (pattern is not None and not pattern.fullmatch(value)):
            raise WireError(f"'{field.name}' of '{request.kind}' is too long or not a name")


def _kind_and_line(problem: Exception) -> str:
    """Return class and line of a failure for the local log. Its text is left out, as it might quote a record."""
    frames = traceback.extract_tb(problem.__traceback__)
    last = frames[-1] if frames else None
    return f"{type(problem).__name__} at {last.name}:{last.lineno}" if last else type(problem).__name__
