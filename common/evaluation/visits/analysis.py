"""The input of an evaluation of visits, and the parts that its measures share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from common.evaluation.statistics.intervals import Estimate
from common.evaluation.visits.coding import CodedHistories, code_histories
from common.evaluation.visits.histories import OrderedVisits, VisitLayout, bootstrap_of
from common.evaluation.visits.next_visit import next_visit_auroc

MOST_PATIENTS = 100_000
"""Most patients of a table that are compared, a fixed random sample of a larger table; it bounds the memory."""


@dataclass(frozen=True, eq=False)
class VisitAnalysis:
    """Synthetic visits beside the real ones that they are measured against.

    Attributes:
        layout: names of the columns.
        train: real patients that the synthesizer was trained on; they cut the bins.
        holdout: real patients that it never saw.
        synthetic: the patients under test.
    """

    layout: VisitLayout
    train: OrderedVisits
    holdout: OrderedVisits
    synthetic: OrderedVisits

    @classmethod
    def of(
        cls, train: pd.DataFrame, holdout: pd.DataFrame, synthetic: pd.DataFrame, layout: VisitLayout
    ) -> VisitAnalysis:
        """Order three tables of visits.

        Args:
            train: real visits that the synthesizer was trained on.
            holdout: real visits of other patients.
            synthetic: the table under test.
            layout: names of the columns.

        Raises:
            DataError: a table lacks a column, has no rows, or has visits without patient or time.
        """
        roles = {"training": train, "held-out": holdout, "synthetic": synthetic}
        ordered = [
            OrderedVisits.of(table, layout, role).sampled(MOST_PATIENTS, "visits", role)
            for role, table in roles.items()
        ]
        return cls(layout, *ordered)

    @cached_property
    def _coded(self) -> tuple[CodedHistories, ...]:
        again = bootstrap_of(self.train, self.synthetic.patients)
        tables = [
            ("real", self.train), ("synthetic", self.synthetic), ("synthetic", again), ("held-out", self.holdout)
        ]  # fmt: skip
        return tuple(code_histories(self.train, tables, self.layout))

    @property
    def real(self) -> CodedHistories:
        """Return the training patients, whom the synthetic ones are compared with."""
        return self._coded[0]

    @property
    def coded(self) -> CodedHistories:
        """Return the synthetic patients."""
        return self._coded[1]

    @property
    def resampled(self) -> CodedHistories:
        """Return as many training patients as there are synthetic ones, drawn with replacement.

        What they reach costs sampling error alone: no synthetic table can be expected to come much closer.
        """
        return self._coded[2]

    @property
    def unseen(self) -> CodedHistories:
        """Return the held-out patients."""
        return self._coded[3]

    @cached_property
    def trained_on_synthetic(self) -> Estimate | None:
        """Return the next-visit AUROC of a learner that was trained on synthetic patients."""
        return next_visit_auroc(self.synthetic, self.train, self.holdout, self.layout)

    @cached_property
    def trained_on_real(self) -> Estimate | None:
        """Return the next-visit AUROC of a learner that was trained on the training patients."""
        return next_visit_auroc(self.train, self.train, self.holdout, self.layout)
