"""Codes in a tree of prefixes: counted on every level at once, and rolled up where counts are too small for the noise.

Thousands of codes, such as ICD-10 or ATC, occur a few times each. Their prefixes are counted, too: each patient is in
one node per level, as in `common.columns.histograms`. A node gets a code of its own where its noisy count stands out
from the noise; what is left of its parent is one code, written as the parent's prefix. That is post-processing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.arrays import Floats, Integers
from common.columns.base import Codes
from common.columns.binning import Binning
from common.columns.labels import LEAST_MASS, label_numbers
from common.columns.parts import Parts

STANDS_OUT = 3.0
"""A node has a code of its own from this multiple of the noise's standard deviation on."""

LEAST_COUNT = 5.0
"""Fewest patients of a code, by the noisy counts."""

CODES_PER_BIN = 4
"""Codes of a column of codes, in bins of a column of numbers: more make tables of two columns too wide."""

ROOT = -1
"""The parent of the nodes of the first level."""


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """Prefixes and codes.

    Attributes:
        labels: text of every node, coarse levels first. A code that is also a prefix is what is left of that prefix.
        parents: number of each node's parent, `ROOT` on the first level.
        levels: level of each node, from 0.
        numbers: the node of every text.
    """

    labels: tuple[str, ...]
    parents: Integers
    levels: Integers
    numbers: dict[str, int]

    @property
    def depth(self) -> int:
        """The number of levels."""
        return int(self.levels[-1]) + 1

    def path(self, node: int) -> list[int]:
        """Return the node and its ancestors, from the first level on."""
        nodes = [node]
        while self.parents[nodes[-1]] != ROOT:
            nodes.append(int(self.parents[nodes[-1]]))
        return nodes[::-1]


@lru_cache(maxsize=64)
def tree_of(codes: tuple[str, ...], prefixes: tuple[int, ...]) -> Tree:
    """Return the tree of codes and their prefixes of these lengths, in increasing order."""
    numbers: dict[str, int] = {}
    parents: list[int] = []
    levels: list[int] = []
    above = dict.fromkeys(codes, ROOT)
    for level, length in enumerate((*prefixes, None)):
        for code in codes:
            text = code if length is None else code[:length]
            if text not in numbers:
                numbers[text] = len(parents)
                parents.append(above[code])
                levels.append(level)
            above[code] = numbers[text]
    return Tree(tuple(numbers), np.array(parents), np.array(levels), numbers)


@dataclass(frozen=True, slots=True)
class TreeHistogram:
    """How a column of codes is counted: every node, then texts outside the tree, then missing where it is allowed.

    Attributes:
        tree: prefixes and codes.
        labels: the labels of the column: the distinct texts of the tree, then that of all others.
        missing: whether a value may be missing.
    """

    tree: Tree
    labels: tuple[str, ...]
    missing: bool

    @property
    def length(self) -> int:
        return len(self.tree.labels) + 1 + self.missing

    @property
    def max_changed_cells(self) -> int:
        """One node per level; or one where the value is a prefix of the first level, none of the tree, or missing."""
        return self.tree.depth

    def count(self, values: pd.Series) -> Integers:
        tree, counts = self.tree, np.zeros(self.length, dtype=np.int64)
        by_label = np.bincount(label_numbers(values, self.labels), minlength=len(self.labels) + 1)
        for number in np.flatnonzero(by_label[: len(self.labels) - 1]):
            counts[tree.path(tree.numbers[self.labels[number]])] += by_label[number]
        counts[len(tree.labels)] = by_label[len(self.labels) - 1]
        if self.missing:
            counts[-1] = by_label[-1]
        else:
            counts[len(tree.labels)] += by_label[-1]
        return counts


