"""Agreement with the library whose attacks ours follow; runs where the extra `attacks` is installed."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

from common.evaluation.attacks.catalog import run_attacks
from common.evaluation.attacks.conclusions import privacy_of
from common.evaluation.statistics.intervals import Estimate
from tests.testbeds.leaking_synthesizers import SCHEMA, attacked, independent, population

evaluators = pytest.importorskip("anonymeter.evaluators", reason="needs the extra 'attacks'")

ROWS = 500
NAMES = list(SCHEMA.names)
CLOSE = 0.10


def all_of_them(train: pd.DataFrame, seed: int) -> pd.DataFrame:
    return train.sample(frac=1, random_state=seed).reset_index(drop=True)


def theirs(train: pd.DataFrame, control: pd.DataFrame, synthetic: pd.DataFrame) -> dict[str, float]:
    tables = {"ori": train, "syn": synthetic, "control": control}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the attacks on a safe table are no better than a guess, which it warns of
        link = evaluators.LinkabilityEvaluator(**tables, aux_cols=(NAMES[:4], NAMES[4:]), n_attacks=ROWS)
        link.evaluate(n_jobs=1)
        rates = [_inferred(tables, secret) for secret in NAMES]
        single = evaluators.SinglingOutEvaluator(**tables, n_attacks=300, n_cols=4)
        single.evaluate(mode="multivariate")
        risks = {"linkability": link.risk().value, "singling_out_combination": single.risk().value}
    attack, control_rate = np.mean(rates, axis=0)
    return risks | {"attribute_inference": (attack - control_rate) / (1 - control_rate)}


def _inferred(tables: dict[str, pd.DataFrame], secret: str) -> tuple[float, float]:
    known = [name for name in NAMES if name != secret]
    attack: Any = evaluators.InferenceEvaluator(**tables, aux_cols=known, secret=secret, n_attacks=ROWS)
    attack.evaluate(n_jobs=1)
    results = attack.results()
    return results.attack_rate.value, results.control_rate.value


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("is_leaky", [True, False])
def test_our_risks_and_anonymeters_agree(is_leaky: bool, seed: int) -> None:
    train, control = population(ROWS, 2 * seed), population(ROWS, 2 * seed + 1)
    synthetic = (all_of_them if is_leaky else independent)(train, seed)
    np.random.seed(seed)  # the library draws from numpy's global state
    found = theirs(train, control, synthetic)
    data = attacked(train, control, synthetic)
    ours: dict[str, Estimate] = {
        attack.name: attack.all_records.risk.residual_risk
        for attack in privacy_of(data, run_attacks(data, seed=seed)).attacks
        if attack.all_records.risk is not None
    }
    for name, risk in found.items():
        print(f"{name}: ours {ours[name]}, anonymeter {risk:.3f}")  # noqa: T201
        assert ours[name].value == pytest.approx(risk, abs=CLOSE)
        assert (ours[name].low > 0.5) == is_leaky
