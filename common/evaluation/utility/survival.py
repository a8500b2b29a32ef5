"""Survival targets: are events as early as among real patients, and does a hazard model rank patients?

The event is the last category of the target; a patient without a time or an event is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize

from common.evaluation.statistics.intervals import Estimate, Statistic, bootstrap, paired_difference
from common.evaluation.statistics.resampling import FEW_RESAMPLES, RESAMPLES, measured, resamples, sampled
from common.evaluation.statistics.values import Floats, features, labels, numbers
from common.evaluation.utility.learners import preparation
from common.seeds import seed_for
from common.study.schema import Schema

Truth = npt.NDArray[np.bool_]

MOST_PATIENTS = 3_000
"""Held-out patients whose pairs are compared; their table of pairs has nine million cells."""

MOST_LEARNT = 20_000
RIDGE = 1e-2
CURVE_POINTS = 60


@dataclass(frozen=True, slots=True)
class Survival:
    """Time to the event, real against synthetic.

    `curve_*`: Kaplan and Meier's share of patients without the event at `times`. `curve_distance`: mean gap of the two
    curves up to the last of these times, 0.0 is best; `curve_distance_of_real`: the same for the held-out patients.
    `concordance_*`: Harrell's C on held-out patients of a proportional hazards model taught with synthetic and with
    real rows; 0.5 is chance, 1.0 best. `gap`: synthetic minus real, paired.
    """

    time: str
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


def measure_survival(
    train: pd.DataFrame, holdout: pd.DataFrame, synthetic: pd.DataFrame, schema: Schema, *, target: str, time: str
) -> Survival | None:
    """None if a table has no event, or no time to compare."""
    event = str(labels(pd.Series(schema[target].labels[-1:], dtype=object))[0])
    sides = [_outcomes(table, target, time, event) for table in (train, synthetic)]
    if any(not happened.any() for _, _, happened in sides):
        return None
    ends = [float(np.quantile(times, 0.95)) for _, times, _ in sides]
    grid = np.linspace(0.0, ends[0], CURVE_POINTS)
    if not ends[0] > 0:
        return None
    curves = [
        kaplan_meier(times, happened, grid, _weights(len(times), str(place)))
        for place, (_, times, happened) in enumerate(sides)
    ]
    gaps = np.abs(curves[0] - curves[1]).mean(axis=1)
    kept, seen, fell = _outcomes(holdout, target, time, event)
    of_real = None
    if len(kept):
        own = np.abs(curves[0] - kaplan_meier(seen, fell, grid, _weights(len(seen), "held-out"))).mean(axis=1)
        of_real = measured(float(own[0]), own[1:], len(seen), least=0, most=1)
    ranks = _concordances(train, holdout, synthetic, target, time, event) if len(kept) else None
    return Survival(
        time=time,
        event=event,
        patients=len(kept),
        times=tuple(round(float(at), 6) for at in grid),
        curve_real=tuple(round(float(share), 4) for share in curves[0][0]),
        curve_synthetic=tuple(round(float(share), 4) for share in curves[1][0]),
        curve_distance=measured(float(gaps[0]), gaps[1:], min(len(side[1]) for side in sides), least=0, most=1),
        curve_distance_of_real=of_real,
        concordance_synthetic=None if ranks is None else ranks[0],
        concordance_real=None if ranks is None else ranks[1],
        gap=None if ranks is None else ranks[2],
    )


def _outcomes(table: pd.DataFrame, target: str, time: str, event: str) -> tuple[npt.NDArray[np.int64], Floats, Truth]:
    """The rows with a time, their times, and whether the event happened."""
    times = numbers(table[time])
    kept = np.flatnonzero(~np.isnan(times) & table[target].notna().to_numpy())
    return kept, times[kept], np.asarray(labels(table[target])[kept] == event, dtype=np.bool_)


def _weights(rows: int, name: str) -> Floats:
    """All ones, then resamples; equally many of them for every table, so that curves can be subtracted."""
    return np.vstack([np.ones(rows), resamples(rows, FEW_RESAMPLES, "survival", name)])


def kaplan_meier(times: Floats, happened: Truth, grid: Floats, weights: Floats) -> Floats:
    """The share of patients without the event after each time of `grid`, shape (resamples, times).

    S(t) = product over event times u <= t of (1 - events at u / patients seen until u); Kaplan and Meier 1958.
    """
    distinct, place = np.unique(times, return_inverse=True)
    order = np.argsort(place, kind="stable")
    first = np.searchsorted(place[order], np.arange(len(distinct)))
    left = np.add.reduceat(weights[:, order], first, axis=1)
    events = np.add.reduceat(weights[:, order] * happened[order], first, axis=1)
    at_risk = left[:, ::-1].cumsum(axis=1)[:, ::-1]
    kept = 1.0 - np.divide(events, at_risk, out=np.zeros_like(events), where=at_risk > 0)
    curve = np.hstack([np.ones((len(weights), 1)), np.cumprod(kept, axis=1)])
    return np.asarray(curve[:, np.searchsorted(distinct, grid, side="right")])


def _concordances(
    train: pd.DataFrame, holdout: pd.DataFrame, synthetic: pd.DataFrame, target: str, time: str, event: str
) -> tuple[Estimate, Estimate, Estimate] | None:
    if not set(train.columns) - {target, time}:
        return None  # no column is left to predict with
    patients = sampled(holdout, MOST_PATIENTS, "survival-held-out")
    kept, times, happened = _outcomes(patients, target, time, event)
    x_of_patients = features(train, patients, without=[target, time]).iloc[kept]
    hazards = []
    for table in (synthetic, train):
        learnt = sampled(table, MOST_LEARNT, "survival-learnt")
        rows, seen, fell = _outcomes(learnt, target, time, event)
        x = features(train, learnt, without=[target, time]).iloc[rows]
        prepare = preparation(train, x).fit(x)
        coefficients = fit_hazards(np.asarray(prepare.transform(x)), seen, fell)
        hazards.append(np.asarray(prepare.transform(x_of_patients)) @ coefficients)
    ranks = [concordance(times, happened, hazard) for hazard in hazards]
    if np.isnan(ranks[0](np.ones((1, len(kept))))[0]):
        return None
    seed = seed_for(0, "bootstrap", "concordance")
    synthetic_c, real_c = (bootstrap(one, len(kept), seed=seed, resamples=RESAMPLES) for one in ranks)
    gap = paired_difference(ranks[0], ranks[1], len(kept), seed=seed, resamples=RESAMPLES)
    return synthetic_c, real_c, gap


def fit_hazards(x: Floats, times: Floats, happened: Truth) -> Floats:
    """Coefficients of Cox's proportional hazards (1972), ties after Breslow (1974), with a small ridge penalty.

    Args:
        x: shape (patients, features), about unit variance.
    """
    order = np.argsort(-times, kind="stable")
    x, times, happened = x[order], times[order], happened[order]
    # Whoever was seen until t is at risk at t: the last place of its time, counted from the longest time down.
    last = np.searchsorted(-times, -times, side="right") - 1
    events = np.flatnonzero(happened)
    at = last[events]
    summed = x[events].sum(axis=0)

    def loss(beta: Floats) -> tuple[float, Floats]:
        score = x @ beta
        top = score.max()
        risk = np.exp(score - top)
        below = np.cumsum(risk)
        # Every event at place k draws on patients 0 to k; turned round, patient i is drawn on by events at i or later.
        share = np.bincount(at, 1.0 / below[at], minlength=len(x))[::-1].cumsum()[::-1]
        value = score[events].sum() - (np.log(below[at]) + top).sum()
        slope = summed - (risk * share) @ x
        size = max(len(events), 1)
        return float(-value / size + RIDGE / 2 * beta @ beta), np.asarray(-slope / size + RIDGE * beta)

    return np.asarray(minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 200}).x)


def concordance(times: Floats, happened: Truth, hazards: Floats) -> Statistic:
    """Harrell's C (1982): of the pairs of patients whose order is known, how many have the higher hazard first.

    A pair counts if the earlier time is an event; equal hazards count half.
    """
    known = (times[:, None] < times[None, :]) & happened[:, None]
    right = np.where(known, np.sign(hazards[:, None] - hazards[None, :]) / 2 + 0.5, 0.0)
    pairs = known.astype(np.float64)

    def statistic(weights: Floats) -> Floats:
        above, below = (((weights @ table) * weights).sum(axis=1) for table in (right, pairs))
        return np.asarray(np.divide(above, below, out=np.full(len(weights), np.nan), where=below > 0))

    return statistic
