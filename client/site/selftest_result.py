"""The result of a self-test: what each check of the installation found, as the ledger keeps it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """What a check of the installation found.

    Args:
        name: name of the check.
        is_passed: whether it passed.
        detail: what was checked, or what is wrong and what to do.
    """

    name: str
    is_passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Selftest:
    """The result of the checks of one installation. It contains nothing about the site's records.

    Args:
        outcomes: what each check found.
        versions: versions of fedsynth and of the libraries, by name.
    """

    outcomes: tuple[CheckOutcome, ...]
    versions: dict[str, str]

    @classmethod
    def from_json(cls, content: str) -> Selftest:
        """Return the result that `to_json` wrote into the ledger's entry."""
        texts = json.loads(content)
        outcomes = (CheckOutcome(check["name"], check["is_passed"], check["detail"]) for check in texts["checks"])
        return cls(tuple(outcomes), texts["versions"])

    @property
    def failed(self) -> tuple[str, ...]:
        """Return the names of the checks that failed."""
        return tuple(outcome.name for outcome in self.outcomes if not outcome.is_passed)

    def to_json(self) -> str:
        """Return the content of the ledger's entry."""
        return json.dumps({"versions": self.versions, "checks": [asdict(outcome) for outcome in self.outcomes]})
