"""What a command loads, and how it can be started."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest
from rich.text import Text
from typer.main import get_command

from common.model import save_model
from common.run_events.events import RunFinished
from common.system.folder import RunFolder
from simulations.cli.console import estimated_bar
from simulations.cli.main import COMMANDS
from tests.testbeds.clinic import clinic_model

ROOT = Path(__file__).parents[3]


def loaded_by(*arguments: object) -> set[str]:
    """The modules that are loaded after the command ran in a process of its own."""
    code = (
        "import json, sys\n"
        "from simulations.cli.main import main\n"
        f"sys.argv = {['fedsynth', *map(str, arguments)]!r}\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "print(json.dumps(list(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_sample_needs_neither_server_nor_client(tmp_path: Path) -> None:
    save_model(clinic_model(), RunFolder(tmp_path / "run"), is_simulation=True)
    modules = loaded_by("sample", tmp_path / "run" / "model", "--rows", 5, "--out", tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").exists()
    assert "common.model" in modules
    assert not {name for name in modules if name.partition(".")[0] in ("server", "client")}


def test_help_loads_no_heavy_package() -> None:
    modules = loaded_by("--help")
    assert set(COMMANDS.values()) <= modules
    assert not modules & {"torch", "pandas", "numpy", "scipy", "flwr", "grpc", "pydantic", "cryptography"}


def test_the_module_of_the_command_can_be_run() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "simulations.cli.main", "benchmark", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "attack" in done.stdout


@pytest.mark.parametrize("package", ["client/cli", "server/cli", "simulations/cli"])
def test_commands_are_plain_functions(package: str) -> None:
    # A command is found by its name: its function stands at the left margin of a module.
    for path in (ROOT / package).glob("*.py"):
        assert "    @app.command" not in path.read_text(encoding="utf-8")


def helps_of(command: click.Command) -> Iterator[str]:
    """Yield the help of a command, of its options and of the commands below it."""
    yield command.help or ""
    for parameter in command.params:
        yield getattr(parameter, "help", None) or ""
    if isinstance(command, click.Group):
        for below in command.commands.values():
            yield from helps_of(below)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_loses_no_word_in_square_brackets(name: str) -> None:
    for text in helps_of(get_command(import_module(COMMANDS[name]).app)):
        assert Text.from_markup(text).plain == text.replace("\\[", "["), text


def test_a_bar_passes_over_other_events() -> None:
    with estimated_bar("Cases") as show:
        show(RunFinished(run_id="run-1", seconds=1.0))
