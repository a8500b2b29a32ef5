"""Enrollment: every node that connects is asked, and a hospital whose policy accepts the run becomes a member."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from common.errors import REASON_TEXTS, PolicyRefusal, Reason
from common.protocol.messages import EnrollReply, EnrollRequest, Reply
from common.run_events.events import HospitalDeclined, HospitalsEnrolled, phase
from common.run_events.exclusions import Exclusion, Fault
from server.run.agreed_run import AgreedRun, Resources
from server.run.exchange import ENROLLMENT, SLOWEST_POLL_S, excluded
from server.run.members import Members

MEMBERS = "members"
"""The checkpoint that names the hospitals that enrolled when the run began."""


def enroll(agreed: AgreedRun, resources: Resources) -> Members:
    """Ask every node as it connects, and return the hospitals that accept.

    Waits for the study's hospitals until the deadline. A resumed run takes the members it had, and no others.

    Raises:
        PolicyRefusal: too few hospitals are left after their policies refused.
        FederationError: too few hospitals enrolled for another reason.
    """
    with phase(resources.emit, ENROLLMENT):
        return _enroll(agreed, resources)


def _enroll(agreed: AgreedRun, resources: Resources) -> Members:
    study, exchange, receipts = agreed.study, resources.exchange, resources.receipts
    before = resources.checkpoints.noted(MEMBERS)
    expected = len(study.hospitals if before is None else before)
    plan = agreed.plan
    request = EnrollRequest(agreed.run_id, study.to_toml(), study.fingerprint, plan.to_json(), receipts.to_json())
    enrollment = _Enrollment(agreed, Members(study, exchange, receipts, resources.emit), request, before)
    end = time.monotonic() + exchange.deadline_s
    asked: set[int] = set()
    strangers = 0
    while True:
        connected = {node: f"node {node}" for node in exchange.nodes() if node not in asked}
        asked |= connected.keys()
        for node, reply in exchange.ask(request, connected).items() if connected else ():
            strangers += plan.of(reply.hospital) is None
            enrollment.admit(node, reply)
        if len(asked) - strangers >= expected or time.monotonic() > end:
            break
        time.sleep(SLOWEST_POLL_S)
    receipts.save()
    members = enrollment.members
    _require_willing(study.quorum, len(asked), enrollment.refusals)
    members.require(ENROLLMENT, len(members.by_node), study.quorum)
    resources.checkpoints.note(MEMBERS, list(members.names) if before is None else before)
    resources.emit(HospitalsEnrolled(hospitals=members.names))
    return members


@dataclass
class _Enrollment:
    """Decides for each reply whether its node becomes a member.

    Args:
        before: the members of the run that is resumed; None for a new run.
        refusals: reason of each policy that refused, by hospital or placeholder.
    """

    agreed: AgreedRun
    members: Members
    request: EnrollRequest
    before: list[str] | None
    refusals: dict[str, Reason] = field(default_factory=dict)

    def admit(self, node: int, reply: Reply) -> None:
        """Make the node a member if it qualifies; else record the reason of its policy."""
        # A name outside the study may be any text, so it is not repeated.
        name = reply.hospital if self.agreed.plan.of(reply.hospital) else f"node {node}"
        claimed = reply.reason if isinstance(reply, EnrollReply) else str(Reason.UNAVAILABLE)
        reason = Reason(claimed) if claimed in set(Reason) else Reason.UNAVAILABLE
        receipts = self.members.receipts
        if not isinstance(reply, EnrollReply) or reason != Reason.ACCEPTED or name != reply.hospital:
            self.members.emit(HospitalDeclined(hospital=name, reason=reason))
            self.refusals[name] = reason
        elif name in self.members.by_node.values():
            self._exclude(name, Exclusion.NAME_TAKEN)
        elif self.before is not None and name not in self.before:
            self._exclude(name, Exclusion.NOT_ENROLLED)
        elif problem := receipts.fault_of_head(name, reply.counter, reply.head):
            self._exclude(name, problem)
        else:
            self.members.by_node[node] = name
            receipts.keep_head(name, reply.counter, reply.head)

    def _exclude(self, hospital: str, reason: Exclusion) -> None:
        self.members.emit(excluded(self.request, hospital, Fault(reason)))


def _require_willing(quorum: int, asked: int, refusals: Mapping[str, Reason]) -> None:
    """Raise `PolicyRefusal` if refusals by policies alone leave too few hospitals."""
    refused = {name: reason for name, reason in refusals.items() if reason != Reason.UNAVAILABLE}
    if refused and asked - len(refused) < quorum:
        texts = "; ".join(f"{name}: {REASON_TEXTS[reason]}" for name, reason in sorted(refused.items()))
        raise PolicyRefusal(next(iter(refused.values())), f"refused by {len(refused)} of {asked} hospitals: {texts}")
