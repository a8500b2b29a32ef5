"""Somebody answers in a hospital's name: another site, a relay, a thief of tasks. Nothing of it is believed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from common.errors import FederationError, Reason
from common.planning.planner import make_plan
from common.protocol import wire
from common.protocol.byte_form import digest, to_bytes
from common.protocol.messages import CountsReply, CountsRequest, EnrollReply, EnrollRequest, Reply, Request, Unavailable
from common.protocol.signing import Identity, sign_reply
from common.run_events.events import HospitalDeclined, HospitalExcluded, HospitalReplied, RepliesUnchecked, RunEvent
from common.run_events.exclusions import Exclusion
from common.study.sections import HospitalFacts
from common.study.study import Study
from common.system.folder import RunFolder
from server.flower_app import signing_identities
from server.receipts import Receipts
from server.run.agreed_run import AgreedRun, Resources
from server.run.checkpoints import Checkpoints
from server.run.enrollment import enroll
from server.run.exchange import Exchange
from server.run.members import Members
from tests.testbeds.clinic import HOSPITALS, clinic_study

KEYS = {name: Identity.simulated(1, name) for name in HOSPITALS}
HEAD = "ab" * 32
Answer = Callable[[Request], RecordDict]
"""What comes back from a node."""


class Network:
    """Nodes that answer at once, each as it likes, in the order of their numbers."""

    def __init__(self, nodes: Mapping[int, Answer]) -> None:
        self._nodes, self._replies = nodes, dict[str, Message]()

    def get_node_ids(self) -> list[int]:
        return list(self._nodes)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        ids: list[str] = []
        for message in messages:
            ids.append(f"m{len(self._replies) + len(ids)}")
            message.metadata.__dict__["_message_id"] = ids[-1]
            content = self._nodes[message.metadata.dst_node_id](wire.decode_request(message.content))
            self._replies[ids[-1]] = Message(content, reply_to=message)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        return [self._replies[one] for one in message_ids]


def signed(request: Request, reply: Reply, key: str) -> RecordDict:
    return wire.encode(reply, sign_reply(KEYS[key], digest(request), to_bytes(reply)))


def accepts(name: str, counter: int = 3) -> EnrollReply:
    return EnrollReply(name, str(Reason.ACCEPTED), counter, HEAD)


def site(name: str) -> Answer:
    """A hospital as it should be, at enrollment."""
    return lambda request: signed(request, accepts(name), name)


def study_of(*listed: str) -> Study:
    facts = tuple(
        HospitalFacts(name=name, declared_rows=90, identity=KEYS[name].public if name in listed else None)
        for name in HOSPITALS
    )
    return clinic_study(federation={"round_deadline_s": 1.0}).with_hospitals(facts)


def enrolled(study: Study, nodes: Mapping[int, Answer], folder: Path, events: list[RunEvent]) -> Members:
    """Enroll the nodes as `server.flower_app.coordinate` does outside a simulation."""
    plan = make_plan(study)
    identities = signing_identities(study, events.append)
    hospitals = dict.fromkeys(HOSPITALS, "") | identities
    exchange = Exchange(cast(Grid, Network(nodes)), 1.0, hospitals=hospitals, emit=events.append)
    checkpoints = Checkpoints(RunFolder(folder / "run"), "run-1", plan)
    resources = Resources(exchange, checkpoints, Receipts(folder / "receipts.json"), events.append)
    return enroll(AgreedRun("run-1", study, plan), resources)


def receipts(folder: Path) -> dict[str, int]:
    return {name: one["counter"] for name, one in json.loads((folder / "receipts.json").read_text()).items()}


def forgeries(events: list[RunEvent]) -> list[tuple[str, str, Exclusion]]:
    """Return each exclusion: who answered, in whose name if in another's, and why."""
    return [(event.hospital, event.claims, event.reason) for event in events if isinstance(event, HospitalExcluded)]


GREEDY = accepts("north", 2**40)
"""If its receipt were kept, every later run would tell the genuine north that its ledger is behind."""

FORGERIES: dict[str, Answer] = {
    "no signature": lambda request: wire.encode(GREEDY),
    "bytes that are no signature": lambda request: wire.encode(GREEDY, b"signed"),
    "the key of another site": lambda request: signed(request, GREEDY, "west"),
    "moved from another run": lambda request: signed(replace(request, run_id="run-0"), GREEDY, "north"),
    "an altered receipt": lambda request: wire.encode(
        GREEDY, sign_reply(KEYS["north"], digest(request), to_bytes(accepts("north")))
    ),
}


@pytest.mark.parametrize("forged", FORGERIES.values(), ids=FORGERIES)
def test_forged_enrollment_is_excluded_and_its_receipt_dropped(forged: Answer, tmp_path: Path) -> None:
    events: list[RunEvent] = []
    members = enrolled(study_of(*HOSPITALS), {1: forged, 2: site("north"), 3: site("south")}, tmp_path, events)
    assert members.by_node == {2: "north", 3: "south"}  # it was first, and the genuine one is let in all the same
    assert receipts(tmp_path) == {"north": 3, "south": 3}
    assert forgeries(events) == [("node 1", "north", Exclusion.SIGNATURE_WRONG)]
    assert {event.hospital for event in events if isinstance(event, HospitalReplied)} == {"north", "south"}


def test_run_without_a_listed_identity_reports_it_once(tmp_path: Path) -> None:
    events: list[RunEvent] = []
    unsigned: Answer = lambda request: wire.encode(accepts("north"))  # noqa: E731
    members = enrolled(study_of("south", "west"), {1: unsigned, 2: site("south"), 3: site("west")}, tmp_path, events)
    assert members.names == ("north", "south", "west")
    assert [event for event in events if isinstance(event, RepliesUnchecked)] == [RepliesUnchecked(hospital="north")]


