"""The latest receipt of every hospital, kept at the coordinator across runs."""

from __future__ import annotations

from pathlib import Path

from common.errors import FederationError, WireError
from common.ledger.receipts import Receipt, receipts_from_json, receipts_to_json
from common.run_events.exclusions import Exclusion
from common.system.files import write_synced


class Receipts:
    """The last known head of each hospital's ledger. A hospital that shows an earlier one has lost entries.

    Args:
        path: the JSON file; created with its folder at the first receipt.

    Raises:
        FederationError: the file is there and cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._latest: dict[str, Receipt] = {}
        self._in_this_run: dict[str, int] = {}
        try:
            self._latest = receipts_from_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            pass
        except (OSError, WireError, ValueError):
            raise FederationError(f"'{path}' does not hold receipts; restore it, or choose another file") from None

    def to_json(self) -> str:
        """Return all receipts, for the request that asks hospitals to take part."""
        return receipts_to_json(self._latest)

    def fault_of_head(self, hospital: str, counter: int, head: str) -> Exclusion | None:
        """Return what is wrong with the ledger head that a hospital reports, or None.

        Args:
            hospital: name of the hospital.
            counter: number of entries in its ledger.
            head: hash of the last entry, hex.
        """
        known = self._latest.get(hospital)
        if known is not None and (counter < known.counter or (counter == known.counter and head != known.head)):
            return Exclusion.LEDGER_SET_BACK
        return self._malformed(counter, head)

    def fault_of_answer(self, hospital: str, counter: int, head: str) -> Exclusion | None:
        """Return what is wrong with the receipt of a reply, or None.

        Replies of one run are charged in the order of the requests, including repeated ones.

        Args:
            hospital: name of the hospital.
            counter: number of entries in its ledger.
            head: hash of the last entry, hex.
        """
        if counter <= self._in_this_run.get(hospital, 0):
            return Exclusion.RECEIPT_NOT_LATER
        return self._malformed(counter, head)

    def _malformed(self, counter: int, head: str) -> Exclusion | None:
        try:
            Receipt(counter, head)
        except ValueError:
            return Exclusion.RECEIPT_MALFORMED
        return None

    def keep_head(self, hospital: str, counter: int, head: str) -> None:
        """Remember the state of the ledger of a hospital that takes part; `save` writes it."""
        if hospital not in self._latest or counter > self._latest[hospital].counter:
            self._latest[hospital] = Receipt(counter, head)

    def keep_answer(self, hospital: str, counter: int, head: str) -> None:
        """Remember the receipt of a usable reply; `save` writes it."""
        self._in_this_run[hospital] = counter
        self.keep_head(hospital, counter, head)

    def save(self) -> None:
        """Write all receipts and wait until they are on the disk."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_synced(self._path, (self.to_json() + "\n").encode())
