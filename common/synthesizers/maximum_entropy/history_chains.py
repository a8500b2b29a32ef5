"""Gibbs chains of whole histories: all visits of synthetic patients, side by side as rows of codes.

    p(x | n) is proportional to exp( sum_s u_s + sum_(s,s') theta_ss' + sum_t ( sum_v u_v(x_t) + sum_(s,v) theta_sv(x_t)
                                     + sum_(v,v') theta_vv'(x_t) + sum_(v,v') psi_vv'(x_t, x_(t+1)) ) )

with columns s of the patient and v of the visit, and t from 1 to n. Potentials are the same for every visit; psi ties a
visit to the next one. How many visits a chain has (n), and which of them a row is, is fixed when it is made: both are
columns whose pairs with the others say how first, last and only visits differ.

The tables that chains expect have the weights of the counted ones: 1/n for each visit, 1/(n - 1) for each step
(`common.marginals.histories`). Given the visits with odd numbers, those with even numbers are independent: a column is
drawn for all odd visits at once, and then for all even ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from common.marginals.histories import step_columns, steps_domain
from common.marginals.queries import Domain
from common.study.schema import SINCE_LAST_VISIT, VISIT, VISITS, VisitsSchema
from common.synthesizers.maximum_entropy.chains import draw_codes


@dataclass(frozen=True, eq=False)
class HistoryColumns:
    """What the columns of visits are.

    Attributes:
        domain: codes of every column.
        steps: codes of a step, `steps_domain`.
        step_columns: columns that transitions are counted of.
        is_of_visit: by column.
        visits, visit: the columns of the number of visits and of the visit's number, which are fixed.
        since: the column of the time since the visit before, missing at the first one alone; None where times are not
            synthesized.
    """

    domain: Domain
    steps: Domain
    step_columns: tuple[int, ...]
    is_of_visit: tuple[bool, ...]
    visits: int
    visit: int
    since: int | None

    @classmethod
    def of(cls, schema: VisitsSchema, domain: Domain) -> HistoryColumns:
        """Return the columns of a modeled table of visits."""
        return cls(
            domain,
            steps_domain(domain, schema),
            step_columns(schema),
            schema.is_of_visit,
            schema.names.index(VISITS),
            schema.names.index(VISIT),
            schema.names.index(SINCE_LAST_VISIT) if SINCE_LAST_VISIT in schema.names else None,
        )

    @cached_property
    def free(self) -> tuple[int, ...]:
        """The columns that are drawn."""
        return tuple(column for column in range(len(self.domain.sizes)) if column not in (self.visits, self.visit))

    @cached_property
    def of_patient(self) -> list[int]:
        """The columns of the patient."""
        return [column for column, is_of_visit in enumerate(self.is_of_visit) if not is_of_visit]

    @cached_property
    def of_visit(self) -> list[int]:
        """The columns of the visit."""
        return [column for column, is_of_visit in enumerate(self.is_of_visit) if is_of_visit]

    @cached_property
    def offsets(self) -> list[int]:
        """Index of each column's first code when all codes stand side by side, then the number of all codes."""
        return [0, *np.cumsum(self.domain.sizes).tolist()]

    @cached_property
    def step_offsets(self) -> list[int]:
        """The same of the columns of a visit in a step."""
        return [0, *np.cumsum(self.steps.sizes[: len(self.step_columns)]).tolist()]

    def span(self, column: int) -> slice:
        """Return where a column's codes are when all codes stand side by side."""
        return slice(*self.offsets[column : column + 2])

    def step_span(self, column: int) -> slice | None:
        """Return the same of a column in a step; None for one whose transitions are not counted."""
        if column not in self.step_columns:
            return None
        number = self.step_columns.index(column)
        return slice(*self.step_offsets[number : number + 2])


@dataclass(frozen=True, slots=True, eq=False)
class HistoryPotentials:
    """All potentials of the model, float32.

    Attributes:
        singles: u, shape (codes,).
        pairs: theta within a visit, symmetric, shape (codes, codes); zero within a column.
        steps: psi, of a code at a visit and one at the next, shape (step codes, step codes).
    """

    singles: Tensor
    pairs: Tensor
    steps: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class HistorySweep:
    """Expected tables of one sweep; each draw is replaced by its conditional probabilities, which lowers the variance.

    Attributes:
        singles: proportions of codes, a patient's visits weighing the same, shape (codes,).
        pairs: the same within visits, shape (codes, codes), symmetric.
        steps: of steps among patients with two visits or more, shape (step codes, step codes).
    """

    singles: Tensor
    pairs: Tensor
    steps: Tensor


