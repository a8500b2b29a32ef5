from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.serverapp import Grid

from common.errors import StudyError
from common.protocol.signing import Identity
from common.run_events.events import RunEvent, RunFailed
from common.run_events.file import EVENTS, read_events
from common.study.study import parse_study
from server import flower_app as app
from server.run.config import RunConfig
from tests.testbeds.clinic import clinic_study


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    Identity.create(tmp_path / "coordinator.key")
    other = Identity(Ed25519PrivateKey.generate()).public
    study = clinic_study(federation={"coordinator": other})
    key = tmp_path / "coordinator.key"
    return RunConfig(study, "run-1", tmp_path / "out", tmp_path / "receipts.json", is_simulation=False, rows=7, key=key)


class TestRunConfig:
    def test_config_survives_flower(self, config: RunConfig) -> None:
        assert RunConfig.of(config.to_flower()) == config

    def test_study_of_the_config_is_parsed(self, config: RunConfig) -> None:
        assert RunConfig.of(config.to_flower()).study == parse_study(config.study.to_toml())


def test_coordinator_with_another_key_asks_no_hospital(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "end_with_parent", lambda number: None)
    observed: list[RunEvent] = []
    with pytest.raises(StudyError, match="another coordinator key"):
        app.coordinate_alone(cast(Grid, None), config, observed.append)
    record = json.loads((config.out / "run.json").read_text())
    assert record["status"] == "failed"
    assert observed == [RunFailed(reason=record["reason"])]
    assert read_events(config.out / EVENTS) == tuple(observed)


def test_run_that_cannot_write_its_events_says_why_it_failed(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "end_with_parent", lambda number: None)
    (config.out / EVENTS).mkdir(parents=True)
    observed: list[RunEvent] = []
    with pytest.raises(StudyError, match="another coordinator key"):
        app.coordinate_alone(cast(Grid, None), config, observed.append)
    record = json.loads((config.out / "run.json").read_text())
    assert record["status"] == "failed"
    assert observed == [RunFailed(reason=record["reason"])]


def test_a_rule_that_most_patients_broke_is_a_logged_warning(caplog: pytest.LogCaptureFixture) -> None:
    said = app.about_rules({"warnings": ["SIMULATION"]}, {"stage never decreases": 0.9, "left < right": 0.1})
    assert said["redrawn"] == {"stage never decreases": 0.9, "left < right": 0.1}
    assert said["warnings"] == ["SIMULATION", *caplog.messages]
    assert "'stage never decreases'" in caplog.text
