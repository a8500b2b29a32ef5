"""Verification of replies: the sender is checked by the study's identities before any field of a reply is used."""

from __future__ import annotations

from common.errors import Reason
from common.protocol.messages import EnrollReply, Reply, Unavailable
from common.protocol.signing import is_signed_reply
from common.run_events.exclusions import Exclusion, Fault

RELAYS_OWN = frozenset({Reason.UNAVAILABLE, Reason.VERSION_DIFFERS})
"""Replies of a SuperNode itself, when no agent answers or its version differs; a SuperNode has no key to sign with."""


def fault_of_signature(reply: Reply, data: bytes, signature: bytes, *, asked: str, public: str) -> Fault | None:
    """Return what is wrong with the signature beside a reply, or None.

    Args:
        reply: the decoded reply.
        signature: the received signature; empty if there is none.
        data: the received bytes of the reply.
        asked: digest of the sending that it answers.
        public: public key of the hospital that the reply names.
    """
    if is_signed_reply(asked, data, signature, public):
        return None
    reason = reply.reason if isinstance(reply, EnrollReply) else str(Reason.UNAVAILABLE)
    if not signature and isinstance(reply, EnrollReply | Unavailable) and reason in RELAYS_OWN:
        is_silent = reason == Reason.UNAVAILABLE
        return Fault(Exclusion.AGENT_SILENT if is_silent else Exclusion.AGENT_VERSION)
    return Fault(Exclusion.SIGNATURE_WRONG)
