"""What a person decides about one run, by name: approval or withdrawal, and what all decisions amount to."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Self

from pydantic import AwareDatetime, Field, ValidationError, model_validator

from common.errors import Reason, SiteError
from common.ledger.receipts import Receipt
from common.settings import Frozen, Readable

DIGEST = "^[0-9a-f]{64}$"

MOST_DAYS = 366
"""Most days after which an approval ends."""


class Person(Frozen):
    """Who decides, in what position, and why.

    Software cannot tell who sits at the keyboard: these are the words of whoever uses the agent's account.
    """

    name: Readable = Field(min_length=1, max_length=200)
    position: Readable = Field(min_length=1, max_length=200)
    reason: Readable = Field(default="", max_length=1000)

    @classmethod
    def named(cls, name: str, position: str, reason: str) -> Person:
        """Return the person that options of a command name.

        Args:
            name: the person's name.
            position: what the person is at the hospital.
            reason: why they decide so; may be empty.

        Raises:
            SiteError: name or position is empty, or a text is too long or cannot be printed; the text names the option.
        """
        try:
            return cls(name=name.strip(), position=position.strip(), reason=reason.strip())
        except ValidationError as problem:
            error = problem.errors()[0]
            option = {"name": "approver"}.get(str(error["loc"][0]), error["loc"][0])
            cause = str(error["msg"]).removeprefix("Value error, ")
            raise SiteError(
                f"--{option}: {cause[:1].lower()}{cause[1:]}; a decision names a person and a position"
            ) from None

    @property
    def key(self) -> str:
        """The name without differences of case, spaces and letter forms, by which persons are told apart."""
        return " ".join(unicodedata.normalize("NFKC", self.name).casefold().split())

    def __str__(self) -> str:
        return f"{self.name}, {self.position}"


@dataclass(frozen=True, slots=True)
class Subject:
    """What an approval is about: fingerprint of the study, digest of the plan, digest of the frozen table."""

    fingerprint: str
    plan: str
    table: str


class Decision(Frozen):
    """One decision of one person about one run of one study under exactly one plan, over one frozen table.

    Attributes:
        study, fingerprint, plan_sha256: name and fingerprint of the study, digest of the plan.
        table_sha256: digest of the frozen table that the run would be answered from.
        statement: digest of the statement that the person read; None unless it is an approval.
        ledger: head of the ledger when the person decided. A ledger that lacks this entry is an old copy.
        time: when the person decided.
        expires: when an approval ends; None for a refusal.
    """

    kind: Literal["approve", "deny", "withdraw"]
    run_id: str
    study: Readable
    fingerprint: str = Field(pattern=DIGEST)
    plan_sha256: str = Field(pattern=DIGEST)
    table_sha256: str = Field(pattern=DIGEST)
    statement: str | None = Field(default=None, pattern=DIGEST)
    person: Person
    ledger: Receipt
    time: AwareDatetime
    expires: AwareDatetime | None = None

    @property
    def is_refusal(self) -> bool:
        """Whether this ends the run here for good: denied before an approval, or withdrawn after it."""
        return self.kind != "approve"

    def is_valid(self, now: datetime, days: int) -> bool:
        """Return whether this is an approval that has not ended: by its own date, or by the days that a site allows."""
        return self.expires is not None and now < min(self.expires, self.time + timedelta(days=days))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.is_refusal != (self.expires is None):
            raise ValueError("an approval has a date on which it ends, and a refusal has none")
        if self.expires is not None and self.expires > self.time + timedelta(days=MOST_DAYS):
            raise ValueError(f"an approval ends at most {MOST_DAYS} days after it was given")
        return self

    @property
    def words(self) -> str:
        """The decision for readers, such as 'approved by Kari Nordmann, data protection officer, until 2027-02-27'."""
        reason = f" ({self.person.reason})" if self.person.reason else ""
        if self.is_refusal:
            return f"{'denied' if self.kind == 'deny' else 'withdrawn'} by {self.person}{reason}"
        assert self.expires is not None, "an approval ends"
        return f"approved by {self.person}, until {self.expires:%Y-%m-%d}{reason}"


@dataclass(frozen=True, slots=True)
class Quorum:
    """Whose approvals count at a site.

    Attributes:
        approvers: how many different persons must approve a run.
        days: days after which an approval ends, whatever it says itself.
    """

    approvers: int = 1
    days: int = MOST_DAYS

    def valid(self, decisions: Iterable[Decision], table_sha256: str, now: datetime) -> dict[str, Decision]:
        """Return the approvals over one table that have not ended, by person: the latest of each.

        Args:
            decisions: decisions about one run and plan, oldest first.
            table_sha256: digest of the table.
            now: the present time.
        """
        over_it = [decision for decision in decisions if decision.table_sha256 == table_sha256]
        return {decision.person.key: decision for decision in over_it if decision.is_valid(now, self.days)}

    def is_met_over(self, decisions: Iterable[Decision], table_sha256: str, now: datetime) -> bool:
        """Return whether enough different persons have valid approvals over one table; arguments as for `valid`."""
        return self.is_met(self.valid(decisions, table_sha256, now).values())

    def is_met(self, approvals: Iterable[Decision]) -> bool:
        """Return whether enough different persons are among these approvals."""
        return len({approval.person.key for approval in approvals}) >= self.approvers


ONE_PERSON = Quorum()
"""One person, for as long as an approval says."""


def standing(decisions: Sequence[Decision], subject: Subject, quorum: Quorum, now: datetime) -> Reason:
    """Return ACCEPTED where enough persons approved exactly this plan over this table and none refused, else why not.

    Args:
        decisions: all decisions about the run, oldest first.
        subject: what must be approved.
        quorum: how many persons must have approved it, and since when.
        now: the present time.

    Returns:
        STUDY_NOT_APPROVED where no person approved the plan, or enough did, over other tables.
    """
    if any(decision.is_refusal for decision in decisions):
        return Reason.APPROVAL_WITHDRAWN
    wanted = subject.fingerprint, subject.plan
    approvals = [decision for decision in decisions if (decision.fingerprint, decision.plan_sha256) == wanted]
    if not approvals:
        return Reason.STUDY_NOT_APPROVED
    if quorum.is_met_over(approvals, subject.table, now):
        return Reason.ACCEPTED
    if quorum.is_met(approval for approval in approvals if approval.table_sha256 == subject.table):
        return Reason.APPROVAL_EXPIRED
    return Reason.STUDY_NOT_APPROVED if quorum.is_met(approvals) else Reason.APPROVAL_INCOMPLETE
