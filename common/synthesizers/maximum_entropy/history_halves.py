"""Visits with odd and with even numbers: given one half, the visits of the other are independent of each other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from common.synthesizers.maximum_entropy.history_columns import HistoryColumns


@dataclass(frozen=True, slots=True, eq=False)
class VisitHalf:
    """Every second visit of each history.

    Attributes:
        one_hot: 1 where a visit has a code, (codes, visits + 1); the last column stands for no visit and is zero.
        visits: index of each visit among all, a history's side by side.
        owners: history of each visit.
        is_first: which are the first of their history.
        before, after: columns of the other half's `one_hot`: the visit before and after each visit.
        of_visit, of_step: weight of a visit, and of a step from or to it.
    """

    one_hot: Tensor
    visits: Tensor
    owners: Tensor
    is_first: Tensor
    before: Tensor
    after: Tensor
    of_visit: Tensor
    of_step: Tensor

    @classmethod
    def both(cls, columns: HistoryColumns, rows: Tensor, weights: Tensor) -> tuple[VisitHalf, VisitHalf]:
        """Return the first, third, fifth ... visits of each history, and the others.

        Args:
            columns: what the columns are.
            rows: codes, int64, shape (visits, columns).
            weights: of each history.
        """
        number, visits = rows[:, columns.visit], rows[:, columns.visits] + 1
        owners = torch.cumsum((number == 0).long(), 0) - 1
        held = [torch.nonzero(number % 2 == odd).squeeze(1) for odd in (0, 1)]
        within = torch.empty(len(rows), dtype=torch.int64)
        for chosen in held:
            within[chosen] = torch.arange(len(chosen))
        halves = []
        for chosen, others in zip(held, held[::-1], strict=True):
            one_hot = torch.zeros(columns.offsets[-1], len(chosen) + 1)
            one_hot[:, :-1].scatter_(0, (rows[chosen] + torch.tensor(columns.offsets[:-1])).T, 1.0)
            has_before, has_after = number[chosen] > 0, number[chosen] < visits[chosen] - 1
            halves.append(
                cls(
                    one_hot,
                    chosen,
                    owners[chosen],
                    ~has_before,
                    torch.where(has_before, within[chosen - 1], len(others)),
                    torch.where(has_after, within[(chosen + 1).clamp(max=len(rows) - 1)], len(others)),
                    weights[owners[chosen]] / visits[chosen],
                    weights[owners[chosen]] / (visits[chosen] - 1).clamp(min=1),
                )
            )
        return halves[0], halves[1]
