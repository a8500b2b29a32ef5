"""The Flower ClientApp: a relay. It decodes, calls the hospital, encodes, and holds no data of its own."""

from __future__ import annotations

import logging

from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp

from client.agent.transport import connect
from common.errors import Reason
from common.protocol import wire

app = ClientApp()

RELAY_FAILED = 100
"""Flower error code, beyond Flower's own: the request was unreadable, or the hospital's process did not answer."""

log = logging.getLogger(__name__)


@app.query("enrol")
def enrol(message: Message, context: Context) -> Message:
    """May this hospital take part? Answered from its policy alone."""
    return _relay(message, context)


@app.query("histograms")
def histograms(message: Message, context: Context) -> Message:
    """Noisy fine-cell counts."""
    return _relay(message, context)


@app.query("marginals")
def measurements(message: Message, context: Context) -> Message:
    """One vector of noisy tables."""
    return _relay(message, context)


@app.query("keys")
def keys(message: Message, context: Context) -> Message:
    """Fresh public keys for one masked vector."""
    return _relay(message, context)


@app.query("shares")
def shares(message: Message, context: Context) -> Message:
    """Shares of the masks' secrets, sealed for the other hospitals."""
    return _relay(message, context)


@app.query("masked")
def masked(message: Message, context: Context) -> Message:
    """One noisy vector under masks."""
    return _relay(message, context)


@app.query("survivors")
def survivors(message: Message, context: Context) -> Message:
    """A signature on the hospitals whose sum shall be opened."""
    return _relay(message, context)


@app.query("open")
def open_(message: Message, context: Context) -> Message:
    """What opens the sum, and nothing else."""
    return _relay(message, context)


@app.train("round")
def train(message: Message, context: Context) -> Message:
    """One round of differentially private training."""
    return _relay(message, context)


def _relay(message: Message, context: Context) -> Message:
    try:
        signature = wire.signature_of(message.content)
        line = connect(context.node_config, signature, timeout_s=message.metadata.ttl)
        answer = line.answer(wire.decode_request(message.content))
        return Message(wire.encode(answer.reply, answer.signature), reply_to=message)
    except Exception as problem:  # Flower would send its text to the coordinator
        log.error("no reply: %s", type(problem).__name__)
        return Message(Error(RELAY_FAILED, str(Reason.UNAVAILABLE)), reply_to=message)
