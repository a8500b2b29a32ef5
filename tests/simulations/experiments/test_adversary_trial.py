from __future__ import annotations

import math

import numpy as np
import pytest

from common.marginals.queries import Domain
from common.planning.planner import make_plan
from simulations.experiments.adversary_trial import (
    ARMS,
    TrialArm,
    TrialSettings,
    make_study,
    run_arm,
)
from simulations.experiments.parity_table import distances, draw_patients


def test_parity_shows_in_the_triple_and_in_no_pair() -> None:
    frame = draw_patients(20_000, 0)
    yes = (frame[["smoker", "hypertension", "relapse"]] == "yes").to_numpy()
    # Flipped for one in twenty; five standard errors of that share are 5 sqrt(0.05 * 0.95 / 20000) = 0.008.
    assert (yes[:, 0] ^ yes[:, 1] != yes[:, 2]).mean() == pytest.approx(0.05, abs=0.008)
    # A correlation of nothing has a standard error of 1 / sqrt(20000) = 0.007.
    assert np.abs(np.corrcoef(yes.T) - np.eye(3)).max() < 0.036


def test_parity_of_four_shows_in_no_triple() -> None:
    frame = draw_patients(20_000, 0, order=4)
    yes = (frame[["smoker", "hypertension", "relapse"]] == "yes").to_numpy()
    ward = frame.ward.isin(["a", "b"]).to_numpy()
    assert (yes[:, 0] ^ yes[:, 1] ^ ward != yes[:, 2]).mean() == pytest.approx(0.05, abs=0.008)
    # Without the ward the parity of the other three is a coin; five standard errors are 5 / (2 sqrt(20000)) = 0.018.
    assert (yes[:, 0] ^ yes[:, 1] != yes[:, 2]).mean() == pytest.approx(0.5, abs=0.018)


def test_distances_of_a_parity_from_its_opposite() -> None:
    even = np.array([[a, b, a ^ b] for a in (0, 1) for b in (0, 1)], dtype=np.int16)
    odd = even ^ np.array([0, 0, 1], dtype=np.int16)
    # Every pair of columns is uniform in both; the triples share no cell.
    assert distances(even, odd, Domain((2, 2, 2), (False,) * 3)) == {"parity": 1.0, "tvd1": 0.0, "tvd2": 0.0}


@pytest.mark.slow
@pytest.mark.parametrize("name", ARMS)
def test_arms_keep_to_the_budget_unless_without_noise(name: str) -> None:
    tiny = TrialSettings(rounds=1, steps=1, batch=20, hidden=4, fit_steps=1, rows=2000)
    spent = run_arm(ARMS[name], 3.0, tiny, 0)["spent"]
    assert math.isinf(spent) if name == "adversary" else spent <= 3.0


def test_without_an_adversary_marginals_get_its_budget() -> None:
    settings = TrialSettings()
    arms = [TrialArm(plans_rounds=is_planned, trains=False) for is_planned in (True, False)]
    sigmas = [make_plan(make_study(arm, 3.0, settings)).hospitals[0].sigmas for arm in arms]
    for with_adversary, without in zip(*sigmas, strict=True):
        assert without < with_adversary


@pytest.mark.slow
def test_adversary_without_noise_halves_the_distance() -> None:
    settings = TrialSettings(batch=256)
    real, placebo = (run_arm(ARMS[name], 3.0, settings, 0)["parity"] for name in ("adversary", "placebo"))
    assert placebo > 0.4
    assert real <= placebo / 2
