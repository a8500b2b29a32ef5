"""How close synthetic images come to the nearest real one, with images of other patients as the control."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.arrays import Floats, Integers
from common.evaluation.attacks.embedding import closest
from common.evaluation.attacks.membership import PERCENTILES
from common.evaluation.statistics.images import LabeledImages
from common.evaluation.statistics.intervals import Estimate, wilson


@dataclass(frozen=True, slots=True)
class NearestImages:
    """Distances to the nearest real image, as the root mean square difference of pixels, from 0 to 1 (white).

    Each tuple holds the 5th, 25th, 50th, 75th and 95th percentile. As many training images are used as held-out ones.

    Attributes:
        to_training, to_held_out: from synthetic images to the nearest training, and the nearest held-out image.
        control: from held-out images to the nearest training image: how close images of two patients come.
        nearer_to_training: fraction of synthetic images that are nearer to a training image than to any held-out one;
            a tie counts one half, which is chance.
    """

    to_training: tuple[float, ...]
    to_held_out: tuple[float, ...]
    control: tuple[float, ...]
    nearer_to_training: Estimate


def nearest_images(
    training: LabeledImages, held_out: LabeledImages, synthetic: LabeledImages, rng: np.random.Generator
) -> NearestImages:
    """Return how close synthetic images come to real ones.

    Synthetic images with the same nearest real image are not independent. Wilson's interval (1927) is therefore that
    of (sum n)^2 / sum n^2 independent images, where n images have the same nearest real image (Kish 1965).

    Args:
        training, held_out: real images.
        synthetic: the released ones.
        rng: chooses the training images.
    """
    sides = [side.values for side in (training.sample(len(held_out.labels), rng), held_out)]
    white = np.sqrt(sides[0].shape[1])
    (training_index, to_training), (held_out_index, to_held_out) = (closest(synthetic.values, side) for side in sides)
    nearest = np.where(to_training < to_held_out, training_index, len(sides[0]) + held_out_index)
    group_sizes = np.unique(nearest, return_counts=True)[1]
    wins = (to_training < to_held_out) + 0.5 * (to_training == to_held_out)
    return NearestImages(
        to_training=_percentiles(to_training / white),
        to_held_out=_percentiles(to_held_out / white),
        control=_percentiles(closest(sides[1], sides[0])[1] / white),
        nearer_to_training=_rate(float(wins.mean()), group_sizes),
    )


def _percentiles(distances: Floats) -> tuple[float, ...]:
    return tuple(round(float(cut), 4) for cut in np.percentile(distances, PERCENTILES))


def _rate(fraction: float, group_sizes: Integers) -> Estimate:
    """Return a fraction of images with its interval, where images in groups of these sizes are not independent."""
    independent = max(1, int(group_sizes.sum() ** 2 / (group_sizes**2).sum()))
    limits = wilson(round(fraction * independent), independent)
    return Estimate(fraction, min(limits.low, fraction), max(limits.high, fraction), independent)
