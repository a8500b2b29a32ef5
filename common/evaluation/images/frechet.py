"""The Frechet distance between two sets of images, in features that do not depend on them."""

from __future__ import annotations

import numpy as np

from common.arrays import Floats
from common.images.cells import Pixels

FILTERS, REACH = 16, 5
"""Random filters of `REACH` x `REACH` pixels; each gives four features, the means over the quarters of an image."""

SEED = 20240917
"""Seed of the filters: the same for every study, so that distances of one size of images compare."""


def frechet_distance(first: Floats, second: Floats) -> float:
    """Return the squared Frechet distance between Gaussians fitted to two sets of features.

        |m1 - m2|^2 + tr(S1 + S2 - 2 (S1^1/2 S2 S1^1/2)^1/2)

    Source: Heusel et al. 2017, arXiv 1706.08500, eq. 6.

    Args:
        first, second: features, (images, features).
    """
    covariances = np.cov(first.T), np.cov(second.T)
    values, vectors = np.linalg.eigh(covariances[0])
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    both = np.linalg.eigvalsh(root @ covariances[1] @ root)
    means = ((first.mean(axis=0) - second.mean(axis=0)) ** 2).sum()
    return float(means + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * np.sqrt(np.maximum(both, 0)).sum())


def random_features(images: Pixels) -> Floats:
    """Return what random filters see of every image: means of their positive part over four quarters, (images, 64).

    Source of the idea: random convolutional features, Saxe et al. 2011.
    """
    filters = np.random.default_rng(SEED).standard_normal((FILTERS, REACH, REACH)) / REACH
    values = images.astype(np.float64) / 255 - 0.5
    windows = np.lib.stride_tricks.sliding_window_view(values, (REACH, REACH), axis=(1, 2))
    features = []
    for kernel in filters:
        seen = np.maximum(np.einsum("nrcij,ij->nrc", windows, kernel, optimize=True), 0)
        for rows in np.array_split(np.arange(seen.shape[1]), 2):
            for columns in np.array_split(np.arange(seen.shape[2]), 2):
                features.append(seen[:, rows][:, :, columns].mean(axis=(1, 2)))
    return np.stack(features, axis=1)
