"""One exchange: a request goes to several hospitals, and the replies that arrive before the deadline come back."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flwr.app import Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from common.errors import WireError
from common.protocol import wire
from common.protocol.messages import Reply, Request, digest
from server.signatures import fault_of_signature

log = logging.getLogger(__name__)

POLL_S, SLOWEST_POLL_S = 0.01, 0.2
"""Seconds between two looks for replies. They grow from the first to the second, so that one process answers at once
and a network is not flooded."""

MESSAGE_LIFETIME_S = 60.0
"""Seconds past the deadline for which Flower keeps a message."""

Sign = Callable[[Request], bytes]
"""The coordinator's signature on a request; empty in a simulation."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """One hospital's part in one exchange: bytes sent to it, bytes it sent, seconds until its reply arrived."""

    phase: str
    hospital: str
    bytes_down: int
    bytes_up: int
    seconds: float


class Exchange:
    """Sends one request to several hospitals and collects what arrives in time.

    Args:
        grid: Flower's transport.
        deadline_s: seconds that hospitals have for a reply.
        sign: signs every request.
        identities: public keys of the hospitals whose replies must be signed; empty in a simulation.
    """

    def __init__(
        self,
        grid: Grid,
        deadline_s: float,
        *,
        sign: Sign = lambda request: b"",
        identities: Mapping[str, str] | None = None,
    ) -> None:
        self._grid, self.deadline_s, self._sign, self._identities = grid, deadline_s, sign, identities or {}
        self.traffic: list[Traffic] = []

    def nodes(self) -> list[int]:
        """Return the ids of the nodes that are connected now."""
        return sorted(self._grid.get_node_ids())

    def ask(self, request: Request, nodes: Mapping[int, str]) -> dict[int, Reply]:
        """Send one request to all nodes; see `ask_each`."""
        return self.ask_each(dict.fromkeys(nodes, request), nodes)

    def ask_each(self, requests: Mapping[int, Request], nodes: Mapping[int, str]) -> dict[int, Reply]:
        """Send each node its request and return the replies that can be read, sorted by hospital name.

        Silent, late, unreadable and forged replies are left out, each with a line in the log.

        Args:
            requests: of one kind, by node id.
            nodes: node id to hospital name, or to a placeholder before names are known.
        """
        different = {id(request): request for request in requests.values()}
        encoded = {key: wire.encode(request, self._sign(request)) for key, request in different.items()}
        digests = {key: digest(request) for key, request in different.items()} if self._identities else {}
        contents = {node: encoded[id(request)] for node, request in requests.items()}
        request = next(iter(requests.values()))
        log.info("asking %d hospitals: %s", len(requests), _describe(request))
        start = time.monotonic()
        waiting: dict[str, int] = {}
        for node, message_id in zip(contents, self._push(request.kind, contents), strict=True):
            if message_id is None:
                log.warning("%s: cannot be reached with %s; excluded", nodes[node], request.kind)
            else:
                waiting[message_id] = node
        arrived: dict[int, Reply] = {}
        pause = POLL_S
        while waiting and time.monotonic() - start < self.deadline_s:
            for message in self._grid.pull_messages(list(waiting)):
                node = waiting.pop(message.metadata.reply_to_message_id)
                reply = self._read(message, nodes[node], digests.get(id(requests[node]), ""))
                if reply is None:
                    continue
                arrived[node] = reply
                elapsed = time.monotonic() - start
                down, up = wire.size(contents[node]), wire.size(message.content)
                log.info("%s: replied to %s after %.2f s", nodes[node], request.kind, elapsed)
                self.traffic.append(Traffic(request.kind, reply.hospital, down, up, elapsed))
            if waiting:
                time.sleep(pause)
                pause = min(pause * 1.5, SLOWEST_POLL_S)
        for node in waiting.values():
            log.warning("%s: no reply to %s within %g s; excluded", nodes[node], request.kind, self.deadline_s)
        return dict(sorted(arrived.items(), key=lambda item: item[1].hospital))

    def _push(self, kind: str, contents: Mapping[int, RecordDict]) -> list[str | None]:
        """Send the messages and return their ids in the order of the nodes; None for a node that Flower lost."""
        ttl = self.deadline_s + MESSAGE_LIFETIME_S
        # A list: Flower's grid iterates over the messages twice.
        messages = [
            Message(content, dst_node_id=node, message_type=kind, ttl=ttl) for node, content in contents.items()
        ]
        return list(self._grid.push_messages(messages))

    def _read(self, message: Message, name: str, asked: str) -> Reply | None:
        """Return the reply if it can be read and the hospital it names signed it; else log a line and return None.

        Args:
            message: as Flower delivered it.
            name: of the hospital that was asked, or a placeholder.
            asked: digest of the request; empty where replies are not signed.
        """
        if message.has_error():  # the text is Flower's or the site's and may hold anything: only the code is logged
            if message.error.code == ErrorCode.NODE_UNAVAILABLE:
                log.warning("%s: its SuperNode is not connected; excluded", name)
                return None
            log.warning("%s: its app failed (Flower error code %d); excluded", name, message.error.code)
            return None
        try:
            reply = wire.decode_reply(message.content)
        except WireError as problem:
            log.warning("%s: %s; excluded", name, problem)
            return None
        public = self._identities.get(reply.hospital)
        if public is None:  # a simulation, no identity listed, or a name outside the study, which enrolment refuses
            return reply
        data, signature = wire.bytes_of(message.content), wire.signature_of(message.content)
        fault = fault_of_signature(reply, data, signature, asked=asked, public=public)
        if fault is not None:
            who = name if reply.hospital == name else f"{name} in the name of {reply.hospital}"
            log.warning("%s: %s; excluded", who, fault)
            return None
        return reply


def _describe(request: Request) -> str:
    """Return kind, phase, round and attempt of a request, for the log."""
    parts = (getattr(request, name, "") for name in ("kind", "phase", "round", "attempt"))
    return " ".join(str(part) for part in parts if part)
