"""Fairness: every measure by group of a sensitive column, and how far the best and the worst group are apart.

For a renderer: `FairnessEvidence` holds one `ColumnFairness` per sensitive column, which holds one `Comparison` per
measure. Draw the groups of a comparison as points with intervals on [`low`, `high`], `direction` says which way is
better; show `verdict`, and the gap with its interval. `is_flagged` colours a row; its threshold is stricter than
the interval, since many groups are compared; of distances between tables it asks for more (see `TableMeasure`).

All of it is computed from real rows without noise: it stays where the rows are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from common.evaluation.fidelity.marginals import mean_tvd
from common.evaluation.statistics.intervals import LEVEL, Estimate, Statistic, from_resamples, resampled
from common.evaluation.statistics.values import MISSING, Codes, Floats, Ints, encode, labels, numbers
from common.seeds import seed_for
from common.study.schema import Schema

Direction = Literal["lower", "higher"]

MINIMUM = 30
"""A group with fewer rows in any table or arm that a measure needs is listed, not measured."""

BINS = 4
"""Equal parts of its declared bounds that a numeric sensitive column is cut into: public, whoever the patients are."""

FLAG_LEVEL = 0.995
"""A gap is flagged where an interval of this level excludes zero: of reports with twenty comparisons of groups that do
not differ, about one in ten flags any."""

RESAMPLES = 1000
DRAWS = 60
"""Halves of a group's rows that a measure of tables is computed on."""


@dataclass(frozen=True, slots=True, eq=False)
class TableMeasure:
    """A distance between two tables; a group's value is how far it exceeds the group's own floor.

    Distances of few rows are too large, the more so the more varied a group is: its floor is what other training rows
    of the group reach at as many rows. Taking it away is right where the synthetic rows are as good as real ones; the
    same true distance adds less to a large floor. So a gap is flagged only where the plain distance, which errs the
    other way, has it too.

    Attributes:
        name, label, direction, low, high: how to read it; what is worse must be larger.
        measure: of some training rows and some synthetic rows, given by their places; None where it is not defined.
        floor: the same of some training rows and some others.
    """

    name: str
    label: str
    direction: Direction
    low: float
    high: float
    measure: Callable[[Ints, Ints], float | None]
    floor: Callable[[Ints, Ints], float | None]


@dataclass(frozen=True, slots=True, eq=False)
class PatientMeasure:
    """A measure that is a statistic of patients, each of whom has been predicted or attacked already.

    Attributes:
        name, label, direction, low, high: how to read it.
        patients: one real row per patient, with the sensitive columns.
        arm: of every patient, from 0 up, shape (patients,); a group needs enough patients in each arm.
        statistic: of the patients at some places, for `intervals.bootstrap`.
    """

    name: str
    label: str
    direction: Direction
    low: float
    high: float
    patients: pd.DataFrame
    arm: Ints
    statistic: Callable[[Ints], Statistic]


@dataclass(frozen=True, slots=True)
class GroupValue:
    """What one group got."""

    group: str
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class Comparison:
    """One measure, group by group.

    Attributes:
        name, label, direction, low, high: how to read the measure.
        groups: in the order of the column's categories or bins; groups that are too small are left out.
        best, worst: names of groups.
        gap: worst against best, from 0 up; its interval holds for all pairs of groups at once.
        is_flagged: whether an interval of `FLAG_LEVEL` excludes zero; see `TableMeasure` for what distances need more.
        verdict: one sentence.
    """

    name: str
    label: str
    direction: Direction
    low: float
    high: float
    groups: tuple[GroupValue, ...]
    best: str
    worst: str
    gap: Estimate
    is_flagged: bool
    verdict: str


@dataclass(frozen=True, slots=True)
class ColumnFairness:
    """One sensitive column: what was compared, and the groups that were too small to measure, with the reason."""

    column: str
    comparisons: tuple[Comparison, ...]
    too_small: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FairnessEvidence:
    """All sensitive columns. `minimum` is the number of rows below which a group is listed, not measured."""

    minimum: int
    columns: tuple[ColumnFairness, ...]
    verdict: str

    def as_document(self) -> dict[str, Any]:
        """The part of report.json under `fairness`; its keys are described in docs/report.md."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """One group's value, the same on resamples, and the rows it rests on."""

    value: float
    drawn: Floats
    size: int


def assess_fairness(
    train: pd.DataFrame,
    synthetic: pd.DataFrame,
    schema: Schema,
    sensitive: Sequence[str],
    measures: Sequence[TableMeasure | PatientMeasure],
    *,
    seed: int = 0,
) -> FairnessEvidence:
    """Compare the groups of every sensitive column by every measure.

    Groups are the categories of a column, or the quarters of a numeric column's declared bounds; missing is a group.

    Args:
        train, synthetic: the tables whose rows table measures refer to by place.
        sensitive: declared columns, as `[evaluation] sensitive` of a study.
        measures: see `fidelity_measures`, and `attack_measures` of the attacks.
        seed: of the resamples.
    """
    columns = tuple(_compare_column(train, synthetic, schema, name, measures, seed) for name in sensitive)
    return FairnessEvidence(MINIMUM, columns, _judge(columns))


