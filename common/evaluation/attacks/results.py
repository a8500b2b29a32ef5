"""What attacks found, as values that a report renders: `PrivacyEvidence` is the root; `as_document` gives its JSON.

For a renderer: every `AttackResult` has a `title`, a `meaning` (what the attacker knows and wants) and a `verdict` (one
sentence with the numbers); its `kind` says which of the two findings it holds. A `Risk` runs from -1 to 1, 0 is best,
lower is better; a `Membership` has an AUROC from 0 to 1, 0.5 is best, lower is better. Show `all_records` first and
`outliers` beside it; draw `attack`, `control` and `baseline` of a risk as three points with intervals on [0, 1], and
the bound at each `OperatingPoint` beside its rate. `is_flagged` colors a row; its threshold is stricter than the
intervals, since several attacks are run; in between an attack `may_work`. A document has `null` for what could not be
measured and `notes` that say why.

All of it is computed from real rows without noise: it stays where the rows are.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from common.evaluation.statistics.intervals import Estimate

Kind = Literal["risk", "membership"]


@dataclass(frozen=True, slots=True)
class Risk:
    """An attack that succeeds or fails, in three arms.

    Attributes:
        attack: success rate on training rows.
        control: on rows that the synthesizer never saw, which shows what holds for the whole population.
        baseline: on training rows with a table made from the schema alone.
        residual_risk: (attack - control) / (1 - control), the risk that comes from having been in the training table;
            0 is none, 1 the worst.
    """

    attack: Estimate
    control: Estimate
    baseline: Estimate
    residual_risk: Estimate


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """How many training rows are recognized at a low rate of false alarms.

    Attributes:
        allowed: the false positive rate that the attacker tolerates.
        false_positives: the same rate on the held-out rows, with ties counted against the attacker.
        true_positives: fraction of training rows recognized.
        bound: what (epsilon, delta) allows at most where false positives are just `allowed`; None where no epsilon is
            known. The threshold is chosen on the same held-out rows, whose true rate is about that: a rate above the
            bound does not refute epsilon by itself.
    """

    allowed: float
    false_positives: Estimate
    true_positives: Estimate
    bound: float | None


@dataclass(frozen=True, slots=True)
class Membership:
    """An attack that scores how likely a row was in the training table.

    Attributes:
        auroc: training rows against held-out rows; 0.5 is chance.
        baseline: the same attack with a table made from the schema alone. An interval without 0.5 means that training
            and held-out rows differ systematically, and that no conclusion can be drawn.
        bound: AUROC that (epsilon, delta) allows at most; None where no epsilon is known.
        points: true positive rates at false positive rates of 1 % and 0.1 %, where there are enough held-out rows.
        curve: (false positive rate, true positive rate) of some thresholds, from (0, 0) to (1, 1).
    """

    auroc: Estimate
    baseline: Estimate
    bound: float | None
    points: tuple[OperatingPoint, ...]
    curve: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class AttackFinding:
    """One attack on some of the rows: one of `risk` and `membership` is None, as the attack's `kind` says."""

    risk: Risk | None
    membership: Membership | None
    is_flagged: bool

    @property
    def may_work(self) -> bool:
        """Whether the interval shown excludes chance and the stricter one does not."""
        excludes_chance = (self.risk is not None and self.risk.residual_risk.low > 0) or (
            self.membership is not None and self.membership.auroc.low > 0.5
        )
        return excludes_chance and not self.is_flagged


@dataclass(frozen=True, slots=True)
class AttackResult:
    """One attack: on all records, and on outlier records. `outliers` is None where they are too few."""

    name: str
    title: str
    kind: Kind
    meaning: str
    all_records: AttackFinding
    outliers: AttackFinding | None
    verdict: str

    @property
    def is_flagged(self) -> bool:
        """Whether the attack works on all records or on outlier records."""
        return self.all_records.is_flagged or (self.outliers is not None and self.outliers.is_flagged)

    @property
    def may_work(self) -> bool:
        """Whether the attack may work on all records or on outlier records, and is not flagged."""
        is_open = self.all_records.may_work or (self.outliers is not None and self.outliers.may_work)
        return is_open and not self.is_flagged


@dataclass(frozen=True, slots=True)
class ClosestRecords:
    """Distances to the closest record, shown because readers expect them. They prove nothing: see `note`.

    Attributes:
        train, control: 5th, 25th, 50th, 75th and 95th percentile of the distance from real rows to the closest
            synthetic row.
        identical_train, identical_control: fraction of real rows that have an identical synthetic row.
        nearer_to_train: fraction of synthetic rows that are nearer to a training row than to a held-out row, among
            equally many of both; one half is chance.
        note: why none of this is evidence of privacy.
    """

    train: tuple[float, ...]
    control: tuple[float, ...]
    identical_train: Estimate
    identical_control: Estimate
    nearer_to_train: Estimate
    note: str


@dataclass(frozen=True, slots=True)
class PrivacyEvidence:
    """All attacks on one synthetic table.

    Attributes:
        verdict: one sentence for the top of a report.
        is_flagged: whether any attack works.
        epsilon, delta: what the bounds are drawn for; None where nothing is promised.
        outlier_rule: which rows count as outlier records, in words.
        attacks: result of each attack, in the order of `ATTACKS`; empty where none was run.
        closest: distances to the closest record.
        notes: what was not measured, and why.
    """

    verdict: str
    is_flagged: bool
    epsilon: float | None
    delta: float | None
    outlier_rule: str
    attacks: tuple[AttackResult, ...]
    closest: ClosestRecords | None
    notes: tuple[str, ...]

    def as_document(self) -> dict[str, Any]:
        """Return the part of report.json under `privacy`; its keys are described in docs/report.md."""
        document = asdict(self)
        for entry, attack in zip(document["attacks"], self.attacks, strict=True):
            entry["is_flagged"] = attack.is_flagged
        return document


def true_positive_bound(epsilon: float, delta: float, false_positives: float) -> float:
    """Return the largest true positive rate of any membership test on an (epsilon, delta)-DP release.

    TPR <= e^epsilon FPR + delta, and 1 - TPR >= e^-epsilon (1 - delta - FPR) (Wasserman and Zhou 2010; Kairouz et
    al. 2015, "The Composition Theorem for Differential Privacy", ICML). Unit: the patient.

    Args:
        epsilon, delta: what the release promises each patient.
        false_positives: false positive rate of the test.
    """
    if math.isinf(epsilon):
        return 1.0
    other = 1 - math.exp(-epsilon) * (1 - delta - false_positives)
    first = math.exp(min(epsilon, 700.0)) * false_positives + delta
    return max(0.0, min(1.0, first, other))


def auroc_bound(epsilon: float, delta: float) -> float:
    """Return the largest area under the curve that `true_positive_bound` allows.

    The curve is straight from (0, delta) to the corner where both limits meet, at FPR = (1 - delta) / (1 + e^epsilon),
    from there to (1 - delta, 1), and 1 beyond.
    """
    if math.isinf(epsilon):
        return 1.0
    corner = (1 - delta) / (1 + math.exp(min(epsilon, 700.0)))
    height = true_positive_bound(epsilon, delta, corner)
    return corner * (delta + height) / 2 + (1 - delta - corner) * (height + 1) / 2 + delta
