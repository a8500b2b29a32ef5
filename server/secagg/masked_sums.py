"""The coordinator's half of secure aggregation: five exchanges, after which it knows a sum but no single vector.

    keys -> shares -> masked vectors -> signatures on the survivors -> opened shares

Each exchange is checkpointed, so a restarted coordinator sends the same requests, byte for byte, and hospitals repeat
their replies. A hospital that is missing in one exchange is not asked in the next ones of that attempt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from common.arrays import Array, Integers
from common.errors import FederationError, MaskingError
from common.ledger.receipts import is_receipt
from common.protocol.byte_form import digest, to_bytes
from common.protocol.messages import (
    KeysReply,
    KeysRequest,
    MaskedReply,
    MaskedRequest,
    OpenReply,
    OpenRequest,
    Question,
    Reply,
    Request,
    SharesReply,
    SharesRequest,
    SurvivorsReply,
    SurvivorsRequest,
)
from common.protocol.signing import is_signature
from common.run_events.events import AttemptFailed, Emit, ignore
from common.run_events.exclusions import Exclusion, Fault
from common.secagg import shamir
from common.secagg.keys import (
    ENCRYPTED_BYTES,
    KEYS_BYTES,
    LEDGER_BYTES,
    SIGNATURE_BYTES,
    Advertisement,
    Context,
    roster_digest,
)
from common.secagg.packing import pack, pack_names, to_vector, unpack
from common.secagg.session import survivors_text
from common.secagg.terms import Terms
from common.secagg.words import MOST
from server.secagg.reply_field import ReplyField
from server.secagg.unmasking import Transcript, unmask

R = TypeVar("R", bound=Reply)

PART = "masked-"
"""Prefix of the checkpoints of exchanges; they are deleted once the sum has a checkpoint of its own."""


class Ask(Protocol):
    """Sends each hospital its request and returns the replies by hospital, without those in which `fault` finds one."""

    def __call__(
        self, requests: Mapping[str, Request], kind: type[R], fault: Callable[[R], Fault | None], /
    ) -> dict[str, R]: ...


class Once(Protocol):
    """Returns a step from its checkpoint, or computes and checkpoints it."""

    def __call__(self, step: str, compute: Callable[[], dict[str, Array]], /) -> dict[str, Array]: ...


class Notes(Protocol):
    """Stores small values that outlive this process."""

    def note(self, name: str, value: bool) -> None: ...
    def noted(self, name: str) -> object: ...


@dataclass
class MaskedSums:
    """Sums over the hospitals of one run.

    Args:
        run_id: id of the run.
        fingerprint: fingerprint of its study.
        terms: who takes part, and how many must stay.
        retries: how many failed attempts of the whole run may still be repeated.
        ask: sends requests and collects replies.
        once: checkpoints steps.
        notes: stores which attempts were given up.
    """

    run_id: str
    fingerprint: str
    terms: Terms
    retries: int
    ask: Ask
    once: Once
    notes: Notes
    emit: Emit = ignore

    def sum(self, question: Question, phase: str, members: Collection[str], *, length: int, most: int) -> Integers:
        """Return the sum of the vectors that answer the question.

        Args:
            question: what each hospital answers under a mask.
            phase: name of the phase.
            members: the hospitals to ask.
            length: number of cells of the vector.
            most: largest absolute value that the sum can have.

        Raises:
            FederationError: the sum failed, and no further attempt is planned.
        """
        assert most <= MOST, "the plan was checked"
        attempt = 1
        while True:
            context = Context(self.fingerprint, self.run_id, phase, _round(question), attempt, digest(question))
            if not self._was_given_up(context):
                try:
                    total = _Attempt(self, context, question, length).run(members)
                    if len(total) and not -most <= total.min() <= total.max() <= most:
                        raise MaskingError("the sum is out of range: a hospital did not mask as agreed")
                    return total
                except MaskingError as problem:
                    self.emit(AttemptFailed(phase=phase, round=context.round, attempt=attempt, detail=str(problem)))
                    if self.retries == 0:
                        raise FederationError(
                            f"the masked phase '{phase}' failed and no further attempt is planned: {problem}"
                        ) from None
                self.notes.note(_given_up(context), value=True)
            self.retries, attempt = self.retries - 1, attempt + 1

    def _was_given_up(self, context: Context) -> bool:
        """Return whether a later attempt has begun, also in an earlier process: hospitals answer no earlier one."""
        return bool(self.notes.noted(_given_up(context)))


@dataclass
class _Attempt:
    """One attempt at one sum."""

    sums: MaskedSums
    context: Context
    question: Question
    length: int

    def run(self, members: Collection[str]) -> Integers:
        """Return the sum. Raises `MaskingError` if too few hospitals stay, or the shares are wrong."""
        terms, where = self.sums.terms, self._where
        roster = self._keys(members)
        names = pack_names(roster)
        keys = pack({name: advertised.keys for name, advertised in roster.items()})
        ledgers = pack({name: advertised.ledger for name, advertised in roster.items()})
        signatures = pack({name: advertised.signature for name, advertised in roster.items()})
        shown = SharesRequest(*where, names, keys, ledgers, signatures)
        field = ReplyField(SharesReply, "encrypted", ENCRYPTED_BYTES * (len(roster) - 1))
        encrypted = self._exchange("shares", dict.fromkeys(roster, shown), field)
        sharers = sorted(encrypted)
        for_whom = {
            sender: unpack(vector, [name for name in roster if name != sender], ENCRYPTED_BYTES)
            for sender, vector in encrypted.items()
        }
        question = to_vector(to_bytes(self.question))
        requests = {
            name: MaskedRequest(
                *where,
                pack_names([sender for sender in sharers if sender != name]),
                pack({sender: for_whom[sender][name] for sender in sharers if sender != name}),
                question,
            )
            for name in sharers
        }
        masked = self._exchange("masked", requests, ReplyField(MaskedReply, "masked", self.length))
        survivors = sorted(masked)
        text = survivors_text(self.context, roster_digest(self.context, roster.values()), sharers, survivors)
        signed = self._exchange(
            "survivors",
            dict.fromkeys(survivors, SurvivorsRequest(*where, pack_names(survivors))),
            ReplyField(
                SurvivorsReply,
                "signature",
                SIGNATURE_BYTES,
                lambda name, vector: is_signature(text, vector.tobytes(), terms.identities[name]),
            ),
        )
        together = pack({name: vector.tobytes() for name, vector in signed.items()})
        length = shamir.SHARE_BYTES * len(sharers)
        opened = self._exchange(
            "opened",
            dict.fromkeys(signed, OpenRequest(*where, pack_names(signed), together)),
            ReplyField(OpenReply, "shares", length, lambda name, vector: _are_shares(vector, sharers)),
        )
        shares = {name: _shares(vector, sharers) for name, vector in opened.items()}
        return unmask(Transcript(self.context, terms, roster, sharers, masked, shares))

    @property
    def _where(self) -> tuple[str, str, int, int]:
        return self.context.run_id, self.context.phase, self.context.round, self.context.attempt

    def _keys(self, members: Collection[str]) -> dict[str, Advertisement]:
        """Return the signed keys of each hospital. Two hospitals that advertise the same key are both left out."""
        request = KeysRequest(*self._where, self.context.question)

        def ask() -> dict[str, Array]:
            replies = self.sums.ask(dict.fromkeys(sorted(members), request), KeysReply, self._fault_of_keys)
            claims = Counter(key for reply in replies.values() for key in _two_keys(reply.keys))
            return {
                name: np.concatenate([reply.keys, reply.ledger, reply.signature])
                for name, reply in replies.items()
                if all(claims[key] == 1 for key in _two_keys(reply.keys))
            }

        signed = self._enough("keys", ask)
        ends = KEYS_BYTES, KEYS_BYTES + LEDGER_BYTES
        parts = {name: np.split(vector, ends) for name, vector in signed.items()}
        return {name: Advertisement(name, *(part.tobytes() for part in three)) for name, three in parts.items()}

    def _fault_of_keys(self, reply: KeysReply) -> Fault | None:
        parts = (vector.tobytes() for vector in (reply.keys, reply.ledger, reply.signature))
        advertised = Advertisement(reply.hospital, *parts)
        if not advertised.is_signed(self.context, self.sums.terms.identities.get(reply.hospital, "")):
            return Fault(Exclusion.KEYS_NOT_SIGNED)
        if not is_receipt(advertised.ledger):
            return Fault(Exclusion.RECEIPT_MALFORMED)
        return None if advertised.agrees else Fault(Exclusion.KEYS_WEAK)

    def _exchange(self, step: str, requests: Mapping[str, Request], field: ReplyField[R]) -> dict[str, Array]:
        """Return one field of every usable reply, from the checkpoint if there is one.

        Args:
            step: name of the exchange.
            requests: request by hospital.
            field: what is collected of the replies.
        """

        def ask() -> dict[str, Array]:
            replies = self.sums.ask(requests, field.kind, field.fault)
            return {name: field.of(reply) for name, reply in replies.items()}

        return self._enough(step, ask)

    def _enough(self, step: str, ask: Callable[[], dict[str, Array]]) -> dict[str, Array]:
        """Return the replies of an exchange, from its checkpoint or by asking, if enough hospitals are left."""

        def checked() -> dict[str, Array]:
            replies = ask()
            if len(replies) < self.sums.terms.survivors:
                raise MaskingError(
                    f"{len(replies)} hospitals are left after the exchange of {step} and {self.sums.terms.survivors} "
                    "are needed (hospitals - dropouts); see the log for who dropped out and why"
                )
            return replies

        return self.sums.once(_step(self.context, step), checked)


def _step(context: Context, step: str) -> str:
    """Return the name of a checkpoint."""
    return PART + "-".join([context.phase, f"{context.round:05d}", str(context.attempt), step])


def _given_up(context: Context) -> str:
    return _step(context, "given-up")


def _round(question: Question) -> int:
    return int(getattr(question, "round", 0))


def _two_keys(keys: Array) -> tuple[bytes, bytes]:
    data = keys.tobytes()
    return data[: KEYS_BYTES // 3], data[KEYS_BYTES // 3 : 2 * KEYS_BYTES // 3]


def _shares(vector: Array, sharers: Collection[str]) -> dict[str, int]:
    parts = unpack(vector, sharers, shamir.SHARE_BYTES)
    return {name: shamir.from_bytes(part) for name, part in parts.items()}


def _are_shares(vector: Array, sharers: Collection[str]) -> bool:
    try:
        return len(_shares(vector, sharers)) == len(sharers)
    except ValueError:
        return False
