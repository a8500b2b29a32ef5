from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testbeds.agent_process import AgentProcess
from tests.testbeds.site_requests import write_table


@pytest.fixture
def site(tmp_path: Path) -> Iterator[AgentProcess]:
    """A site whose agent is not started yet."""
    agent = AgentProcess(tmp_path)
    write_table(agent)
    yield agent
    agent.kill()


@pytest.fixture
def agent(site: AgentProcess) -> AgentProcess:
    site.start()
    return site
