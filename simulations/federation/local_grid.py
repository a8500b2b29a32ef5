"""A Flower runtime in one process: the real ServerApp and ClientApp, real serialization, no SuperLink and no Ray.

Messages pass through Flower's protobuf form in both directions, so nothing is shared by accident. Each is handled on a
worker thread; what a node computes depends on its messages alone, so results do not depend on the scheduling.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

SERVER_NODE = 1
CLIENT_APP_RAISED = 2
"""The code under which a SuperNode reports an exception in its ClientApp."""

Config = Mapping[str, str | int | float | bool]

log = logging.getLogger(__name__)


class LocalGrid(Grid):
    """Delivers messages to a ClientApp under one context per node.

    Args:
        client_app: the app that every node runs.
        nodes: the node configurations; node ids are 100, 101, ... in this order.
        run_config: the run's configuration.
        workers: how many nodes compute at once.
    """

    def __init__(
        self,
        client_app: ClientApp,
        nodes: Iterable[Config],
        run_config: Config,
        *,
        workers: int | None = None,
    ) -> None:
        self._app = client_app
        self._run = Run.create_empty(run_id=1)
        self._contexts = {
            100 + index: Context(
                run_id=1, node_id=100 + index, node_config=dict(node), state=RecordDict(), run_config=dict(run_config)
            )
            for index, node in enumerate(nodes)
        }
        self._pool = ThreadPoolExecutor(workers or min(len(self._contexts), os.cpu_count() or 1))
        self._replies: dict[str, Future[Message]] = {}
        self._sent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)  # a late hospital finishes before its ledger is closed

    def set_run(self, run: Run) -> None:
        self._run = run

    @property
    def run(self) -> Run:
        return self._run

    def get_node_ids(self) -> list[int]:
        return sorted(self._contexts)

    def get_nodes(self) -> list[NodeInfo]:
        return [NodeInfo(node_id=node) for node in self.get_node_ids()]

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Hand the messages to the workers and return their ids in the same order."""
        ids = []
        for message in messages:
            self._sent += 1
            message_id = f"m{self._sent}"
            message.metadata.__dict__["_message_id"] = message_id
            message.metadata.__dict__["_src_node_id"] = SERVER_NODE
            sent = message_to_proto(message)
            self._replies[message_id] = self._pool.submit(self._deliver, sent, message.metadata.dst_node_id)
            ids.append(message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Return the replies that have arrived, in the order of the requested ids; each is returned once."""
        ready = [
            message_id for message_id in message_ids if message_id in self._replies and self._replies[message_id].done()
        ]
        return [self._replies.pop(message_id).result() for message_id in ready]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Send all and wait for all, at most `timeout` seconds for each."""
        ids = list(self.push_messages(messages))
        for message_id in ids:
            self._replies[message_id].result(timeout)
        return self.pull_messages(ids)

    def run_app(self, message: Message, context: Context) -> Message:
        """Run the ClientApp and return its reply; other runtimes override this."""
        return self._app(message=message, context=context)

    def _deliver(self, sent: object, node: int) -> Message:
        """Handle a message as a SuperNode does: run the app, and turn an exception into an error reply."""
        inbound = message_from_proto(sent)  # type: ignore[arg-type]
        try:
            reply = self.run_app(inbound, self._contexts[node])
        except Exception as problem:
            log.debug("the ClientApp of node %d raised %s", node, type(problem).__name__)
            reply = Message(Error(code=CLIENT_APP_RAISED, reason=type(problem).__name__), reply_to=inbound)
        reply.metadata.__dict__["_message_id"] = f"r{inbound.metadata.message_id}"
        return message_from_proto(message_to_proto(reply))


def run_server_app(server_app: ServerApp, grid: LocalGrid, run_config: Config) -> None:
    """Run a ServerApp against the grid until it returns or raises.

    Args:
        server_app: the app.
        grid: stands for Flower's network.
        run_config: configuration of the run.
    """
    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, SERVER_NODE
    context = Context(run_id=1, node_id=SERVER_NODE, node_config={}, state=RecordDict(), run_config=dict(run_config))
    server_app(grid=grid, context=context)