def fidelity_measures(train: pd.DataFrame, synthetic: pd.DataFrame) -> list[TableMeasure]:
    """Total variation distance of single columns and of pairs within a group; bins are those of all training rows."""
    codes = encode(train, synthetic)

    def distance(k: int, others: Ints) -> Callable[[Ints, Ints], float | None]:
        return lambda real, drawn: mean_tvd(Codes(codes.names, codes.real[real], others[drawn], codes.sizes), k)

    return [
        TableMeasure(f"tvd{k}", label, "lower", -1.0, 1.0, distance(k, codes.synthetic), distance(k, codes.real))
        for k, label in (
            (1, "Distance of single columns beyond that of real rows"),
            (2, "Distance of pairs of columns beyond that of real rows"),
        )
    ]


def groups_of(table: pd.DataFrame, schema: Schema, name: str) -> tuple[list[str], Ints]:
    """The names of all groups of a column, missing last, and each row's group by its place among them."""
    column = schema[name]
    if (grid := column.grid) is not None:
        values, step = numbers(table[name]), grid.step
        edges = [grid.lower + (grid.upper - grid.lower) * part / BINS for part in range(BINS + 1)]
        edges = [edges[0], *(round(edge / step) * step for edge in edges[1:-1]), edges[-1]]
        unit = f" {grid.unit}" if grid.unit else ""
        texts = [f"{edge:.{grid.decimals}f}" for edge in edges]
        names = [f"{low} to below {high}{unit}" for low, high in itertools.pairwise(texts)]
        names[-1] = f"{texts[-2]} to {texts[-1]}{unit}"
        codes = np.searchsorted(np.array(edges[1:-1]) - step / 2, values, side="right")
        return [*names, "missing"], np.where(np.isnan(values), BINS, codes).astype(np.int64)
    listed = pd.Index([*labels(pd.Series(column.labels, dtype=object)), MISSING])
    return [*column.labels, "missing"], listed.get_indexer(pd.Index(labels(table[name]))).astype(np.int64)


def _compare_column(
    train: pd.DataFrame,
    synthetic: pd.DataFrame,
    schema: Schema,
    name: str,
    measures: Sequence[TableMeasure | PatientMeasure],
    seed: int,
) -> ColumnFairness:
    comparisons, small, notes = [], dict[str, None](), []
    for measure in measures:
        measure_seed = seed_for(seed, "fairness", name, measure.name)
        if isinstance(measure, TableMeasure):
            found, plain, few = _by_tables(measure, train, synthetic, schema, name, measure_seed)
        else:
            found, few = _by_patients(measure, schema, name, measure_seed)
            plain = found
        small |= dict.fromkeys(few)
        if len(found) > 1:
            comparisons.append(_compare(measure, found, plain))
        else:
            notes.append(f"{measure.label}: fewer than two groups are large enough to compare.")
    return ColumnFairness(name, tuple(comparisons), tuple(small), tuple(notes))


def _by_patients(
    measure: PatientMeasure, schema: Schema, name: str, seed: int
) -> tuple[dict[str, _Measured], list[str]]:
    names, codes = groups_of(measure.patients, schema, name)
    arms = int(measure.arm.max(initial=0)) + 1
    found, small = {}, []
    for place, group in enumerate(names):
        members = np.flatnonzero(codes == place)
        fewest = int(np.bincount(measure.arm[members], minlength=arms).min())
        if fewest < MINIMUM:
            if len(members):
                small.append(_too_small(group, fewest, "patients to judge by"))
            continue
        statistic = measure.statistic(members)
        value = float(statistic(np.ones((1, len(members))))[0])
        if math.isnan(value):
            small.append(f"{group}: {measure.label} is not defined, all its patients being alike")
            continue
        drawn = resampled(statistic, len(members), seed=seed_for(seed, group), resamples=RESAMPLES)
        found[group] = _Measured(value, drawn, len(members))
    return found, small


