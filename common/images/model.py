"""Images drawn from the released sums: one Gaussian of low frequencies for each class, and power for the others.

Everything here is post-processing of noisy sums.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from common.arrays import Floats, Integers
from common.images.cells import Pixels
from common.images.frequencies import Frequencies
from common.images.sums import COUNT_PART, POWER_PART, ImageSums, fixed_point, from_triangle

LEAST_VARIANCE = 0.01
"""Smallest variance in any direction, over the median one: noise may have left less than nothing."""

BLOCK = 4096
"""Images that are drawn at once."""


@dataclass(frozen=True, eq=False)
class ClassMeans:
    """The means of weighted low frequencies that a released sum gives.

    Attributes:
        patients: about how many patients of each class have an image, at least 1; (classes,).
        means: (classes, kept).
    """

    patients: Floats
    means: Floats

    @classmethod
    def of(cls, sums: ImageSums, released: Integers, scale: int, sigma: float) -> ClassMeans:
        """Return the means of every class, drawn towards the mean of all classes as far as noise hides them.

        Args:
            sums: layout of the vector.
            released: the noisy sum of `ImageSums.means` over hospitals.
            scale: S, by which it was multiplied.
            sigma: standard deviation of its noise in every cell.
        """
        factor = fixed_point(scale, 1 + sums.frequencies.kept)
        cells = released.reshape(sums.classes, -1) / factor
        patients = np.maximum(cells[:, 0] / math.sqrt(COUNT_PART), 1.0)
        unit = sums.radius / math.sqrt(1 - COUNT_PART)
        own = cells[:, 1:] * unit / patients[:, None]
        pooled = cells[:, 1:].sum(axis=0) * unit / patients.sum()
        deviations = sigma / factor * unit / patients
        groups = np.split(np.arange(own.shape[1]), np.flatnonzero(np.diff(sums.frequencies.diagonals)) + 1)
        means = [shrunk(own[:, group], pooled[group], deviations) for group in groups]
        return cls(patients, np.concatenate(means, axis=1))


@dataclass(frozen=True, eq=False)
class ImageModel:
    """Gaussians of low frequencies, and variances of the others, by class.

    Attributes:
        frequencies: how an image is described.
        means: of weighted low frequencies, (classes, kept).
        covariances: (classes, kept, kept), positive definite.
        variances: of every frequency of a ring, (classes, rings).
    """

    frequencies: Frequencies
    means: Floats
    covariances: Floats
    variances: Floats

    @classmethod
    def of(cls, sums: ImageSums, means: ClassMeans, released: Integers, scale: int, sigma: float) -> ImageModel:
        """Return the model that the released sums give.

        Args:
            sums: layout of the vectors.
            means: of the first vector.
            released: the noisy sum of `ImageSums.moments` over hospitals.
            scale: S, by which it was multiplied.
            sigma: standard deviation of its noise in every cell.
        """
        frequencies = sums.frequencies
        factor = fixed_point(scale, sums.pairs + frequencies.ring_count)
        cells, patients = released.reshape(sums.classes, -1) / factor, means.patients
        unit = sums.deviation_radius**2 / math.sqrt(1 - POWER_PART)
        moments = from_triangle(cells[:, : sums.pairs] * unit, frequencies.kept)
        covariances = denoised_covariances(moments, patients, sigma / factor * unit / math.sqrt(2))
        unit = sums.power_radius / math.sqrt(POWER_PART)
        power = cells[:, sums.pairs :] * unit
        pooled = power.sum(axis=0) / patients.sum()
        variances = shrunk(power / patients[:, None], pooled, sigma / factor * unit / patients)
        return cls(frequencies, means.means, covariances, np.maximum(variances, 0) / frequencies.ring_sizes)

    def draw(self, labels: Integers, scores: Floats, rng: np.random.Generator) -> Pixels:
        """Return one image for each row, of its class and with its scores, up to pixels cut at black and white.

            u_rest | u_first = m_rest + B (u_first - m_first) + noise,    B = S_rest,first S_first,first^-1

        Args:
            labels: class of every row.
            scores: of every row, (rows, scores).
            rng: source of randomness.

        Returns:
            uint8 of shape (rows, rows of pixels, columns of pixels).
        """
        images = np.empty((len(labels), *self.frequencies.size), dtype=np.uint8)
        first = self.frequencies.low(scores)
        for label in np.unique(labels):
            rows = np.flatnonzero(labels == label)
            for start in range(0, len(rows), BLOCK):
                chosen = rows[start : start + BLOCK]
                images[chosen] = self._of_class(int(label), first[chosen], rng)
        return images

    def _of_class(self, label: int, first: Floats, rng: np.random.Generator) -> Pixels:
        mean, covariance, given = self.means[label], self.covariances[label], first.shape[1]
        slope = np.linalg.solve(covariance[:given, :given], covariance[:given, given:])  # B'
        residual = covariance[given:, given:] - covariance[given:, :given] @ slope
        values, vectors = np.linalg.eigh((residual + residual.T) / 2)
        root = vectors * np.sqrt(np.maximum(values, 0))
        noise = rng.standard_normal((len(first), len(residual))) @ root.T
        rest = mean[given:] + (first - mean[:given]) @ slope + noise
        deviations = np.sqrt(self.variances[label])[self.frequencies.rings]
        high = rng.standard_normal((len(first), len(deviations))) * deviations
        return self.frequencies.picture(np.concatenate([first, rest], axis=1), high)


def shrunk(rows: Floats, target: Floats, deviations: Floats) -> Floats:
    """Return every row drawn towards the target, the more of its distance noise explains.

        t = max(0, 1 - d s^2 / |x - target|^2)    (positive-part James and Stein 1961)

    Args:
        rows: (rows, d).
        target: (d,).
        deviations: s, the standard deviation of the noise in each coordinate of a row, (rows,).
    """
    away = rows - target
    squared = np.maximum((away**2).sum(axis=1), 1e-300)
    kept = np.maximum(0.0, 1 - rows.shape[1] * deviations**2 / squared)
    return np.asarray(target + kept[:, None] * away, dtype=np.float64)


def denoised_covariances(moments: Floats, patients: Floats, deviation: float) -> Floats:
    """Return the covariance of every class from noisy sums of second moments.

    The pooled covariance comes first, then what each class differs from it. Noise on a symmetric matrix moves its
    eigenvalues by up to e = 2 s sqrt(d) (Wigner's semicircle). Eigenvalues l beyond e become sign(l) sqrt(l^2 - e^2),
    others 0; the pooled covariance keeps its diagonal.

    Args:
        moments: sums of v v' over the patients of each class, (classes, d, d).
        patients: number of patients of each class.
        deviation: s, standard deviation of the noise off the diagonal.

    Source: the factor is the best in squared error for a spiked matrix (Gavish and Donoho 2017, square case).
    """
    classes, kept = moments.shape[:2]
    total = patients.sum()
    pooled = moments.sum(axis=0) / total
    edge = 2 * deviation * math.sqrt(kept)
    common = _shrunk_matrix(pooled, edge * math.sqrt(classes) / total)
    common = common + np.diag(np.maximum(np.diag(pooled) - np.diag(common), 0))
    covariances = np.empty_like(moments)
    for label, own in enumerate(moments):
        variance = (1 - 2 * patients[label] / total) / patients[label] ** 2 + classes / total**2
        differs = _shrunk_matrix(own / patients[label] - pooled, edge * math.sqrt(variance))
        values, vectors = np.linalg.eigh(common + differs)
        least = LEAST_VARIANCE * max(float(np.median(np.abs(values))), 1e-9)
        covariances[label] = (vectors * np.maximum(values, least)) @ vectors.T
    return covariances


def _shrunk_matrix(matrix: Floats, edge: float) -> Floats:
    values, vectors = np.linalg.eigh(matrix)
    values = np.sign(values) * np.sqrt(np.maximum(values**2 - edge**2, 0))
    return np.asarray((vectors * values) @ vectors.T, dtype=np.float64)
