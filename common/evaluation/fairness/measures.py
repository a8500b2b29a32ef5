"""What is compared between groups: fidelity, predictions and attacks, as measures of tables or of patients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from common.arrays import AnyIntegers, Floats, Integers
from common.evaluation.attacks.catalog import ATTACKS, Attempts
from common.evaluation.attacks.outcome import Outcome
from common.evaluation.fairness.results import PatientMeasure, TableMeasure
from common.evaluation.fidelity.marginals import mean_tvd
from common.evaluation.statistics.data import EvaluationData
from common.evaluation.statistics.intervals import Statistic, weighted_auroc, weighted_mean
from common.evaluation.utility.learners import scored_classes
from common.evaluation.utility.scoring import area
from common.evaluation.utility.train_on_synthetic import Predictions


def fidelity_measures(data: EvaluationData) -> list[TableMeasure]:
    """Return the distances of single columns and of pairs within a group; bins are those of all training rows."""
    codes = data.codes

    def distance(k: int, others: AnyIntegers) -> Callable[[Integers, Integers], float | None]:
        return lambda real, drawn: mean_tvd(replace(codes, real=codes.real[real], synthetic=others[drawn]), k)

    return [
        TableMeasure(f"tvd{k}", title, "lower", -1.0, 1.0, distance(k, codes.synthetic), distance(k, codes.real))
        for k, title in (
            (1, "Distance of single columns beyond that of real rows"),
            (2, "Distance of pairs of columns beyond that of real rows"),
        )
    ]


def utility_measures(predictions: Predictions | None, holdout: pd.DataFrame) -> list[PatientMeasure]:
    """Return the AUROC of a logistic regression trained on synthetic rows, and what it loses against real rows.

    Args:
        predictions: predictions for the held-out patients; None where nothing can be predicted.
        holdout: the held-out patients, with the sensitive columns.
    """
    if predictions is None or "lr" not in predictions.synthetic or "lr" not in predictions.real:
        return []
    truth, sides = predictions.truth, (predictions.synthetic["lr"], predictions.real["lr"])
    classes = scored_classes(truth, sides[1].classes)

    def reached(rows: Integers) -> Statistic:
        return area(truth[rows], sides[0].at(rows), classes)

    def lost(rows: Integers) -> Statistic:
        synthetic, real = (area(truth[rows], side.at(rows), classes) for side in sides)
        return lambda weights: real(weights) - synthetic(weights)

    stratum = np.zeros(len(holdout), dtype=np.int64)
    return [
        PatientMeasure("auroc", "AUROC, trained on synthetic rows", "higher", 0.0, 1.0, holdout, stratum, reached),
        PatientMeasure("auroc_lost", "AUROC lost against real rows", "lower", -1.0, 1.0, holdout, stratum, lost),
    ]


def attack_measures(attempts: Attempts | None, data: EvaluationData) -> list[PatientMeasure]:
    """Return every attack's residual risk or AUROC as a measure of patients, with training and held-out rows as strata.

    Args:
        attempts: attacks on these tables; None where no attack was run.
    """
    if attempts is None:
        return []
    setup = attempts.setup
    measures = []
    for name, outcome in attempts.outcomes.items():
        attack = ATTACKS[name]
        tables = [
            data.train.iloc[setup.train_targets[outcome.train.targets]],
            data.holdout.iloc[setup.control_targets[outcome.control.targets]],
        ]
        is_risk = attack.kind == "risk"
        measures.append(
            PatientMeasure(
                name=name,
                title=attack.title,
                direction="lower",
                low=-1.0 if is_risk else 0.0,
                high=1.0,
                patients=pd.concat(tables, ignore_index=True),
                stratum=np.repeat([0, 1], [len(table) for table in tables]),
                statistic=_statistic(outcome, is_risk=is_risk),
            )
        )
    return measures


def _statistic(outcome: Outcome, *, is_risk: bool) -> Callable[[Integers], Statistic]:
    values = np.concatenate([outcome.train.values, outcome.control.values])
    in_training = np.repeat([True, False], [len(outcome.train.values), len(outcome.control.values)])

    def of(rows: Integers) -> Statistic:
        if not is_risk:
            return weighted_auroc(in_training[rows], values[rows])
        attack = weighted_mean(np.where(in_training, values, np.nan)[rows])
        control = weighted_mean(np.where(in_training, np.nan, values)[rows])
        return lambda weights: _residual_risk(attack(weights), control(weights))

    return of


def _residual_risk(attack: Floats, control: Floats) -> Floats:
    """(attack - control) / (1 - control), at least -1; 0 where the control always succeeds."""
    room = 1 - control
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.maximum(np.where(room > 0, (attack - control) / room, np.where(room == 0, 0.0, np.nan)), -1.0)
