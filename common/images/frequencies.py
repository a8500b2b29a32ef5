"""Images as frequencies: an orthonormal cosine transform of which a few low frequencies are kept.

All of it is public: it depends on the size of the images and on how many frequencies a study keeps, and on no record.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from common.arrays import Floats, Integers
from common.images.cells import Pixels, Size

BRIGHTNESS_WEIGHT = 0.5
"""Factor on the mean brightness before an image is clipped. It varies most, and needs the least precision."""

RINGS = 8
"""Rings into which the frequencies that are not kept are divided; of each the power is released."""


@dataclass(frozen=True)
class Frequencies:
    """The low frequencies of images of one size.

    With x = pixels / 255 - 1/2 and orthonormal DCT-II matrices A and B, the coefficients are c = A x B'. They are
    ordered by the sum of both indices; the first `kept` ones describe an image, and of the others the power in rings.

    Args:
        size: rows and columns of pixels.
        kept: number of frequencies that are kept.
    """

    size: Size
    kept: int

    @cached_property
    def order(self) -> Integers:
        """All frequencies from low to high, as positions in the flattened coefficients."""
        rows, columns = np.indices(self.size)
        return np.lexsort((rows.ravel(), (rows + columns).ravel()))

    @property
    def diagonals(self) -> Integers:
        """The sum of both indices of every kept frequency, in order: those of one sum are about equally fine."""
        return np.asarray(np.indices(self.size).sum(axis=0).ravel()[self.order[: self.kept]])

    @cached_property
    def rings(self) -> Integers:
        """The ring of every frequency that is not kept, from low to high; there may be fewer than `RINGS`."""
        rest = len(self.order) - self.kept
        return np.arange(rest) * min(RINGS, rest) // max(rest, 1)

    @property
    def ring_count(self) -> int:
        """The number of rings: 0 where every frequency is kept."""
        return min(RINGS, len(self.order) - self.kept)

    @cached_property
    def ring_sizes(self) -> Integers:
        """Frequencies of every ring."""
        return np.bincount(self.rings, minlength=self.ring_count)

    @property
    def width(self) -> int:
        """How many numbers `describe` gives of an image."""
        return self.kept + self.ring_count

    @property
    def scale(self) -> float:
        """The largest norm of x is half of this: the square root of the number of pixels."""
        return float(np.sqrt(self.size[0] * self.size[1]))

    def describe(self, pixels: Pixels) -> Floats:
        """Return the weighted low frequencies of every image, then its power in every ring.

        Args:
            pixels: of shape (images, rows, columns).

        Returns:
            Shape (images, `width`).
        """
        centered = pixels.astype(np.float64) / 255 - 0.5
        spectrum = np.einsum("ri,nij,cj->nrc", self._matrices[0], centered, self._matrices[1], optimize=True)
        ordered = spectrum.reshape(len(pixels), -1)[:, self.order]
        low = ordered[:, : self.kept] * self._weights
        power = np.zeros((len(pixels), self.ring_count))
        for ring in range(self.ring_count):
            power[:, ring] = (ordered[:, self.kept :][:, self.rings == ring] ** 2).sum(axis=1)
        return np.concatenate([low, power], axis=1)

    def scores(self, low: Floats, number: int) -> Floats:
        """Return the first coefficients over `scale`: of the first one, mean brightness around mid-gray.

        Args:
            low: weighted low frequencies, (images, at least `number`).
            number: how many scores.
        """
        return low[:, :number] / (self.scale * self._weights[:number])

    def low(self, scores: Floats) -> Floats:
        """Return the weighted low frequencies that have these scores, (images, scores)."""
        return scores * (self.scale * self._weights[: scores.shape[1]])

    @cached_property
    def _weights(self) -> Floats:
        """Factors on the kept frequencies before an image is clipped; b is `BRIGHTNESS_WEIGHT`.

            w_k = s (1 + k),  w_0 = s b,    with s so that sum w_k^2 / (1 + k)^2 = b^2 + sum_(k > 0) 1 / (1 + k)^2

        k is the sum of both indices. The amplitudes of images fall about as 1 / k (Field 1987), so that all weighted
        frequencies vary about equally, and the same noise hides as much of each. Unweighted, it hides the fine ones.
        With s, an image whose amplitudes fall like that is as long as with brightness alone weighed. The weights depend
        on the size and on how many frequencies are kept, so they are public.
        """
        weights = 1.0 + self.diagonals
        usual = 1 / weights
        weights[0], usual[0] = BRIGHTNESS_WEIGHT, BRIGHTNESS_WEIGHT
        expected = np.concatenate([[BRIGHTNESS_WEIGHT], np.ones(self.kept - 1)])
        return np.asarray(weights * np.linalg.norm(usual) / np.linalg.norm(expected), dtype=np.float64)

    def picture(self, low: Floats, high: Floats) -> Pixels:
        """Return images with these frequencies, cut to black and white at the ends.

        Args:
            low: weighted low frequencies, (images, kept).
            high: all other frequencies, (images, frequencies - kept).
        """
        spectrum = np.empty((len(low), len(self.order)))
        spectrum[:, self.order] = np.concatenate([low / self._weights, high], axis=1)
        planes = spectrum.reshape(len(low), *self.size)
        values = np.einsum("ri,nrc,cj->nij", self._matrices[0], planes, self._matrices[1], optimize=True)
        return np.asarray(np.clip(np.rint(255 * (values + 0.5)), 0, 255), dtype=np.uint8)

    @cached_property
    def _matrices(self) -> tuple[Floats, Floats]:
        return _cosines(self.size[0]), _cosines(self.size[1])


def _cosines(size: int) -> Floats:
    """Return the orthonormal DCT-II matrix: sqrt(2 / n) cos(pi k (2 i + 1) / (2 n)), the first row over sqrt(2)."""
    index = np.arange(size)
    matrix = np.sqrt(2 / size) * np.cos(np.pi * index[:, None] * (2 * index[None, :] + 1) / (2 * size))
    matrix[0] /= np.sqrt(2)
    return np.asarray(matrix, dtype=np.float64)
