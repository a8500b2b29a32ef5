"""The decisions of people about single runs: one file for each run, and an entry of the ledger for each decision.

People decide while the agent holds the ledger. So a decision is filed first, and whoever holds the ledger enters it:
the command itself, or the agent before it next answers about the run. The agent follows a file only where it continues
what the ledger has: a file that lost a decision approves nothing.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from client.consent.decisions import ONE_PERSON, Decision, Quorum, Subject, standing
from common.errors import REASON_TEXTS, PolicyRefusal, Reason, SiteError, cause_of
from common.ledger.ledger import Ledger
from common.planning.plan import Plan
from common.planning.proposal import RUN_ID
from common.study.study import Study
from common.system.files import HeldError, locked, write_synced, writing


@dataclass(frozen=True, slots=True)
class Approvals:
    """The decisions at a site, one JSON file per run. They are read at every request, not when the site starts.

    Attributes:
        folder: folder of the files.
        quorum: how many different persons must approve a run, and how long that holds.
    """

    folder: Path
    quorum: Quorum = ONE_PERSON

    def of(self, run_id: str) -> tuple[Decision, ...]:
        """Return the decisions about a run, oldest first; none where there is no file.

        Raises:
            SiteError: the run id is unusable, or the file was damaged, or moved from another run.
        """
        path = self._path(run_id)
        try:
            items = json.loads(path.read_bytes())
            decisions = tuple(Decision.model_validate_json(json.dumps(item)) for item in items)
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, TypeError, ValidationError) as problem:
            cause = cause_of(problem) if isinstance(problem, OSError) else "it does not hold decisions"
            raise SiteError(f"cannot read '{path}': {cause}; restore it, or propose a new run") from None
        if any(decision.run_id != run_id for decision in decisions):
            raise SiteError(f"'{path}' holds decisions about another run; restore it, or propose a new run")
        return decisions

    def last(self, run_id: str) -> Decision:
        """Return the latest decision about a run that was approved. Raises `SiteError` where none was filed."""
        decisions = self.of(run_id)
        if not decisions:
            raise SiteError(f"run '{run_id}' was not approved, so there is nothing to withdraw; check the run id")
        return decisions[-1]

    def add(self, decision: Decision) -> None:
        """File a decision; the file appears whole or not at all.

        Raises:
            SiteError: the file cannot be read or written, or as for `check_new`.
        """
        path = self._path(decision.run_id)
        try:
            with (
                writing(path, remedy="check the state folder", error=SiteError),
                locked(self.folder / ".lock", mode=0o600),
            ):
                self.check_new(decision)
                decisions = (*self.of(decision.run_id), decision)
                texts = [filed.model_dump(mode="json") for filed in decisions]
                write_synced(path, (json.dumps(texts, indent=2) + "\n").encode(), mode=0o600)
        except HeldError as holder:
            raise SiteError(f"process {holder} is filing a decision at this moment; try again") from None

    def check_new(self, decision: Decision) -> None:
        """Raise `SiteError` if this decision adds nothing to the earlier ones, or contradicts them.

        Raises:
            SiteError: the run was refused, approved with another plan, approved by this person or by enough persons
                already; or there is no approval to withdraw.
        """
        run_id, earlier = decision.run_id, self.of(decision.run_id)
        refusal = next((filed for filed in earlier if filed.is_refusal), None)
        if refusal is not None:
            words = f"{refusal.words} on {refusal.time:%Y-%m-%d}"
            raise SiteError(f"run '{run_id}' was {words}; every run needs its own id")
        if decision.is_refusal:
            if decision.kind == "withdraw":
                self.last(run_id)
            return
        if any(approval.plan_sha256 != decision.plan_sha256 for approval in earlier):
            raise SiteError(f"run '{run_id}' was approved with another plan; every run needs its own id")
        valid = self.quorum.valid(earlier, decision.table_sha256, decision.time)
        if self.quorum.is_met(valid.values()):
            words = " and ".join(approval.words for approval in valid.values())
            raise SiteError(f"run '{run_id}' is {words}; there is nothing to add")
        if decision.person.key in valid:
            raise SiteError(
                f"{decision.person.name} has approved run '{run_id}' already; another person must be the second"
            )

    def record(self, run_id: str, ledger: Ledger) -> None:
        """Enter the decisions about a run that the ledger does not have yet.

        Raises:
            PolicyRefusal: the file cannot be read, or lacks a decision that the ledger has.
            LedgerError: the ledger lacks an entry that it had when one of them was filed: it is an old copy.
        """
        try:
            filed = self.of(run_id)
        except SiteError as problem:
            raise PolicyRefusal(Reason.STUDY_NOT_APPROVED, str(problem)) from None
        recorded = tuple(Decision.model_validate_json(text) for text in ledger.decisions(run_id))
        if filed[: len(recorded)] != recorded:
            raise PolicyRefusal(
                Reason.STUDY_NOT_APPROVED,
                f"'{self._path(run_id)}' lacks a decision that the ledger has; restore it, or propose a new run",
            )
        for decision in filed[len(recorded) :]:
            ledger.check_seen(decision.ledger, f"run '{run_id}' was {decision.words} at")
            ledger.decide(decision.fingerprint, run_id, decision.model_dump_json())

    def runs(self) -> tuple[str, ...]:
        """Return the ids of all runs with a file, whatever is in it."""
        return tuple(sorted(path.stem for path in self.folder.glob("*.json")))

    def newest_entry(self) -> int:
        """Return the highest number of an entry of the ledger that a decision names; 0 for none."""
        decisions: list[Decision] = []
        for run_id in self.runs():
            with suppress(SiteError):
                decisions += self.of(run_id)
        return max((decision.ledger.counter for decision in decisions), default=0)

    def record_all(self, ledger: Ledger) -> None:
        """Enter all filed decisions. A run whose file is faulty is left out; its requests are refused.

        Raises:
            LedgerError: the ledger is an older copy than one of the files.
        """
        for run_id in self.runs():
            with suppress(PolicyRefusal, SiteError):
                self.record(run_id, ledger)

    def check(self, run_id: str, study: Study, plan: Plan, table: str) -> None:
        """Refuse a run that is not approved at this moment, by enough persons, under exactly this plan and table.

        Args:
            run_id, study, plan: the run.
            table: digest of the table that it would be answered from.

        Raises:
            PolicyRefusal: it is not; the reason says whether an approval is missing, expired or withdrawn.
        """
        try:
            decisions = self.of(run_id)
        except SiteError as problem:
            raise PolicyRefusal(Reason.STUDY_NOT_APPROVED, str(problem)) from None
        subject = Subject(study.fingerprint, plan.digest, table)
        reason = standing(decisions, subject, self.quorum, datetime.now(UTC))
        if reason == Reason.ACCEPTED:
            return
        is_of_this_plan = any(decision.plan_sha256 == plan.digest for decision in decisions)
        if reason == Reason.STUDY_NOT_APPROVED and is_of_this_plan:
            raise PolicyRefusal(reason, "another table was imported since the run was approved; approve it again")
        raise PolicyRefusal(reason, REASON_TEXTS[reason])

    def _path(self, run_id: str) -> Path:
        if not RUN_ID.fullmatch(run_id):
            raise SiteError("a run id consists of 1 to 64 letters, digits, '.', '_' or '-'; choose another")
        return self.folder / f"{run_id}.json"
