"""The maximum-entropy model of histories as a synthesizer: fitted to noisy tables of visits and of steps.

    singles, pairs, steps   potentials, as in `HistoryPotentials`
    visits                  proportion of patients with each number of visits, (most visits,)
    rows                    codes of the chains, (visits, columns)

All are float32, which holds codes exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from common.arrays import Integers, Weights
from common.columns.base import Codes
from common.errors import StudyError
from common.marginals.evidence import Evidence
from common.marginals.measurements import Measurements
from common.marginals.queries import Domain
from common.study.schema import VisitsSchema
from common.study.synthesizers import MaximumEntropySettings
from common.synthesizers.maximum_entropy.files import chain_rows, checked, damaged
from common.synthesizers.maximum_entropy.history_chains import HistoryChains, HistoryPotentials
from common.synthesizers.maximum_entropy.history_columns import HistoryColumns
from common.synthesizers.maximum_entropy.history_fit import (
    HistoryEvidence,
    HistoryFit,
    fit_histories,
    spread,
    visits_of,
)

FEWEST_CHAINS, MOST_CHAINS, CHAIN_VISITS = 512, 2048, 3000
"""Histories that the fit holds if the study does not say: as many as have this many visits, within the two limits."""

DRAWN_TOGETHER = 20_000
"""Histories that are drawn at once, which bounds the memory that drawing takes."""

STEPS = 2.5
"""Histories take this many times the study's steps: chains of columns that hardly change from visit to visit mix
slowly. On diabetes130 a fifth of the error of transitions is gone from 200 to 500 steps."""

MIXING, CONDITIONAL_MIXING = 10, 40
"""Sweeps between the chains' histories and those that are drawn, without conditions and with them."""


class MaximumEntropyHistories:
    """The distribution of histories of largest entropy that explains the noisy tables, as far as they exceed noise.

    Args:
        settings: the study's settings of the synthesizer.
        schema: the modeled columns.
        domain: codes of every column.
    """

    def __init__(self, settings: MaximumEntropySettings, schema: VisitsSchema, domain: Domain) -> None:
        self._settings, self._columns = settings, HistoryColumns.of(schema, domain)

    def fit(self, weights: Weights, measurements: Measurements, seed: int, *, rounds: int) -> Weights:
        """Return the potentials and the histories of the chains; post-processing."""
        assert measurements.steps is not None, "a study of visits counts steps"
        evidence = HistoryEvidence(Evidence.of(measurements), Evidence.of(measurements.steps))
        chains, steps = self._settings.chains or self._chains(evidence), round(STEPS * self._settings.fit_steps)
        fit = fit_histories(evidence, self._columns, chains=chains, steps=steps, seed=seed)
        arrays = {
            "singles": fit.potentials.singles,
            "pairs": fit.potentials.pairs,
            "steps": fit.potentials.steps,
            "visits": fit.visits,
            "rows": fit.rows,
        }
        return {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in arrays.items()}

    def _chains(self, evidence: HistoryEvidence) -> int:
        visits = visits_of(torch.from_numpy(evidence.visits.singles), self._columns)
        mean = float(visits @ np.arange(1, len(visits) + 1))
        return min(max(round(CHAIN_VISITS / mean), FEWEST_CHAINS), MOST_CHAINS)

    def sample(self, weights: Weights, rows: int, seed: int, given: Mapping[int, int]) -> Codes:
        """Draw the histories of `rows` patients, whose visits are rows side by side.

        Args:
            weights: of a fitted model.
            rows: number of patients; visits are more.
            seed: seed of the draws.
            given: code by index of a column of the patient; the other columns follow their conditional distribution.

        Raises:
            StudyError: a given column is one of the visit.
        """
        columns, fit = self._columns, self.model_of(weights)
        fixed = given.get(columns.visits)
        visits = spread(fit.visits, rows) if fixed is None else np.full(rows, fixed)
        return self.draw(fit, visits, torch.Generator().manual_seed(seed), given)

    def draw(self, fit: HistoryFit, visits: Integers, rng: torch.Generator, given: Mapping[int, int]) -> Codes:
        """Draw the histories of patients with these numbers of visits, in random order.

        Args:
            fit: the fitted model.
            visits: code of the number of visits of each patient.
            rng: of the draws.
            given: as in `sample`.

        Raises:
            StudyError: a given column is one of the visit.
        """
        columns = self._columns
        if any(columns.is_of_visit[column] for column in given):
            raise StudyError("a condition on a column of the visit does not choose patients; name one of the patient")
        chosen = _chosen(fit.rows, visits, columns, rng)
        free = [column for column in columns.free if column not in given]
        drawn = [np.empty((0, len(columns.domain.sizes)), dtype=np.int16)]
        for histories in _cut(chosen, columns):
            chains = HistoryChains(columns, histories, rng)
            for column, code in given.items():
                chains.set_column(column, code)
            chains.mix(CONDITIONAL_MIXING if given else MIXING, free, fit.potentials)
            drawn.append(chains.rows.numpy().astype(np.int16))
        return np.concatenate(drawn)

    def model_of(self, weights: Weights) -> HistoryFit:
        """Return the model that `fit` wrote, or raise `StudyError` for arrays that are none."""
        columns = self._columns
        codes, step_codes = columns.offsets[-1], columns.step_offsets[-1]
        if weights.keys() != {"singles", "pairs", "steps", "visits", "rows"}:
            raise damaged("has arrays that no model of histories has")
        potentials = HistoryPotentials(
            checked(weights, "singles", (codes,)),
            checked(weights, "pairs", (codes, codes)),
            checked(weights, "steps", (step_codes, step_codes)),
        )
        rows = chain_rows(weights, columns.domain)
        if not torch.equal(_numbered(rows, columns), rows[:, columns.visit]):
            raise damaged("'rows' holds histories that are not whole")
        visits = checked(weights, "visits", (columns.domain.sizes[columns.visits],)).double().numpy()
        if (visits < 0).any() or not 0.99 < visits.sum() < 1.01:
            raise damaged("'visits' holds no proportions")
        return HistoryFit(potentials, rows, visits)


