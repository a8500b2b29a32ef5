"""Synthetic images against real ones: distance, what a classifier learns from them, and the nearest real image."""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from common.evaluation.images.frechet import frechet_distance, random_features
from common.evaluation.images.nearest import NearestImages, nearest_images
from common.evaluation.statistics.images import FEWEST_IMAGES, ComparedImages, LabeledImages
from common.evaluation.statistics.intervals import Estimate, bootstrap, mean_of, weighted_auroc
from common.evaluation.statistics.resampling import RESAMPLES
from common.images.cells import Pixels
from common.images.png import png_of, sheet_of
from common.seeds import seed_for

MOST_IMAGES = 2000
"""Most images of each kind that are compared; fewer are taken at random."""

SHOWN, MOST_CLASSES = 12, 10
"""Images of a class on the contact sheet, and most classes on it."""


@dataclass(frozen=True, slots=True)
class ImageEvidence:
    """What a report says about images.

    Attributes:
        images: how many synthetic images were compared.
        frechet, frechet_real: distance of synthetic and of held-out images to training images, in random features.
        trained_on_synthetic, trained_on_real: AUROC on held-out images, the mean over classes against all others.
        tested_on_synthetic: AUROC on synthetic images of a classifier that was trained on real ones.
        nearest: how close synthetic images come to the nearest real one.
        sheet: PNG of synthetic images, in base64; it is not in report.json. No real image is on it: a report holds
            aggregates of patients only.
    """

    images: int
    frechet: float
    frechet_real: float
    trained_on_synthetic: Estimate
    trained_on_real: Estimate
    tested_on_synthetic: Estimate
    nearest: NearestImages
    sheet: str

    def as_document(self) -> dict[str, Any]:
        """Return the part of report.json under `images`; its keys are described in docs/report.md."""
        document = asdict(self)
        del document["sheet"]
        return document


def assess_images(images: ComparedImages, *, seed: int = 0) -> ImageEvidence | None:
    """Compare synthetic images with real ones; None with fewer than `FEWEST_IMAGES` of a kind, or with one class only.

    Args:
        images: synthetic, training and held-out images.
        seed: seed of the images that are compared and of the resamples.
    """
    sides = (images.training, images.held_out, images.synthetic)
    if not all(len(side.labels) >= FEWEST_IMAGES and len(np.unique(side.labels)) > 1 for side in sides):
        return None
    rng = np.random.default_rng(seed_for(seed, "images"))
    training, held_out, synthetic = (side.sample(MOST_IMAGES, rng) for side in sides)
    features = random_features(training.pixels)
    return ImageEvidence(
        images=len(synthetic.labels),
        frechet=frechet_distance(random_features(synthetic.pixels), features),
        frechet_real=frechet_distance(random_features(held_out.pixels), features),
        trained_on_synthetic=auroc(synthetic, held_out, seed),
        trained_on_real=auroc(training, held_out, seed),
        tested_on_synthetic=auroc(training, synthetic, seed),
        nearest=nearest_images(images.training, held_out, synthetic, rng),
        sheet=base64.b64encode(png_of(contact_sheet(synthetic))).decode("ascii"),
    )


def auroc(trained: LabeledImages, tested: LabeledImages, seed: int) -> Estimate:
    """Return the AUROC of a logistic regression on pixels: the mean over classes, each against all others.

    Classes that one of the two sets lacks are left out. The interval is that of resampled tested images.

    Args:
        trained: images that train it.
        tested: images that it is tested on.
        seed: seed of the resamples.
    """
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(max_iter=200).fit(trained.values, trained.labels)
    predicted = fitted.predict_proba(tested.values)
    areas = [
        weighted_auroc(tested.labels == label, predicted[:, index])
        for index, label in enumerate(fitted.classes_)
        if 0 < (tested.labels == label).sum() < len(tested.labels)
    ]
    if not areas:
        return Estimate(0.5, 0.0, 1.0, 0)
    resampling = seed_for(seed, "images", "resamples")
    return bootstrap(mean_of(areas), len(tested.labels), seed=resampling, resamples=RESAMPLES)


def contact_sheet(*sets: LabeledImages) -> Pixels:
    """Return the first images of every class, a line for each, the sets below each other.

    Args:
        sets: images; the classes are those of the first set.
    """
    classes = np.unique(sets[0].labels)[:MOST_CLASSES]
    return sheet_of([images.pixels[images.labels == label][:SHOWN] for images in sets for label in classes], zoom=2)
