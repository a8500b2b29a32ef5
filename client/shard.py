"""A hospital's table, prepared once per study: one row per patient, held-out patients aside, conformed, encoded."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from common.encoding import Codes, Encoder, count_cells
from common.messages import Array
from common.privacy.mechanisms import Integers
from common.privacy.plan import Plan
from common.study import Study
from common.tables import conform, first_rows, split_holdout


class Shard:
    """The records of one hospital under one study. Nothing here leaves the process by itself.

    Every preparation looks at one patient at a time: the first row of each patient counts, the held-out fraction is
    chosen by a keyed hash, and cells that do not fit the schema are clamped or sent to a fallback.

    Args:
        raw: the table as read, all cells text.
        key: the hospital's secret for choosing held-out patients.
        patient_column: which column tells patients apart; None where every row is a patient.
    """

    def __init__(self, raw: pd.DataFrame, study: Study, *, key: bytes, patient_column: str | None = None) -> None:
        rows = first_rows(raw, patient_column)
        train, holdout = split_holdout(
            rows, study.table, key=key, fraction=study.evaluation.holdout_fraction, patient_column=patient_column
        )
        self._study = study
        self.training = conform(train, study.table)
        self.holdout = conform(holdout, study.table)
        self._encoders: dict[tuple[str, int, int], tuple[Encoder, Codes]] = {}

    def histograms(self, cells: int) -> Integers:
        """True training patients per fine cell; must not leave without noise."""
        return count_cells(self.training, self._study.table, cells)

    def encoded(self, histograms: Array, plan: Plan) -> tuple[Encoder, Codes]:
        """The training rows as codes under the released histograms; kept for the requests that follow."""
        place = hashlib.sha256(np.ascontiguousarray(histograms).tobytes()).hexdigest(), plan.cells, plan.bins
        if place not in self._encoders:
            encoder = Encoder.planned(self._study.table, histograms, plan)
            self._encoders = {place: (encoder, encoder.encode(self.training))}
        return self._encoders[place]
