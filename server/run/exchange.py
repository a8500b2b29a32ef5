"""One exchange: a request goes to several hospitals, and the replies that arrive before the deadline come back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from flwr.app import Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from common.errors import WireError
from common.planning.plan import ROUNDS
from common.protocol import wire
from common.protocol.messages import EnrollRequest, Reply, Request, RoundRequest
from common.protocol.seals import asked_by
from common.run_events.events import Emit, ExchangeStarted, HospitalExcluded, HospitalReplied, ignore
from common.run_events.exclusions import Exclusion, Fault
from server.signatures import fault_of_signature

ENROLLMENT = "enrollment"
"""The phase of a run before the phases of its plan."""

POLL_S, SLOWEST_POLL_S = 0.01, 0.2
"""Seconds between two looks for replies. They grow from the first to the second, so that one process answers at once
and a network is not flooded."""

MESSAGE_LIFETIME_S = 60.0
"""Seconds past the deadline for which Flower keeps a message."""

Seal = Callable[[Request], bytes]
"""The coordinator's seal on a request; empty in a simulation."""


class Exchange:
    """Sends one request to several hospitals and collects what arrives in time.

    Args:
        grid: Flower's transport.
        deadline_s: seconds that hospitals have for a reply.
        seal: seals every request.
        hospitals: names in the study, which alone events quote, each with the public key that signs its replies; an
            empty one where replies are not signed, as in a simulation.
        emit: takes the events of the exchanges.
    """

    def __init__(
        self,
        grid: Grid,
        deadline_s: float,
        *,
        seal: Seal = lambda request: b"",
        hospitals: Mapping[str, str],
        emit: Emit = ignore,
    ) -> None:
        self._grid, self.deadline_s, self._seal, self._emit = grid, deadline_s, seal, emit
        self._hospitals, self._signs = hospitals, any(hospitals.values())

    def nodes(self) -> list[int]:
        """Return the ids of the nodes that are connected now."""
        return sorted(self._grid.get_node_ids())

    def ask(self, request: Request, nodes: Mapping[int, str]) -> dict[int, Reply]:
        """Send one request to all nodes; see `ask_each`."""
        return self.ask_each(dict.fromkeys(nodes, request), nodes)

    def ask_each(self, requests: Mapping[int, Request], nodes: Mapping[int, str]) -> dict[int, Reply]:
        """Send each node its request and return the replies that can be read, sorted by hospital name.

        Silent, late, unreadable and forged replies are left out, each with an event. The events of an exchange come at
        its end, in the order of the hospitals' names, so that no time of a single hospital is in a record of the run.

        Args:
            requests: requests of one kind, by node id.
            nodes: node id to hospital name, or to a placeholder before names are known.
        """
        different = {id(request): request for request in requests.values()}
        seals = {key: self._seal(request) for key, request in different.items()}
        encoded = {key: wire.encode(request, seals[key]) for key, request in different.items()}
        digests = {key: asked_by(request, seals[key]) for key, request in different.items() if self._signs}
        contents = {node: encoded[id(request)] for node, request in requests.items()}
        request = next(iter(requests.values()))
        self._announce(request, len(requests))
        events: list[HospitalReplied | HospitalExcluded] = []
        arrived: dict[int, Reply] = {}
        for node, message in self._collect(request.kind, contents):
            if isinstance(message, Fault):
                events.append(excluded(request, nodes[node], message))
                continue
            reply = self._read(message, nodes[node], requests[node], digests.get(id(requests[node]), ""))
            if isinstance(reply, HospitalExcluded):
                events.append(reply)
                continue
            arrived[node] = reply
            events.append(
                HospitalReplied(
                    phase=phase_of(request),
                    request=request.kind,
                    round=_round_of(request),
                    hospital=self._name(nodes[node], reply),
                    bytes_down=wire.size(contents[node]),
                    bytes_up=wire.size(message.content),
                )
            )
        for event in sorted(events, key=lambda event: event.hospital):
            self._emit(replace(event, time=datetime.now(UTC)))
        return dict(sorted(arrived.items(), key=lambda item: item[1].hospital))

    def _collect(self, kind: str, contents: Mapping[int, RecordDict]) -> Iterator[tuple[int, Message | Fault]]:
        """Send the messages and yield what comes back of each until the deadline, in the order in which it comes.

        Args:
            kind: kind of the requests.
            contents: what each node is sent, by its id.

        Yields:
            Node id, and Flower's message, or why there is none.
        """
        start, pause = time.monotonic(), POLL_S
        waiting: dict[str, int] = {}
        for node, message_id in zip(contents, self._push(kind, contents), strict=True):
            if message_id is None:
                yield node, Fault(Exclusion.UNREACHABLE)
            else:
                waiting[message_id] = node
        while waiting and time.monotonic() - start < self.deadline_s:
            for message in self._grid.pull_messages(list(waiting)):
                yield waiting.pop(message.metadata.reply_to_message_id), message
            if waiting:
                time.sleep(pause)
                pause = min(pause * 1.5, SLOWEST_POLL_S)
        for node in waiting.values():
            yield node, Fault(Exclusion.NO_REPLY, f"{self.deadline_s:g} s")

    def _announce(self, request: Request, hospitals: int) -> None:
        self._emit(
            ExchangeStarted(
                phase=phase_of(request),
                request=request.kind,
                round=_round_of(request),
                attempt=int(getattr(request, "attempt", 0)),
                hospitals=hospitals,
            )
        )

    def _push(self, kind: str, contents: Mapping[int, RecordDict]) -> list[str | None]:
        """Send the messages and return their ids in the order of the nodes; None for a node that Flower lost."""
        ttl = self.deadline_s + MESSAGE_LIFETIME_S
        # A list: Flower's grid iterates over the messages twice.
        messages = [
            Message(content, dst_node_id=node, message_type=kind, ttl=ttl) for node, content in contents.items()
        ]
        return list(self._grid.push_messages(messages))

    def _read(self, message: Message, name: str, request: Request, asked: str) -> Reply | HospitalExcluded:
        """Return the reply if it can be read and the hospital it names signed it; else why its node is left out.

        Args:
            message: Flower's message as delivered.
            name: name of the hospital that was asked, or a placeholder.
            request: what was asked.
            asked: digest of the sending; empty where replies are not signed.
        """
        if message.has_error():  # the text is Flower's or the site's and may hold anything: only the code is kept
            if message.error.code == ErrorCode.NODE_UNAVAILABLE:
                return excluded(request, name, Fault(Exclusion.DISCONNECTED))
            return excluded(request, name, Fault(Exclusion.APP_FAILED, f"Flower error code {message.error.code}"))
        try:
            reply = wire.decode_reply(message.content)
        except WireError:
            return excluded(request, name, Fault(Exclusion.MALFORMED))
        public = self._hospitals.get(reply.hospital)
        if not public:  # a simulation, no identity listed, or a name outside the study, which enrollment refuses
            return reply
        data, signature = wire.bytes_of(message.content), wire.signature_of(message.content)
        fault = fault_of_signature(reply, data, signature, asked=asked, public=public)
        if fault is not None:
            return excluded(request, name, fault, claims="" if reply.hospital == name else reply.hospital)
        return reply

    def _name(self, asked: str, reply: Reply) -> str:
        """Return the name of the hospital that replied: before enrollment its node has none yet."""
        return reply.hospital if asked not in self._hospitals and reply.hospital in self._hospitals else asked


def excluded(request: Request, hospital: str, fault: Fault, *, claims: str = "") -> HospitalExcluded:
    """Return the event that a hospital is left out of an exchange.

    Args:
        request: what was asked.
        hospital: its name, or a placeholder.
        fault: why.
        claims: the hospital in whose name it answered, where that is another.
    """
    return HospitalExcluded(
        phase=phase_of(request),
        request=request.kind,
        hospital=hospital,
        reason=fault.reason,
        claims=claims,
        detail=fault.detail,
    )


def phase_of(request: Request) -> str:
    """Return the phase of the run that a request belongs to."""
    match request:
        case EnrollRequest():
            return ENROLLMENT
        case RoundRequest():
            return ROUNDS
        case _:
            return request.phase


def _round_of(request: Request) -> int:
    """Return the round that a request is about, counted from 1; 0 outside training."""
    return int(getattr(request, "round", 0))
