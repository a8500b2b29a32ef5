"""Attacks that know a patient's image: copies are recognized, images of other people are not."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from common.columns.image import Image
from common.columns.numeric import Numeric
from common.evaluation.attacks.catalog import ATTACKS, run_attacks
from common.evaluation.attacks.conclusions import privacy_of
from common.evaluation.attacks.images import (
    IMAGE_ATTACKS,
    ImageSetup,
    by_image_density,
    by_image_distance,
    why_no_image_attacks,
)
from common.evaluation.attacks.results import AttackResult, PrivacyEvidence
from common.evaluation.statistics.data import EvaluationData
from common.evaluation.statistics.images import ComparedImages, LabeledImages
from common.study.schema import Schema

COLUMN = Image(name="film", size=(8, 8), frequencies=10, contrast=0.3)

SCHEMA = Schema(columns=(Numeric(name="age", lower=0, upper=9), Numeric(name="lab", lower=0, upper=9)))


def drawn(seed: int, images: int = 200) -> LabeledImages:
    """Return images whose low frequencies vary."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(-1, 1, 8)
    size = rng.normal(0, 40, (2, images, 1, 1))
    pixels = 128 + size[0] * slope[:, None] + size[1] * slope + rng.normal(0, 20, (images, 8, 8))
    return LabeledImages(np.clip(pixels, 0, 255).astype(np.uint8), rng.integers(0, 2, images))


def attacked(images: ComparedImages | None) -> PrivacyEvidence:
    """Return what attacks find on these images beside rows that say nothing."""
    rng = np.random.default_rng(0)
    first, second, third = (pd.DataFrame(rng.integers(0, 10, (60, 2)) * 1.0, columns=["age", "lab"]) for _ in range(3))
    data = EvaluationData(first, second, third, SCHEMA, target="age", images=images, epsilon=3.0, delta=1e-5)
    return privacy_of(data, run_attacks(data))


def on_images(evidence: PrivacyEvidence) -> list[AttackResult]:
    return [attack for attack in evidence.attacks if attack.name in IMAGE_ATTACKS]


class TestAttacks:
    def test_copies_of_images_are_recognized(self) -> None:
        training = drawn(0)
        evidence = attacked(ComparedImages(COLUMN, training, drawn(1), training))
        assert [attack.name for attack in evidence.attacks] == [*ATTACKS, *IMAGE_ATTACKS]
        assert all(attack.is_flagged for attack in on_images(evidence))
        assert evidence.is_flagged
        assert "membership, by distance of images" in evidence.verdict

    def test_images_of_other_people_reveal_nobody(self) -> None:
        results = on_images(attacked(ComparedImages(COLUMN, drawn(0, 600), drawn(1, 600), drawn(2))))
        assert len(results) == 2
        assert not any(attack.is_flagged for attack in results)
        areas = [attack.all_records.membership.auroc for attack in results if attack.all_records.membership]
        assert all(area.low < 0.5 < area.high for area in areas)
        assert all(attack.outliers is not None for attack in results)

    def test_too_few_images_are_said(self) -> None:
        few = ComparedImages(COLUMN, drawn(0), drawn(1, 19), drawn(2))
        assert why_no_image_attacks(few) == "Attacks on images need 20 held-out images; there are 19."
        evidence = attacked(few)
        assert not on_images(evidence)
        assert why_no_image_attacks(few) in evidence.notes

    def test_studies_without_images_have_none(self) -> None:
        assert not on_images(attacked(None))

    def test_document_holds_no_image(self) -> None:
        training = drawn(0)
        document = attacked(ComparedImages(COLUMN, training, drawn(1), training)).as_document()
        assert len(json.dumps(document)) < 40_000  # aggregates; 200 images have 12,800 pixels


class TestScores:
    @pytest.fixture
    def four(self) -> ImageSetup:
        points = np.zeros((4, 10))
        points[:, 0] = [0.0, 1.0, 2.0, 4.0]
        return ImageSetup(
            train=points[:2],
            control=points[2:],
            synthetic=points[:1],
            baseline=points[3:],
            radius=100.0,
            is_reference=np.array([True, False]),
            outliers=(np.zeros(2, dtype=np.bool_), np.zeros(2, dtype=np.bool_)),
        )

    def test_distance_is_that_of_low_frequencies(self, four: ImageSetup) -> None:
        outcome = by_image_distance(four)
        assert outcome.train.values == pytest.approx([0, -1])
        assert outcome.control.values == pytest.approx([-2, -4])
        assert outcome.baseline_train.values == pytest.approx([-4, -3])

    def test_density_compares_with_other_patients(self, four: ImageSetup) -> None:
        outcome = by_image_density(four)
        # The other patient is at 2; 1 is added to both distances.
        assert outcome.train.values == pytest.approx(np.log([(2 + 1) / (0 + 1), (1 + 1) / (1 + 1)]))
        assert outcome.control.targets.tolist() == [1]
        assert outcome.control.values == pytest.approx(np.log([(2 + 1) / (4 + 1)]))

    def test_baseline_knows_public_settings_only(self) -> None:
        setups = [ImageSetup.of(ComparedImages(COLUMN, drawn(n), drawn(n + 1), drawn(n + 2)), seed=0) for n in (0, 5)]
        assert np.array_equal(setups[0].baseline, setups[1].baseline)
        assert np.linalg.norm(setups[0].baseline, axis=1).max() <= COLUMN.contrast * 8
