"""Membership inference: was this patient in the training table?"""

from __future__ import annotations

import numpy as np

from common.evaluation.attacks.outcome import Arm, Outcome
from common.evaluation.attacks.results import ClosestRecords
from common.evaluation.attacks.scene import Scene, View, closest
from common.evaluation.statistics.intervals import wilson
from common.evaluation.statistics.values import Floats, Ints

SOFTENING = 0.1
"""Added to both distances of a density ratio, a tenth of a differing column, so that no score is infinite."""

PERCENTILES = (5, 25, 50, 75, 95)

WHY_NOTHING = (
    "Distances to the closest record are shown because readers expect them. They prove nothing: a table may be far "
    "from every patient on average and still repeat one of them, and a table that comes close to everybody may have "
    "learnt only what holds for the whole population."
)


def by_distance(scene: Scene) -> Outcome:
    """A row is the likelier a member the closer the closest synthetic row is to it (Chen et al. 2020, "GAN-Leaks")."""
    everyone = [np.arange(len(targets)) for targets in (scene.train_targets, scene.control_targets)]
    scores = [[-view.to_train, -view.to_control] for view in (scene.synthetic, scene.blind)]
    arms = [Arm(places, values) for values_of in scores for places, values in zip(everyone, values_of, strict=True)]
    return Outcome(*arms)


def by_density_ratio(scene: Scene) -> Outcome:
    """A row is the likelier a member the denser synthetic rows lie around it than rows of other patients do.

    The attacker also has rows of patients who were not in training. The idea is DOMIAS (van Breugel et al. 2023,
    "Membership Inference Attacks against Synthetic Data through Overfitting Detection", AISTATS); the densities are
    those of the closest neighbour, so that their ratio is one of distances.
    """
    judged = np.flatnonzero(~scene.is_reference)
    everyone = np.arange(len(scene.train_targets))
    arms = []
    for view in (scene.synthetic, scene.blind):
        embedding = view.embedding
        others = embedding.points(scene.control.rows(scene.control_targets[scene.is_reference]))
        arms.append(_density_ratio(view, others, scene, everyone, view.to_train, in_training=True))
        arms.append(_density_ratio(view, others, scene, judged, view.to_control, in_training=False))
    return Outcome(*arms)


def _density_ratio(
    view: View, others: Floats, scene: Scene, judged: Ints, to_table: Floats, *, in_training: bool
) -> Arm:
    cells, targets = (scene.train, scene.train_targets) if in_training else (scene.control, scene.control_targets)
    to_others = closest(view.embedding.points(cells.rows(targets[judged])), others)[1]
    return Arm(judged, np.log((to_others + SOFTENING) / (to_table[judged] + SOFTENING)))


def closest_records(scene: Scene) -> ClosestRecords:
    """Distances to the closest record, and why they prove nothing."""
    view, rng = scene.synthetic, scene.rng("closest")
    equal = min(len(scene.train_targets), len(scene.control_targets))
    sides = [
        view.embedding.points(cells.rows(rng.permutation(targets)[:equal]))
        for cells, targets in ((scene.train, scene.train_targets), (scene.control, scene.control_targets))
    ]
    some = view.points[rng.permutation(len(view.points))[:equal]]
    to_train, to_control = (closest(some, side)[1] for side in sides)
    nearer, equally = to_train < to_control, to_train == to_control
    is_tied_to_train = equally & (rng.random(len(some)) < 0.5)
    distances = (view.to_train, view.to_control)
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
