"""What is shipped: the wheel, and what its metadata promise."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

from client.supernode.relay_pool import HAND_OVER
from common.version import VERSION

ROOT = Path(__file__).parents[1]
PACKAGES = ("client", "common", "server", "simulations")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git tracks or would track, so that the build reads and leaves nothing in the work tree."""
    if not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout")
    copy = tmp_path_factory.mktemp("checkout") / "fedsynth"
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names of the files in the wheel."""
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), cwd=checkout)
    (built,) = out.glob("*.whl")
    return zipfile.ZipFile(built).namelist()


def run(*command: str, cwd: Path, **variables: str) -> str:
    done = subprocess.run(command, cwd=cwd, env=os.environ | variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files_of(checkout: Path, packages: tuple[str, ...], pattern: str) -> set[str]:
    found = (path for package in packages for path in (checkout / package).rglob(pattern))
    skipped = {"build", "__pycache__"}
    return {str(path.relative_to(checkout)) for path in found if path.is_file() and not skipped & {*path.parts}}


def test_the_wheel_holds_the_packages_and_their_data_only(checkout: Path, wheel: list[str]) -> None:
    shipped = {name for name in wheel if ".dist-info/" not in name}
    assert shipped == files_of(checkout, PACKAGES, "*")
    assert shipped >= {
        "common/py.typed",
        "common/evaluation/report/page/report.html.jinja",
        "simulations/studies/heart-disease.toml",
    }


def test_the_wheel_carries_the_license(wheel: list[str]) -> None:
    assert [name for name in wheel if name.endswith(".dist-info/licenses/LICENSE")]
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").lstrip().startswith("Apache License")


def test_the_commands_can_be_loaded() -> None:
    commands = {entry.name: entry for entry in distribution("fedsynth").entry_points.select(group="console_scripts")}
    assert commands.keys() == {"fedsynth", HAND_OVER}
    assert all(callable(entry.load()) for entry in commands.values())


def test_the_code_says_which_version_it_is() -> None:
    # Relay and agent compare it; where a bundle runs, the installed metadata would be another's.
    assert tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"] == VERSION


def test_no_index_accepts_an_upload() -> None:
    assert "Private :: Do Not Upload" in (distribution("fedsynth").metadata.get_all("Classifier") or [])
