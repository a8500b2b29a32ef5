from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from flwr.app import Message
from flwr.serverapp import Grid

from common.errors import Reason
from common.protocol import wire
from common.protocol.messages import CountsRequest, EnrollReply
from common.run_events.events import HospitalExcluded, HospitalReplied, RunEvent
from server.run.exchange import Exchange

NODES = {1: "west", 2: "south", 3: "north"}
HEAD = "ab" * 32


class OneByOne:
    """Nodes whose replies arrive one at each look, in the order of their numbers; the last one's cannot be read."""

    def __init__(self, events: list[RunEvent]) -> None:
        self._events, self._waiting = events, dict[str, Message]()

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        for message in messages:
            node = message.metadata.dst_node_id
            message.metadata.__dict__["_message_id"] = f"m{node}"
            content = wire.encode(EnrollReply(NODES[node], str(Reason.ACCEPTED), 3, HEAD))
            if node == 3:
                content = type(content)()
            self._waiting[f"m{node}"] = Message(content, reply_to=message)
        return list(self._waiting)

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        assert not [event for event in self._events if isinstance(event, HospitalReplied | HospitalExcluded)]
        return [self._waiting[min(message_ids)]]


def test_no_record_says_which_hospital_answered_when() -> None:
    events: list[RunEvent] = []
    hospitals = dict.fromkeys(NODES.values(), "")
    exchange = Exchange(cast(Grid, OneByOne(events)), 5.0, hospitals=hospitals, emit=events.append)
    assert sorted(exchange.ask(CountsRequest("run-1", "histograms"), NODES)) == [1, 2]
    told = events[1:]
    assert [event.hospital for event in told if isinstance(event, HospitalReplied | HospitalExcluded)] == [
        "north", "south", "west",
    ]  # fmt: skip
    assert (told[-1].time - told[0].time).total_seconds() < 0.005  # two looks are further apart
