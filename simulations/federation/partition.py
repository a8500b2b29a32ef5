"""Partition of one table into simulated hospitals: by a keyed hash of each patient, evenly or skewed by class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.errors import StudyError
from common.seeds import seed_for
from common.study.schema import Schema
from common.tables.conforming import conform
from common.tables.patients import keyed_fraction, patient_keys
from simulations.federation.hospitals import Tables


@dataclass(frozen=True, slots=True)
class HashSplit:
    """How a table is split: by the seed, the identity of the patient, and the class of the first row alone.

    Args:
        schema: the agreed columns.
        target: the column whose classes are distributed.
        seed: seed of the partition.
        skew: Dirichlet concentration of every class over the hospitals; the smaller, the more they differ. None
            splits every class evenly.
        patient_column: column that identifies the patient; None where every row is a patient.
    """

    schema: Schema
    target: str
    seed: int
    skew: float | None = None
    patient_column: str | None = None


def hospitals_by_hash(raw: pd.DataFrame, count: int, split: HashSplit) -> Tables:
    """Return the table split into "hospital-1", "hospital-2", ...; some may get no rows.

    Args:
        raw: a raw table.
        count: number of hospitals.
        split: what decides about a patient.

    Raises:
        StudyError: `count` is below 1 or `skew` is not above 0.
        DataError: the patient column is not in the table.
    """
    if count < 1:
        raise StudyError(f"{count} hospitals cannot be simulated; ask for at least 1")
    if split.skew is not None and not split.skew > 0:
        raise StudyError(f"skew = {split.skew:g} is not above 0; try 0.5 for skewed hospitals and 100 for like ones")
    schema, target = split.schema, split.target
    identities = patient_keys(raw, schema, split.patient_column)
    classes: dict[str, str] = {}
    for identity, label in zip(identities, schema[target].strata(conform(raw, schema)[target]), strict=True):
        classes.setdefault(identity, label)
    ends = {label: np.cumsum(_proportions(label, count, split)) for label in sorted(set(classes.values()))}
    draws = keyed_fraction(str(seed_for(split.seed, "partition", "patients")).encode(), identities)
    owners = np.array(
        # The last end may fall short of 1 by rounding.
        [
            min(int(np.searchsorted(ends[classes[identity]], draw, side="right")), count - 1)
            for identity, draw in zip(identities, draws, strict=True)
        ],
        dtype=np.int64,
    )
    return {f"hospital-{index + 1}": raw[owners == index].reset_index(drop=True) for index in range(count)}


def _proportions(label: str, count: int, split: HashSplit) -> npt.NDArray[np.float64]:
    if split.skew is None:
        return np.full(count, 1 / count)
    rng = np.random.default_rng(seed_for(split.seed, "partition", "class", label))
    return rng.dirichlet(np.full(count, split.skew))
