"""A fitted model as arrays by name, and back.

    singles             potentials of every code, (codes,)
    pairs               potentials of every two codes, (codes, codes)
    sets                four columns, -1 for none, and a number of groups for each set of three or four, (sets, 5)
    set.0, ...          potentials of each set, one axis of groups for each column
    expected.singles    proportions that the model expects, (codes,)
    expected.pairs      the same of pairs, (codes, codes)
    rows                codes of the chains, (chains, columns)

All are float32, which holds codes exactly.
"""

from __future__ import annotations

import numpy as np
import torch

from common.arrays import Array, Weights
from common.errors import StudyError
from common.marginals.queries import NO_COLUMN, WIDEST, Domain, padded
from common.synthesizers.maximum_entropy.fit import Fit
from common.synthesizers.maximum_entropy.potentials import ColumnSetPotentials, Potentials

NARROWEST = 3
"""Fewest columns of a set."""

MOST_GROUPS = 2**15
"""Groups of a column; more are a damaged file."""


def weights_of(fit: Fit) -> Weights:
    """Return a model as arrays."""
    potentials = fit.potentials
    arrays: dict[str, Array] = {
        "singles": potentials.singles.numpy(),
        "pairs": potentials.pairs.numpy(),
        "sets": np.array([(*padded(held.columns), held.groups) for held in potentials.sets]).reshape(-1, WIDEST + 1),
        **{set_name(number): held.values.numpy() for number, held in enumerate(potentials.sets)},
        "expected.singles": fit.singles.numpy(),
        "expected.pairs": fit.pairs.numpy(),
        "rows": fit.rows.numpy(),
    }
    return {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in arrays.items()}


def set_name(number: int) -> str:
    """Return the name of a set's potentials."""
    return f"set.{number}"


def model_of(weights: Weights, domain: Domain) -> Fit:
    """Return the model that `weights_of` wrote.

    Raises:
        StudyError: an array is missing, unexpected, damaged or of other columns.
    """
    codes = sum(domain.sizes)
    singles, pairs = checked(weights, "singles", (codes,)), checked(weights, "pairs", (codes, codes))
    sets = _sets(weights, domain)
    expected_singles = checked(weights, "expected.singles", (codes,))
    expected_pairs = checked(weights, "expected.pairs", (codes, codes))
    rows = chain_rows(weights, domain)
    known = {"singles", "pairs", "sets", "expected.singles", "expected.pairs", "rows"}
    known |= {set_name(number) for number in range(len(sets))}
    if weights.keys() != known:
        raise damaged("has arrays that no maximum-entropy model has")
    if (expected_singles < 0).any() or (expected_pairs < 0).any():
        raise damaged("expects negative proportions")
    return Fit(Potentials(domain, singles, pairs, sets), rows, expected_pairs, expected_singles)


def _sets(weights: Weights, domain: Domain) -> tuple[ColumnSetPotentials, ...]:
    sets = []
    for number, (*named, groups) in enumerate(_whole_numbers(weights, "sets", (-1, WIDEST + 1)).tolist()):
        columns = tuple(column for column in named if column != NO_COLUMN)
        is_set = len(columns) >= NARROWEST and padded(sorted(set(columns))) == tuple(named)
        is_known = is_set and columns[0] >= 0 and columns[-1] < len(domain.sizes)
        if not is_known or not 0 <= groups <= MOST_GROUPS or groups == 1:
            raise damaged("'sets' names columns or groups that the study does not have")
        empty = ColumnSetPotentials.zeros(columns, groups, domain)
        values = checked(weights, set_name(number), tuple(empty.values.shape))
        sets.append(ColumnSetPotentials(columns, groups, empty.maps, values))
    return tuple(sets)


def chain_rows(weights: Weights, domain: Domain) -> torch.Tensor:
    """Return the codes of the chains, int64, shape (rows, columns): one row or more, of codes that the columns have."""
    rows = _whole_numbers(weights, "rows", (-1, len(domain.sizes)))
    if not len(rows) or (rows < 0).any() or (rows >= torch.tensor(domain.sizes)).any():
        raise damaged("'rows' holds codes that the columns do not have")
    return rows


def checked(weights: Weights, name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Return an array of finite numbers; -1 in `shape` stands for any length."""
    array = weights.get(name)
    if array is None:
        raise damaged(f"has no '{name}'")
    fits = array.ndim == len(shape) and all(
        wanted in (-1, length) for wanted, length in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype != np.float32 or not np.isfinite(array).all():
        raise damaged(f"'{name}' is not of these columns, or damaged")
    return torch.from_numpy(array)


def _whole_numbers(weights: Weights, name: str, shape: tuple[int, ...]) -> torch.Tensor:
    numbers = checked(weights, name, shape)
    if (numbers != numbers.round()).any() or (numbers.abs() >= 2**24).any():
        raise damaged(f"'{name}' does not hold whole numbers")
    return numbers.long()


def damaged(problem: str) -> StudyError:
    """Return the error of a damaged file."""
    return StudyError(f"the file of the maximum-entropy model {problem}; restore it")
