"""Rows of the model fitted to what a run has released so far, for choosing what to count next: post-processing."""

from __future__ import annotations

import hashlib

import numpy as np

from common.columns.base import Codes
from common.planning.phases import PublicRun, measurements_of
from common.seeds import seed_for
from common.synthesizers.registry import make_synthesizer
from common.synthesizers.schedule import initial_weights


class ModelRows:
    """Draws rows; those drawn last are kept, so that a phase that asks for the same ones gets them at once."""

    def __init__(self) -> None:
        self._drawn: tuple[tuple[str, int], Codes] | None = None

    def __call__(self, public: PublicRun, rows: int) -> Codes:
        """Return rows of codes, (rows, columns), int16; equal for equal tables and seeds of the study.

        Args:
            public: the run so far, with single columns at least.
            rows: number of rows.
        """
        measurements = measurements_of(public)
        assert measurements is not None, "votes are planned after tables"
        sums = np.ascontiguousarray(measurements.sums)
        key = hashlib.sha256(sums.tobytes()).hexdigest(), rows
        if self._drawn is None or self._drawn[0] != key:
            seed, synthesizer = public.study.seed, make_synthesizer(public.study.synthesizer.drafting(), public.encoder)
            initial = initial_weights(synthesizer, seed_for(seed, "model-rows", "initial"))
            weights = synthesizer.fit(initial, measurements, seed_for(seed, "model-rows", "fit"), rounds=0)
            self._drawn = key, synthesizer.sample(weights, rows, seed_for(seed, "model-rows", "sample"), {})
        return self._drawn[1]
