"""What is summed over the images of patients, as integers, and how much one patient can change it.

Unit: one patient with all images. Neighboring tables: add or remove one patient. Images of a patient with k of them
weigh 1/k, so what a patient adds is a mean of vectors, whose norm is at most that of the longest.

    means:    for the patient's class c:  sqrt(1/8) at the class's count, and sqrt(7/8) u / R,  |u| <= R, clipped
    moments:  for the patient's class c:  sqrt(7/8) svec(v v') / D^2,                           |v| <= D, clipped
                                          sqrt(1/8) p / P,                                      |p| <= P, clipped

u are the weighted low frequencies of an image, v = u - m_c those without the class's mean, where m_c comes from the
released sum of means and is public, and p is the power in the rings. svec(A) lists the upper triangle of a symmetric
matrix with sqrt(2) off the diagonal, so that |svec(v v')| = |v|^2 <= D^2. The blocks of a vector stand in different
cells: each vector has norm at most sqrt(1/8 + 7/8) = 1, whatever the image is, and one patient is in one class.

Fixed point: the vector of length d is multiplied by S - sqrt(d)/2 - 1 and rounded to the nearest integers. Rounding
moves each of the d coordinates by at most 1/2, so the vector by at most sqrt(d)/2, and the integer vector has norm at
most S: the 1 is far more than float64 errs. So |z|^2 <= S^2, and no entry exceeds S.

Source of the clipping and of the release: Dwork and Roth 2014, section 3; the noise of integer vectors is that of
`common.privacy.mechanisms.release_counts`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from common.arrays import Floats, Integers
from common.images.frequencies import Frequencies

COUNT_PART = POWER_PART = 1 / 8
"""Part of the squared norm that goes to the count of a class, and to the power in the rings."""

DEVIATION = 0.8
"""Largest norm of an image without its class's mean, over the largest norm of an image."""

POWER = 1 / 8
"""Largest norm of the power in the rings, over the square of the largest norm of an image."""


@dataclass(frozen=True)
class ImageSums:
    """The layout of the two vectors of a study's images, and what a patient adds to them.

    Args:
        frequencies: how an image is described.
        contrast: about the root mean square of pixels around mid-gray, from 0 to 1/2, above which images are clipped:
            the largest norm of weighted low frequencies over the root of the number of pixels. Public.
        classes: number of classes.
    """

    frequencies: Frequencies
    contrast: float
    classes: int

    @property
    def radius(self) -> float:
        """R: the largest norm of an image's weighted low frequencies."""
        return self.contrast * self.frequencies.scale

    @property
    def deviation_radius(self) -> float:
        """D: the largest norm without the class's mean."""
        return DEVIATION * self.radius

    @property
    def power_radius(self) -> float:
        """P: the largest norm of the power in the rings."""
        return POWER * self.radius**2

    @property
    def pairs(self) -> int:
        """Entries of the upper triangle of a matrix of second moments."""
        return self.frequencies.kept * (self.frequencies.kept + 1) // 2

    @property
    def means_length(self) -> int:
        """Cells of the vector of means."""
        return self.classes * (1 + self.frequencies.kept)

    @property
    def moments_length(self) -> int:
        """Cells of the vector of moments."""
        return self.classes * (self.pairs + self.frequencies.ring_count)

    def means(self, images: Floats, labels: Integers, scale: int) -> Integers:
        """Return the exact sum of what the patients add to the means. It must not leave without noise.

        Args:
            images: descriptions, (patients, most images, `Frequencies.width`), NaN where a patient has no image.
            labels: class of each patient.
            scale: S, the largest norm of what a patient adds.

        Returns:
            int64 of shape (means_length,).
        """
        kept, table = self.frequencies.kept, np.zeros((self.classes, 1 + self.frequencies.kept), dtype=np.int64)
        factor = fixed_point(scale, 1 + kept)
        for rows, weights, owners in _blocks(images):
            low = clipped(rows[:, :kept], self.radius) / self.radius
            mean = _per_patient(low, weights, owners) * math.sqrt(1 - COUNT_PART)
            count = np.full((len(mean), 1), math.sqrt(COUNT_PART))
            integers = np.rint(factor * np.concatenate([count, mean], axis=1)).astype(np.int64)
            np.add.at(table, labels[np.unique(owners)], integers)
        return table.ravel()

    def moments(self, images: Floats, labels: Integers, means: Floats, scale: int) -> Integers:
        """Return the exact sum of what the patients add to the moments. It must not leave without noise.

        Args:
            images, labels, scale: as in `means`.
            means: m_c of every class, (classes, kept), from the released sum.

        Returns:
            int64 of shape (moments_length,).
        """
        kept = self.frequencies.kept
        table = np.zeros((self.classes, self.pairs + self.frequencies.ring_count), dtype=np.int64)
        factor = fixed_point(scale, table.shape[1])
        upper, weight = np.triu_indices(kept), _off_diagonal(kept)
        for rows, weights, owners in _blocks(images):
            around = clipped(rows[:, :kept] - means[labels[owners]], self.deviation_radius) / self.deviation_radius
            squares = around[:, upper[0]] * around[:, upper[1]] * weight * math.sqrt(1 - POWER_PART)
            power = clipped(rows[:, kept:], self.power_radius) / self.power_radius * math.sqrt(POWER_PART)
            added = _per_patient(np.concatenate([squares, power], axis=1), weights, owners)
            np.add.at(table, labels[np.unique(owners)], np.rint(factor * added).astype(np.int64))
        return table.ravel()


BLOCK = 512
"""Patients that are added up at once."""


def fixed_point(scale: int, length: int) -> float:
    """Return S - sqrt(d)/2 - 1: what a vector of norm 1 is multiplied by before its d coordinates are rounded."""
    return scale - math.sqrt(length) / 2 - 1


def clipped(vectors: Floats, radius: float) -> Floats:
    """Return every row, shortened to this L2 norm where it is longer. Each row is clipped by itself.

    Args:
        vectors: (rows, coordinates).
        radius: largest norm.
    """
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors * np.minimum(1.0, radius / np.maximum(norms, 1e-12)), dtype=np.float64)


def from_triangle(values: Floats, kept: int) -> Floats:
    """Return symmetric matrices from their svec.

    Args:
        values: (matrices, pairs).
        kept: rows of a matrix.

    Returns:
        Shape (matrices, kept, kept).
    """
    upper = np.triu_indices(kept)
    matrices = np.zeros((len(values), kept, kept))
    matrices[:, upper[0], upper[1]] = values / _off_diagonal(kept)
    matrices[:, upper[1], upper[0]] = matrices[:, upper[0], upper[1]]
    return matrices


def _off_diagonal(kept: int) -> Floats:
    rows, columns = np.triu_indices(kept)
    return np.where(rows == columns, 1.0, math.sqrt(2.0))


def _blocks(images: Floats) -> Iterator[tuple[Floats, Floats, Integers]]:
    """Yield the images of some patients, the weight 1/k of each and the number of its patient."""
    is_there = ~np.isnan(images[:, :, 0])
    held = is_there.sum(axis=1)
    for start in range(0, len(images), BLOCK):
        owners, slots = np.nonzero(is_there[start : start + BLOCK])
        owners = owners + start
        if len(owners):
            yield images[owners, slots].astype(np.float64), 1.0 / held[owners], owners


def _per_patient(vectors: Floats, weights: Floats, owners: Integers) -> Floats:
    """Return the weighted sum of each patient's vectors, patients in order."""
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    return np.asarray(np.add.reduceat(vectors * weights[:, None], starts, axis=0), dtype=np.float64)
