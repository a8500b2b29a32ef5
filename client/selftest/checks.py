"""What a check of the installation is, how one fails, and the result of all of them in the ledger."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

from client.site.config import Site


class CheckError(Exception):
    """A check failed. The text says what is wrong and what to do, and nothing about a record."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check of an installation.

    Args:
        name: name of the check in the ledger and on the screen.
        run: returns in words what was checked. Raises `CheckError`; any other exception counts as a failure too.
        remedy: what to do where the check ends with an exception that it does not explain.
    """

    name: str
    run: Callable[[Site], str]
    remedy: str


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


def require(is_true: bool, problem: str) -> None:
    """Raise `CheckError` with this text unless the condition holds."""
    if not is_true:
        raise CheckError(problem)