def _numbered(rows: Tensor, columns: HistoryColumns) -> Tensor:
    """Return the number of each row's visit, from 0, by the numbers of visits that their histories' first rows have."""
    visits: list[int] = (rows[:, columns.visits] + 1).tolist()
    numbers: list[int] = []
    while len(numbers) < len(rows):
        numbers += range(visits[len(numbers)])
    return torch.tensor(numbers[: len(rows)] if len(numbers) == len(rows) else [-1] * len(rows))


def _cut(rows: Tensor, columns: HistoryColumns) -> Sequence[Tensor]:
    """Return the rows in pieces of at most `DRAWN_TOGETHER` whole histories."""
    starts = torch.nonzero(rows[:, columns.visit] == 0).squeeze(1)
    return rows.tensor_split(starts[DRAWN_TOGETHER::DRAWN_TOGETHER])


def _chosen(rows: Tensor, visits: Integers, columns: HistoryColumns, rng: torch.Generator) -> Tensor:
    """Return the rows of histories with these numbers of visits: each history of a number as often, to within one.

    Args:
        rows: of the chains' histories.
        visits: code of the number of visits of each history to return.
        columns: what the columns are.
        rng: of the choice and of the order.
    """
    starts = torch.nonzero(rows[:, columns.visit] == 0).squeeze(1)
    chosen = [torch.empty(0, dtype=torch.int64)]
    for code, count in zip(*np.unique(visits, return_counts=True), strict=True):
        alike = starts[rows[starts, columns.visits] == int(code)]
        if not len(alike):
            raise StudyError("no history of the model has the given number of visits; choose another")
        times, left = divmod(int(count), len(alike))
        chosen += [alike.repeat(times), alike[torch.randperm(len(alike), generator=rng)[:left]]]
    every = torch.cat(chosen)
    every = every[torch.randperm(len(every), generator=rng)]
    lengths = rows[every, columns.visits] + 1
    ends = torch.cumsum(lengths, 0)
    within = torch.arange(int(lengths.sum())) - torch.repeat_interleave(ends - lengths, lengths)
    return rows[torch.repeat_interleave(every, lengths) + within]
