"""What a hospital remembers of the others' ledgers, so that one that went back takes part in no masked sum.

A hospital that restored an old copy would add noise a second time under one charge. Its partners notice: every
advertisement of masking keys holds the head of the sender's ledger, signed, and no coordinator can change or hide it.

A coordinator can hold a signed head back and pass it on late, behind newer ones of another run. So a head is compared
with what was known when the masked vector began, and a vector counts as delivered once its hospital signed that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from common.errors import LedgerError, MaskingError
from common.ledger.receipts import Receipt
from common.protocol.signing import fingerprint
from common.system.files import write_synced

VECTOR_ENTRIES = 2
"""Entries that a masked vector adds to its hospital's ledger: charge and answer."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The last head that another hospital signed, and the least number of entries that its next one must have."""

    counter: int
    head: str
    least: int


class Peers:
    """The heads of other hospitals' ledgers, by public key, across runs.

    Args:
        path: JSON file in the state folder; None to remember them in memory, for a simulation.

    Raises:
        LedgerError: the file is there and cannot be read.
    """

    def __init__(self, path: Path | None) -> None:
        self._path, self._seen = path, dict[str, Seen]()
        try:
            if path is not None and path.exists():
                texts = json.loads(path.read_bytes())
                self._seen = {str(identity): Seen(**fields) for identity, fields in texts.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            raise LedgerError(
                f"'{path}' does not hold the heads of partners' ledgers; restore it from a backup, or remove it to "
                "remember them from now on"
            ) from None

    def known(self) -> Mapping[str, Seen]:
        """Return what is remembered at this moment, by public key: when a masked vector begins."""
        return dict(self._seen)

    def keep(self, heads: Mapping[str, Receipt], known: Mapping[str, Seen]) -> None:
        """Remember the heads that other hospitals signed for a masked vector, and wait until they are on the disk.

        A head that is older than one of another run says nothing if that one came after this vector had begun: the
        two were signed in an order that only the coordinator knows. Two entries of one number are two histories,
        whenever they came.

        Args:
            heads: the signed heads by public key.
            known: what was `known` when the vector began.

        Raises:
            MaskingError: one of them is older than what its hospital had shown or done when the vector began, or of
                another history.
        """
        for identity, receipt in heads.items():
            least_counter = known[identity].least if identity in known else 0
            remembered = [head for head in (known.get(identity), self._seen.get(identity)) if head is not None]
            is_contradicted = any(head.counter == receipt.counter and head.head != receipt.head for head in remembered)
            if receipt.counter < least_counter or is_contradicted:
                beyond = max(head.least for head in remembered)
                raise MaskingError(
                    f"the ledger of the hospital with the key {fingerprint(identity)} went back, from entry {beyond} "
                    f"or later to entry {receipt.counter}. Repeat the request first: its head may have been on the "
                    "way for long, and a new attempt shows a newer one. If it is refused again, an old copy was "
                    "restored there: ask its people to find the newest copy; if it is lost, they run "
                    f"`fedsynth site ledger accept-restore --beyond {beyond}`"
                )
        self._write(heads, added=0)

    def have_delivered(self, heads: Mapping[str, Receipt]) -> None:
        """Remember that masked vectors arrived, so that the ledgers of their hospitals must have grown.

        Args:
            heads: by public key, the heads signed for the vector by the hospitals that have delivered it.
        """
        self._write(heads, added=VECTOR_ENTRIES)

    def _write(self, heads: Mapping[str, Receipt], *, added: int) -> None:
        """Remember the newest head of each, and that the next one is this number of entries beyond these heads."""
        for identity, receipt in heads.items():
            before = self._seen.get(identity, Seen(receipt.counter, receipt.head, 0))
            newest = Receipt(before.counter, before.head) if before.counter > receipt.counter else receipt
            least_counter = max(before.least, receipt.counter + added)
            self._seen[identity] = Seen(newest.counter, newest.head, least_counter)
        if self._path is not None:
            texts = {identity: asdict(head) for identity, head in self._seen.items()}
            write_synced(self._path, (json.dumps(texts, indent=1) + "\n").encode(), mode=0o600)
