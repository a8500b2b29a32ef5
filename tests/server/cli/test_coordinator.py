"""The coordinator's commands as far as they go without a SuperLink; `tests/deployment` has the rest."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import Result
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typer.testing import CliRunner

from common.errors import FederationError, FedSynthError, StudyError
from common.planning.proposal import RUN_ID, read_proposal
from common.protocol.signing import Identity, create_node_key, fingerprint
from common.study.sections import HospitalFacts
from common.system.folder import RunFolder
from server.cli.coordinator import app
from server.deploy.certificates import certificate_fingerprint, read_certificate
from server.deploy.directory import CoordinatorDirectory, new_run_id
from server.deploy.superlink import program, up
from tests.testbeds.clinic import STUDY, clinic_study


@pytest.fixture
def home(tmp_path: Path) -> CoordinatorDirectory:
    one = CoordinatorDirectory(tmp_path / "coordinator")
    run(one, "certs", "--host", "coordinator.example.org")
    return one


def call(home: CoordinatorDirectory, *arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments), "--home", str(home.path)])


def run(home: CoordinatorDirectory, *arguments: object) -> str:
    result = call(home, *arguments)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def refusal(home: CoordinatorDirectory, *arguments: object, kind: type[FedSynthError] = StudyError) -> str:
    problem = call(home, *arguments).exception
    assert isinstance(problem, kind), problem
    return str(problem)


def study_file(home: CoordinatorDirectory) -> Path:
    facts = tuple(HospitalFacts(name=name, declared_rows=90) for name in ("north", "south"))
    agreed = clinic_study(federation={"coordinator": Identity.load(home.key).public}).with_hospitals(facts)
    path = home.path.parent / "study.toml"
    path.write_text(agreed.to_toml(), encoding="utf-8")
    return path


@pytest.fixture
def run_id(home: CoordinatorDirectory) -> str:
    return run(home, "propose", study_file(home)).split()[1]


def test_a_site_takes_the_run_id_of_the_longest_study_name() -> None:
    run_id = new_run_id("-".join(["cohort"] * 9) + "x")
    assert RUN_ID.fullmatch(run_id)
    assert "--" not in run_id
    assert len({new_run_id("clinic") for _ in range(8)}) == 8


def test_certs_prints_fingerprints_and_creates_nothing_twice(tmp_path: Path) -> None:
    home = CoordinatorDirectory(tmp_path / "coordinator")
    said = run(home, "certs")
    assert certificate_fingerprint(home.authority[0]) in said
    public = Identity.load(home.key).public
    assert public in said
    assert fingerprint(public) in said
    before = home.authority[0].read_bytes()
    assert "is complete; to replace a file, move it away first" in refusal(home, "certs")
    for path in home.server:
        path.unlink()
    assert run(home, "certs").startswith("Created: server certificate For")
    assert home.authority[0].read_bytes() == before


def test_a_proposal_is_signed_and_stored_with_its_run(home: CoordinatorDirectory, run_id: str) -> None:
    proposal = read_proposal(home.path / "runs" / run_id / "proposal.json")
    assert proposal.run_id == run_id
    assert run(home, "status", run_id) == f"{run_id}: proposed"
    assert run(home, "log", run_id) == "nothing logged yet"
    assert "was not started" in refusal(home, "stop", run_id)


def test_a_study_without_hospitals_is_not_proposed(home: CoordinatorDirectory, tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(STUDY, encoding="utf-8")
    assert "lists no [[hospitals]]" in refusal(home, "propose", path)
    assert run(home, "status") == ""


def test_a_study_that_was_drafted_from_records_is_not_proposed(home: CoordinatorDirectory, tmp_path: Path) -> None:
    path = study_file(home)
    path.write_text(path.read_text().replace('"written"', '"drafted"', 1), encoding="utf-8")
    assert "was drafted from records" in refusal(home, "propose", path)


@pytest.mark.parametrize("noise", ["local", "distributed"])
def test_a_study_whose_hospitals_share_a_key_is_not_proposed(
    home: CoordinatorDirectory, tmp_path: Path, noise: str
) -> None:
    path, own = study_file(home), Identity.load(home.key).public
    text = path.read_text(encoding="utf-8").replace('noise = "local"', f'noise = "{noise}"')
    line = f'identity = "{Identity.simulated(1, "north").public}", declared_rows'
    path.write_text(text.replace("declared_rows", line), encoding="utf-8")
    assert "'north' and 'south' list the same identity" in refusal(home, "propose", path)
    path.write_text(text.replace("declared_rows", f'identity = "{own}", declared_rows', 1), encoding="utf-8")
    assert "the coordinator's key is the identity of 'north'" in refusal(home, "propose", path)
    assert run(home, "status") == ""


def test_a_key_of_the_coordinator_is_not_enrolled_as_a_site(home: CoordinatorDirectory, tmp_path: Path) -> None:
    for number, (certificate, _) in enumerate((home.authority, home.server)):
        public = read_certificate(certificate).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        path = tmp_path / f"{number}.pub"
        path.write_bytes(public)
        assert "is a key of this coordinator" in refusal(home, "enroll", path, "--name", "north")


def test_a_mistaken_home_is_refused_and_not_created(tmp_path: Path) -> None:
    other = CoordinatorDirectory(tmp_path / "other")
    for command in (("status",), ("run", "a"), ("log", "a")):
        assert "is not a coordinator's folder; name it with --home" in refusal(other, *command)
    assert not other.path.exists()


def test_a_run_that_does_not_exist_is_refused_by_name(home: CoordinatorDirectory) -> None:
    for name in ("another", "../../etc", "A", ""):
        assert f"no run '{name}'" in refusal(home, "run", name)
    for command in ("resume", "log", "stop"):
        assert "no run 'another'" in refusal(home, command, "another")


def test_a_run_that_was_started_is_to_be_resumed(home: CoordinatorDirectory, run_id: str) -> None:
    RunFolder(home.path / "runs" / run_id).write_json("checkpoints/run.json", {})
    assert f"continue it with `fedsynth coordinator resume {run_id}`" in refusal(home, "run", run_id)


def test_status_distinguishes_the_states_of_a_run(home: CoordinatorDirectory, run_id: str) -> None:
    run_folder = RunFolder(home.path / "runs" / run_id)
    run_folder.write("checkpoints/histograms.safetensors", b"")
    assert run(home, "status") == f"{run_id}: interrupted, 1 steps done, can be resumed"
    assert "continue it with `fedsynth coordinator resume" in refusal(home, "run", run_id)
    with run_folder.lock():
        assert "running (process " in run(home, "status", run_id)
        assert "is being coordinated by process" in refusal(home, "resume", run_id)
    run_folder.write_json("run.json", {"status": "failed", "reason": "2 hospitals left"})
    assert run(home, "status", run_id) == f"{run_id}: failed: 2 hospitals left; 1 steps done, can be resumed"
    run_folder.write_json("run.json", {"status": "finished"})
    assert run(home, "status", run_id) == f"{run_id}: finished"
    assert "is finished; its results are in" in refusal(home, "resume", run_id)


def test_enroll_without_a_superlink_names_the_remedy(home: CoordinatorDirectory, tmp_path: Path) -> None:
    create_node_key(tmp_path / "node.key")
    home.connect(1)
    said = refusal(home, "enroll", tmp_path / "node.key.pub", "--name", "north", kind=FederationError)
    assert "is `fedsynth coordinator up` running with this --home?" in said


def test_enroll_refuses_a_file_that_is_not_a_node_key(home: CoordinatorDirectory, tmp_path: Path) -> None:
    (tmp_path / "site.pub").write_text("hello", encoding="utf-8")
    assert "is not an OpenSSH public key" in refusal(home, "enroll", tmp_path / "site.pub", "--name", "north")


def test_a_port_that_is_taken_is_named(home: CoordinatorDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.deploy.superlink.program", lambda name: pytest.fail("it was started"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port}" in refusal(home, "up", "--host", "127.0.0.1", "--port", port)
        with pytest.raises(StudyError, match=f"cannot listen on 127.0.0.1:{port} "):
            up(home, "127.0.0.1", 0, port)  # the port of Flower's control interface


def test_a_certificate_that_sites_would_refuse_is_not_served(
    home: CoordinatorDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.deploy.superlink.program", lambda name: pytest.fail("it was started"))
    for path in home.authority:
        path.unlink()
    assert "Created: certificate authority" in run(home, "certs")
    with pytest.raises(StudyError, match="was not issued by"):
        up(home, "127.0.0.1", 0, 0)


def test_a_superlink_that_ends_ends_the_coordinator(
    home: CoordinatorDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.deploy.superlink.program", lambda name: "false")
    with pytest.raises(FederationError, match=r"did not start \(exit code 1\); its last lines give the cause"):
        up(home, "127.0.0.1", 0, 0)
    monkeypatch.setattr("uvicorn.Server.run", lambda self: None)
    monkeypatch.setattr("server.deploy.superlink._await_health", lambda process, *_: process.wait())
    with pytest.raises(FederationError, match=r"ended by itself \(exit code 1\); its last lines give the cause"):
        up(home, "127.0.0.1", 0, 0)


def test_a_healthy_superlink_is_served_until_it_is_stopped(
    home: CoordinatorDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "superlink"
    program.write_text("#!/bin/sh\nexec sleep 30\n")
    program.chmod(0o700)
    served: list[bool] = []
    monkeypatch.setattr("server.deploy.superlink.program", lambda name: str(program))
    monkeypatch.setattr("server.deploy.superlink.START_S", 0.5)
    monkeypatch.setattr("httpx.get", lambda *_, **__: SimpleNamespace(is_success=True))
    monkeypatch.setattr("uvicorn.Server.run", lambda self: served.append(True))
    up(home, "127.0.0.1", 0, 0)
    assert served == [True]


def test_a_missing_program_of_flower_is_named() -> None:
    with pytest.raises(StudyError, match=r"/flower-absent' is missing; install fedsynth into this environment again"):
        program("flower-absent")


@pytest.mark.parametrize(("options", "lines"), [(("--no-follow",), 1), ((), 2)])
def test_a_run_is_followed_unless_told_otherwise(
    home: CoordinatorDirectory, run_id: str, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], lines: int
) -> None:
    monkeypatch.setattr("server.deploy.runs.submit_run", lambda *_: SimpleNamespace(flower=7))
    monkeypatch.setattr("server.deploy.runs.follow_run", lambda *_, show: "folder")
    said = call(home, "run", run_id, *options).output.splitlines()
    assert said == [f"Submitted {run_id} (Flower run 7)", "Results: folder"][:lines]
