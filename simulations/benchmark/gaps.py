"""Means over split seeds with intervals, and the gap between federated and centralized arms with a test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from simulations.benchmark.results import COMPARED

CONFIDENCE = 0.95
"""Coverage of the intervals of means."""

FEDERATED = ("by-site", "local-4", "distributed-4")
CENTRAL, ALONE = "central", "alone"


@dataclass(frozen=True, slots=True)
class SeedMean:
    """A mean over seeds, and half the width of its 95 % interval (Student's t); None for one seed."""

    value: float
    half_width: float | None
    seeds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> SeedMean | None:
        """Return the mean of the known values; None if there are none."""
        known = [value for value in values if not math.isnan(value)]
        if not known:
            return None
        half = None
        if len(known) > 1:
            error = float(np.std(known, ddof=1)) / math.sqrt(len(known))
            half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(known) - 1)) * error
        return cls(float(np.mean(known)), half, len(known))

    def __str__(self) -> str:
        return f"{self.value:.3f}" + (f" ± {self.half_width:.3f}" if self.half_width is not None else "")


@dataclass(frozen=True, slots=True)
class Gap:
    """Federated minus centralized on the same splits; `p`: two-sided paired t-test, None for one seed."""

    table: str
    arm: str
    epsilon: float
    metric: str
    mean: SeedMean
    p: float | None


def gaps(results: pd.DataFrame) -> list[Gap]:
    """Return the gap of every table, federated arm, epsilon and measure, over the seeds that both arms have."""
    all_gaps = []
    for (table, epsilon), rows in results.groupby(["table", "epsilon"]):
        by_arm = {str(arm): part.set_index("seed")[list(COMPARED)] for arm, part in rows.groupby("arm")}
        for arm in by_arm:
            if CENTRAL not in by_arm or not arm.endswith(FEDERATED) or arm.startswith(ALONE):
                continue
            differences = (by_arm[arm] - by_arm[CENTRAL]).dropna(how="all")
            for metric in COMPARED:
                known = differences[metric].dropna().tolist()
                mean = SeedMean.of(known)
                if mean is not None:
                    all_gaps.append(Gap(str(table), arm, float(str(epsilon)), metric, mean, paired_p(known)))
    return all_gaps


def paired_p(differences: Sequence[float]) -> float | None:
    """Return p of Student's two-sided paired t-test against no difference; assumes normal differences."""
    if len(differences) < 2:
        return None
    if np.ptp(differences) == 0:
        return 1.0 if differences[0] == 0 else 0.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)
