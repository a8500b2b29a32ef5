from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from common.arrays import Floats
from common.encoding import Codes
from common.errors import WireError
from common.marginals.measurements import (
    MarginalLoss,
    Measurements,
    assemble,
    choose_pairs,
    choose_triples,
    fit_steps,
)
from common.marginals.queries import Domain, Query, coarse_queries, count, single_queries, split
from common.planning.plan import COARSE, HISTOGRAMS, PAIRS, SINGLES, TRIPLES, HospitalPlan, Plan, VectorPhase

LAYOUT = Domain((2, 5, 3), (False, True, False))
EVERY = (*coarse_queries(3, 2), Query((0, 1)), Query((1, 2)), Query((0, 1, 2), 3))


def exact(codes: Codes, queries: tuple[Query, ...], domain: Domain, *, deviation: float = 0.0) -> Measurements:
    return Measurements(domain, queries, count(codes, queries, domain), (deviation,) * len(queries))


def rows(number: int, domain: Domain, seed: int = 0) -> Codes:
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, size, number) for size in domain.sizes], axis=1).astype(np.int16)


def probabilities(prototypes: int, sizes: Sequence[int], seed: int = 0) -> Floats:
    """Column probabilities of that many prototypes, (prototypes, width)."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.dirichlet(np.ones(size), prototypes) for size in sizes], axis=1)


def joint(mixture: Floats, query: Query, domain: Domain) -> Floats:
    """The mixture's table of that query, one prototype and one cell at a time."""
    starts = np.cumsum([0, *domain.sizes])
    table = np.zeros(domain.shape(query))
    for prototype in mixture:
        for codes in np.ndindex(*(domain.sizes[column] for column in query.columns)):
            cell = tuple(
                int(domain.groups(column, query.groups)[code])
                for column, code in zip(query.columns, codes, strict=True)
            )
            shares = [prototype[starts[column] + code] for column, code in zip(query.columns, codes, strict=True)]
            table[cell] += np.prod(shares) / len(mixture)
    return table


def test_patients_are_estimated_from_the_noisy_sums_alone() -> None:
    # Tables of 2 and 4 cells sum to 10 and 13; with equal noise their weights are 1/2 and 1/4: (5 + 3.25) / 0.75 = 11.
    domain = Domain((2, 4), (False, False))
    measurements = Measurements(domain, single_queries(2), np.array([6, 4, 10, 1, 1, 1]), (1.0, 1.0))
    assert measurements.total == pytest.approx(11.0)
    # Twice the noise in the second: weights 1/2 and 1/16, (5 + 13/16) / (9/16) = 10 1/3.
    assert Measurements(domain, single_queries(2), measurements.sums, (1.0, 2.0)).total == pytest.approx(31 / 3)


def test_without_noise_the_estimate_is_the_number_of_patients() -> None:
    assert exact(rows(70, LAYOUT), EVERY, LAYOUT).total == 70


def test_sums_that_are_all_noise_still_give_shares() -> None:
    for value in (0, -50, -(10**6)):
        measurements = Measurements(LAYOUT, EVERY, np.full(LAYOUT.cells(EVERY), value), (3.0,) * len(EVERY))
        assert measurements.total == 1.0
        for single in measurements.singles:
            assert single.min() >= 0
            assert single.sum() == pytest.approx(1.0)


def test_shares_are_the_tables_over_the_patients() -> None:
    codes = rows(50, LAYOUT)
    measurements = exact(codes, EVERY, LAYOUT)
    for share, table in zip(measurements.shares(), split(measurements.sums, EVERY, LAYOUT), strict=True):
        assert share == pytest.approx(table / 50)


def test_independent_columns_show_about_no_dependence_and_dependent_ones_much() -> None:
    domain, queries, sd = Domain((4, 4), (False, False)), coarse_queries(2, 4), 10.0
    # 100 patients in each of 16 cells; and 400 in each of four on the diagonal.
    independent = np.array([[x, y] for x in range(4) for y in range(4)] * 100, dtype=np.int16)
    dependent = np.array([[x, x] for x in range(4)] * 400, dtype=np.int16)
    rng = np.random.default_rng(0)

    def found(codes: Codes) -> Floats:
        true = count(codes, queries, domain)
        draws = [true + np.round(rng.normal(0, sd, len(true))).astype(np.int64) for _ in range(300)]
        return np.array([Measurements(domain, queries, sums, (sd,) * 3).dependence()[0, 1] for sums in draws])

    # What noise alone gives, and is taken off: 16 cells of (10 / 1600)^2 = 0.000625.
    noise = 16 * (sd / 1600) ** 2
    null = found(independent)
    assert abs(null.mean()) < 0.25 * noise
    # Truth: four cells of (1/4 - 1/16)^2 and twelve of (1/16)^2, together 3/16.
    assert found(dependent).mean() == pytest.approx(3 / 16, rel=0.05)


