"""Synthetic images against real ones: distance, what a classifier learns from them, and the nearest real image."""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from common.arrays import Floats, Integers
from common.evaluation.images.frechet import frechet_distance, random_features
from common.evaluation.statistics.intervals import wilson
from common.images.cells import Pixels
from common.images.png import png_of, sheet_of

MOST_IMAGES = 2000
"""Most images of each kind that are compared; fewer are taken at random."""

SHOWN, MOST_CLASSES = 12, 10
"""Images of a class on the contact sheet, and most classes on it."""

LEAST = 20
"""Fewest held-out images for a comparison."""


@dataclass(frozen=True, slots=True, eq=False)
class LabeledImages:
    """Images and their classes.

    Attributes:
        pixels: (images, rows, columns).
        labels: number of each image's class, (images,).
    """

    pixels: Pixels
    labels: Integers

    def some(self, most: int, rng: np.random.Generator) -> LabeledImages:
        """Return at most `most` images, chosen at random, in their order."""
        rows = np.sort(rng.permutation(len(self.labels))[:most])
        return LabeledImages(self.pixels[rows], self.labels[rows])

    @property
    def values(self) -> Floats:
        """Pixels from 0 to 1, one row an image."""
        return self.pixels.reshape(len(self.pixels), -1).astype(np.float64) / 255


@dataclass(frozen=True, slots=True)
class ImageEvidence:
    """What a simulation's report says about images.

    Attributes:
        images: how many synthetic images were compared.
        frechet, frechet_real: distance of synthetic and of held-out images to training images, in random features.
        trained_on_synthetic, trained_on_real: AUROC on held-out images, the mean over classes against all others.
        tested_on_synthetic: AUROC on synthetic images of a classifier that was trained on real ones.
        nearer_to_training: fraction of synthetic images whose nearest real image trained, of as many held-out ones as
            training ones: 1/2 where no image is copied.
        low, high: 95 % interval of that fraction.
        sheet: PNG of synthetic images, in base64. No real image is on it: a report holds aggregates of patients only.
    """

    images: int
    frechet: float
    frechet_real: float
    trained_on_synthetic: float
    trained_on_real: float
    tested_on_synthetic: float
    nearer_to_training: float
    low: float
    high: float
    sheet: str

    def as_document(self) -> dict[str, Any]:
        """Return the numbers, for run.json."""
        fields = asdict(self)
        del fields["sheet"]
        return {name: round(value, 4) for name, value in fields.items()}


def assess_images(
    training: LabeledImages, held_out: LabeledImages, synthetic: LabeledImages, *, seed: int = 0
) -> ImageEvidence | None:
    """Return what is measured; None with fewer than `LEAST` held-out or synthetic images, or of one class only.

    Args:
        training: images that the model was trained on.
        held_out: images that trained nothing.
        synthetic: images that the run released.
        seed: of what is chosen at random.
    """
    enough = all(
        len(some.labels) >= LEAST and len(np.unique(some.labels)) > 1 for some in (training, held_out, synthetic)
    )
    if not enough:
        return None
    rng = np.random.default_rng(seed)
    real, unseen, fake = (some.some(MOST_IMAGES, rng) for some in (training, held_out, synthetic))
    features = random_features(real.pixels)
    fraction, low, high = nearer_to_training(training, unseen, fake, rng)
    return ImageEvidence(
        images=len(fake.labels),
        frechet=frechet_distance(random_features(fake.pixels), features),
        frechet_real=frechet_distance(random_features(unseen.pixels), features),
        trained_on_synthetic=auroc(fake, unseen),
        trained_on_real=auroc(real, unseen),
        tested_on_synthetic=auroc(real, fake),
        nearer_to_training=fraction,
        low=low,
        high=high,
        sheet=base64.b64encode(png_of(contact_sheet(fake))).decode("ascii"),
    )


def auroc(trained: LabeledImages, tested: LabeledImages) -> float:
    """Return the AUROC of a logistic regression on pixels: the mean over classes, each against all others.

    Classes that one of the two sets lacks are left out.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    fitted = LogisticRegression(max_iter=200).fit(trained.values, trained.labels)
    predicted = fitted.predict_proba(tested.values)
    areas = [
        roc_auc_score(tested.labels == label, predicted[:, index])
        for index, label in enumerate(fitted.classes_)
        if 0 < (tested.labels == label).sum() < len(tested.labels)
    ]
    return float(np.mean(areas)) if areas else 0.5


def nearer_to_training(
    training: LabeledImages, held_out: LabeledImages, synthetic: LabeledImages, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Return the fraction of synthetic images that are nearer to a training image than to any held-out one.

    As many training images as held-out ones are taken, so that without memory the fraction is 1/2 by symmetry. A tie
    counts one half. The interval is Wilson's (1927), for images that are independent.

    Args:
        training, held_out: real images.
        synthetic: the released ones.
        rng: chooses the training images.
    """
    some = training.some(len(held_out.labels), rng)
    trained, unseen = (nearest(synthetic.values, real.values) for real in (some, held_out))
    wins = (trained < unseen) + 0.5 * (trained == unseen)
    fraction, interval = float(wins.mean()), wilson(round(float(wins.sum())), len(wins))
    return fraction, min(interval.low, fraction), max(interval.high, fraction)


def nearest(images: Floats, others: Floats) -> Floats:
    """Return the squared distance of every image to the nearest of others."""
    squares = (others**2).sum(axis=1)
    distances = [
        (squares - 2 * block @ others.T).min(axis=1) + (block**2).sum(axis=1)
        for block in np.array_split(images, max(1, len(images) // 500))
    ]
    return np.concatenate(distances)


def contact_sheet(*sets: LabeledImages) -> Pixels:
    """Return the first images of every class, a line for each, the sets below each other.

    Args:
        sets: images; the classes are those of the first set.
    """
    classes = np.unique(sets[0].labels)[:MOST_CLASSES]
    return sheet_of([some.pixels[some.labels == label][:SHOWN] for some in sets for label in classes], zoom=2)
