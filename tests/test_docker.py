"""The container files, checked without an engine: what they promise, and that the commands in them exist.

`docker/build-without-docker.sh` builds the image and tries it. That Compose starts the services is unproven here;
`tests/client/agent/test_accounts.py` runs the same separation with accounts and a network namespace.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import typer
import yaml

from common.version import VERSION

ROOT = Path(__file__).parents[1]
FILES = ("compose.coordinator.yaml", "compose.site.yaml")


def compose(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker" / name).read_text(encoding="utf-8")))


SERVICES = [(name, service) for name in FILES for service in compose(name)["services"]]


def service(name: str, file: str = "compose.site.yaml") -> dict[str, Any]:
    return dict(compose(file)["services"][name])


@pytest.mark.parametrize("name", FILES)
def test_the_file_is_valid_compose(name: str) -> None:
    parser = pytest.importorskip("compose_spec", reason="unproven: compose-spec is not installed")
    text = re.sub(r"\$\{(\w+):\?[^}]*\}", "/srv/example", yaml.safe_dump(compose(name)))  # merge keys are resolved
    parsed = parser.PyCompose.from_yaml(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text))
    assert sorted(parsed.service_names()) == sorted(compose(name)["services"])


@pytest.mark.parametrize(("file", "name"), SERVICES)
def test_every_service_is_confined_and_comes_back_after_a_crash(file: str, name: str) -> None:
    described = service(name, file)
    assert described["image"] == f"fedsynth:{VERSION}"
    assert described["restart"] == "always"
    assert described["init"] is True
    assert described["read_only"] is True
    assert described["cap_drop"] == ["ALL"]
    assert described["security_opt"] == ["no-new-privileges:true"]
    assert int(str(described["user"]).split(":")[0]) >= 10_000
    assert described["healthcheck"]["test"][0] == "CMD"
    assert "privileged" not in described
    assert described["mem_limit"] == described["memswap_limit"]  # nothing is swapped to a disk
    assert re.fullmatch(r"(\$\{\w+:-)?\d+g\}?", described["mem_limit"])
    assert described["ulimits"]["core"] == 0
    assert all({"noexec", "nosuid", "nodev", "size=512m"} <= {*mount.split(",")} for mount in described["tmpfs"])


def test_the_agent_has_the_data_and_no_network() -> None:
    agent = service("agent")
    assert agent["network_mode"] == "none"
    assert not {"networks", "ports", "expose", "links"} & set(agent)
    assert [mounted["target"] for mounted in agent["volumes"]] == [
        "/site",
        "/witness",
        "/run/fedsynth",
    ]  # not the hospital's file


def test_the_supernode_shares_only_the_socket_with_the_agent() -> None:
    supernode, agent = service("supernode"), service("agent")
    assert [mounted["target"] for mounted in supernode["volumes"]] == ["/run/fedsynth"]
    assert supernode["volumes"][0]["read_only"] is True
    assert supernode["secrets"] == ["ca.crt", "node.key"]
    assert "network_mode" not in supernode
    assert "ports" not in supernode
    users = [str(account["user"]).split(":") for account in (agent, supernode)]
    assert users[0][0] != users[1][0]
    assert users[0][1] == users[1][1] == "10003"


def test_the_coordinator_opens_one_port() -> None:
    assert service("coordinator", "compose.coordinator.yaml")["ports"] == ["${FEDSYNTH_PORT:-8000}:8000"]


def test_the_image_runs_as_an_ordinary_user_from_a_pinned_base() -> None:
    lines = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8").splitlines()
    bases = {line.split()[1] for line in lines if line.startswith("FROM ")}
    assert bases == {"${BASE}"}
    assert "ARG BASE" in lines  # without a default: whoever builds names a digest
    assert [line for line in lines if line.startswith("USER ")] == ["USER fedsynth"]
    accounts = " ".join(lines)
    assert "--uid 10001" in accounts
    assert "--uid 10002" in accounts
    assert "--gid 10003 fedsynth-socket" in accounts


def test_every_install_is_by_hash_or_without_an_index() -> None:
    text = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    installs = [line for line in text.splitlines() if "pip install" in line and not line.startswith("#")]
    assert len(installs) == 2
    assert {"--require-hashes", "--no-deps", "--only-binary"} <= {*installs[0].split()}
    assert {"--no-index", "--no-deps", "--no-build-isolation"} <= {*installs[1].split()}


def test_the_lock_holds_the_constraints_with_a_hash_each() -> None:
    def pinned(name: str) -> dict[str, str]:
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        pairs = (line.split()[0].split("==") for line in lines if "==" in line and not line.startswith("#"))
        return {re.sub(r"[-_.]+", "-", package).lower(): version for package, version in pairs}

    lock = (ROOT / "docker" / "requirements.lock").read_text(encoding="utf-8").splitlines()
    entries = [line for line in lock if not line.startswith("#")]
    assert all(re.fullmatch(r"\S+==\S+ --hash=sha256:[0-9a-f]{64}", line) for line in entries)
    locked, constraints = pinned("docker/requirements.lock"), pinned("constraints.txt")
    assert {name: version.removesuffix("+cpu") for name, version in locked.items()}.items() <= constraints.items()
    assert locked["torch"].endswith("+cpu")  # of the build without CUDA
    assert not [name for name in locked if name.startswith(("nvidia", "triton", "cuda"))]
    needed = {
        re.split("[<>=]", line)[0]
        for line in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    }
    assert needed <= locked.keys()


def test_the_build_without_an_engine_parses() -> None:
    script = ROOT / "docker" / "build-without-docker.sh"
    assert f"IMAGE=localhost/fedsynth:{VERSION}\n" in script.read_text(encoding="utf-8")
    subprocess.run(["bash", "-n", str(script)], check=True)


def known_options() -> dict[tuple[str, ...], set[str]]:
    """Options of every command that a service may run."""
    from simulations.cli.main import app

    whole = typer.main.get_command(app)
    assert isinstance(whole, click.Group)
    context = click.Context(whole)
    options: dict[tuple[str, ...], set[str]] = {}
    for group in ("site", "coordinator"):
        commands = whole.get_command(context, group)
        assert isinstance(commands, click.Group)
        for name, command in commands.commands.items():
            options[group, name] = {option for parameter in command.params for option in parameter.opts}
    return options


@pytest.mark.parametrize(("file", "name"), SERVICES)
def test_every_command_and_option_of_a_service_exists(file: str, name: str) -> None:
    described, known = service(name, file), known_options()
    commands = [described["command"]]
    if described["healthcheck"]["test"][1] == "fedsynth":
        commands.append(described["healthcheck"]["test"][2:])
    for command in commands:
        options = {part for part in command[2:] if part.startswith("--")}
        assert options <= known[tuple(command[:2])]


@pytest.mark.parametrize(("file", "name"), SERVICES)
def test_health_checks_in_python_compile(file: str, name: str) -> None:
    test = service(name, file)["healthcheck"]["test"]
    if test[1] == "python":
        compile(test[3], f"{file}:{name}", "exec")
    else:
        assert test[1] == "fedsynth"
