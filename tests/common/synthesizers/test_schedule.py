from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from common.arrays import Weights
from common.columns.base import Codes
from common.marginals.measurements import Measurements
from common.seeds import seed_for
from common.study.synthesizers import GanSettings
from common.synthesizers.gan.synthesizer import MarginalGan
from common.synthesizers.schedule import TrainingSchedule
from tests.testbeds.marginals import DOMAIN, QUERIES, measured, random_codes


def array_of(number: float) -> npt.NDArray[np.float32]:
    return np.array([number], dtype=np.float32)


MEASUREMENTS = measured(random_codes(60, DOMAIN), QUERIES, DOMAIN)


class Recorded(MarginalGan):
    """Writes down what it is asked for; its weights are one number for each network."""

    def __init__(self) -> None:
        super().__init__(GanSettings(), DOMAIN.sizes)
        object.__setattr__(self, "calls", [])

    calls: list[tuple[object, ...]]

    def fit(self, weights: Weights, measurements: Measurements, seed: int, *, rounds: int) -> Weights:
        self.calls.append(("fit", seed, rounds))
        return weights | {"gen.a": array_of(1)}

    def refine(self, weights: Weights, ensemble: Weights, measurements: Measurements, seed: int) -> Weights:
        self.calls.append(("refine", seed, float(ensemble["disc.a"][0]), sorted(weights)))
        return weights | {"gen.a": array_of(2)}


class FitOnly:
    """A synthesizer without rounds."""

    def fit(self, weights: Weights, measurements: Measurements, seed: int, *, rounds: int) -> Weights:
        return {"a": array_of(3)}

    def sample(self, weights: Weights, rows: int, seed: int, given: Mapping[int, int]) -> Codes:
        raise AssertionError("nothing is drawn in training")


INITIAL: Weights = {"gen.a": array_of(0), "disc.a": array_of(0)}


def do_round(number: int, weights: Weights) -> Weights:
    """The discriminator counts the rounds; optimizers leave their state beside it."""
    return weights | {"disc.a": array_of(number), "adam.gen.0.step": array_of(number)}


def test_fit_precedes_rounds_and_refinement_follows() -> None:
    synthesizer = Recorded()
    weights = TrainingSchedule(synthesizer, MEASUREMENTS, 5, seed=9).run(INITIAL, do_round)
    # Of five rounds the later half are the third, fourth and fifth: their discriminators' mean is 4.
    assert synthesizer.calls == [
        ("fit", seed_for(9, "fit"), 5),
        ("refine", seed_for(9, "refine"), 4.0, ["disc.a", "gen.a"]),
    ]
    assert {name: value.tolist() for name, value in weights.items()} == {"gen.a": [2], "disc.a": [5]}


def test_without_rounds_the_fit_is_all() -> None:
    synthesizer = Recorded()
    weights = TrainingSchedule(synthesizer, MEASUREMENTS, 0, seed=9).run(INITIAL, do_round)
    assert synthesizer.calls == [("fit", seed_for(9, "fit"), 0)]
    assert weights["gen.a"].tolist() == [1]


def test_without_measurements_the_rounds_are_all() -> None:
    synthesizer = Recorded()
    weights = TrainingSchedule(synthesizer, None, 2, seed=9).run(INITIAL, do_round)
    assert synthesizer.calls == []
    assert {name: value.tolist() for name, value in weights.items()} == {"gen.a": [0], "disc.a": [2]}


def test_the_fit_is_taken_from_its_checkpoint() -> None:
    synthesizer, steps = Recorded(), []

    def once(step: str, compute: Callable[[], Weights]) -> Weights:
        steps.append(step)
        return {"gen.a": array_of(7)}

    weights = TrainingSchedule(synthesizer, MEASUREMENTS, 0, seed=9, once=once).run(INITIAL, do_round)
    assert (steps, synthesizer.calls, weights["gen.a"].tolist()) == (["fit"], [], [7])


def test_a_synthesizer_without_rounds_is_fitted() -> None:
    weights = TrainingSchedule(FitOnly(), MEASUREMENTS, 0, seed=9).run({}, do_round)
    assert {name: value.tolist() for name, value in weights.items()} == {"a": [3]}