@dataclass(frozen=True, slots=True, eq=False)
class TreeCode:
    """A code for every node that stands out from the noise, then one for all other texts, then one for missing.

    Attributes:
        histogram: how the column was counted.
        nodes: the nodes with a code, in order of their codes.
        masses: denoised patients per code.
    """

    histogram: TreeHistogram
    nodes: tuple[int, ...]
    masses: Floats

    @classmethod
    def of(cls, histogram: TreeHistogram, noisy: Integers, binning: Binning) -> TreeCode:
        """Return the code that the column's released counts give.

        Args:
            histogram: how the column was counted.
            noisy: noisy counts of the histogram, shape (histogram.length,).
            binning: how finely columns are cut, and how noisy the counts are.
        """
        tree, counts = histogram.tree, noisy.astype(np.float64)
        least, chosen = max(LEAST_COUNT, STANDS_OUT * binning.deviation), set[int]()
        for node in np.argsort(-counts[: len(tree.labels)], kind="stable"):
            if counts[node] < least or len(chosen) >= CODES_PER_BIN * binning.bins:
                break
            chosen.update(tree.path(int(node)))
        kept = sorted(chosen)[: CODES_PER_BIN * binning.bins]  # coarse ones first: no node without its parent
        nodes = sorted(kept, key=lambda node: tree.labels[node])  # neighbors are merged into groups
        rest = {node: counts[node] for node in nodes}
        outside = counts[len(tree.labels)] + counts[: len(tree.labels)][tree.levels == 0].sum()
        for node in nodes:  # what is left of a node is its count without those of its children that have a code
            parent = int(tree.parents[node])
            if parent == ROOT:
                outside -= counts[node]
            else:
                rest[parent] -= counts[node]
        masses = [*rest.values(), outside, *([counts[-1]] if histogram.missing else [])]
        return cls(histogram, tuple(nodes), np.maximum(LEAST_MASS, np.array(masses, dtype=np.float64)))

    @property
    def size(self) -> int:
        return len(self.nodes) + 1 + self.histogram.missing

    @property
    def counts_per_mass(self) -> int:
        """A node's count, less those of its children with a code; two of these are typical."""
        return 2

    @property
    def parts(self) -> Parts:
        """Codes: a node's count is that of its own code and of those below it; what is outside is counted apart."""
        tree, missing = self.histogram.tree, int(self.histogram.missing)
        codes_of = {node: code for code, node in enumerate(self.nodes)}
        collected, sums = np.zeros((self.size, self.histogram.length)), np.zeros((self.size, self.size))
        for node, code in codes_of.items():
            collected[code, node] = 1.0
            sums[[codes_of[above] for above in tree.path(node)], code] = 1.0
        outside = len(self.nodes)
        first = [node for node in np.flatnonzero(tree.levels == 0).tolist() if node not in codes_of]
        collected[outside, [*first, len(tree.labels)]] = 1.0
        sums[outside, outside] = 1.0
        if missing:
            collected[-1, -1] = sums[-1, -1] = 1.0
        texts = [tree.labels[node] for node in self.nodes]
        return Parts.of_labels(collected, sums, [*texts, self.histogram.labels[-1]], self.masses)

    def redrawn(self, deviation: float, rng: np.random.Generator) -> TreeCode:
        return self  # a code is one label

    def encode(self, values: pd.Series) -> Codes:
        histogram, tree = self.histogram, self.histogram.tree
        codes_of = {node: code for code, node in enumerate(self.nodes)}
        outside = len(self.nodes)
        table = []
        for label in histogram.labels[:-1]:
            held = [codes_of[node] for node in tree.path(tree.numbers[label]) if node in codes_of]
            table.append(held[-1] if held else outside)
        table += [outside, outside + histogram.missing]
        return np.array(table, dtype=np.int16)[label_numbers(values, histogram.labels)]

    def decode(self, codes: Codes, rng: np.random.Generator) -> npt.NDArray[Any]:
        """Return the text of each code's node: a prefix stands for what is left of it."""
        texts = [self.histogram.tree.labels[node] for node in self.nodes]
        return np.array([*texts, self.histogram.labels[-1], None], dtype=object)[codes]
