"""How well the synthetic table represents each hospital, and whether it keeps the declared rules."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from common.evaluation.fidelity.marginals import tvd_estimate
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
    """The share of rows that break a declared rule, with Wilson intervals; 0.0 is best."""

    rule: str
    real: Estimate
    synthetic: Estimate


def compare_hospitals(data: EvaluationData) -> tuple[HospitalFidelity, ...]:
    """Measure every hospital's training rows against the synthetic table; empty where hospitals are not known."""
    if data.hospitals is None:
        return ()
    codes, hospital_of = data.codes, data.hospitals.training
    results = []
    for name in sorted(set(hospital_of)):
        own = codes.real[hospital_of == name]
        sides = [replace(codes, real=own, synthetic=other) for other in (codes.synthetic, codes.real)]
        values = [tvd_estimate([side], k, fixed_synthetic=True) for side in sides for k in (1, 2)]
        assert all(value is not None for value in values), "a schema has at least two columns"
        results.append(HospitalFidelity(str(name), len(own), values[0], values[2], values[1], values[3]))  # type: ignore[arg-type]
    return tuple(results)


def check_rules(data: EvaluationData) -> tuple[RuleCheck, ...]:
    """Count how often every declared rule is broken."""
    return tuple(
        RuleCheck(
            str(rule),
            *(wilson(int(np.count_nonzero(rule.broken(table))), len(table)) for table in (data.train, data.synthetic)),
        )
        for rule in data.rules
    )
