"""Survival targets: do events happen as early as among real patients, and does a hazard model rank patients?

The event is the last category of the target; a patient without a time or an event is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize

from common.arrays import Floats, Integers
from common.evaluation.statistics.codes import features
from common.evaluation.statistics.data import EvaluationData
from common.evaluation.statistics.intervals import Estimate, Statistic, bootstrap, paired_difference
from common.evaluation.statistics.resampling import FEW_RESAMPLES, RESAMPLES, measured, resamples, sampled
from common.evaluation.statistics.values import labels, numbers
from common.evaluation.utility.learners import preparation
from common.evaluation.utility.train_on_synthetic import MOST_TRAINED
from common.seeds import seed_for

Truth = npt.NDArray[np.bool_]

MOST_PATIENTS = 3_000
"""Most held-out patients whose pairs are compared; their table of pairs has nine million cells."""

RIDGE = 1e-2
"""Penalty of the hazard model, per squared coefficient of a feature of unit variance."""

CURVE_POINTS = 60
"""Times at which the survival curves are computed."""


@dataclass(frozen=True, slots=True)
class Survival:
    """Time to the event, real against synthetic.

    Attributes:
        unit: unit of `times`; None where the study gives none.
        patients: held-out patients with a time and an outcome.
        times: times at which the curves are given, in the unit of the column `time`.
        curve_real, curve_synthetic: Kaplan and Meier's fraction of patients without the event at `times`.
        curve_distance: mean gap of the two curves up to the last of these times; 0.0 is best.
        curve_distance_of_real: the same for the held-out patients.
        concordance_synthetic, concordance_real: Harrell's C on held-out patients of a proportional hazards model
            trained on synthetic and on real rows; 0.5 is chance, 1.0 best.
        gap: concordance of synthetic minus real, paired.
    """

    time: str
    unit: str | None
    event: str
    patients: int
    times: tuple[float, ...]
    curve_real: tuple[float, ...]
    curve_synthetic: tuple[float, ...]
    curve_distance: Estimate
    curve_distance_of_real: Estimate | None
    concordance_synthetic: Estimate | None
    concordance_real: Estimate | None
    gap: Estimate | None


@dataclass(frozen=True, slots=True, eq=False)
class _Outcomes:
    """The rows of a table that have a time and an outcome.

    Attributes:
        rows: indices of these rows in the table, shape (patients,).
        times: time of each patient, in the unit of the time column, shape (patients,).
        happened: whether the event happened, shape (patients,).
    """

    rows: Integers
    times: Floats
    happened: Truth


def measure_survival(data: EvaluationData) -> Survival | None:
    """Compare survival; None without a time column, or if a table has no event or no time to compare."""
    if data.time is None:
        return None
    event = _event_of(data)
    real, synthetic = (_outcomes(table, data, event) for table in (data.train, data.synthetic))
    if not real.happened.any() or not synthetic.happened.any():
        return None
    grid = np.linspace(0.0, float(np.quantile(real.times, 0.95)), CURVE_POINTS)
    if not grid[-1] > 0:
        return None
    curves = [_curves(real, grid, "0"), _curves(synthetic, grid, "1")]
    held_out = _outcomes(data.holdout, data, event)
    known = len(held_out.rows) > 0
    of_real = _distance(curves[0], _curves(held_out, grid, "held-out"), len(held_out.rows)) if known else None
    ranks = _concordances(data, event) if known else None
    shown = data.schema[data.time].grid
    return Survival(
        time=data.time,
        unit=None if shown is None else shown.unit,
        event=event,
        patients=len(held_out.rows),
        times=tuple(round(float(time), 6) for time in grid),
        curve_real=tuple(round(float(fraction), 4) for fraction in curves[0][0]),
        curve_synthetic=tuple(round(float(fraction), 4) for fraction in curves[1][0]),
        curve_distance=_distance(curves[0], curves[1], min(len(real.rows), len(synthetic.rows))),
        curve_distance_of_real=of_real,
        concordance_synthetic=None if ranks is None else ranks[0],
        concordance_real=None if ranks is None else ranks[1],
        gap=None if ranks is None else ranks[2],
    )


def _event_of(data: EvaluationData) -> str:
    """Return the label of the event: the last category of the target."""
    return str(labels(pd.Series(data.schema[data.target].labels[-1:], dtype=object))[0])


def _outcomes(table: pd.DataFrame, data: EvaluationData, event: str) -> _Outcomes:
    times = numbers(table[data.time])
    rows = np.flatnonzero(~np.isnan(times) & table[data.target].notna().to_numpy())
    return _Outcomes(rows, times[rows], np.asarray(labels(table[data.target])[rows] == event, dtype=np.bool_))


def _curves(outcomes: _Outcomes, grid: Floats, name: str) -> Floats:
    """Return the curve of the table and of its resamples, shape (1 + resamples, times)."""
    return kaplan_meier(outcomes.times, outcomes.happened, grid, _weights(len(outcomes.rows), name))


def _distance(first: Floats, second: Floats, patients: int) -> Estimate:
    gaps = np.abs(first - second).mean(axis=1)
    return measured(float(gaps[0]), gaps[1:], patients, within=(0, 1))


def _weights(rows: int, name: str) -> Floats:
    """Return a row of ones, then resamples; every table has equally many, so that curves can be subtracted."""
    return np.vstack([np.ones(rows), resamples(rows, FEW_RESAMPLES, "survival", name)])


def kaplan_meier(times: Floats, happened: Truth, grid: Floats, weights: Floats) -> Floats:
    """Return the fraction of patients without the event after each time of `grid`, shape (resamples, times).

    Args:
        times: time of the event or of the end of observation, shape (patients,).
        happened: whether the event happened, shape (patients,).
        grid: times at which the curve is wanted, shape (times,).
        weights: how often each patient counts, shape (resamples, patients).

    S(t) = product over event times u <= t of (1 - events at u / patients seen until u); Kaplan and Meier 1958.
    """
    distinct, inverse = np.unique(times, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    first = np.searchsorted(inverse[order], np.arange(len(distinct)))
    left = np.add.reduceat(weights[:, order], first, axis=1)
    events = np.add.reduceat(weights[:, order] * happened[order], first, axis=1)
    at_risk = left[:, ::-1].cumsum(axis=1)[:, ::-1]
    kept = 1.0 - np.divide(events, at_risk, out=np.zeros_like(events), where=at_risk > 0)
    curve = np.hstack([np.ones((len(weights), 1)), np.cumprod(kept, axis=1)])
    return np.asarray(curve[:, np.searchsorted(distinct, grid, side="right")])


def _concordances(data: EvaluationData, event: str) -> tuple[Estimate, Estimate, Estimate] | None:
    """Return concordance of models trained on synthetic and on real rows, and its gap; None if undefined."""
    without = [name for name in (data.target, data.time) if name is not None]
    if not set(data.schema.names) - set(without):
        return None  # no column is left to predict with
    patients = sampled(data.holdout, MOST_PATIENTS, "survival-held-out")
    held_out = _outcomes(patients, data, event)
    x_of_patients = features(patients, data.numeric, without=without).iloc[held_out.rows]
    ranks = []
    for table in (data.synthetic, data.train):
        trained = sampled(table, MOST_TRAINED, "survival-learnt")
        outcomes = _outcomes(trained, data, event)
        x = features(trained, data.numeric, without=without).iloc[outcomes.rows]
        prepare = preparation(x, data.numeric).fit(x)
        coefficients = fit_hazards(np.asarray(prepare.transform(x)), outcomes.times, outcomes.happened)
        hazards = np.asarray(prepare.transform(x_of_patients)) @ coefficients
        ranks.append(concordance(held_out.times, held_out.happened, hazards))
    count = len(held_out.rows)
    if np.isnan(ranks[0](np.ones((1, count)))[0]):
        return None
    seed = seed_for(0, "bootstrap", "concordance")
    synthetic, real = (bootstrap(statistic, count, seed=seed, resamples=RESAMPLES) for statistic in ranks)
    gap = paired_difference(ranks[0], ranks[1], count, seed=seed, resamples=RESAMPLES)
    return synthetic, real, gap


def fit_hazards(x: Floats, times: Floats, happened: Truth) -> Floats:
    """Return coefficients of Cox's proportional hazards (1972), ties after Breslow (1974), with a small ridge penalty.

    Args:
        x: features with about unit variance, shape (patients, features).
        times: time of the event or of the end of observation, shape (patients,).
        happened: whether the event happened, shape (patients,).
    """
    order = np.argsort(-times, kind="stable")
    x, times, happened = x[order], times[order], happened[order]
    # Patients observed until t are at risk at t; `last` is the last index of a time, from the longest time down.
    last = np.searchsorted(-times, -times, side="right") - 1
    events = np.flatnonzero(happened)
    at = last[events]
    summed = x[events].sum(axis=0)

    def loss(beta: Floats) -> tuple[float, Floats]:
        score = x @ beta
        top = score.max()
        risk = np.exp(score - top)
        below = np.cumsum(risk)
        # An event at index k sums over patients 0 to k, so patient i is in the sums of all events at i or later.
        part = np.bincount(at, 1.0 / below[at], minlength=len(x))[::-1].cumsum()[::-1]
        value = score[events].sum() - (np.log(below[at]) + top).sum()
        slope = summed - (risk * part) @ x
        size = max(len(events), 1)
        return float(-value / size + RIDGE / 2 * beta @ beta), np.asarray(-slope / size + RIDGE * beta)

    return np.asarray(minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 200}).x)


def concordance(times: Floats, happened: Truth, hazards: Floats) -> Statistic:
    """Return Harrell's C (1982): of pairs with a known order, the fraction in which the higher hazard is first.

    Args:
        times: time of the event or of the end of observation, shape (patients,).
        happened: whether the event happened, shape (patients,).
        hazards: predicted hazards, shape (patients,).

    A pair counts if the earlier time is an event; equal hazards count half.
    """
    known = (times[:, None] < times[None, :]) & happened[:, None]
    right = np.where(known, np.sign(hazards[:, None] - hazards[None, :]) / 2 + 0.5, 0.0)
    pairs = known.astype(np.float64)

    def statistic(weights: Floats) -> Floats:
        above, below = (((weights @ table) * weights).sum(axis=1) for table in (right, pairs))
        return np.asarray(np.divide(above, below, out=np.full(len(weights), np.nan), where=below > 0))

    return statistic
