from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from client import flower_app
from client.supernode import relay
from common.errors import FederationError
from common.protocol.bundle import PYPROJECT, bundle_text
from tests.testbeds.bundles import packed

flower: Any = importlib.import_module("flwr.supernode.runtime.run_clientapp")


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        for name in relay.REPLACED:
            patched.setattr(flower, name, getattr(flower, name))
        yield


def test_an_unknown_bundle_is_neither_installed_nor_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLWR_HOME", str(tmp_path))
    hostile = packed(**{PYPROJECT: bundle_text("0.1.0"), "client.py": "raise SystemExit"})
    flower.install_from_fab(hostile, skip_prompt=True)
    (written,) = tmp_path.rglob("client.py")  # what Flower does
    written.unlink()

    relay.replace_installer()
    with pytest.raises(FederationError, match="it was not installed"):
        flower.install_from_fab(hostile, skip_prompt=True)
    flower.install_from_fab(packed(**{PYPROJECT: bundle_text("0.1.0")}), skip_prompt=True)
    assert not [*tmp_path.rglob("client.py")]


def test_the_installed_app_answers_whatever_the_bundle_names() -> None:
    relay.replace_installer()
    load = flower.get_load_client_app_fn(default_app_ref="", app_path=None, multi_app=True)
    assert load("hostile/hostile", "1.0.0", "0" * 64) is flower_app.app


def test_another_way_from_bundle_to_code_stops_the_relay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flower, "run_clientapp", lambda: None)
    with pytest.raises(FederationError, match="installs apps in an unknown way"):
        relay.replace_installer()


def test_the_program_replaces_the_installer_before_flower_runs() -> None:
    code = (
        "from client.supernode import relay\n"
        "relay.flwr_clientapp = lambda: print(relay.flower.install_from_fab is relay._install)\n"
        "relay.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