def test_pairs_of_the_named_columns_come_first_then_the_most_dependent() -> None:
    domain = Domain((2,) * 5, (False,) * 5)
    codes = rows(400, domain)
    codes[:, 4] = codes[:, 3]  # the only dependent pair
    measurements = exact(codes, coarse_queries(5, 4), domain)
    with_first = {(0, 1), (0, 2), (0, 3), (0, 4)}
    for most in range(11):
        chosen = choose_pairs(measurements, [0], most)
        assert len(chosen) == most
        pairs = {query.columns for query in chosen}
        assert with_first <= pairs if most >= 4 else pairs <= with_first
        assert ((3, 4) in pairs) == (most >= 5)
        assert all(query.groups == 0 for query in chosen)
        assert list(chosen) == sorted(chosen, key=lambda query: query.columns)
    with_two = {pair for pair in combinations(range(5), 2) if set(pair) & {0, 2}}
    assert {query.columns for query in choose_pairs(measurements, [2, 0], 7)} == with_two


def test_triples_hold_the_target_and_the_columns_that_depend_on_it_most() -> None:
    domain = Domain((2,) * 5, (False,) * 5)
    codes = rows(1000, domain)
    codes[:, 1] = codes[:, 3]
    codes[:800, 4] = codes[:800, 3]
    measurements = exact(codes, coarse_queries(5, 4), domain)
    assert choose_triples(measurements, 3, 1, 6) == (Query((1, 3, 4), 6),)
    for most in range(7):
        chosen = choose_triples(measurements, 3, most, 6)
        assert len(set(chosen)) == most
        assert all(3 in query.columns and query.groups == 6 for query in chosen)


@pytest.mark.parametrize("deviations", ["none", "equal", "various"])
def test_the_loss_is_that_of_explicit_joint_tables(deviations: str) -> None:
    # So little noise that the reward for undecided prototypes vanishes; the weights are ratios.
    noise = {"none": (0.0,) * 9, "equal": (2e-6,) * 9, "various": (2e-6,) * 6 + (4e-6, 4e-6, 1e-6)}[deviations]
    sums = count(rows(60, LAYOUT), EVERY, LAYOUT) + np.random.default_rng(1).integers(-3, 4, LAYOUT.cells(EVERY))
    measurements = Measurements(LAYOUT, EVERY, sums, noise)
    mixture = probabilities(4, LAYOUT.sizes)
    expected = 0.0
    for query, share, sd in zip(EVERY, measurements.shares(), noise, strict=True):
        weight = (noise[0] / sd) ** 2 if sd else 1.0
        expected += weight * float(((joint(mixture, query, LAYOUT) - share) ** 2).sum())
    loss = MarginalLoss(measurements)(torch.tensor(mixture, dtype=torch.float32))
    assert float(loss) == pytest.approx(expected, rel=1e-4)


def test_columns_counted_twice_are_averaged_by_what_each_count_is_worth() -> None:
    domain = Domain((2, 2), (False, False))
    queries = (*single_queries(2), Query((0, 1)), *single_queries(2))
    sums = np.array([60, 40, 50, 50, 30, 30, 20, 20, 40, 10, 25, 25])  # of 100 patients, then of 50
    phases = ("coarse",) * 3 + ("singles",) * 2
    twice = Measurements(domain, queries, sums, (2e-6,) * 3 + (1e-6,) * 2, phases)
    assert twice.totals == {"coarse": pytest.approx(100), "singles": pytest.approx(50)}
    assert twice.precisions == [5.0, 5.0]
    np.testing.assert_allclose(twice.singles, [[0.76, 0.24], [0.5, 0.5]])  # (1 * 0.6 + 4 * 0.8) / 5
    mixture = torch.tensor([[0.7, 0.3, 0.5, 0.5]])
    pair = (0.35 - np.array([[0.3, 0.3], [0.2, 0.2]]) - np.array([[0.0], [0.2]])) ** 2
    assert float(MarginalLoss(twice)(mixture)) == pytest.approx(5 * 2 * 0.06**2 + pair.sum(), rel=1e-4)
    once = Measurements(domain, queries[:3], sums[:8], (1e-6,) * 3)
    assert once.precisions == [1.0, 1.0]
    np.testing.assert_array_equal(once.singles[0], [0.6, 0.4])


