"""The audit's canary among visits: a patient with more visits than are kept, against what is charged."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from common.planning.phases import COARSE, CROSS_TRANSITIONS, HISTOGRAMS, PAIRS, TRANSITIONS
from common.planning.planner import make_plan
from common.privacy.mechanisms import SeededNoise
from common.run_events.events import ignore
from simulations.audit.attacks import Attacks, Effort
from simulations.audit.bounds import contradicts
from simulations.audit.counts import Vector, exact_vectors, repeat_release
from simulations.audit.histories import SURPLUS, histories_with_and_without, invented_histories, with_history
from tests.testbeds.visits import FACTS, MOST_VISITS, visits_study

STUDY = visits_study(privacy={"epsilon": 6.0}).with_hospitals(FACTS[:1], cap_minimum=True)


@cache
def vectors() -> dict[str, Vector]:
    """Return every vector of a hospital, with and without the canary."""
    found = exact_vectors(STUDY, "north", *histories_with_and_without(STUDY, "north", 60))
    return {vector.phase: vector for vector in found}


def test_the_canary_has_more_visits_than_are_kept() -> None:
    raw = invented_histories(STUDY, 60, 0)
    added = with_history(raw, STUDY)[lambda rows: rows["id"].str.startswith("canary")]
    assert len(added) == MOST_VISITS + SURPLUS
    assert raw.groupby("id")["sex"].nunique().max() == 1
    assert raw.groupby("id").size().max() <= MOST_VISITS


@pytest.mark.parametrize("name", [HISTOGRAMS, COARSE, PAIRS, TRANSITIONS, CROSS_TRANSITIONS])
class TestCanary:
    def test_changes_the_counts_and_no_more_than_is_charged(self, name: str) -> None:
        vector = vectors()[name]
        change = vector.present - vector.absent
        assert change.any()
        assert int((change.astype(object) ** 2).sum()) <= vector.event.squared_sensitivity  # type: ignore[union-attr]

    def test_refutes_no_claim(self, name: str) -> None:
        vector = vectors()[name]
        scores = repeat_release(vector, SeededNoise(3), np.random.default_rng(4), 2_000)
        assert not contradicts(scores, [vector.event], 1e-5)


def test_an_audit_attacks_every_count_of_visits() -> None:
    attacks = Attacks(STUDY, make_plan(STUDY), 0, Effort(releases=500, secure_releases=500), ignore)
    found = [trials.name for trials, _ in attacks.run()]
    assert found == [*make_plan(STUDY).phases, "histograms, secure", "whole run"]