class HistoryChains:
    """Histories of codes under a model.

    Args:
        columns: what the columns are.
        rows: codes, int64, shape (visits, columns); a history's visits are side by side and in order.
        rng: of the draws.
        weights: of each history in the expected tables, shape (histories,); ones if not given.
    """

    def __init__(
        self, columns: HistoryColumns, rows: Tensor, rng: torch.Generator, weights: Tensor | None = None
    ) -> None:
        self.columns, self._rng = columns, rng
        number, visits = rows[:, columns.visit], rows[:, columns.visits] + 1
        self.starts = torch.nonzero(number == 0).squeeze(1)
        self.owners = torch.cumsum((number == 0).long(), 0) - 1
        self.visits = visits[self.starts]
        weights = torch.ones(len(self.starts)) if weights is None else weights
        self.total = float(weights.sum())
        self.total_with_steps = float(weights[self.visits > 1].sum())
        self.of_visit = weights[self.owners] / visits.float()
        self.of_step = weights[self.owners] / (visits - 1).clamp(min=1).float()
        self.groups = [torch.nonzero(number % 2 == odd).squeeze(1) for odd in (0, 1)]
        self.has_former, self.has_later = number > 0, number < visits - 1
        self.positions = rows + torch.tensor(columns.offsets[:-1])
        self.step_positions = rows[:, list(columns.step_columns)] + torch.tensor(columns.step_offsets[:-1])
        if columns.since is not None:
            missing = columns.domain.sizes[columns.since] - 1
            self._set(columns.since, torch.arange(len(rows))[number == 0], torch.tensor(missing))

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def rows(self) -> Tensor:
        """Codes, int64, shape (visits, columns)."""
        return self.positions - torch.tensor(self.columns.offsets[:-1])

    def set_column(self, column: int, code: int) -> None:
        """Give every history a code in one column of the patient."""
        self._set(column, torch.arange(len(self.positions)), torch.tensor(code))

    def mix(self, sweeps: int, free: Sequence[int], potentials: HistoryPotentials) -> None:
        """Draw some columns of all histories; the others keep their codes.

        Args:
            sweeps: how often each column is drawn.
            free: indices of the columns to draw.
            potentials: of the model.
        """
        for _ in range(sweeps):
            for column in free:
                for rows, probabilities in self._conditionals(column, potentials):
                    self._draw(column, rows, probabilities)

    def sweep(self, potentials: HistoryPotentials) -> HistorySweep:
        """Draw every column once, in random order, and return the expected tables on the way."""
        tables = _Tables(self)
        order = torch.randperm(len(self.columns.free), generator=self._rng).tolist()
        for column in (self.columns.free[number] for number in order):
            for rows, probabilities in self._conditionals(column, potentials):
                by_row = probabilities if self.columns.is_of_visit[column] else probabilities[self.owners]
                tables.add(column, rows, by_row)
                self._draw(column, rows, probabilities)
                tables.follow(column, rows)
        return tables.total()

    def _draw(self, column: int, rows: Tensor, probabilities: Tensor) -> None:
        codes = draw_codes(probabilities, self._rng)
        self._set(column, rows, codes if self.columns.is_of_visit[column] else codes[self.owners])

    def _set(self, column: int, rows: Tensor, codes: Tensor) -> None:
        self.positions[rows, column] = codes + self.columns.offsets[column]
        if column in self.columns.step_columns:
            number = self.columns.step_columns.index(column)
            self.step_positions[rows, number] = codes + self.columns.step_offsets[number]

    def _conditionals(self, column: int, potentials: HistoryPotentials) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield rows, and the probability of every code of a column given all else: of rows, or of patients."""
        if self.columns.is_of_visit[column]:
            for rows in self.groups:
                if len(rows):
                    yield rows, self._visit_logits(column, rows, potentials).softmax(dim=1)
            return
        span = self.columns.span(column)
        pairs = potentials.pairs[:, span].contiguous()
        by_row = F.embedding_bag(self.positions[:, self.columns.of_visit], pairs, mode="sum")
        logits = F.embedding_bag(self.positions[self.starts][:, self.columns.of_patient], pairs, mode="sum")
        logits = logits + potentials.singles[span]
        logits.index_add_(0, self.owners, by_row)
        yield torch.arange(len(self.positions)), logits.softmax(dim=1)

    def _visit_logits(self, column: int, rows: Tensor, potentials: HistoryPotentials) -> Tensor:
        """Return the logits of a column of visits at some rows, none of which is next to another."""
        span, step_span = self.columns.span(column), self.columns.step_span(column)
        logits = F.embedding_bag(self.positions[rows], potentials.pairs[:, span].contiguous(), mode="sum")
        logits = logits + potentials.singles[span]
        if step_span is not None:
            former, later = self.has_former[rows], self.has_later[rows]
            before, after = self.step_positions[rows[former] - 1], self.step_positions[rows[later] + 1]
            logits[former] += F.embedding_bag(before, potentials.steps[:, step_span].contiguous(), mode="sum")
            logits[later] += F.embedding_bag(after, potentials.steps[step_span].T.contiguous(), mode="sum")
        if column == self.columns.since:
            logits[self.has_former[rows], -1] = -torch.inf
            first = ~self.has_former[rows]
            logits[first] = -torch.inf
            logits[first, -1] = 0.0
        return logits


class _Tables:
    """The tables of one sweep, while its columns are drawn."""

    def __init__(self, chains: HistoryChains) -> None:
        self._chains, self._columns = chains, chains.columns
        codes, step_codes = self._columns.offsets[-1], self._columns.step_offsets[-1]
        # One matrix for the odd visits and one for the even ones: copies of a part of one would take most of the time.
        self._one_hots = [
            torch.zeros(len(rows), codes).scatter_(1, chains.positions[rows], 1.0) for rows in chains.groups
        ]
        self._steps = torch.zeros(len(chains.positions), step_codes).scatter_(1, chains.step_positions, 1.0)
        self._pairs, self._singles = torch.zeros(codes, codes), torch.zeros(codes)
        self._forward, self._backward = torch.zeros(step_codes, step_codes), torch.zeros(step_codes, step_codes)

    def add(self, column: int, rows: Tensor, probabilities: Tensor) -> None:
        """Add the expected counts of a column at all rows, or at those with odd or even numbers.

        Args:
            column: index of the column.
            rows: indices of the visits.
            probabilities: of the column's codes at these visits, shape (rows, codes).
        """
        span, step_span, chains = self._columns.span(column), self._columns.step_span(column), self._chains
        for group, one_hot in self._of_rows(rows):
            within = probabilities if group is rows else probabilities[group]
            weighted = within * chains.of_visit[group, None]
            self._pairs[:, span] += one_hot.T @ weighted
            self._singles[span] += weighted.sum(0)
        if step_span is None:
            return
        former, later = chains.has_former[rows], chains.has_later[rows]
        weighted = probabilities * chains.of_step[rows, None]
        self._forward[:, step_span] += self._steps[rows[former] - 1].T @ weighted[former]
        self._backward[step_span] += weighted[later].T @ self._steps[rows[later] + 1]

    def follow(self, column: int, rows: Tensor) -> None:
        """Follow the same rows to their new codes of a column."""
        span, step_span, chains = self._columns.span(column), self._columns.step_span(column), self._chains
        for group, one_hot in self._of_rows(rows):
            drawn = F.one_hot(chains.positions[group, column] - span.start, span.stop - span.start).float()
            one_hot[:, span] = drawn
            if step_span is not None:
                self._steps[group, step_span] = drawn

    def _of_rows(self, rows: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return the odd and the even visits among these rows, with their codes as 0 and 1."""
        groups = list(zip(self._chains.groups, self._one_hots, strict=True))
        return [pair for pair in groups if pair[0] is rows] or groups

    def total(self) -> HistorySweep:
        """Return the tables as proportions; fixed columns are counted as they are."""
        chains = self._chains
        rows = chains.rows
        for column in (self._columns.visits, self._columns.visit):
            probabilities = F.one_hot(rows[:, column], self._columns.domain.sizes[column]).float()
            self.add(column, torch.arange(len(rows)), probabilities)
        pairs = (self._pairs + self._pairs.T) / 2 / chains.total
        steps = (self._forward + self._backward) / 2 / max(chains.total_with_steps, 1.0)
        return HistorySweep(self._singles / chains.total, pairs, steps)
