"""Decide about a run: what was agreed, whether this site's policy would accept it, and what people read first."""

from __future__ import annotations

import hashlib
import re
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from client.consent.decisions import Decision, Person
from client.consent.statement import partner_keys, what_it_costs, what_leaves, what_the_approval_is
from client.site.config import Site
from client.site.imported import check_definitions, open_frozen, read_import
from client.site.state import check_own_state, open_ledger
from common.errors import LedgerHeldError, PolicyRefusal, Reason, SiteError
from common.ledger.ledger import Ledger
from common.ledger.receipts import Receipt
from common.omop.words import sql_lines
from common.planning.plan import HospitalPlan, Plan
from common.planning.planner import make_plan
from common.planning.proposal import read_proposal
from common.privacy.events import Event
from common.protocol.signing import fingerprint
from common.study.study import Study, read_study

LEAST_TYPED = 8
"""Digits of a statement's digest that a person types under the statement itself. A script needs all 64."""


@dataclass(frozen=True, slots=True)
class ProposedRun:
    """One run of one study under one plan, as the coordinator proposes it."""

    run_id: str
    study: Study
    plan: Plan


@dataclass(frozen=True, slots=True)
class ConsideredRun:
    """A run that this site's policy would accept.

    Attributes:
        site, proposed: where, and what was considered.
        table_sha256: digest of the frozen table that would answer it.
        head: head of the ledger when it was considered.
        statement: lines to show a person first: what would leave the hospital, to whom, and what it costs.
    """

    site: Site
    proposed: ProposedRun
    table_sha256: str
    head: Receipt
    statement: tuple[str, ...]

    def approval(self, person: Person) -> Decision:
        """Return what to file when this person agrees, from now on.

        Raises:
            SiteError: the run was refused before, or this person's approval would add nothing.
        """
        denial = _denial(self.proposed, self.table_sha256, self.head, person)
        ends = denial.time + timedelta(days=self.site.consent.days)
        approval = denial.model_copy(update={"kind": "approve", "statement": self.digest, "expires": ends})
        self.site.approvals.check_new(approval)
        return approval

    @property
    def digest(self) -> str:
        """SHA-256 of the statement, by which an approval says what was read."""
        return _digest(self.statement)

    @property
    def ledger_note(self) -> str:
        """What a person writes down beside the statement, which is the same whenever it is read."""
        return (
            f"The ledger ends at entry {self.head.counter}. Write the number down: if it is lower next time, an old "
            "copy was restored."
        )

    def require_read(self, typed: str, *, is_whole: bool) -> None:
        """Raise unless `typed` is the digest of this very statement.

        Args:
            typed: what a person typed after reading, or what a script was given by somebody who had read.
            is_whole: demand all 64 digits, where the statement may not have been on the screen. Of a prefix, whoever
                writes a study could find two statements that share it.

        Raises:
            SiteError: it is not a digest.
            PolicyRefusal: it is the digest of another statement, or the person did not agree.
        """
        bare = "".join(typed.split()).lower()
        if is_whole and not re.fullmatch("[0-9a-f]{64}", bare):
            raise SiteError("--agree: a digest has 64 hexadecimal digits; copy it from the end of the statement")
        if len(bare) < LEAST_TYPED or not self.digest.startswith(bare):
            cause = (
                "the digest is of another statement than the one above"
                if is_whole
                else f"what was typed is not the start of its digest ({LEAST_TYPED} digits or more), so nobody agreed"
            )
            raise PolicyRefusal(
                Reason.STUDY_NOT_APPROVED,
                f"run '{self.proposed.run_id}' was not approved: {cause}; nothing was written",
            )


def read_proposed_run(path: Path, run_id: str | None) -> ProposedRun:
    """Read a coordinator's signed proposal (JSON), or a study file (TOML) together with a run id.

    Args:
        path: the proposal or the study file.
        run_id: required with a study file; must be absent, or the proposal's own, with a proposal.

    Raises:
        SiteError: the run id is missing, or is not the proposal's.
        StudyError: the file cannot be read, or the proposal's signature is wrong.
    """
    if path.suffix == ".json":
        proposal = read_proposal(path)
        if run_id not in (None, proposal.run_id):
            raise SiteError(f"the proposal is for run '{proposal.run_id}'; leave --run out")
        return ProposedRun(proposal.run_id, *proposal.agreed())
    if run_id is None:
        raise SiteError("a study file does not name a run; give --run, or the coordinator's proposal")
    study = read_study(path)
    return ProposedRun(run_id, study, make_plan(study))


