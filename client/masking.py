"""The hospital's half of secure aggregation: one live session for each run, in this process's memory only.

A repeated request gets the same reply; another request for the same step is refused. A process that ends loses its
sessions: the hospital then drops out of the current phase and takes part in the next one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from client.answers import phase_and_round
from client.gate import Permit
from client.peers import Peers, Seen
from common.arrays import Integers, Words
from common.errors import MaskingError, PolicyRefusal, Reason
from common.ledger.ledger import Slot
from common.ledger.receipts import Receipt, is_receipt
from common.protocol.byte_form import digest, from_bytes
from common.protocol.messages import (
    QUESTIONS,
    KeysReply,
    KeysRequest,
    MaskedRequest,
    MaskingRequest,
    OpenReply,
    OpenRequest,
    Question,
    SharesReply,
    SharesRequest,
    SurvivorsReply,
    SurvivorsRequest,
)
from common.protocol.signing import Identity
from common.secagg import shamir
from common.secagg.keys import ENCRYPTED_BYTES, KEYS_BYTES, LEDGER_BYTES, SIGNATURE_BYTES, Advertisement, Context
from common.secagg.packing import pack, to_vector, unpack, unpack_names
from common.secagg.session import Session, SessionStep, ending
from common.secagg.terms import Terms

Simple = KeysRequest | SharesRequest | SurvivorsRequest | OpenRequest
"""Steps whose replies are independent of any record."""

SimpleReply = KeysReply | SharesReply | SurvivorsReply | OpenReply


def check_attempt(slot: Slot, charged: tuple[Slot, ...], retries: int) -> None:
    """Raise unless a masked vector may be charged.

    Attempts count from 1: a slot without one is a reply without a mask, which is not counted here.

    Args:
        slot: slot of the requested vector.
        charged: the slots that the run was charged for so far.
        retries: how many attempts, beyond the first of each phase and round, the plan pays for.

    Raises:
        PolicyRefusal: the vector was charged before, or the plan pays for no further attempt.
    """
    if not slot.is_masked:
        raise PolicyRefusal(Reason.PLAN_MISMATCH, "attempts at a masked vector count from 1")
    masked = {other for other in charged if other.is_masked}
    vectors = {(other.phase, other.round) for other in (*masked, slot)}
    attempts = [other.attempt for other in masked if (other.phase, other.round) == (slot.phase, slot.round)]
    is_late = any(attempt >= slot.attempt for attempt in attempts)
    if is_late or len(masked) + 1 - len(vectors) > retries:
        raise PolicyRefusal(Reason.PLAN_MISMATCH, "this masked vector, or its last attempt, was charged before")


@dataclass
class _Live:
    """A session, with digest and reply of each step, and the digest of the request that it masked a vector for.

    `known` is what was remembered of the other hospitals' ledgers when it began.
    """

    session: Session
    known: Mapping[str, Seen]
    replies: dict[str, tuple[str, SimpleReply]] = field(default_factory=dict)
    received: str = ""


class Masking:
    """The sessions of one hospital.

    Args:
        name: name of the hospital.
        identity: its signing key; None for a hospital that takes no part in masked phases.
        peers: what it remembers of the other hospitals' ledgers.
    """

    def __init__(self, name: str, identity: Identity | None, peers: Peers) -> None:
        self._name, self._identity, self._peers = name, identity, peers
        self._live: dict[str, _Live] = {}

    def is_live(self, request: MaskingRequest) -> bool:
        """Return whether there is a session for this phase, round and attempt."""
        live = self._live.get(request.run_id)
        return live is not None and _where(live.session.context) == _where(request)

    def check_identity(self, identities: Mapping[str, str]) -> None:
        """Raise `PolicyRefusal` if others know this hospital by another key, or it has none."""
        if self._identity is None or identities.get(self._name) != self._identity.public:
            raise PolicyRefusal(Reason.IDENTITY_DIFFERS)

    def begin(self, request: KeysRequest, fingerprint: str, terms: Terms, head: Receipt) -> None:
        """Begin a session; the one that the run had before ends.

        Args:
            request: asks for the keys of one masked vector.
            fingerprint: fingerprint of the study.
            terms: who takes part, and on which conditions.
            head: the head of this hospital's ledger, which the others remember.

        Raises:
            PolicyRefusal: a later attempt at the same vector has begun, or as for `check_identity`.
        """
        self.check_identity(terms.identities)
        before = self._live.get(request.run_id)
        if before is not None:
            *vector, attempt = _where(before.session.context)
            if vector == [request.phase, request.round] and attempt > request.attempt:
                raise PolicyRefusal(Reason.PLAN_MISMATCH, "a later attempt at this masked vector has begun")
            before.session.end()
        assert self._identity is not None, "its identity was checked"
        context = Context(fingerprint, request.run_id, *_where(request), request.question)
        session = Session(context, terms, self._name, self._identity, head.to_bytes())
        self._live[request.run_id] = _Live(session, self._peers.known())

    def answer(self, request: Simple) -> tuple[SimpleReply, Permit]:
        """Return the session's reply to a step that reads no record, and what the gate must find it to be.

        Raises:
            PolicyRefusal: there is no such session, or the step was taken with another request.
            MaskingError: the request violates the protocol; the session ends.
        """
        live, asked = self._of(request), digest(request)
        known = live.replies.get(request.kind)
        if known is None:
            with ending(live.session):
                known = live.replies[request.kind] = asked, self._step(request, live)
        elif known[0] != asked:
            raise PolicyRefusal(Reason.PLAN_MISMATCH, "this step of the masked phase was taken with another request")
        sizes = {
            "keys": KEYS_BYTES,
            "signature": SIGNATURE_BYTES,
            "encrypted": ENCRYPTED_BYTES * len(live.session.peers),
            "shares": shamir.SHARE_BYTES * len(live.session.sharers),
        }
        return known[1], Permit(self._name, sizes=sizes, ledger=live.session.advertisement.ledger)

    def receive(self, request: MaskedRequest) -> Question:
        """Take the others' shares, and return what is asked for under the mask.

        Raises:
            PolicyRefusal: there is no such session, or it began with another question.
            MaskingError: the request violates the protocol; the session ends.
        """
        live = self._of(request)
        session = live.session
        question = from_bytes(request.question.tobytes())
        if digest(question) != session.context.question or not isinstance(question, QUESTIONS):
            raise PolicyRefusal(Reason.PLAN_MISMATCH, "the masked phase began with another question")
        if (question.run_id, *phase_and_round(question)) != (request.run_id, request.phase, request.round):
            raise PolicyRefusal(Reason.PLAN_MISMATCH, "the question belongs to another phase or round")
        asked = digest(request)
        if live.received not in ("", asked):
            raise PolicyRefusal(Reason.PLAN_MISMATCH, "this step of the masked phase was taken with another request")
        if session.step < SessionStep.RECEIVED:
            with ending(session):
                session.receive(unpack(request.encrypted, unpack_names(request.hospitals), ENCRYPTED_BYTES))
            live.received = asked
        if not live.received:  # another step has ended the session
            raise PolicyRefusal(Reason.UNAVAILABLE, "this hospital has left the masked phase")
        return question

    def mask(self, request: MaskedRequest, vector: Integers) -> Words:
        """Return the vector under this session's masks; works once."""
        return self._of(request).session.mask(vector)

    def _step(self, request: Simple, live: _Live) -> SimpleReply:
        session = live.session
        match request:
            case KeysRequest():
                own = session.advertisement
                return KeysReply(self._name, *map(to_vector, (own.keys, own.ledger, own.signature)))
            case SharesRequest():
                names = unpack_names(request.hospitals)
                keys, signatures = unpack(request.keys, names, KEYS_BYTES), _signatures(request, names)
                ledgers = unpack(request.ledgers, names, LEDGER_BYTES)
                roster = [Advertisement(name, keys[name], ledgers[name], signatures[name]) for name in names]
                encrypted = session.share(roster)
                self._peers.keep(_heads(session, session.peers), live.known)
                return SharesReply(self._name, pack(encrypted))
            case SurvivorsRequest():
                survivors = unpack_names(request.hospitals)
                return SurvivorsReply(self._name, to_vector(session.sign(survivors)))
            case OpenRequest():
                signers = unpack_names(request.hospitals)
                opened = session.open(_signatures(request, signers))
                # Who signs has masked a vector. A survivor that the coordinator names may have sent none.
                self._peers.have_delivered(_heads(session, signers))
                return OpenReply(self._name, pack({name: shamir.to_bytes(share) for name, share in opened.items()}))

    def _of(self, request: MaskingRequest) -> _Live:
        if not self.is_live(request):
            raise PolicyRefusal(Reason.UNAVAILABLE, "this process has no session of this masked phase")
        return self._live[request.run_id]


def _heads(session: Session, names: Collection[str]) -> dict[str, Receipt]:
    """Return the heads that the others among these hospitals signed for the vector, by public key.

    Raises:
        MaskingError: one of them signed a number that no ledger has.
    """
    identities, others = session.terms.identities, {name: session.ledgers[name] for name in names}
    others.pop(session.name, None)
    for name, head in others.items():
        if not is_receipt(head):
            raise MaskingError(
                f"'{name}' advertised a ledger of more than 2^53 entries, which no ledger has; ask its people"
            )
    return {identities[name]: Receipt.from_bytes(head) for name, head in others.items()}


def _signatures(request: SharesRequest | OpenRequest, names: tuple[str, ...]) -> dict[str, bytes]:
    return unpack(request.signatures, names, SIGNATURE_BYTES)


def _where(context: Context | MaskingRequest) -> tuple[str, int, int]:
    return context.phase, context.round, context.attempt
