"""The site agent as a real process: who may talk to it, what it refuses, and that no kill costs anything twice."""

from __future__ import annotations

import json
import logging
import random
import shutil
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import cast

import grpc
import pytest

from client.agent.agent import WAITING, Agent, serve
from client.agent.envelope import HANDLE, SERVICE, AgentReply, AgentRequest, pack, unpack
from client.agent.transport import MOST_BYTES, AgentSocket, check_address, connect
from client.consent.policy import Policy
from client.hospital import Hospital
from client.shard import Shard
from common.errors import Reason, StudyError
from common.ledger.ledger import Kind, Ledger
from common.planning.plan import ROUNDS
from common.privacy.mechanisms import SecureNoise
from common.protocol.byte_form import to_bytes
from common.protocol.messages import CountsReply, EnrollReply, Reply, RoundReply, Unavailable
from common.protocol.seals import asked_by, seal_request
from common.protocol.signing import is_signed_reply
from common.version import VERSION
from tests.testbeds.agent_process import AgentProcess
from tests.testbeds.clinic import clinic_table
from tests.testbeds.site_requests import Coordinator, histograms, write_table

OURS, THEIRS = Coordinator.new(), Coordinator.new()


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


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    """One agent for the tests that neither end it nor read its ledger."""
    one = AgentProcess(tmp_path_factory.mktemp("shared"))
    write_table(one)
    one.start()
    yield one
    one.kill()


def enrolled(agent: AgentProcess, run_id: str = "run-1") -> AgentProcess:
    reply = OURS.ask(agent, OURS.enroll(run_id))
    assert isinstance(reply, EnrollReply)
    assert reply.reason == Reason.ACCEPTED
    return agent


def slots(agent: AgentProcess) -> list[tuple[str, str, int]]:
    """Run, phase and round of every ledger line, while no agent runs."""
    lines = Ledger.view(agent.state / "ledger.sqlite").lines()
    return [(line.slot.run_id, line.slot.phase, line.slot.round) for line in lines]


def logged(agent: AgentProcess, word: str) -> list[dict[str, object]]:
    """The log's lines that hold a word; every line must be JSON."""
    lines = [json.loads(line) for line in agent.log.splitlines()]
    return [line for line in lines if word in json.dumps(line)]


def call(agent: AgentProcess, data: bytes) -> AgentReply:
    with grpc.insecure_channel(f"unix:{agent.socket}") as channel:
        return unpack(AgentReply, channel.unary_unary(f"/{SERVICE}/{HANDLE}")(data, timeout=30))


def test_only_the_agents_group_can_open_the_socket(shared: AgentProcess) -> None:
    assert shared.socket.stat().st_mode & 0o777 == 0o660
    assert shared.socket.parent.stat().st_mode & 0o777 == 0o750
    assert shared.process is not None
    process = Path(f"/proc/{shared.process.pid}")
    held: set[str] = set()
    for descriptor in (process / "fd").iterdir():
        with suppress(FileNotFoundError):  # closed since the folder was listed
            held.add(str(descriptor.readlink()))
    inodes = {f"socket:[{line.split()[9]}]" for line in (process / "net/tcp").read_text().splitlines()[1:]}
    assert any(name.startswith("socket:") for name in held)
    assert not held & inodes, "the agent holds a TCP socket"


def test_it_says_who_it_is(shared: AgentProcess) -> None:
    health = shared.health()
    assert health is not None
    assert (health.hospital, health.version, health.state) == ("north", VERSION, "serving")


@pytest.mark.parametrize("address", ["127.0.0.1:50051", "unix:agent.sock", "tcp://0.0.0.0:1", "agent.sock"])
def test_a_network_address_is_refused(address: str) -> None:
    with pytest.raises(StudyError, match="no network address"):
        check_address(Path(address))
    with pytest.raises(StudyError, match="no network address"):
        connect({"agent-socket": address})


def test_a_relative_path_is_refused_before_a_folder_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StudyError, match="no network address"):
        serve(cast(Agent, None), Path("folder/agent.sock"))
    assert not list(tmp_path.iterdir())


