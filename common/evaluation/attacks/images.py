"""Membership inference from a patient's image: are synthetic images closer to images of training patients?

Images are compared by the low frequencies that the study keeps; a run releases nothing of the others but their power.
The baseline is the same attack with images drawn from public settings alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.arrays import Floats
from common.evaluation.attacks.embedding import Flags, closest
from common.evaluation.attacks.outcome import Attack, Outcome, TargetScores
from common.evaluation.attacks.setup import LANDMARKS, most_targets, outliers_of
from common.evaluation.statistics.images import FEWEST_IMAGES, ComparedImages, LabeledImages
from common.seeds import seed_for

SOFTENING = 0.01
"""Added to both distances of a density ratio, over the largest norm of an image, so that no score is infinite."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageSetup:
    """What the attacks on images share; every image is one row of weighted low frequencies.

    Attributes:
        train, control: images under attack, of patients whom the model was trained on and of others.
        synthetic, baseline: images that the attacker has: those under test, and as many drawn from public settings.
        radius: largest norm of an image that is not clipped.
        is_reference: the control images, about half, that an attacker who has other patients' images is given.
        outliers: whether each image under attack is an outlier, training and control.
    """

    train: Floats
    control: Floats
    synthetic: Floats
    baseline: Floats
    radius: float
    is_reference: Flags
    outliers: tuple[Flags, Flags]

    @classmethod
    def of(cls, images: ComparedImages, *, seed: int) -> ImageSetup:
        """Choose the images under attack and describe all of them.

        Args:
            images: at least `FEWEST_IMAGES` of each kind.
            seed: seed of what is chosen.
        """

        def rng(name: str) -> np.random.Generator:
            return np.random.default_rng(seed_for(seed, "attacks", "images", name))

        column, many = images.column, len(images.synthetic.labels)
        transform, kept = column.transform, column.transform.kept
        radius = column.contrast * transform.scale

        def points(side: LabeledImages) -> Floats:
            return transform.describe(side.pixels)[:, :kept]

        train, control = (
            points(side.sample(most_targets(many), rng(name)))
            for name, side in (("train", images.training), ("control", images.held_out))
        )
        directions = rng("baseline").standard_normal((many, kept))
        lengths = radius * rng("lengths").random((many, 1))
        pooled = np.concatenate([train, control])
        is_landmark = np.zeros(len(pooled), dtype=np.bool_)
        is_landmark[rng("landmarks").permutation(len(pooled))[:LANDMARKS]] = True
        sides = [(train, is_landmark[: len(train)]), (control, is_landmark[len(train) :])]
        outliers = outliers_of(sides, pooled[is_landmark])
        return cls(
            train=train,
            control=control,
            synthetic=points(images.synthetic),
            baseline=directions / np.linalg.norm(directions, axis=1, keepdims=True) * lengths,
            radius=radius,
            is_reference=rng("reference").permutation(len(control)) % 2 == 0,
            outliers=(outliers[0], outliers[1]),
        )


def by_image_distance(setup: ImageSetup) -> Outcome:
    """Score images by closeness: a training patient's image is likelier to have a close synthetic one."""
    return Outcome(
        *(
            TargetScores(np.arange(len(images)), -closest(images, attacker)[1])
            for attacker in (setup.synthetic, setup.baseline)
            for images in (setup.train, setup.control)
        )
    )


def by_image_density(setup: ImageSetup) -> Outcome:
    """Score images by density, as `by_density_ratio` scores rows: around a member, synthetic images are denser."""
    others, least = setup.control[setup.is_reference], SOFTENING * setup.radius
    scored = (np.arange(len(setup.train)), np.flatnonzero(~setup.is_reference))
    arms = []
    for attacker in (setup.synthetic, setup.baseline):
        for images, rows in zip((setup.train, setup.control), scored, strict=True):
            to_others, to_attacker = (closest(images[rows], side)[1] for side in (others, attacker))
            arms.append(TargetScores(rows, np.log((to_others + least) / (to_attacker + least))))
    return Outcome(*arms)


IMAGE_ATTACKS: dict[str, Attack[ImageSetup]] = {
    attack.name: attack
    for attack in (
        Attack(
            "membership_image_distance",
            "Membership, by distance of images",
            "membership",
            "Knows a patient's image; takes the patient for a training patient if a synthetic image is close.",
            by_image_distance,
        ),
        Attack(
            "membership_image_density",
            "Membership, by density of images",
            "membership",
            "Knows a patient's image and images of others; asks whether synthetic images are denser there than people.",
            by_image_density,
        ),
    )
}


def why_no_image_attacks(images: ComparedImages) -> str | None:
    """Return why images cannot be attacked, as a sentence; None if they can."""
    sides = {"training": images.training, "held-out": images.held_out, "synthetic": images.synthetic}
    for name, side in sides.items():
        if len(side.labels) < FEWEST_IMAGES:
            return f"Attacks on images need {FEWEST_IMAGES} {name} images; there are {len(side.labels)}."
    return None