def test_a_forged_refusal_is_not_taken_for_the_hospitals(tmp_path: Path) -> None:
    events: list[RunEvent] = []
    # Or one site could tell the coordinator that the others' policies refuse.
    no = EnrollReply("north", str(Reason.STUDY_NOT_APPROVED), 0, "")
    with pytest.raises(FederationError, match="0 hospitals left"):
        enrolled(study_of(*HOSPITALS), {1: lambda request: signed(request, no, "west")}, tmp_path, events)
    assert forgeries(events) == [("node 1", "north", Exclusion.SIGNATURE_WRONG)]
    assert not [event for event in events if isinstance(event, HospitalDeclined)]


def test_a_relay_without_an_agent_is_told_apart_from_a_forger(tmp_path: Path) -> None:
    events: list[RunEvent] = []
    alone = EnrollReply("north", str(Reason.UNAVAILABLE), 0, "")
    old = EnrollReply("south", str(Reason.VERSION_DIFFERS), 0, "")
    nodes: dict[int, Answer] = {1: lambda request: wire.encode(alone), 2: lambda request: wire.encode(old)}
    with pytest.raises(FederationError):
        enrolled(study_of(*HOSPITALS), nodes, tmp_path, events)
    assert forgeries(events) == [
        ("node 1", "north", Exclusion.AGENT_SILENT),
        ("node 2", "south", Exclusion.AGENT_VERSION),
    ]


def histograms(name: str) -> CountsReply:
    return CountsReply(name, np.zeros(3, dtype=np.int64), 4, HEAD)


@pytest.mark.parametrize(
    ("answer", "excluded"),
    [
        (lambda request: signed(request, histograms("north"), "north"), None),
        (lambda request: signed(request, Unavailable("north"), "north"), None),
        (lambda request: wire.encode(histograms("north")), ("north", "", Exclusion.SIGNATURE_WRONG)),
        (
            lambda request: signed(request, histograms("north"), "south"),
            ("north", "", Exclusion.SIGNATURE_WRONG),
        ),
        (
            lambda request: signed(request, histograms("south"), "north"),
            ("north", "south", Exclusion.SIGNATURE_WRONG),
        ),
        (lambda request: wire.encode(Unavailable("north")), ("north", "", Exclusion.AGENT_SILENT)),
    ],
)
def test_no_value_of_an_unsigned_reply_reaches_the_run(
    answer: Answer, excluded: tuple[str, str, Exclusion] | None
) -> None:
    events: list[RunEvent] = []
    identities = {name: key.public for name, key in KEYS.items()}
    exchange = Exchange(cast(Grid, Network({7: answer})), 1.0, hospitals=identities, emit=events.append)
    arrived = exchange.ask(CountsRequest("run-1", "histograms"), {7: "north"})
    assert forgeries(events) == ([] if excluded is None else [excluded])
    assert (7 in arrived) == (excluded is None)


def test_a_signature_answers_one_request_of_one_hospital() -> None:
    first, second = CountsRequest("run-1", "histograms"), EnrollRequest("run-1", "", "", "", "{}")
    kept = signed(first, Unavailable("north"), "north")
    identities = {"north": KEYS["north"].public}
    exchange = Exchange(cast(Grid, Network({7: lambda request: kept})), 1.0, hospitals=identities)
    assert 7 in exchange.ask(first, {7: "north"})
    assert exchange.ask(second, {7: "north"}) == {}


def test_in_a_simulation_nothing_is_checked() -> None:
    exchange = Exchange(cast(Grid, Network({7: lambda request: wire.encode(Unavailable("north"))})), 1.0, hospitals={})
    assert 7 in exchange.ask(CountsRequest("run-1", "histograms"), {7: "node 7"})


def test_second_node_cannot_claim_a_name(tmp_path: Path) -> None:
    events: list[RunEvent] = []
    nodes = {1: site("north"), 2: site("north"), 3: site("south"), 4: site("west")}
    members = enrolled(study_of(*HOSPITALS), nodes, tmp_path, events)
    assert members.by_node == {1: "north", 3: "south", 4: "west"}
    assert forgeries(events) == [("north", "", Exclusion.NAME_TAKEN)]


def test_exchange_excludes_a_malformed_reply() -> None:
    events: list[RunEvent] = []
    exchange = Exchange(cast(Grid, Network({7: lambda request: RecordDict()})), 1.0, hospitals={}, emit=events.append)
    assert exchange.ask(CountsRequest("run-1", "histograms"), {7: "north"}) == {}
    assert forgeries(events) == [("north", "", Exclusion.MALFORMED)]


class Unreachable(Network):
    """Flower has lost every node."""

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        return [None for _ in messages]  # type: ignore[misc]


def test_exchange_excludes_a_node_that_flower_lost() -> None:
    events: list[RunEvent] = []
    exchange = Exchange(cast(Grid, Unreachable({7: site("north")})), 1.0, hospitals={}, emit=events.append)
    assert exchange.ask(CountsRequest("run-1", "histograms"), {7: "north"}) == {}
    assert forgeries(events) == [("north", "", Exclusion.UNREACHABLE)]


def test_events_quote_no_name_outside_the_study() -> None:
    events: list[RunEvent] = []
    network = Network({7: lambda request: wire.encode(Unavailable("canary\n4711"))})
    exchange = Exchange(cast(Grid, network), 1.0, hospitals=dict.fromkeys(HOSPITALS, ""), emit=events.append)
    assert 7 in exchange.ask(CountsRequest("run-1", "histograms"), {7: "node 7"})
    assert [event.hospital for event in events if isinstance(event, HospitalReplied)] == ["node 7"]
