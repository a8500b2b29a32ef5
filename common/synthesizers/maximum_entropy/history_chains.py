"""Gibbs chains of whole histories: all visits of synthetic patients, as codes.

    p(x | n) is proportional to exp( sum_s u_s + sum_(s,s') theta_ss' + sum_t ( sum_v u_v(x_t) + sum_(s,v) theta_sv(x_t)
                                     + sum_(v,v') theta_vv'(x_t) + sum_(v,v') psi_vv'(x_t, x_(t+1)) ) )

with columns s of the patient and v of the visit, and t from 1 to n. Potentials are the same for every visit; psi ties a
visit to the next one. How many visits a chain has (n), and which of them a row is, is fixed when it is made: both are
columns whose pairs with the others say how first, last and only visits differ.

The tables that chains expect have the weights of the counted ones: 1/n for each visit, 1/(n - 1) for each step
(`common.marginals.histories`). Given the visits with odd numbers, those with even numbers are independent: what the
visits before and after add to the logits of a half is one product of matrices for all its columns, and so are its
tables of steps. Codes are columns of zeros and ones, (codes, visits): along the codes, a softmax takes a twentieth of
the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from common.synthesizers.maximum_entropy.history_columns import HistoryColumns
from common.synthesizers.maximum_entropy.history_halves import VisitHalf


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

    def over_codes(self, columns: HistoryColumns) -> HistoryPotentials:
        """Return the potentials with steps over all codes, zero for those of columns without transitions."""
        steps, codes = torch.zeros_like(self.pairs), columns.codes_of(columns.step_columns)
        steps[codes[:, None], codes] = self.steps
        return replace(self, steps=steps)


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
        visits = rows[rows[:, columns.visit] == 0, columns.visits] + 1
        self.weights = torch.ones(len(visits)) if weights is None else weights
        self.total = float(self.weights.sum())
        self.total_with_steps = float(self.weights[visits > 1].sum())
        self._halves = VisitHalf.both(columns, rows, self.weights)
        starts = self._halves[0].one_hot[:, :-1][:, self._halves[0].is_first]
        self._patients = starts[columns.codes_of(columns.of_patient)]
        if columns.since is not None:
            for half in self._halves:
                half.one_hot[columns.span(columns.since), :-1].masked_fill_(half.is_first, 0.0)
                half.one_hot[columns.offsets[columns.since + 1] - 1, :-1].masked_fill_(half.is_first, 1.0)

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def rows(self) -> Tensor:
        """Codes, int64, shape (visits, columns)."""
        rows = torch.empty(sum(len(half.visits) for half in self._halves), len(self.columns.domain.sizes)).long()
        for half in self._halves:
            for column in range(rows.shape[1]):
                rows[half.visits, column] = half.one_hot[self.columns.span(column), :-1].argmax(0)
        return rows

    def set_column(self, column: int, code: int) -> None:
        """Give every history a code in one column of the patient."""
        local = self._of_patient(column)
        self._patients[local] = 0.0
        self._patients[local.start + code] = 1.0
        self._copy_to_visits()

    def mix(self, sweeps: int, free: Sequence[int], potentials: HistoryPotentials) -> None:
        """Draw some columns of all histories; the others keep their codes.

        Args:
            sweeps: how often each column is drawn.
            free: indices of the columns to draw.
            potentials: of the model.
        """
        spread = potentials.over_codes(self.columns)
        for _ in range(sweeps):
            self._draw_patients(free, spread, None)
            for half, other in (self._halves, self._halves[::-1]):
                self._draw_visits(half, other, free, spread, None)

    def sweep(self, potentials: HistoryPotentials) -> HistorySweep:
        """Draw every column once, in random order, and return the expected tables on the way."""
        spread, tables = potentials.over_codes(self.columns), _Tables(self.columns)
        order = [self.columns.free[number] for number in self._permuted(len(self.columns.free))]
        for part in self._permuted(3):
            if part == 2:
                self._draw_patients(order, spread, tables)
            else:
                self._draw_visits(self._halves[part], self._halves[1 - part], order, spread, tables)
        for half in self._halves:
            tables.add_fixed(half)
        return tables.total(self)

    def _permuted(self, count: int) -> list[int]:
        order: list[int] = torch.randperm(count, generator=self._rng).tolist()
        return order

    def _of_patient(self, column: int) -> slice:
        """Return where a column's codes are when those of the patient's columns stand side by side."""
        start = sum(self.columns.domain.sizes[other] for other in self.columns.of_patient if other < column)
        return slice(start, start + self.columns.domain.sizes[column])

    def _copy_to_visits(self) -> None:
        """Give the visits the codes of their patients."""
        codes = self.columns.codes_of(self.columns.of_patient)
        for half in self._halves:
            half.one_hot[codes, :-1] = self._patients.index_select(1, half.owners)

    def _draw_patients(self, order: Iterable[int], potentials: HistoryPotentials, tables: _Tables | None) -> None:
        """Draw columns of the patient, given all visits.

        Args:
            order: indices of the columns to draw; those of the visit are passed over.
            potentials: of the model, steps over all codes.
            tables: to add the expected counts to.
        """
        columns = self.columns
        drawn = [column for column in order if not columns.is_of_visit[column]]
        codes, of_visit = columns.codes_of(columns.of_patient), columns.codes_of(columns.of_visit)
        within, visits = potentials.pairs[codes[:, None], codes], potentials.pairs[codes[:, None], of_visit]
        logits = potentials.singles[codes, None].repeat(1, len(self))
        for half in self._halves:
            logits.index_add_(1, half.owners, visits @ half.one_hot[of_visit, :-1])
        for column in drawn:
            local = self._of_patient(column)
            column_logits = torch.addmm(logits[local], within[local], self._patients)
            probabilities, hot = _drawn(column_logits, self._rng)
            if tables is not None:
                tables.add_patients(column, probabilities, self)
            self._patients[local] = hot
        self._copy_to_visits()

    def of_patients(self) -> tuple[Tensor, tuple[VisitHalf, VisitHalf]]:
        """Return the codes of the patients' own columns, (their codes, histories), and the halves of the visits."""
        return self._patients, self._halves

    def _draw_visits(
        self,
        half: VisitHalf,
        other: VisitHalf,
        order: Iterable[int],
        potentials: HistoryPotentials,
        tables: _Tables | None,
    ) -> None:
        """Draw columns of every second visit, given the patients and the visits before and after.

        Args:
            half: the visits.
            other: the visits before and after them.
            order: indices of the columns to draw; those of the patient are passed over.
            potentials: of the model, steps over all codes.
            tables: to add the expected counts to.
        """
        if not len(half.visits):
            return
        columns = self.columns
        before, after = other.one_hot.index_select(1, half.before), other.one_hot.index_select(1, half.after)
        logits = potentials.steps.T @ before + potentials.steps @ after
        expected = torch.zeros_like(before) if tables is not None else None
        for column in order:
            if not columns.is_of_visit[column]:
                continue
            span = columns.span(column)
            column_logits = torch.addmm(logits[span], potentials.pairs[span], half.one_hot[:, :-1])
            column_logits += potentials.singles[span, None]
            if column == columns.since:
                column_logits[-1, ~half.is_first] = -torch.inf
                column_logits[:, half.is_first] = -torch.inf
                column_logits[-1, half.is_first] = 0.0
            probabilities, hot = _drawn(column_logits, self._rng)
            if tables is not None and expected is not None:
                expected[span] = probabilities
                tables.add_visits(span, probabilities * half.of_visit, half)
            half.one_hot[span, :-1] = hot
        if tables is not None and expected is not None:
            expected *= half.of_step
            tables.steps += before @ expected.T
            tables.steps += expected @ after.T


