"""How a relay reaches its agent: by a socket's path alone, and with a constant in place of what it cannot use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from client.agent.envelope import HANDLE, SERVICE, AgentReply, pack
from client.agent.transport import AgentSocket, check_address, connect
from common.errors import Reason, StudyError
from common.protocol.messages import EnrollReply, Unavailable
from common.version import VERSION
from tests.testbeds.agent_process import AgentProcess
from tests.testbeds.site_requests import Coordinator, histograms

OURS = Coordinator.new()


@pytest.mark.parametrize("address", ["127.0.0.1:50051", "unix:agent.sock", "tcp://0.0.0.0:1", "agent.sock"])
def test_a_network_address_is_refused(address: str) -> None:
    with pytest.raises(StudyError, match="no network address"):
        check_address(Path(address))
    with pytest.raises(StudyError, match="no network address"):
        connect({"agent-socket": address})


def test_a_socket_that_this_account_may_not_use_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with impostor(tmp_path / "agent.sock", pack(AgentReply(VERSION, "north", reply=b"x"))) as relay:
        monkeypatch.setattr("client.agent.transport.os.access", lambda path, mode: False)
        with pytest.raises(PermissionError, match="add it to the agent's group"):
            relay._call(HANDLE, b"", 5.0)


def test_a_path_that_the_kernel_would_cut_is_refused() -> None:
    with pytest.raises(StudyError, match="107 bytes"):
        check_address(Path("/" + "x" * 107))


def test_what_a_relay_says_without_an_agent_is_signed_by_nobody(site: AgentProcess) -> None:
    assert site.relay(timeout_s=0.5).answer(histograms()).signature == b""
    assert site.relay(timeout_s=0.5).answer(OURS.enroll()).signature == b""


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


def test_without_an_agent_the_relay_answers_a_constant(site: AgentProcess) -> None:
    assert isinstance(site.relay(timeout_s=0.5).handle(histograms()), Unavailable)
    refused = site.relay(timeout_s=0.5).handle(OURS.enroll())
    assert isinstance(refused, EnrollReply)
    assert (refused.hospital, refused.reason) == ("north", Reason.UNAVAILABLE)
