"""A second synthesizer, without networks: every column by itself. It shows what a new kind has to bring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pytest

from common.arrays import Weights
from common.columns.base import Codes
from common.encoding import Encoder
from common.errors import StudyError
from common.marginals.measurements import Measurements
from common.study.synthesizers import SYNTHESIZER_SETTINGS, SynthesizerSettings
from common.synthesizers.registry import SYNTHESIZERS

KIND = "independent-columns"


class ToySettings(SynthesizerSettings):
    """Counts single columns only."""

    kind: Literal["independent-columns"] = "independent-columns"
    independent: bool = True


class IndependentColumns:
    """Draws each column from its noisy proportions, whatever the others hold."""

    def __init__(self, encoder: Encoder) -> None:
        self._names = [f"column.{index}" for index in range(len(encoder.sizes))]

    def fit(self, weights: Weights, measurements: Measurements, seed: int, *, rounds: int) -> Weights:
        """Return the proportions of every column."""
        return {name: single.astype(np.float32) for name, single in zip(self._names, measurements.singles, strict=True)}

    def sample(self, weights: Weights, rows: int, seed: int, given: Mapping[int, int]) -> Codes:
        """Draw rows column by column."""
        rng = np.random.default_rng(seed)
        codes = np.empty((rows, len(self._names)), dtype=np.int16)
        for column, name in enumerate(self._names):
            proportions = weights[name].astype(np.float64)
            codes[:, column] = rng.choice(len(proportions), rows, p=proportions / proportions.sum())
            if column in given:
                if not proportions[given[column]]:
                    raise StudyError("the model gives this condition no weight; choose another")
                codes[:, column] = given[column]
        return codes


def register(patch: pytest.MonkeyPatch) -> None:
    """Make the kind known while the patch lasts."""
    patch.setitem(SYNTHESIZER_SETTINGS, KIND, ToySettings)
    patch.setitem(SYNTHESIZERS, KIND, lambda settings, encoder: IndependentColumns(encoder))
