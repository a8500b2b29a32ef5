from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from common.marginals.loss import SQUARE_LIMIT, MarginalLoss
from common.marginals.measurements import Measurements
from common.marginals.queries import Domain, Query, count, pair_queries, single_queries
from tests.testbeds.marginals import (
    CENTERED,
    DOMAIN,
    FEW,
    QUERIES,
    measured,
    random_codes,
    random_mixture,
    table_of_mixture,
)


def as_tensor(mixture: Any) -> Tensor:
    return torch.tensor(mixture, dtype=torch.float32)


class TestValue:
    @pytest.mark.parametrize(("domain", "queries"), [(DOMAIN, QUERIES), (FEW, CENTERED)], ids=["plain", "centered"])
    @pytest.mark.parametrize("deviations", ["none", "equal", "various"])
    def test_is_that_of_explicit_joint_tables(
        self, deviations: str, domain: Domain, queries: tuple[Query, ...]
    ) -> None:
        # So little noise that the reward for undecided prototypes vanishes; the weights are ratios to the noise of the
        # first pair.
        count_of = len(queries)
        noise = {
            "none": (0.0,) * count_of,
            "equal": (2e-6,) * count_of,
            "various": (3e-6,) * 3 + (2e-6,) * (count_of - 5) + (4e-6, 1e-6),
        }[deviations]
        sums = count(random_codes(60, domain), queries, domain)
        sums = sums + np.random.default_rng(1).integers(-3, 4, len(sums))
        measurements = Measurements(domain, queries, sums, noise)
        mixture = random_mixture(4, domain.sizes)
        expected = 0.0
        for query, proportions, deviation in zip(queries, measurements.proportions(), noise, strict=True):
            weight = (noise[3] / deviation) ** 2 if deviation else 1.0
            expected += weight * float(((table_of_mixture(mixture, query, domain) - proportions) ** 2).sum())
        assert float(MarginalLoss(measurements)(as_tensor(mixture))) == pytest.approx(expected, rel=1e-4)

    def test_columns_counted_twice_weigh_more(self) -> None:
        queries = (*single_queries(2), Query((0, 1)), *single_queries(2))
        sums = np.array([60, 40, 50, 50, 30, 30, 20, 20, 40, 10, 25, 25])  # of 100 patients, then of 50
        phases = ("coarse",) * 3 + ("singles",) * 2
        deviations = (2e-6,) * 3 + (1e-6,) * 2
        twice = Measurements(Domain((2, 2), (False, False)), queries, sums, deviations, phases)
        pair = (0.35 - np.array([[0.3, 0.3], [0.2, 0.2]]) - np.array([[0.0], [0.2]])) ** 2
        # Precision 1 + 4 = 5; both codes of the first column are 0.06 off the mean of 0.76, the second column is met.
        loss = MarginalLoss(twice)(torch.tensor([[0.7, 0.3, 0.5, 0.5]]))
        assert float(loss) == pytest.approx(5 * 2 * 0.06**2 + pair.sum(), rel=1e-4)

    def test_is_zero_where_all_tables_are_met(self) -> None:
        codes = random_codes(40, DOMAIN)
        starts = np.cumsum([0, *DOMAIN.sizes])[:-1]
        mixture = np.zeros((40, sum(DOMAIN.sizes)), dtype=np.float32)  # every patient is a prototype
        mixture[np.arange(40)[:, None], codes + starts] = 1.0
        loss = MarginalLoss(measured(codes, QUERIES, DOMAIN))
        assert float(loss(torch.from_numpy(mixture))) == pytest.approx(0.0, abs=1e-9)
        assert float(loss(torch.from_numpy(mixture[:20]))) > 1e-3

    def test_noise_rewards_undecided_prototypes(self) -> None:
        domain, queries = Domain((2, 2), (False, False)), (*single_queries(2), *pair_queries(2, 4))
        uniform = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 10, dtype=np.int16)
        undecided = torch.full((4, 4), 0.5)
        decided = torch.tensor([[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1]], dtype=torch.float32)
        for deviation in (0.0, 5.0):
            loss = MarginalLoss(measured(uniform, queries, domain, deviation=deviation))
            saved = float(loss(decided) - loss(undecided))
            assert saved > 1e-4 if deviation else abs(saved) < 1e-6


WIDE = Domain((4,) * 24, (False,) * 24)
"""96 codes: few pairs of these columns are far fewer cells than the square over all that they name."""

TABLES: dict[str, tuple[Domain, tuple[Query, ...]]] = {
    "single columns": (DOMAIN, single_queries(3)),
    "single columns twice": (DOMAIN, (*QUERIES, *single_queries(3))),
    "all pairs as a square": (DOMAIN, (*single_queries(3), Query((0, 1)), Query((0, 2)), Query((1, 2)))),
    "coarse pairs": (DOMAIN, (*single_queries(3), *pair_queries(3, 2))),
    "centered": (FEW, CENTERED),
    "centered and not": (FEW, (*CENTERED, *QUERIES[3:])),
    "few pairs as blocks": (
        WIDE,
        (*single_queries(24), *(Query((column, column + 1)) for column in range(0, 24, 4)), Query((0, 7))),
    ),
    "triples of one pivot": (
        WIDE,
        (*single_queries(24), *(Query(tuple(sorted((5, *pair)))) for pair in ((1, 2), (1, 9), (8, 9)))),
    ),
    "triples of two pivots": (
        WIDE,
        (*single_queries(24), Query((0, 1, 2), 3), Query((0, 3, 4), 3), Query((6, 7, 8), 3)),
    ),
    "everything": (DOMAIN, QUERIES),
}


