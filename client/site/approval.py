"""Approve a run: what was agreed, whether this site's policy would accept it, and the statement that people read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from client.consent.approvals import Approval
from client.consent.statement import partner_keys, what_it_costs, what_leaves
from client.site.config import Site
from client.site.state import check_owner, check_state
from common.errors import PolicyRefusal, SiteError
from common.ledger.ledger import Ledger
from common.planning.plan import Plan
from common.planning.planner import make_plan
from common.planning.proposal import read_proposal
from common.protocol.signing import fingerprint
from common.study.study import Study, read_study


@dataclass(frozen=True, slots=True)
class Agreement:
    """One run of one study under one plan, as the coordinator proposes it."""

    run_id: str
    study: Study
    plan: Plan


@dataclass(frozen=True, slots=True)
class ConsideredRun:
    """A run that this site's policy would accept.

    Attributes:
        approval: what to write when a person agrees.
        statement: lines to show that person first: what would leave the hospital, to whom, and what it costs.
    """

    approval: Approval
    statement: tuple[str, ...]


def read_agreement(path: Path, run_id: str | None) -> Agreement:
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
        return Agreement(proposal.run_id, *proposal.agreed())
    if run_id is None:
        raise SiteError("a study file does not name a run; give --run, or the coordinator's proposal")
    study = read_study(path)
    return Agreement(run_id, study, make_plan(study))


def consider_run(site: Site, agreement: Agreement) -> ConsideredRun:
    """Check a run against the site's policy and ledger, and describe it. Reads no record and writes nothing.

    Raises:
        SiteError: the state folder is incomplete or another account's, or the run id was used before.
        PolicyRefusal: the site's policy would refuse the run.
    """
    run_id, study, plan = agreement.run_id, agreement.study, agreement.plan
    check_state(site)
    check_owner(site)
    approval = Approval(run_id, study.name, study.fingerprint, plan.digest, datetime.now(UTC).isoformat("T", "seconds"))
    site.approvals.check(approval)
    history = Ledger.view(site.ledger)
    if history.enrollment(run_id) is not None:
        raise SiteError(f"run '{run_id}' is already in the ledger; every run needs its own id")
    spent = history.committed(site.name, site.max_epsilon)
    policy = replace(site.policy, approved=frozenset({study.fingerprint}))
    try:
        mine = policy.check(run_id, study, plan, spent)
    except PolicyRefusal as refusal:
        raise PolicyRefusal(refusal.reason, f"{site.name} would refuse study {study.name}: {refusal}") from None
    lines = [f"Run {run_id} of study {study.name} (fingerprint {study.fingerprint}, plan {plan.digest})."]
    if study.federation.coordinator is not None:
        key = fingerprint(study.federation.coordinator)
        lines.append(
            f"The agent will answer the holder of the key {key}. Compare it with the coordinator's key by telephone."
        )
    lines += partner_keys(study, site.name)
    lines += what_leaves(study, plan, mine)
    lines += what_it_costs(study, plan, mine, spent, cap=site.max_epsilon, delta=site.delta)
    return ConsideredRun(approval, tuple(lines))
