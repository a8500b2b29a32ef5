"""What every synthesizer of the registry does, the toy one included."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save

from common.arrays import Weights
from common.columns.base import Codes
from common.columns.binning import Binning
from common.columns.categorical import Categorical
from common.encoding import Encoder
from common.errors import StudyError
from common.marginals.measurements import Measurements
from common.marginals.queries import Domain, count, single_queries
from common.study.schema import Schema
from common.study.synthesizers import (
    SYNTHESIZER_SETTINGS,
    AdversarialSettings,
    GanSettings,
    MaximumEntropySettings,
    SynthesizerSettings,
    VaeSettings,
)
from common.synthesizers.base import AdversarialSynthesizer, Synthesizer
from common.synthesizers.registry import SYNTHESIZERS, make_adversarial, make_synthesizer
from common.synthesizers.schedule import initial_weights
from tests.testbeds.toy_synthesizer import KIND, ToySettings, register

SCHEMA = Schema(
    columns=(
        Categorical(name="x", categories=("a", "b", "c")),
        Categorical(name="y", categories=("d", "e"), missing=True),
    )
)
ENCODER = Encoder(SCHEMA, np.zeros(6, dtype=np.int64), Binning(cells=16, bins=4))
DOMAIN = Domain.of(ENCODER)
CODES = np.array([[0, 0]] * 60 + [[1, 1]] * 30 + [[1, 2]] * 10, dtype=np.int16)
"""A hundred rows; nobody has the third category of x."""

SETTINGS: dict[str, SynthesizerSettings] = {
    "prototypes": GanSettings(prototypes=12, hidden=8, fit_steps=150),
    "mlp": GanSettings(generator="mlp", hidden=8, fit_steps=400),
    "vae": VaeSettings(classes=2, prototypes=12, fit_steps=150),
    "maximum-entropy": MaximumEntropySettings(chains=512, fit_steps=60),
    KIND: ToySettings(),
}
CONDITIONAL = [name for name in SETTINGS if name != "mlp"]


@pytest.fixture(autouse=True)
def toy_is_registered() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        yield


def measurements() -> Measurements:
    queries = single_queries(2)
    return Measurements(DOMAIN, queries, count(CODES, queries, DOMAIN), (1e-3,) * len(queries))


def fitted(synthesizer: Synthesizer, seed: int = 0) -> Weights:
    return synthesizer.fit(initial_weights(synthesizer, 1), measurements(), seed, rounds=0)


def proportions(codes: Codes, column: int) -> list[float]:
    return list(np.bincount(codes[:, column], minlength=3) / len(codes))


@pytest.fixture(params=SETTINGS)
def synthesizer(request: pytest.FixtureRequest) -> Synthesizer:
    return make_synthesizer(SETTINGS[request.param], ENCODER)


def test_every_kind_has_settings_code_and_a_contract_test() -> None:
    tested = {settings.kind for settings in SETTINGS.values()} | {"history-gan"}  # of visits, in `history_gan`
    assert SYNTHESIZERS.keys() == SYNTHESIZER_SETTINGS.keys() == tested
    for kind, settings in SYNTHESIZER_SETTINGS.items():
        assert settings.model_fields["kind"].default == kind


class TestFit:
    def test_repeats_with_the_seed(self, synthesizer: Synthesizer) -> None:
        torch.manual_seed(1)
        first = fitted(synthesizer)
        torch.manual_seed(2)
        second = fitted(synthesizer)
        assert first.keys() == second.keys()
        assert all(np.array_equal(first[name], second[name]) for name in first)

    def test_weights_survive_a_file(self, synthesizer: Synthesizer) -> None:
        weights = fitted(synthesizer)
        assert {str(value.dtype) for value in weights.values()} == {"float32"}
        loaded = load(save(weights))
        assert np.array_equal(synthesizer.sample(weights, 50, 3, {}), synthesizer.sample(loaded, 50, 3, {}))

    def test_meets_single_columns(self, synthesizer: Synthesizer) -> None:
        codes = synthesizer.sample(fitted(synthesizer), 4000, 5, {})
        # Three standard errors of a frequency are at most 3 sqrt(0.25 / 4000) = 0.024; the fit leaves as much.
        assert proportions(codes, 0) == pytest.approx([0.6, 0.4, 0.0], abs=0.05)
        assert proportions(codes, 1) == pytest.approx([0.6, 0.3, 0.1], abs=0.05)


class TestSample:
    def test_repeats_with_the_seed(self, synthesizer: Synthesizer) -> None:
        weights = fitted(synthesizer)
        first = synthesizer.sample(weights, 500, 7, {})
        assert (first == synthesizer.sample(weights, 500, 7, {})).all()
        assert (first != synthesizer.sample(weights, 500, 8, {})).any()

    @pytest.mark.parametrize("rows", [0, 1, 500])
    def test_codes_are_below_the_sizes(self, synthesizer: Synthesizer, rows: int) -> None:
        codes = synthesizer.sample(fitted(synthesizer), rows, 7, {})
        assert codes.shape == (rows, 2)
        assert codes.dtype == np.int16
        assert (codes >= 0).all()
        assert (codes < np.array(ENCODER.sizes)).all()

    @pytest.mark.parametrize("name", CONDITIONAL)
    def test_conditions_hold_exactly(self, name: str) -> None:
        synthesizer = make_synthesizer(SETTINGS[name], ENCODER)
        codes = synthesizer.sample(fitted(synthesizer), 200, 1, {0: 1, 1: 2})
        assert (codes == [1, 2]).all()


class TestCapability:
    @pytest.mark.parametrize("name", SETTINGS)
    def test_settings_and_code_agree(self, name: str) -> None:
        synthesizer = make_synthesizer(SETTINGS[name], ENCODER)
        assert isinstance(synthesizer, AdversarialSynthesizer) == isinstance(SETTINGS[name], AdversarialSettings)

    def test_rounds_are_refused_for_a_synthesizer_only_fitted(self) -> None:
        with pytest.raises(StudyError, match="does not train in rounds"):
            make_adversarial(ToySettings(), ENCODER)

    def test_initial_weights_are_empty_without_rounds(self) -> None:
        assert initial_weights(make_synthesizer(ToySettings(), ENCODER), 0) == {}
        assert initial_weights(make_synthesizer(GanSettings(prototypes=2), ENCODER), 0)


def test_the_toy_refuses_a_condition_without_weight() -> None:
    toy = make_synthesizer(ToySettings(), ENCODER)
    with pytest.raises(StudyError, match="no weight"):
        toy.sample(fitted(toy), 5, 1, {0: 2})
