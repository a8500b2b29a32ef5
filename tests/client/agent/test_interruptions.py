"""An agent that is killed, stopped or left without a disk: nothing is lost, and nothing is charged twice."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from common.ledger.ledger import Kind
from common.planning.plan import ROUNDS
from common.protocol.byte_form import to_bytes
from common.protocol.messages import CountsReply, EnrollReply, Reply, RoundReply, Unavailable
from tests.testbeds.agent_process import AgentProcess
from tests.testbeds.site_requests import Coordinator, enrolled, histograms, logged, slots

OURS = Coordinator.new()


@pytest.mark.slow
def test_the_next_agent_removes_a_killed_agents_socket(agent: AgentProcess) -> None:
    agent.kill()
    assert agent.socket.exists()
    agent.start()
    enrolled(agent, OURS)


@pytest.mark.slow
def test_a_relay_waits_for_an_agent_that_is_being_restarted(agent: AgentProcess) -> None:
    # Otherwise every restart would cost the hospital a round.
    enrolled(agent, OURS)
    agent.kill()
    threading.Timer(1.0, agent.start).start()
    assert isinstance(OURS.ask(agent, histograms()), CountsReply)


@pytest.mark.slow
def test_a_stopping_agent_finishes_the_current_request(agent: AgentProcess) -> None:
    # The first round takes seconds, because torch is imported.
    enrolled(agent, OURS)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(OURS.ask, agent, OURS.round())
        wait_for_line(agent, ROUNDS)
        assert agent.stop() == 0
        assert isinstance(running.result(), RoundReply)
    assert slots(agent) == [("run-1", "rounds", 1)]


@pytest.mark.slow
def test_a_request_cut_off_by_a_stop_is_charged_once(site: AgentProcess) -> None:
    hasty = AgentProcess(site.folder, arguments=("--grace", "0"))
    hasty.start()
    enrolled(hasty, OURS)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(OURS.ask, hasty, OURS.round(), timeout_s=120)
        wait_for_line(hasty, ROUNDS)
        started = time.monotonic()
        assert hasty.stop() == 0
        assert time.monotonic() - started < 2
        site.start()
        assert isinstance(running.result(), RoundReply)
    assert "the relay will repeat it" in site.log
    site.stop()
    assert slots(site) == [("run-1", "rounds", 1)]


def wait_for_line(agent: AgentProcess, phase: str) -> None:
    """Until the ledger holds a line of that phase: the request is being computed."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with sqlite3.connect(f"file:{agent.state}/ledger.sqlite?mode=ro", uri=True) as database:
            charges = "SELECT count(*) FROM entries WHERE kind = ? AND phase = ?"
            if database.execute(charges, (Kind.CHARGE, phase)).fetchone()[0]:
                return
        time.sleep(0.01)
    raise AssertionError(f"no line of {phase}")


@pytest.mark.slow
def test_random_kills_lose_nothing_and_charge_nothing_twice(site: AgentProcess) -> None:
    # Secure noise: a reply that was computed twice would show other bytes.
    site.start()
    runs = [f"run-{number}" for number in range(5)]
    asked = [request for run in runs for request in (OURS.enroll(run), histograms(run), OURS.coarse(run))]
    given: dict[int, bytes] = {}
    done = threading.Event()

    def relay() -> None:
        for _ in range(3):  # requests are repeated, as a coordinator that was restarted does
            for place, request in enumerate(asked):
                reply = OURS.ask(site, request, timeout_s=120)
                if isinstance(reply, EnrollReply):  # it tells how far the ledger has come, which moves on
                    reply = replace(reply, counter=0, head="")
                assert given.setdefault(place, to_bytes(reply)) == to_bytes(reply), "the same request got another reply"
        done.set()

    times, kills = random.Random(5), 0  # when to kill
    with ThreadPoolExecutor(1) as pool:
        loaded = pool.submit(relay)
        while not done.wait(times.uniform(0.05, 1.0)) and not loaded.done() and kills < 8:
            site.kill()
            site.start()
            kills += 1
        loaded.result()
    site.stop()
    assert kills >= 4
    paid = slots(site)
    assert sorted(paid) == sorted((run, phase, 0) for run in runs for phase in ("coarse", "histograms"))
    assert not [line for line in logged(site, "request") if line["level"] == "error"]


@pytest.mark.slow
def test_a_file_size_limit_loses_and_doubles_no_charge(site: AgentProcess) -> None:
    limited = AgentProcess(site.folder, prefix=("prlimit", f"--fsize={48 * 1024}"))
    if shutil.which("prlimit") is None:
        pytest.skip("unproven: prlimit is not installed")
    limited.start()
    runs = [f"run-{number}" for number in range(6)]
    before: dict[str, Reply] = {}
    for run in runs:
        OURS.ask(limited, OURS.enroll(run))
        before[run] = OURS.ask(limited, histograms(run))
    failed = [run for run, reply in before.items() if isinstance(reply, Unavailable)]
    assert failed, "the limit was never reached"
    limited.kill()
    site.start()
    for run in runs:
        OURS.ask(site, OURS.enroll(run))
        after = OURS.ask(site, histograms(run))
        assert isinstance(after, CountsReply)
        assert run in failed or to_bytes(after) == to_bytes(before[run])
    site.stop()
    assert sorted(slots(site)) == [(run, "histograms", 0) for run in runs]


def needs_namespaces() -> None:
    done = subprocess.run(["unshare", "--mount", "true"], capture_output=True) if shutil.which("unshare") else None
    if done is None or done.returncode != 0:
        pytest.skip("unproven: mount namespaces need root and util-linux")


def in_namespace(script: str) -> tuple[str, ...]:
    return ("unshare", "--mount", "sh", "-c", f'{script} && exec "$@"', "sh")


def test_a_full_disk_is_a_clear_refusal_without_a_charge(site: AgentProcess) -> None:
    needs_namespaces()
    site.state.mkdir()
    full = AgentProcess(site.folder, prefix=in_namespace(f"mount -t tmpfs -o size=2m,mode=700 none {site.state}"))
    full.start()
    assert isinstance(OURS.ask(full, OURS.enroll()), EnrollReply)
    assert isinstance(OURS.ask(full, histograms()), Unavailable)
    assert "the state folder has less than 16 MiB free; make room for the ledger" in full.log
    full.kill()


@pytest.mark.slow
def test_a_read_only_state_folder_refuses_without_a_charge(site: AgentProcess) -> None:
    needs_namespaces()
    agent = AgentProcess(site.folder, prefix=in_namespace("true"))
    agent.start()
    enrolled(agent, OURS)
    before = to_bytes(OURS.ask(agent, histograms()))
    in_agents_namespace(agent, "mount", "--bind", "-o", "ro", str(agent.state), str(agent.state))
    assert isinstance(OURS.ask(agent, OURS.coarse()), Unavailable)
    assert "the state folder cannot be written (Read-only file system)" in agent.log
    in_agents_namespace(agent, "umount", str(agent.state))
    assert isinstance(OURS.ask(agent, OURS.coarse()), CountsReply)
    assert to_bytes(OURS.ask(agent, histograms())) == before
    agent.stop()
    assert slots(agent) == [("run-1", "histograms", 0), ("run-1", "coarse", 0)]


def in_agents_namespace(agent: AgentProcess, *command: str) -> None:
    assert agent.process is not None
    subprocess.run(["nsenter", "--target", str(agent.process.pid), "--mount", *command], check=True)
