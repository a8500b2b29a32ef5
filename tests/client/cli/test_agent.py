from __future__ import annotations

import json
from pathlib import Path

import pytest

from client.agent.envelope import SERVING, STOPPING, HealthReply
from client.cli.agent import show_status
from common.errors import FederationError
from common.version import VERSION


def test_the_status_of_a_stopping_agent_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def found(state: str) -> None:
        reply = HealthReply(VERSION, "north", state)
        monkeypatch.setattr("client.supernode.supernode.find_agent", lambda socket, patience_s: reply)

    found(SERVING)
    show_status(Path("agent.sock"))
    assert json.loads(capsys.readouterr().out) == {"hospital": "north", "version": VERSION, "state": SERVING}
    found(STOPPING)
    with pytest.raises(FederationError, match="the agent is stopping; start it again"):
        show_status(Path("agent.sock"))