class _Tables:
    """The tables of one sweep over all codes, while its columns are drawn."""

    def __init__(self, columns: HistoryColumns) -> None:
        codes = columns.offsets[-1]
        self._columns = columns
        self._singles, self._pairs = torch.zeros(codes), torch.zeros(codes, codes)
        self.steps = torch.zeros(codes, codes)

    def add_visits(self, span: slice, weighted: Tensor, half: VisitHalf) -> None:
        """Add a column at the visits of a half: weighted probabilities of its codes, shape (codes, visits)."""
        self._pairs[span] += weighted @ half.one_hot[:, :-1].T
        self._singles[span] += weighted.sum(1)

    def add_patients(self, column: int, probabilities: Tensor, chains: HistoryChains) -> None:
        """Add a column of the patient: probabilities of its codes, shape (codes, histories)."""
        span = self._columns.span(column)
        patients, halves = chains.of_patients()
        for half in halves:
            self._pairs[span] += (probabilities.index_select(1, half.owners) * half.of_visit) @ half.one_hot[:, :-1].T
        weighted = probabilities * chains.weights
        self._pairs[span, self._columns.codes_of(self._columns.of_patient)] = weighted @ patients.T
        self._singles[span] += weighted.sum(1)

    def add_fixed(self, half: VisitHalf) -> None:
        """Add the columns that are not drawn, as they are."""
        for column in (self._columns.visits, self._columns.visit):
            span = self._columns.span(column)
            self.add_visits(span, half.one_hot[span, :-1] * half.of_visit, half)

    def total(self, chains: HistoryChains) -> HistorySweep:
        """Return the tables as proportions."""
        pairs = (self._pairs + self._pairs.T) / 2 / chains.total
        codes = self._columns.codes_of(self._columns.step_columns)
        steps = self.steps[codes[:, None], codes] / 2 / max(chains.total_with_steps, 1.0)
        return HistorySweep(self._singles / chains.total, pairs, steps)


def _drawn(logits: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the probabilities of codes, and 1 for the drawn one of each column; both (codes, columns)."""
    probabilities = logits.softmax(dim=0)
    below = probabilities.cumsum(dim=0)
    below = below < torch.rand(logits.shape[1], generator=rng) * below[-1]
    codes = below.sum(dim=0, keepdim=True).clamp_(max=len(logits) - 1)
    return probabilities, torch.zeros_like(probabilities).scatter_(0, codes, 1.0)
