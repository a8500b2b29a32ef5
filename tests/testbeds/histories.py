"""Tables of visits whose truth is known: Markov chains, persistent numbers, and the same visits in another order."""

from __future__ import annotations

import numpy as np
import pandas as pd

from common.arrays import Floats, Integers
from common.evaluation.visits.coding import CodedHistories, code_histories
from common.evaluation.visits.histories import OrderedVisits, VisitLayout

LAYOUT = VisitLayout("patient", "day", ("sex",), ("state", "sugar"), "state")

STICKY: Floats = np.array([[0.8, 0.2, 0.0], [0.1, 0.8, 0.1], [0.0, 0.3, 0.7]])
"""A transition matrix: row a holds the probabilities of the next state after a."""

LOOSE: Floats = np.array([[0.5, 0.3, 0.2], [0.3, 0.4, 0.3], [0.2, 0.4, 0.4]])


def chain(
    patients: int, matrix: Floats = STICKY, *, seed: int = 0, persistence: float = 0.9, visits: int = 6
) -> pd.DataFrame:
    """Return visits of patients whose state is a Markov chain and whose sugar is an autoregression.

    Args:
        patients: number of patients, each with 2 to `visits` visits.
        matrix: transition matrix of the states a, b and c.
        seed: seed of all draws.
        persistence: lag-1 autocorrelation of the column "sugar".
        visits: most visits of a patient.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(patients):
        state, day, sugar = int(rng.integers(3)), int(rng.integers(100)), rng.normal()
        sex = "female" if rng.random() < 0.5 else "male"
        for _ in range(int(rng.integers(2, visits + 1))):
            rows.append((f"p{patient}", day, sex, "abc"[state], round(sugar, 4)))
            state, day = int(rng.choice(3, p=matrix[state])), day + int(rng.integers(20, 40))
            sugar = persistence * sugar + np.sqrt(1 - persistence**2) * rng.normal()
    return pd.DataFrame(rows, columns=["patient", "day", "sex", "state", "sugar"])


def shuffled(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Return the same patients and days; the values of all visits stand in a random order."""
    order = np.random.default_rng(seed).permutation(len(table))
    mixed = table.copy()
    mixed[["state", "sugar"]] = table[["state", "sugar"]].to_numpy()[order]
    return mixed.astype({"sugar": float})


def stationary(matrix: Floats, lengths: Integers) -> Floats:
    """Return the mean distribution of the states that a step starts from, for chains that start evenly.

    Args:
        matrix: transition matrix.
        lengths: numbers of visits, all equally frequent; the n - 1 steps of a patient weigh 1/(n - 1).
    """
    start = np.full(len(matrix), 1 / len(matrix))
    by_step = [start @ np.linalg.matrix_power(matrix, step) for step in range(int(lengths.max()) - 1)]
    return np.asarray(np.mean([np.mean(by_step[: n - 1], axis=0) for n in lengths], axis=0))


def coded(
    real: pd.DataFrame, synthetic: pd.DataFrame, layout: VisitLayout = LAYOUT
) -> tuple[CodedHistories, CodedHistories]:
    """Return two tables of visits, coded with bins of the first."""
    ours, theirs = OrderedVisits.of(real, layout, "real"), OrderedVisits.of(synthetic, layout, "synthetic")
    first, second = code_histories(ours, [("real", ours), ("synthetic", theirs)], layout)
    return first, second
