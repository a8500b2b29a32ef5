"""Membership inference: was this patient in the training table?"""

from __future__ import annotations

import numpy as np

from common.arrays import Floats, Integers
from common.evaluation.attacks.embedding import NumericCells, closest
from common.evaluation.attacks.outcome import Outcome, TargetScores
from common.evaluation.attacks.results import ClosestRecords
from common.evaluation.attacks.setup import AttackerTable, AttackSetup
from common.evaluation.statistics.intervals import wilson

SOFTENING = 0.1
"""Added to both distances of a density ratio, a tenth of one differing column, so that no score is infinite."""

PERCENTILES = (5, 25, 50, 75, 95)
"""Percentiles of the distances from real rows to the closest synthetic row."""

WHY_NOTHING = (
    "Distances to the closest record are shown because readers expect them. They prove nothing: a table may be far "
    "from every patient on average and still repeat one of them, and a table that comes close to all of them may have "
    "learned only what holds for the whole population."
)


def by_distance(setup: AttackSetup) -> Outcome:
    """Score rows by closeness: a member is likelier to have a close synthetic row (Chen et al. 2020, "GAN-Leaks")."""
    indices = [np.arange(len(targets)) for targets in (setup.train_targets, setup.control_targets)]
    scores = [[-attacker.to_train, -attacker.to_control] for attacker in (setup.synthetic, setup.baseline)]
    arms = [
        TargetScores(places, values) for values_of in scores for places, values in zip(indices, values_of, strict=True)
    ]
    return Outcome(*arms)


def by_density_ratio(setup: AttackSetup) -> Outcome:
    """Score rows by density: around a member, synthetic rows are denser than rows of other patients.

    The attacker also has rows of patients who were not in training. The idea is DOMIAS (van Breugel et al. 2023,
    "Membership Inference Attacks against Synthetic Data through Overfitting Detection", AISTATS); the densities are
    those of the closest neighbor, so that their ratio is one of distances.
    """
    scored = np.flatnonzero(~setup.is_reference)
    every = np.arange(len(setup.train_targets))
    train = setup.train.rows(setup.train_targets)
    control = setup.control.rows(setup.control_targets)
    arms = []
    for attacker in (setup.synthetic, setup.baseline):
        others = attacker.embedding.points(control.rows(setup.is_reference))
        arms.append(_density_ratio(attacker, others, train, every, attacker.to_train))
        arms.append(_density_ratio(attacker, others, control, scored, attacker.to_control))
    return Outcome(*arms)


def _density_ratio(
    attacker: AttackerTable, others: Floats, targets: NumericCells, scored: Integers, to_table: Floats
) -> TargetScores:
    """Return scores of some targets, larger where the attacker's table is closer than the other patients' rows."""
    to_others = closest(attacker.embedding.points(targets.rows(scored)), others)[1]
    return TargetScores(scored, np.log((to_others + SOFTENING) / (to_table[scored] + SOFTENING)))


def closest_records(setup: AttackSetup) -> ClosestRecords:
    """Return distances to the closest record, and why they prove nothing."""
    attacker, rng = setup.synthetic, setup.rng("closest")
    equal = min(len(setup.train_targets), len(setup.control_targets))
    sides = [
        attacker.embedding.points(cells.rows(rng.permutation(targets)[:equal]))
        for cells, targets in ((setup.train, setup.train_targets), (setup.control, setup.control_targets))
    ]
    some = attacker.embedding.points(attacker.cells.rows(rng.permutation(len(attacker.cells))[:equal]))
    to_train, to_control = (closest(some, side)[1] for side in sides)
    nearer, equally = to_train < to_control, to_train == to_control
    is_tied_to_train = equally & (rng.random(len(some)) < 0.5)
    distances = (attacker.to_train, attacker.to_control)
    identical = [wilson(int((values == 0).sum()), len(values)) for values in distances]
    percentiles = [tuple(round(float(cut), 4) for cut in np.percentile(values, PERCENTILES)) for values in distances]
    return ClosestRecords(
        train=percentiles[0],
        control=percentiles[1],
        identical_train=identical[0],
        identical_control=identical[1],
        nearer_to_train=wilson(int((nearer | is_tied_to_train).sum()), len(some)),
        note=WHY_NOTHING,
    )