def loss_by_products(probabilities: Tensor, measurements: Measurements, entropy: float) -> Tensor:
    """Return the loss as its definition reads, each table a sum of outer products, for automatic differentiation."""
    domain, prototypes = measurements.domain, len(probabilities)
    columns = torch.split(probabilities, list(domain.sizes), dim=1)
    loss: Tensor = entropy / prototypes * (probabilities * probabilities.log()).sum()
    rows = zip(measurements.queries, measurements.proportions(), measurements.deviations, strict=True)
    for query, proportions, deviation in rows:
        if len(query.columns) == 1:
            continue
        table = torch.ones(prototypes, dtype=probabilities.dtype)
        for column in query.columns:
            groups = torch.from_numpy(domain.groups(column, query.groups))
            merge = torch.nn.functional.one_hot(groups).to(probabilities.dtype)
            if query.is_centered and domain.is_few[column]:
                merge = merge - 1 / domain.sizes[column]  # the sum over codes is one, so the mean is taken out
            table = table[..., None] * (columns[column] @ merge).reshape(prototypes, *[1] * (table.dim() - 1), -1)
        joint = table.mean(0)
        residual = joint - torch.from_numpy(proportions)
        loss = loss + measurements.precision(deviation) * (residual**2).sum()
    for values, single, precision in zip(columns, measurements.singles, measurements.precisions, strict=True):
        loss = loss + precision * ((values.mean(0) - torch.from_numpy(single)) ** 2).sum()
    return loss


class TestGradient:
    @pytest.mark.parametrize("deviation", [1e-6, 1.5])
    @pytest.mark.parametrize("name", TABLES)
    def test_is_that_of_automatic_differentiation(self, name: str, deviation: float) -> None:
        domain, queries = TABLES[name]
        sums = count(random_codes(60, domain), queries, domain)
        deviations = tuple(deviation * (1 + number % 3) for number in range(len(queries)))
        measurements = Measurements(domain, queries, sums, deviations)
        mixture = torch.tensor(random_mixture(4, domain.sizes), requires_grad=True)
        entropy = min(0.5, 150 * (deviation / measurements.total) ** 2)
        expected = loss_by_products(mixture, measurements, entropy)
        expected.backward()  # type: ignore[no-untyped-call]
        assert mixture.grad is not None
        loss, gradient = MarginalLoss(measurements).with_gradient(mixture.detach().float())
        assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-4)
        torch.testing.assert_close(gradient.double(), mixture.grad, rtol=1e-4, atol=1e-6)

    def test_both_ways_to_form_pairs_are_tried(self) -> None:
        for name, is_square in (("all pairs as a square", True), ("few pairs as blocks", False)):
            domain, queries = TABLES[name]
            pairs = [query for query in queries if len(query.columns) == 2]
            width = sum(domain.sizes[column] for column in {column for query in pairs for column in query.columns})
            assert (width**2 <= SQUARE_LIMIT * domain.cells(pairs)) == is_square

    @pytest.mark.parametrize("deviation", [0.0, 5.0])
    def test_is_finite_where_a_probability_is_zero(self, deviation: float) -> None:
        mixture = as_tensor(random_mixture(4, DOMAIN.sizes))
        mixture[0, :2] = torch.tensor([0.0, 1.0])
        mixture.requires_grad_(True)
        loss = MarginalLoss(measured(random_codes(60, DOMAIN), QUERIES, DOMAIN, deviation=deviation))(mixture)
        loss.backward()  # type: ignore[no-untyped-call]
        assert mixture.grad is not None
        assert mixture.grad.isfinite().all()
        assert mixture.grad.abs().sum() > 0

    def test_follows_the_loss_where_columns_are_counted_twice(self) -> None:
        loss = MarginalLoss(measured(random_codes(60, DOMAIN), (*QUERIES, *single_queries(3)), DOMAIN, deviation=1.5))
        mixture = as_tensor(random_mixture(4, DOMAIN.sizes))
        _, gradient = loss.with_gradient(mixture)
        for prototype, code in [(0, 0), (1, 4), (3, 9)]:
            step = torch.zeros_like(mixture)
            step[prototype, code] = 1e-2
            slope = (loss(mixture + step) - loss(mixture - step)) / 2e-2
            assert float(gradient[prototype, code]) == pytest.approx(float(slope), rel=0.02, abs=1e-4)


class Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The number of elements of the largest tensor that any operation returned."""

    elements = 0

    def __torch_dispatch__(  # type: ignore[no-untyped-def]
        self, func, types, args=(), kwargs=None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        results = out if isinstance(out, tuple | list) else (out,)
        self.elements = max([self.elements, *(result.numel() for result in results if isinstance(result, Tensor))])
        return out


def test_memory_does_not_follow_the_square_of_the_width() -> None:
    domain = Domain((30,) * 100, (False,) * 100)
    queries = (*single_queries(100), *(Query((column, column + 1)) for column in range(5)), Query((0, 1, 2), 6))
    measurements = measured(random_codes(50, domain), queries, domain)
    mixture = as_tensor(random_mixture(10, domain.sizes)).requires_grad_(True)
    with Largest() as largest:  # type: ignore[no-untyped-call]
        MarginalLoss(measurements)(mixture).backward()  # type: ignore[no-untyped-call]
    # Grouped columns need a 3000 x 600 map; the square of the width has 9 million elements.
    assert largest.elements <= 3000 * 600
