"""What a hospital remembers of the others' ledgers, so that one that went back takes part in no masked sum.

A hospital that restored an old copy would add noise a second time under one charge. Its partners notice: every
advertisement of masking keys holds the head of the sender's ledger, signed, and no coordinator can change or hide it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
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

    def keep(self, heads: Mapping[str, Receipt]) -> None:
        """Remember the heads that other hospitals signed, by public key, and wait until they are on the disk.

        Raises:
            MaskingError: one of them is older than what its hospital showed or did before, or of another history.
        """
        for identity, receipt in heads.items():
            known = self._seen.get(identity)
            if known is None:
                continue
            is_other = receipt.counter == known.counter and receipt.head != known.head
            if receipt.counter < known.least or is_other:
                raise MaskingError(
                    f"the ledger of the hospital with the key {fingerprint(identity)} went back, from entry "
                    f"{known.least} or later to entry {receipt.counter}: an old copy was restored there. Ask its "
                    "people to find the newest copy; if it is lost, they run `fedsynth site ledger accept-restore "
                    f"--beyond {known.least}`"
                )
        self._write(
            {identity: Seen(receipt.counter, receipt.head, receipt.counter) for identity, receipt in heads.items()}
        )

    def have_delivered(self, identities: Iterable[str]) -> None:
        """Remember that these hospitals' masked vectors arrived, so that their ledgers must have grown."""
        seen = {identity: self._seen[identity] for identity in identities if identity in self._seen}
        self._write({identity: replace(one, least=one.counter + VECTOR_ENTRIES) for identity, one in seen.items()})

    def _write(self, seen: Mapping[str, Seen]) -> None:
        self._seen |= seen
        if self._path is not None:
            texts = {identity: asdict(one) for identity, one in self._seen.items()}
            write_synced(self._path, (json.dumps(texts, indent=1) + "\n").encode(), mode=0o600)
