"""A membership attack that knows a patient's whole history: is a synthetic history closer than chance has it?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from common.arrays import Floats
from common.evaluation.statistics.intervals import Estimate, auroc
from common.evaluation.statistics.resampling import sampled_rows
from common.evaluation.visits.coding import CodedHistories

MOST_TARGETS = 500
"""Most attacked patients of either kind, a fixed random sample: their AUROC is then exact to about 0.04."""

MOST_SYNTHETIC = 5000
"""Most synthetic patients that a target is compared with, a fixed random sample."""

FEWEST = 10
"""Fewest patients of a kind for a value."""

NO_VISIT = -1
"""Code of every cell of a visit that a patient does not have."""


def history_membership(members: CodedHistories, others: CodedHistories, synthetic: CodedHistories) -> Estimate | None:
    """Return the AUROC with which the distance to the closest synthetic history tells members from other patients.

    The adversary knows all visits of a patient and holds the synthetic table. The distance is the number of cells that
    differ, visit by visit from the first, numbers in bins; a visit that only one of the two has differs in all cells.
    Held-out patients are the control: what is close to them follows from the population and not from membership.
    Interval by DeLong et al. 1988.

    Args:
        members: patients whom the synthesizer was trained on.
        others: patients whom it never saw.
        synthetic: the synthetic patients.

    Returns:
        0.5 is chance; None if there are fewer than ten patients of a kind.
    """
    if min(side.histories.patients for side in (members, others, synthetic)) < FEWEST:
        return None
    longest = max(int(side.histories.lengths.max()) for side in (members, others, synthetic))
    drawn = _cells(synthetic, longest, MOST_SYNTHETIC)
    near = [-_closest(_cells(side, longest, MOST_TARGETS), drawn) for side in (members, others)]
    return auroc(near[0], near[1])


def _cells(side: CodedHistories, longest: int, most: int) -> npt.NDArray[np.int16]:
    """Return one row for each of at most `most` patients: static columns, then the visits one after the other."""
    chosen = sampled_rows(side.histories.patients, most, "history-membership", side.name)
    starts, lengths = side.histories.starts[chosen], side.histories.lengths[chosen]
    cells = np.full((len(chosen), longest, side.visit.shape[1]), NO_VISIT, dtype=np.int16)
    for number in range(int(lengths.max())):
        has = lengths > number
        cells[has, number] = side.visit[starts[has] + number]
    return np.concatenate([side.static[starts].astype(np.int16), cells.reshape(len(cells), -1)], axis=1)


def _closest(targets: npt.NDArray[np.int16], drawn: npt.NDArray[np.int16]) -> Floats:
    """Return the number of cells in which each target differs from the synthetic row that is closest to it."""
    return np.array([np.count_nonzero(drawn != target, axis=1).min() for target in targets], dtype=np.float64)
