from __future__ import annotations

import tomllib
from typing import Any

import pytest
import tomli_w

from common.errors import StudyError
from common.study.study import Study, parse_study
from common.study.synthesizers import AdversarialSettings, GanSettings, MaximumEntropySettings
from tests.testbeds.clinic import STUDY, clinic_study
from tests.testbeds.toy_synthesizer import KIND, ToySettings, register


def study_with(**synthesizer: Any) -> Study:
    document = tomllib.loads(STUDY)
    document["synthesizer"] = synthesizer
    del document["training"]
    return parse_study(tomli_w.dumps(document))


class TestKind:
    def test_default_is_the_maximum_entropy_model(self) -> None:
        assert study_with(chains=70).synthesizer == MaximumEntropySettings(chains=70)
        assert study_with(kind="marginal-gan").synthesizer == GanSettings()

    def test_settings_are_those_of_the_kind(self, monkeypatch: pytest.MonkeyPatch) -> None:
        register(monkeypatch)
        study = study_with(kind=KIND, bins=5)
        assert study.synthesizer == ToySettings(bins=5)
        assert not isinstance(study.synthesizer, AdversarialSettings)
        assert parse_study(study.to_toml()) == study
        assert study.amended(synthesizer={"bins": 6}).synthesizer == ToySettings(bins=6)

    def test_unknown_kind_lists_the_known_ones(self, monkeypatch: pytest.MonkeyPatch) -> None:
        register(monkeypatch)
        with pytest.raises(StudyError) as problem:
            study_with(kind="marginal-gam")
        assert str(problem.value) == (
            "study: [synthesizer] kind 'marginal-gam' is unknown; did you mean 'marginal-gan'? "
            "choose from: maximum-entropy, marginal-gan, marginal-vae, history-gan, independent-columns"
        )

    @pytest.mark.parametrize("kind", ["mst", 3, [], True])
    def test_kind_that_is_near_no_other_gets_no_suggestion(self, kind: object) -> None:
        with pytest.raises(StudyError, match=r"is unknown; choose from: maximum-entropy, .*, history-gan$"):
            study_with(kind=kind)

    def test_kind_of_a_test_is_unknown_outside_it(self) -> None:
        with pytest.raises(StudyError, match=f"kind '{KIND}' is unknown"):
            study_with(kind=KIND)


class TestKeys:
    def test_unknown_key_suggests_one_of_the_kind(self, monkeypatch: pytest.MonkeyPatch) -> None:
        register(monkeypatch)
        with pytest.raises(StudyError, match=r"unknown key 'prototpyes' in \[synthesizer\]; did you mean 'prototypes'"):
            study_with(kind="marginal-gan", prototpyes=7)
        with pytest.raises(StudyError, match=r"unknown key 'prototypes' in \[synthesizer\]; remove it"):
            study_with(kind=KIND, prototypes=7)

    def test_value_outside_its_range_names_the_key(self) -> None:
        with pytest.raises(StudyError, match=r"\[synthesizer.prototypes\] input should be greater"):
            study_with(kind="marginal-gan", prototypes=0)

    def test_section_that_is_no_table_is_refused(self) -> None:
        document = tomllib.loads(STUDY) | {"synthesizer": 3}
        with pytest.raises(StudyError, match=r"\[synthesizer\]"):
            parse_study(tomli_w.dumps(document))

    def test_fit_steps_are_left_out_where_not_given(self) -> None:
        gan = study_with(kind="marginal-gan")
        assert "fit_steps" not in gan.to_toml()
        assert "fit_steps = 1500" in gan.amended(synthesizer={"fit_steps": 1500}).to_toml()
        assert gan.amended(synthesizer={"fit_steps": 1500}).fingerprint != gan.fingerprint


def test_fingerprint_is_independent_of_the_class_hierarchy() -> None:
    # The canonical form sorts keys.
    assert clinic_study().fingerprint == "3f228380882d17dfbc9df10cccf03db23bcf5666cd8dc4530016c089a957d98f"


def test_marginals_are_counted_unless_they_weigh_nothing() -> None:
    assert GanSettings().counts_marginals
    assert not GanSettings(marginal_weight=0.0).counts_marginals
    assert ToySettings().counts_marginals