def test_a_socket_that_this_account_may_not_use_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with impostor(tmp_path / "agent.sock", pack(AgentReply(VERSION, "north", reply=b"x"))) as relay:
        monkeypatch.setattr("client.agent.transport.os.access", lambda path, mode: False)
        with pytest.raises(PermissionError, match="add it to the agent's group"):
            relay._call(HANDLE, b"", 5.0)


def test_without_a_writable_state_folder_nothing_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with closing(Ledger(tmp_path / "ledger.sqlite", cohort="north", delta=1e-4)) as ledger:
        policy = Policy("north", max_epsilon=1.0, delta=1e-4)
        north = Hospital(policy, lambda study: Shard(clinic_table(5, 0), study, key=b""), ledger, SecureNoise())
        monkeypatch.setattr(north, "handle", lambda request: 1 // 0)
        enroll = OURS.enroll()
        Agent(north, state=tmp_path / "missing").answer(
            AgentRequest(VERSION, to_bytes(enroll), seal_request(OURS.identity, enroll))
        )
    assert "cannot be written" in str([vars(record) for record in caplog.records])


def test_a_path_that_the_kernel_would_cut_is_refused() -> None:
    with pytest.raises(StudyError, match="107 bytes"):
        check_address(Path("/" + "x" * 107))


def test_a_second_agent_on_one_socket_is_refused(shared: AgentProcess) -> None:
    second = AgentProcess(shared.folder, log_name="second.log")
    assert shared.process is not None
    assert second.launch().wait(60) == 3
    assert f"is held by process {shared.process.pid}" in second.log
    assert shared.health() is not None


def test_a_socket_folder_that_others_can_enter_is_refused(site: AgentProcess) -> None:
    site.socket.parent.mkdir()
    site.socket.parent.chmod(0o755)
    assert site.launch().wait(60) == 2
    assert "chmod 0750" in site.log


def test_unsigned_requests_are_refused_and_cost_nothing(agent: AgentProcess) -> None:
    unsigned = agent.relay().handle(OURS.enroll())
    assert isinstance(unsigned, EnrollReply)
    assert unsigned.reason == Reason.SIGNATURE_REFUSED
    enrolled(agent)
    assert isinstance(agent.relay().handle(histograms()), Unavailable)
    assert isinstance(agent.relay(bytes(64)).handle(histograms()), Unavailable)
    assert isinstance(THEIRS.ask(agent, histograms()), Unavailable)
    agent.stop()
    assert slots(agent) == []
    assert len(logged(agent, "signature-refused")) == 4


def test_a_repeated_request_gets_the_same_bytes(agent: AgentProcess) -> None:
    # A recorded request gains whoever plays it back nothing.
    enrolled(agent)
    replies = {to_bytes(OURS.ask(agent, histograms())) for _ in range(4)}
    agent.stop()
    assert len(replies) == 1
    assert slots(agent) == [("run-1", "histograms", 0)]


def test_every_answer_to_a_readable_request_is_signed(agent: AgentProcess) -> None:
    enroll, asked = OURS.enroll(), histograms()
    forged = agent.relay(bytes(64))
    first, second = (seal_request(OURS.identity, request) for request in (enroll, asked))
    answers = [
        (enroll, first, agent.relay(first).answer(enroll), Reason.ACCEPTED),
        (asked, second, agent.relay(second).answer(asked), CountsReply),
        (asked, b"", forged.answer(asked), Unavailable),
        (enroll, b"", forged.answer(enroll), Reason.SIGNATURE_REFUSED),
    ]
    for request, seal, answer, expected in answers:
        assert expected in (type(answer.reply), getattr(answer.reply, "reason", None))
        asked_for = asked_by(request, seal)
        assert is_signed_reply(asked_for, to_bytes(answer.reply), answer.signature, agent.public)
    again = agent.relay(second).answer(asked)
    assert again.signature == answers[1][2].signature
    later = seal_request(OURS.identity, asked)
    for other, seal in ((enroll, first), (histograms("run-2"), second), (asked, later)):  # moved to another sending
        asked_for = asked_by(other, seal)
        assert not is_signed_reply(asked_for, to_bytes(again.reply), again.signature, agent.public)


def test_what_a_relay_says_without_an_agent_is_signed_by_nobody(site: AgentProcess) -> None:
    assert site.relay(timeout_s=0.5).answer(histograms()).signature == b""
    assert site.relay(timeout_s=0.5).answer(OURS.enroll()).signature == b""


def test_a_relay_of_another_version_is_refused(shared: AgentProcess) -> None:
    answer = call(shared, pack(AgentRequest("9.9.9", b"whatever that version sends")))
    assert (answer.refusal, answer.version, answer.hospital) == (Reason.VERSION_DIFFERS, VERSION, "north")
    (line,) = logged(shared, "9.9.9")
    assert f"this agent runs fedsynth {VERSION}" in str(line["reason"])


@contextmanager
def impostor(path: Path, answer: bytes | Callable[[bytes, grpc.ServicerContext], bytes]) -> Iterator[AgentSocket]:
    """A gRPC server that gives one answer to everything."""
    server = grpc.server(ThreadPoolExecutor(1))
    handler = grpc.unary_unary_rpc_method_handler(answer if callable(answer) else lambda data, context: answer)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {HANDLE: handler}),))
    server.add_insecure_port(f"unix:{path}")
    server.start()
    try:
        yield AgentSocket(path, "north", timeout_s=5)
    finally:
        server.stop(None).wait()


