"""A sweep by blocks of columns against one column at a time."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from common.marginals.queries import Domain
from common.synthesizers.maximum_entropy import blocks
from common.synthesizers.maximum_entropy.blocks import CodeHolders, cut_in_blocks
from common.synthesizers.maximum_entropy.chains import Chains, column_tables
from common.synthesizers.maximum_entropy.potentials import ColumnSetPotentials, Potentials

SIZES = (3, 1, 5, 2, 4)
CHAINS = 200


@pytest.fixture
def potentials() -> Potentials:
    """Random potentials of five columns, with one set of three."""
    rng, domain, width = torch.Generator().manual_seed(0), Domain(SIZES, (False,) * len(SIZES)), sum(SIZES)
    theta = torch.randn(width, width, generator=rng)
    theta = theta + theta.T
    bounds = torch.tensor([0, *SIZES]).cumsum(0).tolist()
    for start, end in itertools.pairwise(bounds):
        theta[start:end, start:end] = 0.0
    held = ColumnSetPotentials.zeros((0, 2, 3), 8, domain)
    held.values.copy_(torch.randn(held.values.shape, generator=rng))
    return Potentials(domain, torch.randn(width, generator=rng), theta, (held,))


def random_rows(seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(size, (CHAINS,), generator=rng) for size in SIZES], dim=1)


def one_column_at_a_time(chains: Chains, potentials: Potentials, seed: int) -> Tensor:
    """Return the expected pairs of a sweep with the seed of its draws, and move the chains."""
    width, offsets = sum(SIZES), potentials.offsets.tolist()
    pairs = torch.zeros(width, width)
    tables = column_tables(potentials)
    for column in torch.randperm(len(SIZES), generator=torch.Generator().manual_seed(seed)).tolist():
        one_hot = torch.zeros(CHAINS, width).scatter_(1, chains.positions, 1.0)
        probabilities = chains.probabilities(column, tables[column])
        pairs[:, offsets[column] : offsets[column + 1]] = one_hot.T @ probabilities / CHAINS
        chains.set_column(column, chains.draw(probabilities))
    return (pairs + pairs.T) / 2


@pytest.mark.parametrize("codes", [1, 6, 64])
def test_sweep_equals_one_column_at_a_time(potentials: Potentials, codes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_CODES", codes)
    swept = Chains(potentials, random_rows(1), torch.Generator().manual_seed(2))
    slow_rng = torch.Generator().manual_seed(2)
    slow = Chains(potentials, random_rows(1), slow_rng)
    found = swept.sweep(column_tables(potentials))
    torch.randperm(len(SIZES), generator=slow_rng)
    expected = one_column_at_a_time(slow, potentials, seed=2)
    assert torch.allclose(found.pairs, expected, atol=1e-6)
    assert torch.equal(swept.rows, slow.rows)


def test_sweep_follows_a_column_that_was_set(potentials: Potentials) -> None:
    tables, rng = column_tables(potentials), torch.Generator().manual_seed(3)
    chains = Chains(potentials, random_rows(1), rng)
    chains.sweep(tables)
    chains.set_column(2, torch.full((CHAINS,), 4))
    fresh = Chains(potentials, chains.rows, torch.Generator())
    fresh._rng.set_state(rng.get_state())
    assert torch.equal(chains.sweep(tables).pairs, fresh.sweep(tables).pairs)


def test_blocks_hold_every_column_once_in_order() -> None:
    order = [4, 0, 3, 1, 2]
    cut = cut_in_blocks(order, [60, 100, 3, 4, 1])
    assert [column for block in cut for column in block] == order
    assert cut == [[4, 0], [3], [1], [2]]


def test_holders_sum_over_the_chains_with_a_code() -> None:
    rows = random_rows(5)
    offsets = [0, 3, 4, 9, 11]
    holders = CodeHolders(rows, offsets, sum(SIZES))
    codes = random_rows(6)[:, 2]
    holders.set_column(2, codes, SIZES[2])
    rows[:, 2] = codes
    values = torch.rand(CHAINS, 7)
    one_hot = torch.zeros(CHAINS, sum(SIZES)).scatter_(1, rows + torch.tensor(offsets), 1.0)
    assert torch.allclose(holders.sums(values), one_hot.T @ values, atol=1e-4)


def test_columns_without_potentials_add_nothing() -> None:
    positions = torch.tensor([[0, 3, 4], [2, 3, 8]])
    theta = torch.zeros(2, 9)
    assert torch.equal(blocks.summed_by_chain(positions, theta), torch.zeros(2, 2))
    theta[:, 4:9] = torch.arange(10.0).reshape(2, 5)  # codes 4 and 8 of the last column: 0 and 4, 5 and 9
    assert torch.equal(blocks.summed_by_chain(positions, theta), torch.tensor([[0.0, 4.0], [5.0, 9.0]]))
    theta[1, 0] = 7.0
    assert torch.equal(blocks.summed_by_chain(positions, theta), torch.tensor([[0.0, 4.0], [12.0, 9.0]]))


@pytest.mark.parametrize(("columns", "is_star", "few"), [(86, True, True), (86, False, False), (85, True, False)])
def test_wide_tables_with_few_pairs_are_told_apart(columns: int, is_star: bool, few: bool) -> None:
    pairs = torch.zeros(2 * columns, 2 * columns)
    pairs[:2, 2:] = pairs[2:, :2] = 0.1
    if not is_star:
        pairs[2:4, 4:6] = pairs[4:6, 2:4] = 0.1  # a pair more than a tree has
    domain = Domain((2,) * columns, (False,) * columns)
    assert Potentials(domain, torch.zeros(2 * columns), pairs, ()).has_few_pairs is few
