"""What a person decides about one run, by name: approval or withdrawal, and what all decisions amount to."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, Field, ValidationError

from common.errors import Reason, SiteError
from common.settings import Frozen, Readable

DIGEST = "^[0-9a-f]{64}$"


class Person(Frozen):
    """Who decides, in what role, and why.

    Software cannot tell who sits at the keyboard: these are the words of whoever uses the agent's account.
    """

    name: Readable = Field(min_length=1, max_length=200)
    role: Readable = Field(min_length=1, max_length=200)
    reason: Readable = Field(default="", max_length=1000)

    @classmethod
    def named(cls, name: str, role: str, reason: str) -> Person:
        """Return the person that options of a command name.

        Raises:
            SiteError: name or role is empty, or a text is too long or cannot be printed; the text names the option.
        """
        try:
            return cls(name=name.strip(), role=role.strip(), reason=reason.strip())
        except ValidationError as problem:
            error = problem.errors()[0]
            option = {"name": "approver"}.get(str(error["loc"][0]), error["loc"][0])
            cause = str(error["msg"]).removeprefix("Value error, ")
            raise SiteError(
                f"--{option}: {cause[:1].lower()}{cause[1:]}; a decision names a person and a role"
            ) from None

    @property
    def key(self) -> str:
        """The name without differences of case, spaces and letter forms, by which persons are told apart."""
        return " ".join(unicodedata.normalize("NFKC", self.name).casefold().split())

    def __str__(self) -> str:
        return f"{self.name}, {self.role}"


class Decision(Frozen):
    """One decision of one person about one run of one study under exactly one plan, over one frozen table.

    Attributes:
        study, fingerprint, plan_sha256: name and fingerprint of the study, digest of the plan.
        table_sha256: digest of the frozen table that the run would be answered from.
        statement: digest of the statement that the person read; None for a withdrawal.
        time: when the person decided.
        expires: when an approval ends; None for a withdrawal.
    """

    kind: Literal["approve", "withdraw"]
    run_id: str
    study: Readable
    fingerprint: str = Field(pattern=DIGEST)
    plan_sha256: str = Field(pattern=DIGEST)
    table_sha256: str = Field(pattern=DIGEST)
    statement: str | None = Field(default=None, pattern=DIGEST)
    person: Person
    time: AwareDatetime
    expires: AwareDatetime | None = None

    @property
    def is_withdrawal(self) -> bool:
        return self.kind == "withdraw"

    def is_valid(self, now: datetime) -> bool:
        """Return whether this is an approval that has not ended."""
        return not self.is_withdrawal and self.expires is not None and now < self.expires

    @property
    def words(self) -> str:
        """The decision for readers, such as 'approved by Kari Nordmann, data protection officer, until 2027-02-27'."""
        reason = f" ({self.person.reason})" if self.person.reason else ""
        if self.is_withdrawal:
            return f"withdrawn by {self.person}{reason}"
        assert self.expires is not None, "an approval ends"
        return f"approved by {self.person}, until {self.expires:%Y-%m-%d}{reason}"


def standing(
    decisions: Sequence[Decision], fingerprint: str, plan_sha256: str, *, approvers: int, now: datetime
) -> Reason:
    """Return ACCEPTED where enough persons approved exactly this plan and none withdrew, else why not.

    Args:
        decisions: all decisions about the run, oldest first.
        fingerprint: fingerprint of the study.
        plan_sha256: digest of the plan.
        approvers: how many different persons must approve.
        now: the present time.
    """
    if any(decision.is_withdrawal for decision in decisions):
        return Reason.APPROVAL_WITHDRAWN
    approvals = [one for one in decisions if (one.fingerprint, one.plan_sha256) == (fingerprint, plan_sha256)]
    if not approvals:
        return Reason.STUDY_NOT_APPROVED
    if _persons(one for one in approvals if one.is_valid(now)) >= approvers:
        return Reason.ACCEPTED
    return Reason.APPROVAL_EXPIRED if _persons(approvals) >= approvers else Reason.APPROVAL_INCOMPLETE


def _persons(decisions: Iterable[Decision]) -> int:
    return len({decision.person.key for decision in decisions})