def test_an_agent_of_another_version_is_refused_by_the_relay(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with impostor(tmp_path / "agent.sock", pack(AgentReply("9.9.9", "north", reply=b"of another time"))) as relay:
        reply = relay.handle(OURS.enroll())
    assert isinstance(reply, EnrollReply)
    assert (reply.hospital, reply.reason) == ("north", Reason.VERSION_DIFFERS)
    assert f"the agent runs fedsynth 9.9.9, this relay {VERSION}; install one version" in caplog.text


def test_a_refused_call_is_not_repeated(tmp_path: Path) -> None:
    calls: list[bytes] = []

    def refuse(data: bytes, context: grpc.ServicerContext) -> bytes:
        calls.append(data)
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests are waiting")
        raise AssertionError("abort always raises")

    with impostor(tmp_path / "agent.sock", refuse) as relay:
        assert isinstance(relay.handle(histograms()), Unavailable)
    assert len(calls) == 1


@pytest.mark.parametrize(
    "answer",
    [b"", b"\xff", pack(AgentReply(VERSION, "north", reply=b"junk"))],
    ids=["nothing", "no envelope", "no message"],
)
def test_the_relay_passes_on_a_message_or_a_constant(tmp_path: Path, answer: bytes) -> None:
    with impostor(tmp_path / "agent.sock", answer) as relay:
        reply = relay.handle(histograms())
    assert isinstance(reply, Unavailable)


@pytest.mark.parametrize(
    "data", [pack(AgentRequest(VERSION, b"")), pack(AgentRequest(VERSION, b"junk" * 100, b"s"))], ids=["empty", "junk"]
)
def test_junk_is_refused_and_the_agent_goes_on(shared: AgentProcess, data: bytes) -> None:
    assert call(shared, data).refusal == Reason.UNAVAILABLE
    enrolled(shared)


def test_malformed_bytes_are_an_invalid_argument(shared: AgentProcess) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        call(shared, b"\xff\xff")
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    enrolled(shared)


def test_a_message_beyond_the_limit_is_refused(shared: AgentProcess) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        call(shared, bytes(MOST_BYTES + 1))
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert shared.health() is not None


def test_a_reply_in_the_place_of_a_request_is_refused(shared: AgentProcess) -> None:
    assert call(shared, pack(AgentRequest(VERSION, to_bytes(Unavailable("north"))))).refusal == Reason.UNAVAILABLE


def test_the_log_quotes_no_cell_and_no_raw_text(agent: AgentProcess) -> None:
    hostile = 'run-1"}\n{"level": "info"}\x1b[2J'
    enrolled(agent)
    OURS.ask(agent, histograms())
    OURS.ask(agent, histograms(hostile))
    lines = agent.log.splitlines()
    assert all(json.loads(line)["level"] in ("info", "warning") for line in lines)
    assert "\x1b" not in agent.log
    cells = {cell for row in agent.data.read_text().splitlines()[1:] for cell in row.split(",") if "." in cell}
    assert not [cell for cell in cells if f" {cell}," in agent.log.replace('"seconds": ', "")]


def test_the_operator_finds_counts_in_the_state_folder(agent: AgentProcess) -> None:
    enrolled(agent)
    OURS.ask(agent, histograms())
    metrics = json.loads((agent.state / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["requests"] == {"query.enroll": {"accepted": 1}, "query.counts": {"answered": 1}}


def test_sigterm_ends_an_idle_agent_cleanly(agent: AgentProcess) -> None:
    assert agent.stop() == 0
    assert not agent.socket.exists()
    assert logged(agent, "stopped")


@pytest.mark.slow
def test_the_next_agent_removes_a_killed_agents_socket(agent: AgentProcess) -> None:
    agent.kill()
    assert agent.socket.exists()
    agent.start()
    enrolled(agent)


@pytest.mark.slow
def test_a_relay_waits_for_an_agent_that_is_being_restarted(agent: AgentProcess) -> None:
    # Otherwise every restart would cost the hospital a round.
    enrolled(agent)
    agent.kill()
    threading.Timer(1.0, agent.start).start()
    assert isinstance(OURS.ask(agent, histograms()), CountsReply)


def test_without_an_agent_the_relay_answers_a_constant(site: AgentProcess) -> None:
    assert isinstance(site.relay(timeout_s=0.5).handle(histograms()), Unavailable)
    refused = site.relay(timeout_s=0.5).handle(OURS.enroll())
    assert isinstance(refused, EnrollReply)
    assert (refused.hospital, refused.reason) == ("north", Reason.UNAVAILABLE)


@pytest.mark.slow
def test_another_table_in_a_run_is_refused_until_restored(agent: AgentProcess) -> None:
    enrolled(agent)
    first = to_bytes(OURS.ask(agent, histograms()))
    original = agent.data.read_bytes()
    write_table(agent, seed=1)
    assert isinstance(OURS.ask(agent, OURS.coarse()), Unavailable)
    agent.stop()
    agent.start()
    assert isinstance(OURS.ask(agent, OURS.coarse()), Unavailable)
    assert "another table was imported since the run began" in agent.log
    agent.data.write_bytes(original)
    assert isinstance(OURS.ask(agent, OURS.coarse()), CountsReply)
    assert to_bytes(OURS.ask(agent, histograms())) == first
    agent.stop()
    assert slots(agent) == [("run-1", "histograms", 0), ("run-1", "coarse", 0)]


@pytest.mark.slow
def test_a_stopping_agent_finishes_the_current_request(agent: AgentProcess) -> None:
    # The first round takes seconds, because torch is imported.
    enrolled(agent)
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
    enrolled(hasty)
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


def test_requests_are_answered_in_turn_and_a_flood_is_refused(shared: AgentProcess) -> None:
    enrolled(shared)
    runs = [f"run-{number}" for number in range(2, 2 + 4 * WAITING)]
    with ThreadPoolExecutor(len(runs)) as pool:
        replies = list(pool.map(lambda run_id: OURS.ask(shared, OURS.enroll(run_id)), runs))
    reasons = [reply.reason for reply in replies if isinstance(reply, EnrollReply)]
    assert len(reasons) == len(runs)
    assert reasons.count(Reason.ACCEPTED) >= 1 + WAITING
    assert set(reasons) <= {Reason.ACCEPTED, Reason.UNAVAILABLE}
    assert shared.health() is not None


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
    enrolled(agent)
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
