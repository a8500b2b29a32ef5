"""An invented population, and synthesizers whose leaks are known."""

from __future__ import annotations

import numpy as np
import pandas as pd

from common.columns.categorical import Categorical
from common.columns.numeric import Numeric
from common.evaluation.statistics.data import EvaluationData
from common.study.schema import Schema

COLUMNS = 8
LABELS = ("a", "b", "c", "d")

SCHEMA = Schema(
    columns=tuple(
        Numeric(name=f"n{place}", lower=0, upper=100, decimals=1)
        if place % 2 == 0
        else Categorical(name=f"c{place}", categories=LABELS)
        for place in range(COLUMNS)
    )
)


def population(rows: int, seed: int) -> pd.DataFrame:
    """Patients with one common cause behind all columns."""
    rng = np.random.default_rng(seed)
    cause = rng.normal(size=rows)
    columns: dict[str, object] = {}
    for place in range(COLUMNS):
        value = 0.6 * cause + rng.normal(size=rows)
        if place % 2 == 0:
            columns[f"n{place}"] = np.round(np.clip(50 + 15 * value, 0, 100), 1)
        else:
            columns[f"c{place}"] = np.array(LABELS, dtype=object)[np.digitize(value, [-0.7, 0.0, 0.8])]
    return pd.DataFrame(columns)


def attacked(
    train: pd.DataFrame,
    control: pd.DataFrame,
    synthetic: pd.DataFrame,
    *,
    epsilon: float | None = None,
    delta: float | None = None,
) -> EvaluationData:
    """Return a synthetic table of the population for attacks, with what its release promises."""
    return EvaluationData(train, control, synthetic, SCHEMA, "c1", epsilon=epsilon, delta=delta)


def copied(train: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The leakiest synthesizer: training rows, drawn with replacement."""
    return train.sample(len(train), replace=True, random_state=seed).reset_index(drop=True)


def independent(train: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The perfect synthesizer: other people of the same population."""
    return population(len(train), seed + 500_000)


def partly_copied(train: pd.DataFrame, seed: int, share: float = 0.05) -> pd.DataFrame:
    """Other people, but for a share of training rows."""
    few = round(share * len(train))
    rows = [train.sample(few, random_state=seed), independent(train, seed).iloc[few:]]
    return pd.concat(rows, ignore_index=True)
