"""Whose reply it is: what the identities in the study say, before anything in a reply is believed."""

from __future__ import annotations

from common.errors import REASON_TEXTS, Reason
from common.protocol.messages import EnrolReply, Reply, Unavailable
from common.protocol.signing import is_signed_reply

RELAYS_OWN = frozenset({Reason.UNAVAILABLE, Reason.VERSION_DIFFERS})
"""What a relay says by itself where no agent answers, or one of another version; it has no key to sign with."""


def fault_of_signature(reply: Reply, data: bytes, signature: bytes, *, asked: str, public: str) -> str | None:
    """What is wrong with the signature beside a reply; None for nothing.

    Args:
        data: the reply's bytes as they came.
        asked: digest of the request.
        public: key of the hospital that the reply names.
    """
    if is_signed_reply(asked, data, signature, public):
        return None
    said = reply.reason if isinstance(reply, EnrolReply) else str(Reason.UNAVAILABLE)
    if not signature and isinstance(reply, EnrolReply | Unavailable) and said in RELAYS_OWN:
        return f"its agent signed nothing: {REASON_TEXTS[Reason(said)]}"
    return "its reply is not signed by the identity that the study lists"