def _by_tables(
    measure: TableMeasure, train: pd.DataFrame, synthetic: pd.DataFrame, schema: Schema, name: str, seed: int
) -> tuple[dict[str, _Measured], dict[str, _Measured], list[str]]:
    """By group: distances beyond the group's own floor, and plain ones; and what is too small.

    Every group on as many rows: distances between tables shrink with the rows, so that a small group looks worse.
    A draw is without replacement, half as many rows as the smallest group has, of the synthetic and twice of the
    training rows, so that the floor is of two samples without a common row. Each is a sample of that size of the
    group's population, whichever group, so expectations are comparable. Draws of h from n rows differ with variance
    s^2 (1 / h - 1 / n), which is scaled to the s^2 / n of the whole group (Politis and Romano 1994, Ann. Stat. 22);
    1 / `DRAWS` is the share of that of a mean of so many draws.
    """
    names, real = groups_of(train, schema, name)
    drawn = groups_of(synthetic, schema, name)[1]
    members = {
        group: (np.flatnonzero(real == place), np.flatnonzero(drawn == place)) for place, group in enumerate(names)
    }
    small = [
        _too_small(group, min(len(ours), len(theirs)), "training rows" if len(ours) < MINIMUM else "synthetic rows")
        for group, (ours, theirs) in members.items()
        if len(ours) and min(len(ours), len(theirs)) < MINIMUM
    ]
    large = {group: rows for group, rows in members.items() if min(map(len, rows)) >= MINIMUM}
    half = min((min(map(len, rows)) for rows in large.values()), default=0) // 2
    beyond, plain = dict[str, _Measured](), dict[str, _Measured]()
    for group, (ours, theirs) in large.items():
        rng = np.random.default_rng(seed_for(seed, group))
        scores = []
        for _ in range(DRAWS):
            first, second = np.split(rng.choice(ours, 2 * half, replace=False), 2)
            pair = measure.measure(first, rng.choice(theirs, half, replace=False)), measure.floor(first, second)
            if pair[0] is not None and pair[1] is not None:
                scores.append(pair)
        values = np.array(scores, dtype=np.float64).reshape(-1, 2)
        if len(values) < 2:
            small.append(f"{group}: {measure.label} is not defined")
            continue
        rows = min(len(ours), len(theirs))
        scale = math.sqrt(half / (rows - half) + 1 / DRAWS)
        noise = rng.standard_normal(RESAMPLES)
        for into, draws in ((beyond, values[:, 0] - values[:, 1]), (plain, values[:, 0])):
            value = float(draws.mean())
            into[group] = _Measured(value, value + scale * float(draws.std(ddof=1)) * noise, rows)
    return beyond, plain, small


def _too_small(group: str, rows: int, what: str) -> str:
    return f"{group}: fewer than {MINIMUM} {what}" if rows else f"{group}: no {what}"


def _compare(
    measure: TableMeasure | PatientMeasure, found: dict[str, _Measured], plain: dict[str, _Measured]
) -> Comparison:
    """The gap between the extreme groups, with an interval that holds for all pairs of groups at once.

    The largest of several differences is never negative, so its own resamples would never hold zero. Instead the range
    of the groups' errors gives the reach of all differences together, as in Tukey's method: with probability `LEVEL`
    no difference is off by more. A gap is flagged where `plain` has it too: see `TableMeasure`.
    """
    groups = tuple(GroupValue(group, from_resamples(one.value, one.drawn, one.size)) for group, one in found.items())
    order = sorted(found, key=lambda group: found[group].value, reverse=measure.direction == "higher")
    best, worst = order[0], order[-1]
    reach, certain_reach = _reaches(found)
    gap = abs(found[best].value - found[worst].value)
    size = min(one.size for one in found.values())
    estimate = Estimate(gap, max(0.0, gap - reach), gap + reach, size)
    is_beyond = gap > certain_reach
    is_flagged = is_beyond and (plain is found or plain[worst].value - plain[best].value > _reaches(plain)[1])
    values = f"{found[worst].value:.2f} for {worst}, {found[best].value:.2f} for {best}"
    interval = f"gap {gap:.2f}, {estimate.low:.2f} to {estimate.high:.2f}"
    if is_flagged:
        verdict = f"{measure.label} differs between groups: {values} ({interval})."
    elif estimate.low > 0:
        why = "the plain distances do not say the same" if is_beyond else "not shown at the stricter level"
        verdict = f"{measure.label} may differ between groups: {values} ({interval}); {why}."
    else:
        verdict = f"{measure.label}: no difference between groups that chance does not explain ({values}; {interval})."
    return Comparison(
        name=measure.name,
        label=measure.label,
        direction=measure.direction,
        low=measure.low,
        high=measure.high,
        groups=groups,
        best=best,
        worst=worst,
        gap=estimate,
        is_flagged=is_flagged,
        verdict=verdict,
    )


def _reaches(found: dict[str, _Measured]) -> tuple[float, float]:
    """By how much differences of groups may be off, at `LEVEL` and at `FLAG_LEVEL`."""
    errors = np.stack([one.drawn - one.value for one in found.values()])
    spread = np.nanmax(errors, axis=0) - np.nanmin(errors, axis=0)
    reach, certain_reach = np.quantile(spread, [LEVEL, FLAG_LEVEL])
    return float(reach), float(certain_reach)


def _judge(columns: tuple[ColumnFairness, ...]) -> str:
    if not columns:
        return "The study declares no sensitive column, so no groups were compared."
    compared = [comparison for column in columns for comparison in column.comparisons]
    if not compared:
        return "No two groups are large enough to compare."
    flagged = [
        f"{comparison.label.lower()} by {column.column}"
        for column in columns
        for comparison in column.comparisons
        if comparison.is_flagged
    ]
    if flagged:
        return f"Groups differ in {len(flagged)} of {len(compared)} comparisons: {'; '.join(flagged)}."
    if open_ := sum(comparison.gap.low > 0 for comparison in compared):
        return f"No difference between groups is shown in {len(compared)} comparisons; in {open_} there may be one."
    return f"In none of {len(compared)} comparisons do groups differ by more than chance explains."
