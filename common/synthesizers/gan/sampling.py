"""Drawing rows from a mixture of products: evenly rather than at random, and on condition."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from scipy.stats import qmc

from common.arrays import Floats
from common.columns.base import Codes
from common.errors import StudyError
from common.synthesizers.gan.generator import Generator, PrototypeGenerator

CHUNK = 8192


@torch.no_grad()
def draw(generator: Generator, rows: int, seed: int, given: Mapping[int, int]) -> Codes:
    """`rows` rows of codes, int16 of shape (rows, columns), in random order.

    The uniform numbers behind prototype and columns are a scrambled Sobol sequence (Owen 1998), so that every few
    columns together are met more evenly than by independent draws: less sampling error at the same number of rows.

    Args:
        given: column to code. Exact: prototypes are reweighted by how likely they make it, then the column is set.

    Raises:
        StudyError: a condition that the generator gives no weight, or on a generator without prototypes.
    """
    rng = torch.Generator().manual_seed(seed)
    blocks = generator.blocks
    offsets = np.cumsum([0, *blocks.sizes])
    points = qmc.Sobol(blocks.columns + 1, rng=np.random.default_rng(seed)).random_base2(
        max(1, math.ceil(math.log2(max(1, rows))))
    )
    points = np.random.default_rng(seed + 1).permutation(points[:rows])
    if isinstance(generator, PrototypeGenerator):
        table = generator.probabilities(rng).double().numpy()
        chosen = _components(table, points[:, 0], given, offsets)
    elif given:
        raise StudyError("only a generator with prototypes can draw on condition; set [synthesizer] generator")
    codes = np.empty((rows, blocks.columns), dtype=np.int16)
    for start in range(0, rows, CHUNK):
        part = slice(start, start + CHUNK)
        if isinstance(generator, PrototypeGenerator):
            probabilities = table[chosen[part]]
        else:
            probabilities = blocks.probabilities(generator.logits(len(points[part]), rng)).double().numpy()
        for column in range(blocks.columns):
            cumulative = probabilities[:, offsets[column] : offsets[column + 1]].cumsum(axis=1)
            cut = points[part, column + 1, None] * cumulative[:, -1:]
            codes[part, column] = np.minimum((cumulative <= cut).sum(axis=1), blocks.sizes[column] - 1)
    for column, code in given.items():
        codes[:, column] = code
    return codes


def _components(
    table: Floats, points: Floats, given: Mapping[int, int], offsets: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The prototype of each row: all alike, or by their weight under the condition (Bayes)."""
    weights = np.ones(len(table))
    for column, code in given.items():
        weights *= table[:, offsets[column] + code]
    if weights.sum() <= 0:
        raise StudyError("the model gives this condition no weight; choose another")
    ends = weights.cumsum() / weights.sum()
    return np.minimum(np.searchsorted(ends, points, side="right"), len(table) - 1)
