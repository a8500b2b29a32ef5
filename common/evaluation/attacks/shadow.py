"""Membership inference by an attacker who can train: shadow synthesizers with and without each patient.

Each shadow learns from a random half of all real rows, so that every patient is in about half of the shadows, and the
attacker learns for every patient how close tables of either kind come (Stadler et al. 2022, "Synthetic Data:
Anonymisation Groundhog Day", USENIX Security; many patients a shadow, as Carlini et al. 2022, "Membership Inference
Attacks From First Principles", IEEE S&P). It costs as many trainings as there are shadows: for benchmarks, not reports.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from common.arrays import Floats
from common.evaluation.attacks.conclusions import result_of
from common.evaluation.attacks.embedding import Flags, NumericCells, cells_of, closest, embed
from common.evaluation.attacks.membership import SOFTENING
from common.evaluation.attacks.outcome import Attack, Outcome, TargetScores, promise_of
from common.evaluation.attacks.results import AttackResult
from common.evaluation.attacks.setup import AttackSetup, prepare
from common.evaluation.statistics.data import EvaluationData
from common.seeds import seed_for
from common.study.schema import Schema

Synthesize = Callable[[pd.DataFrame, int], pd.DataFrame]
"""Trains a fresh synthesizer on real rows under a seed and returns about as many synthetic rows."""

SHADOWS = 16
"""Usual number of synthesizers to train."""

FEWEST_SHADOWS = 4
"""Fewest synthesizers to train: fewer give no spread of scores with and without a patient."""

LEAST_SPREAD = 0.05
"""Least standard deviation of closeness over shadows: a synthesizer may be deterministic."""


def attack_with_shadows(
    data: EvaluationData, synthesize: Synthesize, *, seed: int = 0, shadows: int = SHADOWS
) -> AttackResult:
    """Attack a synthetic table with `shadows` tables of the same synthesizer.

    Args:
        data: held-out rows are the control.
        synthesize: makes a table the way `data.synthetic` was made, at the same epsilon.
        seed: seed of the halves, the shadows' trainings and the attacked rows.
        shadows: number of synthesizers to train.

    Returns:
        What the attack found.

    Raises:
        ValueError: fewer than four shadows.
        DataError: a table has fewer than two rows.
    """
    if shadows < FEWEST_SHADOWS:
        raise ValueError(f"shadows={shadows} is below {FEWEST_SHADOWS}")
    setup, schema = prepare(data, seed=seed), data.schema
    pooled = pd.concat([data.train, data.holdout], ignore_index=True)
    indices = np.concatenate([setup.train_targets, len(data.train) + setup.control_targets])
    targets = cells_of(pooled.iloc[indices], schema)
    members, closeness = [], []
    for shadow in range(shadows):
        rng = np.random.default_rng(seed_for(seed, "attacks", "shadow", shadow))
        is_in = rng.permutation(len(pooled)) % 2 == 0
        table = synthesize(pooled[is_in].reset_index(drop=True), seed_for(seed, "attacks", "training", shadow))
        members.append(is_in[indices])
        closeness.append(_closeness(targets, table, schema))
    is_in, near = np.stack(members), np.stack(closeness)
    attack: Attack[AttackSetup] = Attack(
        "membership_shadow",
        "Membership, by shadow synthesizers",
        "membership",
        "Trains the same kind of synthesizer with and without a patient; asks which kind of table this one resembles.",
        lambda setup: _outcome(setup, is_in, near),
    )
    return result_of(attack, setup.outliers, attack.run(setup), promise_of(data.epsilon, data.delta))


def _closeness(targets: NumericCells, table: pd.DataFrame, schema: Schema) -> Floats:
    cells = cells_of(table, schema)
    embedding = embed(cells, schema)
    return -np.log(closest(embedding.points(targets), embedding.points(cells))[1] + SOFTENING)


def _outcome(setup: AttackSetup, is_in: Flags, near: Floats) -> Outcome:
    """Return log-likelihood ratios of the targets, training ones first, under normal distributions with one spread.

    With few shadows a patient's own gap between the two means is mostly noise. So gaps are shrunk towards their mean
    over patients by the fraction of noise in them (empirical Bayes; Efron and Morris 1973, J. Am. Stat. Assoc. 68), and
    spreads half the way to theirs.
    """
    means = [_mean_where(near, chosen) for chosen in (is_in, ~is_in)]
    within = ((near - np.where(is_in, means[0], means[1])) ** 2).sum(axis=0) / max(len(near) - 2, 1)
    variance = np.maximum((within + np.nanmean(within)) / 2, LEAST_SPREAD**2)
    gaps, middle = means[0] - means[1], (means[0] + means[1]) / 2
    counts = is_in.sum(axis=0)
    noise = variance / np.maximum(counts, 1) + variance / np.maximum(len(near) - counts, 1)
    own = max(float(np.nanvar(gaps) - np.nanmean(np.where(np.isnan(gaps), np.nan, noise))), 0.0)
    mean = float(np.nanmean(gaps))
    slope = (mean + own / (own + noise) * (gaps - mean)) / variance
    split = len(setup.train_targets)
    arms = []
    for attacker in (setup.synthetic, setup.baseline):
        observed = -np.log(np.concatenate([attacker.to_train, attacker.to_control]) + SOFTENING)
        scores = np.nan_to_num(slope * (observed - middle))  # a patient who was in all shadows, or none, is not scored
        arms += [TargetScores(np.arange(len(arm)), arm) for arm in (scores[:split], scores[split:])]
    return Outcome(arms[0], arms[1], arms[2], arms[3])


def _mean_where(values: Floats, chosen: Flags) -> Floats:
    """Return the mean of the chosen values per column; NaN if none is chosen."""
    with np.errstate(invalid="ignore"):
        return np.asarray((values * chosen).sum(axis=0) / chosen.sum(axis=0), dtype=np.float64)
