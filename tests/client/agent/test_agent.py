"""The site agent as a real process: who may talk to it, what it refuses, and what it signs and logs."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import cast

import grpc
import pytest

from client.agent.agent import WAITING, Agent, serve
from client.agent.envelope import HANDLE, SERVICE, AgentReply, AgentRequest, pack, unpack
from client.agent.transport import MOST_BYTES
from client.consent.policy import Policy
from client.hospital import Hospital
from client.shard import Shard
from common.errors import Reason, StudyError
from common.ledger.ledger import Ledger
from common.privacy.mechanisms import SecureNoise
from common.protocol.byte_form import to_bytes
from common.protocol.messages import CountsReply, EnrollReply, Unavailable
from common.protocol.seals import asked_by, seal_request
from common.protocol.signing import is_signed_reply
from common.version import VERSION
from tests.testbeds.agent_process import AgentProcess
from tests.testbeds.clinic import clinic_table
from tests.testbeds.site_requests import Coordinator, enrolled, histograms, logged, slots, write_table

OURS, THEIRS = Coordinator.new(), Coordinator.new()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    """One agent for the tests that neither end it nor read its ledger."""
    one = AgentProcess(tmp_path_factory.mktemp("shared"))
    write_table(one)
    one.start()
    yield one
    one.kill()


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


def test_a_relative_path_is_refused_before_a_folder_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StudyError, match="no network address"):
        serve(cast(Agent, None), Path("folder/agent.sock"))
    assert not list(tmp_path.iterdir())


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
    enrolled(agent, OURS)
    assert isinstance(agent.relay().handle(histograms()), Unavailable)
    assert isinstance(agent.relay(bytes(64)).handle(histograms()), Unavailable)
    assert isinstance(THEIRS.ask(agent, histograms()), Unavailable)
    agent.stop()
    assert slots(agent) == []
    assert len(logged(agent, "signature-refused")) == 4


def test_a_repeated_request_gets_the_same_bytes(agent: AgentProcess) -> None:
    # A recorded request gains whoever plays it back nothing.
    enrolled(agent, OURS)
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


def test_a_relay_of_another_version_is_refused(shared: AgentProcess) -> None:
    answer = call(shared, pack(AgentRequest("9.9.9", b"whatever that version sends")))
    assert (answer.refusal, answer.version, answer.hospital) == (Reason.VERSION_DIFFERS, VERSION, "north")
    (line,) = logged(shared, "9.9.9")
    assert f"this agent runs fedsynth {VERSION}" in str(line["reason"])


@pytest.mark.parametrize(
    "data", [pack(AgentRequest(VERSION, b"")), pack(AgentRequest(VERSION, b"junk" * 100, b"s"))], ids=["empty", "junk"]
)
def test_junk_is_refused_and_the_agent_goes_on(shared: AgentProcess, data: bytes) -> None:
    assert call(shared, data).refusal == Reason.UNAVAILABLE
    enrolled(shared, OURS)


def test_malformed_bytes_are_an_invalid_argument(shared: AgentProcess) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        call(shared, b"\xff\xff")
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    enrolled(shared, OURS)


def test_a_message_beyond_the_limit_is_refused(shared: AgentProcess) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        call(shared, bytes(MOST_BYTES + 1))
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert shared.health() is not None


def test_a_reply_in_the_place_of_a_request_is_refused(shared: AgentProcess) -> None:
    assert call(shared, pack(AgentRequest(VERSION, to_bytes(Unavailable("north"))))).refusal == Reason.UNAVAILABLE


def test_the_log_quotes_no_cell_and_no_raw_text(agent: AgentProcess) -> None:
    hostile = 'run-1"}\n{"level": "info"}\x1b[2J'
    enrolled(agent, OURS)
    OURS.ask(agent, histograms())
    OURS.ask(agent, histograms(hostile))
    lines = agent.log.splitlines()
    assert all(json.loads(line)["level"] in ("info", "warning") for line in lines)
    assert "\x1b" not in agent.log
    cells = {cell for row in agent.data.read_text().splitlines()[1:] for cell in row.split(",") if "." in cell}
    assert not [cell for cell in cells if f" {cell}," in agent.log.replace('"seconds": ', "")]


def test_the_operator_finds_counts_in_the_state_folder(agent: AgentProcess) -> None:
    enrolled(agent, OURS)
    OURS.ask(agent, histograms())
    metrics = json.loads((agent.state / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["requests"] == {"query.enroll": {"accepted": 1}, "query.counts": {"answered": 1}}


def test_sigterm_ends_an_idle_agent_cleanly(agent: AgentProcess) -> None:
    assert agent.stop() == 0
    assert not agent.socket.exists()
    assert logged(agent, "stopped")


@pytest.mark.slow
def test_another_table_in_a_run_is_refused_until_restored(agent: AgentProcess) -> None:
    enrolled(agent, OURS)
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


def test_requests_are_answered_in_turn_and_a_flood_is_refused(shared: AgentProcess) -> None:
    enrolled(shared, OURS)
    runs = [f"run-{number}" for number in range(2, 2 + 4 * WAITING)]
    with ThreadPoolExecutor(len(runs)) as pool:
        replies = list(pool.map(lambda run_id: OURS.ask(shared, OURS.enroll(run_id)), runs))
    reasons = [reply.reason for reply in replies if isinstance(reply, EnrollReply)]
    assert len(reasons) == len(runs)
    assert reasons.count(Reason.ACCEPTED) >= 1 + WAITING
    assert set(reasons) <= {Reason.ACCEPTED, Reason.UNAVAILABLE}
    assert shared.health() is not None
