"""What a check of the installation is, and how one fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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


def require(is_true: bool, problem: str) -> None:
    """Raise `CheckError` with this text unless the condition holds."""
    if not is_true:
        raise CheckError(problem)
