"""How well attacks work on the groups of a sensitive column: their outcomes as measures of patients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from common.evaluation.attacks.outcome import Outcome
from common.evaluation.attacks.run import ATTACKS, Attempts
from common.evaluation.fairness import PatientMeasure
from common.evaluation.statistics.intervals import Statistic, weighted_auroc, weighted_mean
from common.evaluation.statistics.values import Floats, Ints


def attack_measures(attempts: Attempts, train: pd.DataFrame, control: pd.DataFrame) -> list[PatientMeasure]:
    """Every attack's risk or AUROC as a measure of patients; the arms are training and unseen targets.

    Args:
        attempts: on these tables.
        train, control: the tables that were attacked, with the sensitive columns.
    """
    scene = attempts.scene
    measures = []
    for name, outcome in attempts.outcomes.items():
        attack = ATTACKS[name]
        rows = [
            train.iloc[scene.train_targets[outcome.train.targets]],
            control.iloc[scene.control_targets[outcome.control.targets]],
        ]
        is_risk = attack.kind == "risk"
        measures.append(
            PatientMeasure(
                name=name,
                label=attack.label,
                direction="lower",
                low=-1.0 if is_risk else 0.0,
                high=1.0,
                patients=pd.concat(rows, ignore_index=True),
                arm=np.repeat([0, 1], [len(part) for part in rows]),
                statistic=_statistic(outcome, is_risk=is_risk),
            )
        )
    return measures


def _statistic(outcome: Outcome, *, is_risk: bool) -> Callable[[Ints], Statistic]:
    values = np.concatenate([outcome.train.values, outcome.control.values])
    in_training = np.repeat([True, False], [len(outcome.train.values), len(outcome.control.values)])

    def of(places: Ints) -> Statistic:
        if not is_risk:
            return weighted_auroc(in_training[places], values[places])
        attack = weighted_mean(np.where(in_training, values, np.nan)[places])
        control = weighted_mean(np.where(in_training, np.nan, values)[places])
        return lambda weights: _excess(attack(weights), control(weights))

    return of


def _excess(attack: Floats, control: Floats) -> Floats:
    """(attack - control) / (1 - control), at least -1; 0 where the control always succeeds."""
    room = 1 - control
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.maximum(np.where(room > 0, (attack - control) / room, np.where(room == 0, 0.0, np.nan)), -1.0)
