"""Drawing rows from a mixture of products by quasi-random numbers, and on condition."""

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
"""Rows drawn at once; bounds the memory for their column probabilities."""


@torch.no_grad()
def draw(generator: Generator, rows: int, seed: int, given: Mapping[int, int]) -> Codes:
    """Draw rows of codes.

    The uniform numbers that choose prototype and codes are a scrambled Sobol sequence (Owen 1998). Tables of few
    columns come out more even than by independent draws: less sampling error at the same number of rows.

    Args:
        generator: a trained generator.
        rows: number of rows.
        seed: the same seed gives the same rows.
        given: column to code; every row has these codes exactly. Prototypes are weighted by how likely they make the
            condition, then its columns are set.

    Returns:
        Codes of shape (rows, columns), int16, in random order.

    Raises:
        StudyError: the generator gives the condition no weight, or has no prototypes to weigh.
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
        raise StudyError(
            "only a generator with prototypes can draw on condition; train with [synthesizer] generator = 'prototypes'"
        )
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
    """Return the prototype of each row, by Bayes: its weight is the probability that it meets the condition.

    Args:
        table: column probabilities, (prototypes, width).
        points: uniform numbers, (rows,).
        given: column to code.
        offsets: index of each column's first code in a row.
    """
    weights = np.ones(len(table))
    for column, code in given.items():
        weights *= table[:, offsets[column] + code]
    if weights.sum() <= 0:
        raise StudyError("the model gives this condition no weight; choose another")
    ends = weights.cumsum() / weights.sum()
    return np.minimum(np.searchsorted(ends, points, side="right"), len(table) - 1)
