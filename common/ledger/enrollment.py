"""What a hospital accepts a run as, and the ledger's text of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from common.ledger.chain import Entry


@dataclass(frozen=True, slots=True)
class Enrollment:
    """The study and the plan of an accepted run, and the table that it is answered from.

    Attributes:
        fingerprint: fingerprint of the study.
        study: TOML text of the study.
        plan: JSON text of the plan.
        table: digest of the table; empty in a simulation.
    """

    fingerprint: str
    study: str
    plan: str
    table: str = ""

    def content(self, shown: Mapping[str, int]) -> str:
        """Return the content of the ledger's entry.

        Args:
            shown: number of the entry whose receipt the coordinator showed, by its key.
        """
        return json.dumps({"study": self.study, "plan": self.plan, "table": self.table, "shown": dict(shown)})

    @classmethod
    def of(cls, entry: Entry) -> Enrollment:
        """Return what an entry of the ledger says."""
        texts = json.loads(entry.content)
        return cls(entry.slot.fingerprint, str(texts["study"]), str(texts["plan"]), str(texts["table"]))
