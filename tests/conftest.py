"""Settings that every test shares; a browser and a folder for its pictures, for tests of pages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.testbeds.browser import Browser

settings.register_profile("fedsynth", deadline=None)  # machines differ; slowness is not a property
settings.load_profile("fedsynth")


@pytest.fixture
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        opened.emulate()
        yield opened


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Where screenshots go: a folder that FEDSYNTH_SCREENSHOTS names, or one that is thrown away."""
    folder = Path(os.environ.get("FEDSYNTH_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