def consider_run(site: Site, proposed: ProposedRun) -> ConsideredRun:
    """Check a run against the site's policy and ledger, and describe it. Reads no record and writes nothing.

    Args:
        site: this hospital's site.
        proposed: the run.

    Raises:
        SiteError: the state folder is incomplete or another account's, no table is imported or by other definitions,
            or the run id was used before.
        PolicyRefusal: the site's policy would refuse the run.
    """
    run_id, study, plan = proposed.run_id, proposed.study, proposed.plan
    check_own_state(site)
    imported = open_frozen(site).imported
    check_definitions(imported, study)
    table = imported.sha256
    site.approvals.of(run_id)  # an unusable run id, or a damaged file, is said before anything is read
    history = Ledger.view(site.ledger)
    if history.enrollment(run_id) is not None:
        raise SiteError(f"run '{run_id}' is already in the ledger; every run needs its own id")
    spent = history.committed(site.name, site.max_epsilon)
    try:
        history.check_unit(study.privacy.unit)
        hospital_plan = site.policy.check_terms(study, plan, spent)
    except PolicyRefusal as refusal:
        raise PolicyRefusal(refusal.reason, f"{site.name} would refuse study {study.name}: {refusal}") from None
    return ConsideredRun(site, proposed, table, history.head, _statement(site, proposed, hospital_plan, spent))


def deny(site: Site, proposed: ProposedRun, person: Person) -> bool:
    """Deny a run, for good, and return whether the ledger has the entry already; see `decide`.

    Args:
        site: the hospital's site.
        proposed: the proposed run.
        person: who denies it.

    Raises:
        SiteError: no table is imported, so that nothing could be answered, or the run was refused before.
    """
    check_own_state(site)
    head = Ledger.view(site.ledger).head
    return decide(site, _denial(proposed, read_import(site).sha256, head, person))


def withdraw(site: Site, run_id: str, person: Person) -> bool:
    """Withdraw a run's approval, for good, and return whether the ledger has the entry already; see `decide`.

    Args:
        site: the hospital's site.
        run_id: the run.
        person: who withdraws the approval.

    Raises:
        SiteError: the run was not approved, or was withdrawn before.
    """
    check_own_state(site)
    approval, head = site.approvals.last(run_id), Ledger.view(site.ledger).head
    update = {"kind": "withdraw", "person": person, "ledger": head, "time": _now(), "statement": None, "expires": None}
    return decide(site, approval.model_copy(update=update))


def decide(site: Site, decision: Decision) -> bool:
    """File a decision and enter it into the ledger.

    Returns:
        False where the running agent holds the ledger: it enters the decision before it next answers about the run.

    Raises:
        SiteError: the decision adds nothing, or cannot be written.
        LedgerError: the ledger was altered, or is an old copy.
        PolicyRefusal: the file of the run lost an earlier decision.
    """
    site.approvals.add(decision)
    try:
        ledger = open_ledger(site)
    except LedgerHeldError:
        return False
    with closing(ledger):
        site.approvals.record_all(ledger)
        site.approvals.record(decision.run_id, ledger)
    return True


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _denial(proposed: ProposedRun, table_sha256: str, head: Receipt, person: Person) -> Decision:
    """Return a denial of a run, at this moment."""
    study = proposed.study
    return Decision(
        kind="deny",
        run_id=proposed.run_id,
        study=study.name,
        fingerprint=study.fingerprint,
        plan_sha256=proposed.plan.digest,
        table_sha256=table_sha256,
        person=person,
        ledger=head,
        time=_now(),
    )


def _statement(
    site: Site, proposed: ProposedRun, hospital_plan: HospitalPlan, spent: tuple[Event, ...]
) -> tuple[str, ...]:
    """Return the lines that a person reads. They depend on no time, so that two persons read the same."""
    study, plan = proposed.study, proposed.plan
    imported = read_import(site)
    lines = [
        f"Run {proposed.run_id} of study {study.name} (fingerprint {study.fingerprint}, plan {plan.digest}).",
        f"It would be answered from the table imported on {imported.time[:10]}, SHA-256 {imported.sha256}.",
    ]
    if study.federation.coordinator is not None:
        key = fingerprint(study.federation.coordinator)
        lines.append(
            f"The agent will answer the holder of the key {key}. Compare it with the coordinator's key by telephone."
        )
    lines += partner_keys(study, site.name, site.partners.of(study, site.name))
    if study.extraction is not None:
        lines += sql_lines(study.extraction)  # long, so that what follows is on the screen when a person agrees
    lines += what_leaves(study, plan, hospital_plan)
    lines += what_it_costs(study, plan.events(hospital_plan), spent, cap=site.max_epsilon, delta=site.delta)
    lines += what_the_approval_is(site.consent.approvers, site.consent.days)
    return tuple(lines)


def _digest(lines: tuple[str, ...]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