def test_the_gradient_is_that_of_the_loss_where_columns_are_counted_twice() -> None:
    queries = (*EVERY, *single_queries(3))
    measurements = exact(rows(60, LAYOUT), queries, LAYOUT, deviation=1.5)
    miss, mixture = MarginalLoss(measurements), torch.tensor(probabilities(4, LAYOUT.sizes), dtype=torch.float32)
    _, gradient = miss.with_gradient(mixture)
    for row, place in [(0, 0), (1, 4), (3, 9)]:
        step = torch.zeros_like(mixture)
        step[row, place] = 1e-2
        slope = (miss(mixture + step) - miss(mixture - step)) / 2e-2
        assert float(gradient[row, place]) == pytest.approx(float(slope), rel=0.02, abs=1e-4)


def test_the_fit_is_longer_where_anchors_are_precise_and_no_rounds_go_on_with_it() -> None:
    codes = rows(60, LAYOUT)
    precise, noisy = (exact(codes, EVERY, LAYOUT, deviation=sd) for sd in (0.1, 0.101))
    assert [fit_steps(precise, 0, 1500), fit_steps(noisy, 0, 1500), fit_steps(precise, 1, 1500)] == [3000, 1500, 1500]
    assert fit_steps(precise, 0, 1600) == 1600  # as the study asks
    alone = exact(codes, single_queries(3), LAYOUT, deviation=0.1)
    assert fit_steps(alone, 0, 1500) == 1500  # nothing to reconcile


def test_a_mixture_that_meets_noiseless_anchors_has_no_loss_and_another_has() -> None:
    codes = rows(40, LAYOUT)
    starts = np.cumsum([0, *LAYOUT.sizes])[:-1]
    mixture = np.zeros((40, sum(LAYOUT.sizes)), dtype=np.float32)  # every patient is a prototype
    mixture[np.arange(40)[:, None], codes + starts] = 1.0
    loss = MarginalLoss(exact(codes, EVERY, LAYOUT))
    assert float(loss(torch.from_numpy(mixture))) == pytest.approx(0.0, abs=1e-9)
    assert float(loss(torch.from_numpy(mixture[:20]))) > 1e-3


@pytest.mark.parametrize("deviation", [0.0, 5.0])
def test_the_gradient_is_finite_even_where_a_probability_is_zero(deviation: float) -> None:
    mixture = torch.tensor(probabilities(4, LAYOUT.sizes), dtype=torch.float32)
    mixture[0, :2] = torch.tensor([0.0, 1.0])
    mixture.requires_grad_(True)
    loss = MarginalLoss(exact(rows(60, LAYOUT), EVERY, LAYOUT, deviation=deviation))(mixture)
    loss.backward()  # type: ignore[no-untyped-call]
    assert mixture.grad is not None
    assert mixture.grad.isfinite().all()
    assert mixture.grad.abs().sum() > 0


def test_under_noise_undecided_prototypes_are_preferred_to_decided_ones_that_fit_as_well() -> None:
    domain, queries = Domain((2, 2), (False, False)), coarse_queries(2, 4)
    uniform = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 10, dtype=np.int16)
    undecided = torch.full((4, 4), 0.5)
    decided = torch.tensor([[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1]], dtype=torch.float32)
    for deviation in (0.0, 5.0):
        loss = MarginalLoss(exact(uniform, queries, domain, deviation=deviation))
        saved = float(loss(decided) - loss(undecided))
        assert saved > 1e-4 if deviation else abs(saved) < 1e-6


class Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The number of elements of the largest tensor that any operation returned."""

    elements = 0

    def __torch_dispatch__(  # type: ignore[no-untyped-def]
        self, func, types, args=(), kwargs=None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        found = out if isinstance(out, tuple | list) else (out,)
        self.elements = max([self.elements, *(one.numel() for one in found if isinstance(one, torch.Tensor))])
        return out


def test_memory_does_not_follow_the_square_of_the_width() -> None:
    domain = Domain((30,) * 100, (False,) * 100)
    queries = (*single_queries(100), *(Query((place, place + 1)) for place in range(5)), Query((0, 1, 2), 6))
    measurements = exact(rows(50, domain), queries, domain)
    mixture = torch.tensor(probabilities(10, domain.sizes), dtype=torch.float32).requires_grad_(True)
    with Largest() as largest:  # type: ignore[no-untyped-call]
        MarginalLoss(measurements)(mixture).backward()  # type: ignore[no-untyped-call]
    # Grouped columns need a 3000 x 600 map; the square of the width has 9 million elements.
    assert largest.elements <= 3000 * 600


def plan(*phases: VectorPhase) -> Plan:
    north = HospitalPlan("north", (3.0,) * len(phases), 0.0, 1.0, 0.25, 8, 1)
    south = HospitalPlan("south", (4.0,) * len(phases), 0.0, 1.0, 0.25, 8, 1)
    return Plan("ab" * 32, 1e-5, 16, 5, phases, 0, (north, south), "for a test")


def test_anchors_are_assembled_in_the_plans_order_with_the_noise_of_all_hospitals() -> None:
    everything = plan(
        VectorPhase(HISTOGRAMS, 1, 0), VectorPhase(COARSE, 6, 2), VectorPhase(PAIRS, 2, 0), VectorPhase(TRIPLES, 1, 3)
    )
    sums = count(rows(30, LAYOUT), EVERY, LAYOUT)
    measurements = assemble(everything, LAYOUT, np.array([1, 0, 2, 1]), np.array([0, 1, 2]), sums)
    assert measurements is not None
    assert measurements.queries == EVERY
    assert measurements.deviations == pytest.approx((5.0,) * 9)  # 3^2 + 4^2 = 5^2


def test_a_plan_without_anchors_has_none_and_single_columns_need_no_choice() -> None:
    nothing = np.empty(0, dtype=np.int64)
    assert assemble(plan(VectorPhase(HISTOGRAMS, 1, 0)), LAYOUT, nothing, nothing, nothing) is None
    singles = assemble(plan(VectorPhase(SINGLES, 3, 0)), LAYOUT, nothing, nothing, np.ones(10, dtype=np.int64))
    assert singles is not None
    assert singles.queries == single_queries(3)


def test_more_tables_than_planned_are_refused() -> None:
    both = plan(VectorPhase(COARSE, 6, 2), VectorPhase(PAIRS, 1, 0))
    sums = count(rows(30, LAYOUT), EVERY[:-1], LAYOUT)
    with pytest.raises(WireError, match="more tables of the phase 'pairs' than planned"):
        assemble(both, LAYOUT, np.array([0, 1, 1, 2]), np.empty(0, dtype=np.int64), sums)


@pytest.mark.parametrize(("pairs", "short"), [([0, 1], 0), ([0, 1, 0, 1], 0), ([0, 1, 1, 2], 1), ([0, 9, 1, 2], 0)])
def test_sums_that_do_not_fit_their_tables_are_refused(pairs: list[int], short: int) -> None:
    both = plan(VectorPhase(COARSE, 6, 2), VectorPhase(PAIRS, 2, 0))
    sums = count(rows(30, LAYOUT), EVERY[:-1], LAYOUT)
    with pytest.raises(WireError):
        assemble(both, LAYOUT, np.array(pairs), np.empty(0, dtype=np.int64), sums[: len(sums) - short])


def test_a_hospital_that_leaves_between_phases_does_not_shift_the_shares() -> None:
    domain = Domain((2, 2), (False, False))
    queries = (*single_queries(2), Query((0, 1)))
    everybody, half = [60, 40, 50, 50], [15, 15, 10, 10]  # 100 patients, then the 50 who are left
    measurements = Measurements(
        domain, queries, np.array(everybody + half), (1.0, 1.0, 1.0), ("coarse", "coarse", "pairs")
    )
    assert measurements.totals == {"coarse": pytest.approx(100), "pairs": pytest.approx(50)}
    np.testing.assert_allclose(measurements.shares()[2], [[0.3, 0.3], [0.2, 0.2]])
