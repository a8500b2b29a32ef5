"""The question asked of a case of augmentation: does its table help a hospital with few patients?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from common.arrays import Integers
from common.errors import StudyError
from common.evaluation.statistics.codes import features
from common.evaluation.statistics.values import Labels, labels
from common.evaluation.utility.taking_part import MOST_ADDED, Examples, train, train_both
from common.evaluation.utility.train_on_synthetic import MOST_TRAINED, value_on_held_out
from common.seeds import seed_for
from simulations.benchmark.arms import ARMS
from simulations.benchmark.augmentation.images import frequencies_of
from simulations.benchmark.questions import CaseOptions, Question, TrainTestSplit, with_costs
from simulations.benchmark.results import COSTS, KEYS, Case
from simulations.benchmark.tables import TableSource

USUAL_ARMS = ("bootstrap", "federated-shared")
"""Real rows of all hospitals, which nobody may share, and what the federation makes."""

SIZES = (20, 50, 100)
"""Patients of the small hospital."""

MOST_RARE = 0.1
"""Largest fraction of the rarest class among them. Where the class is rarer in the table, its fraction there."""

FEWEST = 2
"""Fewest patients of the rarest class: with one, nothing can be left out to choose a weight."""

DRAWS = 10
"""Small hospitals of each size that are drawn from a split's training rows: the same ones for every arm."""

WAYS = ("own", "both", "gain")
"""Trained on the hospital's own rows, on these and synthetic ones, and the second minus the first."""

MEASURED = (
    "synthetic",
    *(f"{way}_{size}{end}" for size in SIZES for way in WAYS for end in ("", "_low", "_high")),
    *(f"helped_{size}" for size in SIZES),
)
"""AUROC on held-out real rows, as a mean over draws with the limits between which 95 % of the draws are; and the
fraction of draws in which the synthetic rows made it larger."""


@dataclass(frozen=True, slots=True, eq=False)
class SplitExamples:
    """The rows of a split as a classifier gets them.

    Attributes:
        train, test, synthetic: real training rows, held-out ones, and the table that the case's arm made.
        numeric: names of the numeric features.
    """

    train: Examples
    test: Examples
    synthetic: Examples
    numeric: frozenset[str]

    @classmethod
    def of(cls, split: TrainTestSplit, synthetic: pd.DataFrame) -> SplitExamples:
        """Return the features that the schema declares, and of an image its low frequencies.

        Raises:
            StudyError: the target is a number.
        """
        schema = split.study.table
        if not schema[split.target].labels:
            raise StudyError(
                f"the target '{split.target}' is a number; augmentation is about classes: choose a target of labels"
            )
        declared = frozenset(column.name for column in schema.each() if column.grid is not None)
        images = [frequencies_of(table, split.study) for table in (split.train, split.test, synthetic)]

        def examples(table: pd.DataFrame, image: pd.DataFrame) -> Examples:
            rows = split.conformed(table)
            plain = features(rows, declared, without=[split.target])
            return Examples(pd.concat([plain, image.reset_index(drop=True)], axis=1), labels(rows[split.target]))

        train, test, drawn = (
            examples(table, image) for table, image in zip((split.train, split.test, synthetic), images, strict=True)
        )
        return cls(train, test, drawn, declared | frozenset(map(str, images[0].columns)))


def measure_augmentation(source: TableSource, case: Case, options: CaseOptions) -> dict[str, Any]:
    """Train the case's arm on its split, and classifiers of small hospitals with and without its table."""
    split = TrainTestSplit.of(source, case, options)
    synthetic, costs = with_costs(lambda: split.synthesize(case, options, split.train, case.seed))
    rows = SplitExamples.of(split, synthetic)
    values: dict[str, Any] = {"synthetic": _trained_on_synthetic(rows)}
    added = _some(rows.synthetic, MOST_ADDED, seed_for(case.seed, "added"))
    for size in SIZES:
        if size < len(rows.train.classes):
            values |= _of_size(rows, added, size, case.seed)
    return values | costs | {"delta": split.study.privacy.delta if ARMS[case.arm].has_budget else None}


def _trained_on_synthetic(rows: SplitExamples) -> float:
    """Return the AUROC of a classifier that saw no real row."""
    prediction = train(_some(rows.synthetic, MOST_TRAINED, 0), rows.test.features, rows.numeric)
    return round(value_on_held_out(prediction, rows.test.classes), 4)


def _of_size(rows: SplitExamples, added: Examples, size: int, seed: int) -> dict[str, float]:
    """Return what hospitals of one size reach, over the draws."""
    reached = np.empty((DRAWS, 2))
    for draw in range(DRAWS):
        chosen = small_hospital(rows.train.classes, size, np.random.default_rng(seed_for(seed, "small", size, draw)))
        trained = train_both(rows.train.at(chosen), added, rows.test.features, rows.numeric)
        for way, prediction in enumerate((trained.own, trained.both)):
            reached[draw, way] = value_on_held_out(prediction, rows.test.classes)
    gain = reached[:, 1] - reached[:, 0]
    values = {f"helped_{size}": float((gain > 0).mean())}
    for name, column in zip(WAYS, (reached[:, 0], reached[:, 1], gain), strict=True):
        low, high = np.quantile(column, [0.025, 0.975])
        values |= {f"{name}_{size}": column.mean(), f"{name}_{size}_low": low, f"{name}_{size}_high": high}
    return {name: round(float(value), 4) for name, value in values.items()}


def small_hospital(classes: Labels, size: int, rng: np.random.Generator) -> Integers:
    """Return the rows of a hospital with few patients, of whom at most one in ten has the rarest class.

    Args:
        classes: class of every row to choose from.
        size: patients of the hospital.
        rng: chooses them.

    Returns:
        Indices of `size` rows, fewer where there are not as many of the other classes.
    """
    names, counts = np.unique(classes, return_counts=True)
    is_rare = classes == names[counts.argmin()]
    rare = min(int(counts.min()), max(FEWEST, round(size * min(MOST_RARE, float(counts.min() / counts.sum())))))
    others = np.flatnonzero(~is_rare)
    chosen = [
        rng.choice(np.flatnonzero(is_rare), rare, replace=False),
        rng.choice(others, min(size - rare, len(others)), replace=False),
    ]
    return np.sort(np.concatenate(chosen))


def _some(rows: Examples, most: int, seed: int) -> Examples:
    """Return at most `most` rows, chosen at random, in their order."""
    return rows.at(np.sort(np.random.default_rng(seed).permutation(len(rows.classes))[:most]))


AUGMENTATION = Question(measure_augmentation, "augmentation.csv", (*KEYS, *MEASURED, *COSTS))
