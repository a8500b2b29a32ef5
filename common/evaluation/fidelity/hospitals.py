"""How well the synthetic table stands for each hospital, and the rules it keeps. Known where hospitals' rows are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from common.evaluation.fidelity.marginals import tvd_estimate
from common.evaluation.statistics.intervals import Estimate, wilson
from common.evaluation.statistics.values import Codes, Labels
from common.study.rules import Rule


@dataclass(frozen=True, slots=True, eq=False)
class Sites:
    """The hospital of every training row and of every held-out row."""

    training: Labels
    holdout: Labels


@dataclass(frozen=True, slots=True)
class HospitalFidelity:
    """Distance of one hospital's training rows to the synthetic table, and to all hospitals' real rows together.

    Mean total variation distance of single columns and of pairs. The distance to all real rows is what is peculiar to
    this hospital: no table for all of them can come closer.
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


def compare_hospitals(codes: Codes, hospital_of: Labels) -> tuple[HospitalFidelity, ...]:
    """Every hospital against the synthetic table; `hospital_of` names the hospital of every row of `codes.real`."""
    found = []
    for name in sorted(set(hospital_of)):
        own = codes.real[hospital_of == name]
        sides = [Codes(codes.names, own, other, codes.sizes) for other in (codes.synthetic, codes.real)]
        values = [tvd_estimate([side], k, fixed_synthetic=True) for side in sides for k in (1, 2)]
        assert all(value is not None for value in values), "a schema has at least two columns"
        found.append(HospitalFidelity(str(name), len(own), values[0], values[2], values[1], values[3]))  # type: ignore[arg-type]
    return tuple(found)


def check_rules(train: pd.DataFrame, synthetic: pd.DataFrame, rules: Sequence[Rule]) -> tuple[RuleCheck, ...]:
    """How often every declared rule is broken."""
    shares = [
        [wilson(int(np.count_nonzero(rule.broken(table))), len(table)) for table in (train, synthetic)]
        for rule in rules
    ]
    return tuple(RuleCheck(str(rule), real, made) for rule, (real, made) in zip(rules, shares, strict=True))
