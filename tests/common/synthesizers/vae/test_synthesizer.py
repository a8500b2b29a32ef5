from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from common.arrays import Floats
from common.columns.base import Codes
from common.marginals.latent_classes import ClassTables
from common.marginals.measurements import Measurements
from common.marginals.queries import Domain, single_queries
from common.study.synthesizers import VaeSettings
from common.synthesizers.vae.synthesizer import ClassLoss, MarginalVae, prototypes_of_classes
from tests.testbeds.marginals import measured, random_codes, random_mixture

DOMAIN = Domain((2, 2, 2), (False,) * 3)
SETTINGS = VaeSettings(classes=4, prototypes=24, fit_steps=200)

PARITY = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]], dtype=np.int16)
"""The third column is the parity of the first two: no pair of columns shows it."""


def of_classes(codes: Codes, deviation: float = 1.0) -> ClassTables:
    """Return the tables of classes each of which holds one of these rows, 19 times in 20."""
    probabilities = np.full((len(codes), 6), 0.05)
    probabilities[np.arange(len(codes))[:, None], codes + np.array([0, 2, 4])] = 0.95
    return ClassTables(np.full(len(codes), 1 / len(codes)), probabilities, deviation)


def of_parity() -> Measurements:
    """Measurements of a parity: single columns, and classes that show it."""
    codes = np.repeat(PARITY, 100, axis=0)
    return replace(measured(codes, single_queries(3), DOMAIN, deviation=1.0), classes=of_classes(PARITY))


def odd_rows(measurements: Measurements, seed: int = 0) -> float:
    """Return the part of drawn rows that break the parity."""
    vae = MarginalVae(SETTINGS, DOMAIN.sizes)
    drawn = vae.sample(vae.fit({}, measurements, seed, rounds=0), 2000, 1, {})
    return float((drawn.sum(axis=1) % 2).mean())


class TestFit:
    def test_classes_carry_what_no_table_shows(self) -> None:
        # In a class, a row breaks the parity if 1 or 3 columns are off: 3 (0.05)(0.95)^2 + (0.05)^3 = 0.135.
        assert odd_rows(of_parity()) == pytest.approx(0.135, abs=0.06)
        assert odd_rows(replace(of_parity(), classes=None)) > 0.35

    def test_is_held_to_the_marginals_too(self) -> None:
        codes = np.zeros((400, 3), dtype=np.int16)
        codes[:40, 0] = 1  # one patient in ten; the classes say one in two
        both = replace(
            measured(codes, single_queries(3), DOMAIN, deviation=1.0), classes=of_classes(PARITY, deviation=200.0)
        )
        vae = MarginalVae(SETTINGS, DOMAIN.sizes)
        drawn = vae.sample(vae.fit({}, both, 0, rounds=0), 2000, 1, {})
        assert drawn[:, 0].mean() == pytest.approx(0.1, abs=0.05)

    def test_repeats_with_the_seed(self) -> None:
        vae = MarginalVae(SETTINGS, DOMAIN.sizes)
        first, again, other = (vae.fit({}, of_parity(), seed, rounds=0)["dec.table"] for seed in (1, 1, 2))
        assert (first == again).all()
        assert (first != other).any()


class TestClassLoss:
    def test_equals_what_is_worked_out_by_hand(self) -> None:
        tables = ClassTables(np.array([0.75, 0.25]), np.array([[0.5] * 6, [0.9, 0.1] * 3]), 2.0)
        measurements = measured(random_codes(50, DOMAIN), single_queries(3), DOMAIN, deviation=1.0)
        loss = ClassLoss(tables, measurements, 4)
        assert loss.owners.tolist() == [0, 0, 0, 1]  # one each; of the other two, 1.5 and 0.5 by weight
        mixture = random_mixture(4, DOMAIN.sizes)
        means = np.stack([mixture[:3].mean(axis=0), mixture[3]])
        # The noise of class counts is twice that of the tables: a quarter of the weight.
        expected = 0.25 * ((tables.weights[:, None] * (means - tables.probabilities)) ** 2).sum()
        assert float(loss(torch.tensor(mixture, dtype=torch.float32))) == pytest.approx(expected, rel=1e-4)

    @pytest.mark.parametrize(
        ("weights", "prototypes", "counts"),
        [
            (np.array([0.5, 0.3, 0.2]), 13, [6, 4, 3]),
            (np.array([1.0, 0.0]), 2, [1, 1]),
            (np.array([1.0, 0.0]), 10, [9, 1]),
            (np.full(3, 1 / 3), 5, [2, 2, 1]),
        ],
        ids=range(4),
    )
    def test_prototypes_are_shared_out(self, weights: Floats, prototypes: int, counts: list[int]) -> None:
        tables = ClassTables(weights, np.full((len(weights), 6), 0.5), 1.0)
        assert prototypes_of_classes(tables, prototypes) == counts
