"""A coordinator's console in a browser beside a real deployment, while one hospital's processes are killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from client.site.approval import consider_run, decide, read_proposed_run
from client.site.config import read_site
from common.run_events.events import RunFailed, RunFinished
from common.run_events.exclusions import EXCLUSION_TEXTS, Exclusion
from common.study.sections import HospitalFacts
from common.study.study import Study
from server.console.runs import CoordinatorRuns
from server.deploy.runs import propose_run
from simulations.rehearsal.deployment import APPROVER, Deployment
from tests.testbeds.browser import NO_CHROMIUM, Browser, chromium
from tests.testbeds.browsing import LOADED, TEXT, follow, press
from tests.testbeds.clinic import clinic_study, clinic_tables
from tests.testbeds.consoles import coordinator_console
from tests.testbeds.events import exclusions

pytestmark = [pytest.mark.slow, pytest.mark.skipif(chromium() is None, reason=NO_CHROMIUM)]

DEADLINE_S = 240
"""Longest wait for replies, in seconds: enough for the two sites that live, on a busy machine."""

LATE = 0.1
"""Fraction of the deadline after which the page says late: the SuperLink notices a dead node after about 45 s."""

WEST = ("west-agent", "west-node")
"""Processes of the hospital that dies."""

LEFT_OUT = tuple(EXCLUSION_TEXTS[reason] for reason in (Exclusion.DISCONNECTED, Exclusion.NO_REPLY))
"""What the row of the hospital that died says, whichever comes first."""


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A coordinator and three sites, connected."""
    with Deployment(tmp_path_factory.mktemp("bed")) as one:
        one.make_keys()
        one.start_coordinator()
        one.start_sites(clinic_tables(), three_sites(one))
        yield one


def three_sites(deployment: Deployment, **federation: object) -> Study:
    study = clinic_study(
        study={"rehearsal": True},
        training={"rounds": 0},
        federation={"coordinator": deployment.public, "round_deadline_s": DEADLINE_S, **federation},
    )
    return study.with_hospitals(tuple(HospitalFacts(name=name, declared_rows=90) for name in clinic_tables()))


def propose(deployment: Deployment, study: Study) -> str:
    """Propose a run and approve it at every site, as the pages do it; returns the run's id."""
    path = deployment.path / "study.toml"
    path.write_text(deployment.identified(study).to_toml())
    proposal, file = propose_run(deployment.directory, path)
    for name in clinic_tables():
        site = read_site(deployment.site(name))
        decide(site, consider_run(site, read_proposed_run(file, None)).approval(APPROVER))
    return proposal.run_id


def start(browser: Browser, run_id: str) -> None:
    """Open a run from the list and start it, as the coordinator's person does."""
    browser.wait(f"{LOADED} && {TEXT}.includes({run_id!r})")
    follow(browser, run_id)
    browser.wait(f"location.pathname.endsWith({run_id!r}) && document.getElementById('connection') !== null")
    browser.evaluate("document.querySelector('form[action$=\"/run\"] input[type=checkbox]').click()")
    press(browser, "Start the run")
    browser.wait(f"{LOADED} && document.getElementById('connection')?.textContent === 'live'")


def test_a_killed_hospital_is_late_and_then_left_out(
    deployment: Deployment, browser: Browser, shots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.console.runs.LATE", LATE)
    finishing = propose(deployment, three_sites(deployment))
    stopping = propose(deployment, three_sites(deployment, min_hospitals=3))
    row = "Array.from(document.querySelectorAll('tbody tr')).find(r => r.innerText.startsWith('west'))?.innerText ?? ''"
    console = coordinator_console(CoordinatorRuns(deployment.directory))
    browser.timeout_s = 900
    with console.beside():
        browser.open(console.opening, LOADED)
        base = browser.evaluate("location.href")
        start(browser, finishing)
        browser.wait(f"({row}).includes('asked') && {TEXT}.includes('now: histograms')")
        for process in WEST:  # its machine freezes: connections stay open, and nothing answers
            os.killpg(deployment.processes[process].pid, signal.SIGSTOP)
        browser.wait(f"{TEXT}.includes('Late: not every hospital has replied')")
        browser.screenshot(shots / "console-deployment-late.png")
        for process in WEST:  # it loses power, which closes no connection in an orderly way either
            deployment.end(process, signal.SIGKILL)
        browser.wait(f"{list(LEFT_OUT)!r}.some(text => ({row}).includes(text))")
        browser.wait(f"{TEXT}.includes('synthetic rows')")
        browser.screenshot(shots / "console-deployment.png")
        assert {name for name, _ in exclusions(deployment.events(finishing))} == {"west"}
        browser.open(base, LOADED)
        start(browser, stopping)
        browser.wait(f"{TEXT}.includes('Failed:')")
        browser.screenshot(shots / "console-deployment-failed.png")
    assert isinstance(deployment.events(finishing)[-1], RunFinished)
    assert isinstance(deployment.events(stopping)[-1], RunFailed)
    assert browser.complaints == []
