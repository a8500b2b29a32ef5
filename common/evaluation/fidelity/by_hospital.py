"""How well the synthetic table represents each hospital, and whether it keeps the declared rules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.evaluation.fidelity.marginals import part_distances
from common.evaluation.statistics.data import EvaluationData
from common.evaluation.statistics.intervals import Estimate, wilson


@dataclass(frozen=True, slots=True)
class HospitalFidelity:
    """Distance of one hospital's training rows to the synthetic table, and to all hospitals' pooled real rows.

    Mean total variation distance of single columns and of pairs. The distance to the pooled rows is what sets this
    hospital apart: no common table can come closer.
    """

    name: str
    rows: int
    columns_synthetic: Estimate
    columns_pooled: Estimate
    pairs_synthetic: Estimate
    pairs_pooled: Estimate


@dataclass(frozen=True, slots=True)
class RuleCheck:
    """The fraction of rows that break a declared rule, with Wilson intervals; 0.0 is best."""

    rule: str
    real: Estimate
    synthetic: Estimate


def compare_hospitals(data: EvaluationData) -> tuple[HospitalFidelity, ...]:
    """Measure every hospital's training rows against the synthetic table; empty where hospitals are not known."""
    if data.hospitals is None:
        return ()
    names = sorted(set(data.hospitals.training))
    parts = [np.flatnonzero(data.hospitals.training == name) for name in names]
    columns, pairs = (part_distances(data.codes, parts, k) for k in (1, 2))
    return tuple(
        HospitalFidelity(str(name), len(rows), single.synthetic, single.pooled, double.synthetic, double.pooled)
        for name, rows, single, double in zip(names, parts, columns, pairs, strict=True)
    )


def check_rules(data: EvaluationData) -> tuple[RuleCheck, ...]:
    """Count how often every declared rule is broken."""
    return tuple(
        RuleCheck(
            str(rule),
            *(wilson(int(np.count_nonzero(rule.broken(table))), len(table)) for table in (data.train, data.synthetic)),
        )
        for rule in data.rules
    )
