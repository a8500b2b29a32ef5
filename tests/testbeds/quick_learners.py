"""Learners with few trees, for tests that assert no number of a learner."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

SIZES = {"rf": {"n_estimators": 5}, "gb": {"max_iter": 5}}
"""Trees of the random forest, and steps of gradient boosting, of which a report trains 100."""


@pytest.fixture(scope="module")
def quick_learners() -> Iterator[None]:
    """Let reports train few trees in the tests of a module."""
    from common.evaluation.utility.learners import LEARNERS

    with pytest.MonkeyPatch.context() as patch:
        for name, size in SIZES.items():
            make = partial(_smaller, LEARNERS[name].make, size)
            patch.setitem(LEARNERS, name, replace(LEARNERS[name], make=make))
        yield


def _smaller(make: Callable[[], Any], size: Mapping[str, int]) -> Any:
    return make().set_params(**size)
