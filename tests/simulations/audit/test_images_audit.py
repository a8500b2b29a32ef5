"""The audit's canary among images: one white image more or less, against what is charged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from common.planning.plan import IMAGE_MEANS, IMAGE_MOMENTS
from common.privacy.mechanisms import SeededNoise
from common.study.study import Study
from simulations.audit.bounds import contradicts
from simulations.audit.counts import Vector, exact_vectors, repeat_release
from simulations.audit.run import Report
from simulations.audit.site import shards_with_and_without
from simulations.cli.main import app
from tests.testbeds.images import images_study


def image_vectors(epsilon: float = 6.0) -> dict[str, Vector]:
    """Return the vectors of images of one hospital under its own noise, with and without the canary."""
    study = images_study(privacy={"noise": "local", "epsilon": epsilon})
    vectors = exact_vectors(study, "north", *shards_with_and_without(study, "north", 30))
    return {vector.phase: vector for vector in vectors if vector.phase in (IMAGE_MEANS, IMAGE_MOMENTS)}


@pytest.fixture(scope="module")
def vectors() -> dict[str, Vector]:
    return image_vectors()


@pytest.mark.parametrize("name", [IMAGE_MEANS, IMAGE_MOMENTS])
class TestCanary:
    def test_changes_the_sums_and_no_more_than_is_charged(self, vectors: dict[str, Vector], name: str) -> None:
        change = vectors[name].present - vectors[name].absent
        assert change.any()
        assert int((change.astype(object) ** 2).sum()) <= vectors[name].event.squared_sensitivity  # type: ignore[union-attr]

    def test_refutes_no_claim(self, vectors: dict[str, Vector], name: str) -> None:
        vector = vectors[name]
        scores = repeat_release(vector, SeededNoise(3), np.random.default_rng(4), 4_000)
        assert not contradicts(scores, [vector.event], 1e-5)


def test_command_declares_hospitals_of_built_in_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audited: list[Study] = []

    def audit(study: Study, **_: object) -> Report:
        audited.append(study)
        return Report(study.name, "0" * 64, "north", 0, 0.999, 1.0, 1.0, ())

    monkeypatch.setattr("simulations.audit.run.audit", audit)
    done = CliRunner().invoke(app, ["audit", "--study", "digits", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert [(facts.name, facts.declared_rows) for facts in audited[0].hospitals] == [
        ("north", 450),
        ("east", 450),
        ("south", 450),
        ("west", 450),
    ]
