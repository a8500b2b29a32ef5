"""The hospitals that take part in a run, and how they are asked: hospitals without a usable reply are left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from common.errors import FederationError
from common.protocol.messages import Reply, Request
from common.run_events.events import Emit, HospitalRemoved, ignore
from common.run_events.exclusions import Exclusion, Fault
from common.study.study import Study
from server.receipts import Receipts
from server.run.exchange import Exchange, excluded

R = TypeVar("R", bound=Reply)


@dataclass
class Members:
    """The hospitals of one run.

    Args:
        study: gives the minimum number of hospitals.
        exchange: sends requests and collects replies.
        receipts: the head of each hospital's ledger at its last reply.
        emit: takes the events of the exchanges.
        by_node: hospital name by node id.
    """

    study: Study
    exchange: Exchange
    receipts: Receipts
    emit: Emit = ignore
    by_node: dict[int, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The hospitals, sorted."""
        return tuple(sorted(self.by_node.values()))

    def collect(self, request: Request, kind: type[R], fault: Callable[[R], Fault | None]) -> dict[str, R]:
        """Ask all members and return the usable replies by hospital.

        Args:
            request: asks for a reply without a mask.
            kind: the type of a reply.
            fault: returns what is wrong with a reply, or None.

        Raises:
            FederationError: fewer than `min_hospitals` gave a usable reply.
        """
        usable = self.usable(dict.fromkeys(self.by_node.values(), request), kind, fault)
        self.require(request.kind, len(usable), self.study.federation.min_hospitals)
        return usable

    def usable(
        self, requests: Mapping[str, Request], kind: type[R], fault: Callable[[R], Fault | None]
    ) -> dict[str, R]:
        """Send each hospital its request and return the usable replies by hospital, sorted.

        Other hospitals are left out of this exchange, each with an event. A hospital whose ledger was set back leaves
        the run.

        Args:
            requests: request by hospital.
            kind: the type of a reply.
            fault: returns what is wrong with a reply, or None.
        """
        usable: dict[str, R] = {}
        set_back: list[int] = []
        asked = {node: requests[name] for node, name in self.by_node.items() if name in requests}
        for node, reply in self.exchange.ask_each(asked, self.by_node).items() if asked else ():
            name = self.by_node[node]
            if not isinstance(reply, kind) or reply.hospital != name:
                self.emit(excluded(asked[node], name, Fault(Exclusion.NO_ANSWER)))
            elif problem := fault(reply):
                self.emit(excluded(asked[node], name, problem))
            elif reason := self._fault_of_receipt(reply):
                self.emit(excluded(asked[node], name, Fault(reason)))
                set_back.append(node)
            else:
                usable[name] = reply
        for node in set_back:  # it is not asked again, so its last good receipt stays
            self.emit(HospitalRemoved(hospital=self.by_node.pop(node)))
        self.receipts.save()
        return usable

    def _fault_of_receipt(self, reply: Reply) -> Exclusion | None:
        """Keep the receipt of a reply; return what is wrong with it, or None, also where the reply has none."""
        counter, head = getattr(reply, "counter", None), getattr(reply, "head", "")
        if counter is None:
            return None
        problem = self.receipts.fault_of_answer(reply.hospital, counter, head)
        if problem is None:
            self.receipts.keep_answer(reply.hospital, counter, head)
        return problem

    def require(self, phase: str, present: int, needed: int) -> None:
        """Check that enough hospitals are left.

        Masked sums need `quorum` hospitals; replies that carry the hospital's own noise need `min_hospitals`.

        Raises:
            FederationError: fewer than `needed` are present.
        """
        if present < needed:
            rule = "min_hospitals" if needed == self.study.federation.min_hospitals else "hospitals - dropouts"
            raise FederationError(
                f"{phase}: {present} hospitals left, {rule} is {needed}; see the log for who dropped out and why"
            )
