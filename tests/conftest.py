"""Settings that every test shares; a browser and a folder for its pictures, for tests of pages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.testbeds.browser import Browser
from tests.testbeds.quick_learners import quick_learners

__all__ = ["quick_learners"]

settings.register_profile("fedsynth", deadline=None)  # machines differ; slowness is not a property
settings.load_profile("fedsynth")


TESTS_OF_COMMON = Path(__file__).parent / "common"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Count what tests of `common` cover of it, and trace no other: that takes a third of the time of a test.

    A search for guards (`tests.mutations.guards`) asks which test passes through which line, and traces all.
    """
    if config.getoption("--cov-context", None) is None:
        for item in items:
            if not item.path.is_relative_to(TESTS_OF_COMMON):
                item.add_marker("no_cover")


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
