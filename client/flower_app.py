"""The Flower ClientApp: a relay. It decodes, calls the hospital, encodes, and holds no data of its own."""

from __future__ import annotations

import logging

from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp

from client.agent.transport import connect
from common.errors import Reason
from common.protocol import wire
from common.protocol.messages import REQUESTS

app = ClientApp()

RELAY_FAILED = 100
"""Flower error code, beyond Flower's own: the request was unreadable, or the hospital's process did not answer."""

log = logging.getLogger(__name__)


def _relay(message: Message, context: Context) -> Message:
    try:
        seal = wire.signature_of(message.content)
        line = connect(context.node_config, seal, timeout_s=message.metadata.ttl)
        answer = line.answer(wire.decode_request(message.content))
        return Message(wire.encode(answer.reply, answer.signature), reply_to=message)
    except Exception as problem:  # Flower would send its text to the coordinator
        log.error("no reply: %s", type(problem).__name__)
        return Message(Error(RELAY_FAILED, str(Reason.UNAVAILABLE)), reply_to=message)


REGISTER = {"query": app.query, "train": app.train}
"""Flower's decorators by message type; the rest of a message's kind is the name of the handler."""

for _request in REQUESTS:
    _type, _, _name = _request.kind.partition(".")
    REGISTER[_type](_name)(_relay)
