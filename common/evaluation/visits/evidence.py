"""Evidence on synthetic visits: everything that their report shows, computed once and frozen.

Evidence is computed from real visits without noise. It is a disclosure of its own, outside epsilon, and it holds the
courses of single held-out patients for the page: make it in a simulation, or at a hospital for that hospital's own
eyes. `to_json` leaves these courses out.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, dataclass

import numpy as np

from common.arrays import Floats
from common.columns.value_grid import ValueGrid
from common.evaluation.statistics.handling import HANDLING
from common.evaluation.statistics.intervals import Estimate
from common.evaluation.statistics.resampling import sampled_rows
from common.evaluation.statistics.rounds_effect import RoundsEffect, effect_of
from common.evaluation.statistics.values import labels
from common.evaluation.utility.grades import Verdict
from common.evaluation.visits.analysis import VisitAnalysis
from common.evaluation.visits.coding import CodedHistories
from common.evaluation.visits.distances import gaps_of
from common.evaluation.visits.measures import VISIT_MEASURES, visit_values
from common.evaluation.visits.persistence import persistence_of
from common.evaluation.visits.verdict import judge_visits

SHOWN_PATIENTS = 20
"""Synthetic and held-out patients whose courses the page draws."""

SHOWN_MAPS = 8
"""Most columns with a map of transitions: those whose transitions differ most."""

SHOWN_COURSES = 4
"""Most numeric columns with drawn courses, in the order of the schema."""

GAP_BARS = 16
"""Bars of the histogram of gaps."""


@dataclass(frozen=True, slots=True)
class VisitMeasured:
    """The value of a measure with its interval, and what real patients reach."""

    estimate: Estimate
    reference: Estimate | None


@dataclass(frozen=True, slots=True)
class Distribution:
    """Fractions of real and synthetic patients, or steps, by a label on the axis."""

    labels: tuple[str, ...]
    real: tuple[float, ...]
    synthetic: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ColumnPersistence:
    """How much of a column's value is left at the next visit: correlation of numbers, agreement of labels."""

    column: str
    is_numeric: bool
    real: float | None
    synthetic: float | None


@dataclass(frozen=True, slots=True)
class TransitionMap:
    """Probabilities of the value at the next visit given the value at a visit, rows and columns in the order of labels.

    Attributes:
        column: the visit column.
        labels: its values; bins of a numeric column have numbers.
        real, synthetic: probabilities; a row of a value that no step starts from is 0.
        difference: total variation distance of the two tables of steps.
    """

    column: str
    labels: tuple[str, ...]
    real: tuple[tuple[float, ...], ...]
    synthetic: tuple[tuple[float, ...], ...]
    difference: float


@dataclass(frozen=True, slots=True)
class Courses:
    """A numeric column over the time since the first visit, one line of (time, value) per patient.

    `grid` says how the page shows its values; None for plain numbers.
    """

    column: str
    grid: ValueGrid | None
    real: tuple[tuple[tuple[float, float], ...], ...]
    synthetic: tuple[tuple[tuple[float, float], ...], ...]


@dataclass(frozen=True, slots=True)
class VisitEvidence:
    """What was measured about synthetic visits; a measure that the tables do not define is None.

    `rounds` is None for a run without training rounds, and `time_unit` where times are plain numbers.
    """

    target: str | None
    train_patients: int
    holdout_patients: int
    synthetic_patients: int
    train_visits: int
    synthetic_visits: int
    verdict: Verdict
    measures: dict[str, VisitMeasured | None]
    time_unit: str | None
    lengths: Distribution
    gaps: Distribution
    persistence: tuple[ColumnPersistence, ...]
    transitions: tuple[TransitionMap, ...]
    courses: tuple[Courses, ...]
    rounds: RoundsEffect | None

    def to_json(self) -> str:
        """Return the text of `report.json`: aggregates only."""
        document: dict[str, object] = {"version": 3, "kind": "visits", "handling": HANDLING} | asdict(self)
        del document["courses"]
        return json.dumps(document, indent=1, allow_nan=False) + "\n"


def assess_visits(analysis: VisitAnalysis, *, before_rounds: VisitAnalysis | None = None) -> VisitEvidence:
    """Measure synthetic visits against real ones.

    Args:
        analysis: the visits.
        before_rounds: the same of the visits that the run gives without its training rounds, where it had any.
    """
    measures: dict[str, VisitMeasured | None] = {}
    for key, measure in VISIT_MEASURES.items():
        estimate = measure.compute(analysis)
        measures[key] = None if estimate is None else VisitMeasured(estimate, measure.reference(analysis))
    real, synthetic = analysis.real, analysis.coded
    maps = [_transition_map(real, synthetic, index, name) for index, name in enumerate(analysis.layout.visit)]
    maps.sort(key=lambda transition: -transition.difference)
    return VisitEvidence(
        target=analysis.layout.target,
        train_patients=analysis.train.patients,
        holdout_patients=analysis.holdout.patients,
        synthetic_patients=analysis.synthetic.patients,
        train_visits=len(analysis.train.table),
        synthetic_visits=len(analysis.synthetic.table),
        verdict=_judge(measures),
        measures=measures,
        time_unit=analysis.layout.time_unit,
        lengths=_lengths(real, synthetic),
        gaps=_gaps(real, synthetic),
        persistence=tuple(
            ColumnPersistence(name, index in real.numbers, _known(real, index), _known(synthetic, index))
            for index, name in enumerate(analysis.layout.visit)
        ),
        transitions=tuple(maps[:SHOWN_MAPS]),
        courses=tuple(_courses(analysis, index) for index in list(real.numbers)[:SHOWN_COURSES]),
        rounds=None if before_rounds is None else _effect(before_rounds, measures),
    )


def _effect(before_rounds: VisitAnalysis, measures: dict[str, VisitMeasured | None]) -> RoundsEffect:
    after = {key: None if measured is None else measured.estimate for key, measured in measures.items()}
    return effect_of(visit_values(before_rounds), after, VISIT_MEASURES)


def _judge(measures: dict[str, VisitMeasured | None]) -> Verdict:
    values = {key: None if measured is None else measured.estimate.value for key, measured in measures.items()}
    references = {
        key: None if measured is None or measured.reference is None else measured.reference.value
        for key, measured in measures.items()
    }
    return judge_visits(values, references)


def _lengths(real: CodedHistories, synthetic: CodedHistories) -> Distribution:
    longest = int(max(real.histories.lengths.max(), synthetic.histories.lengths.max()))
    fractions = [
        np.bincount(side.histories.lengths, minlength=longest + 1)[1:] / side.histories.patients
        for side in (real, synthetic)
    ]
    return Distribution(tuple(map(str, range(1, longest + 1))), *(tuple(map(float, row)) for row in fractions))


def _gaps(real: CodedHistories, synthetic: CodedHistories) -> Distribution:
    """Return the fractions of steps by the time to the next visit, up to the 99 % quantile of real gaps."""
    gaps = [gaps_of(real), gaps_of(synthetic)]
    if not len(gaps[0]):
        return Distribution((), (), ())
    edges = np.linspace(min(0.0, float(gaps[0].min())), max(float(np.quantile(gaps[0], 0.99)), 1.0), GAP_BARS + 1)
    fractions = [np.histogram(np.clip(own, edges[0], edges[-1]), edges)[0] / max(len(own), 1) for own in gaps]
    texts = tuple(f"{low:.4g} to {high:.4g}" for low, high in itertools.pairwise(edges))
    return Distribution(texts, *(tuple(map(float, row)) for row in fractions))


def _known(side: CodedHistories, column: int) -> float | None:
    value = float(persistence_of(side, column)[0])
    return None if np.isnan(value) else value


def _transition_map(real: CodedHistories, synthetic: CodedHistories, column: int, name: str) -> TransitionMap:
    """Return the transitions of a visit column.

    Args:
        real, synthetic: the patients.
        column: index of the column.
        name: its name.
    """
    size = real.visit_sizes[column]
    names = [f"bin {code}" if code else "missing" for code in range(size)]
    if column not in real.numbers:
        for side in (synthetic, real):
            for code, label in zip(side.visit[:, column], labels(side.histories.table[name]), strict=True):
                names[code] = label
    tables = [_steps(side, column, size) for side in (real, synthetic)]
    is_seen = sum(table.sum(axis=0) + table.sum(axis=1) for table in tables) > 0
    kept = np.flatnonzero(is_seen)
    rows = [_given(table[np.ix_(kept, kept)]) for table in tables]
    difference = 0.5 * float(np.abs(tables[0] - tables[1]).sum())
    return TransitionMap(name, tuple(names[code] for code in kept), rows[0], rows[1], difference)


def _steps(side: CodedHistories, column: int, size: int) -> Floats:
    """Return the weight of every step from a code to a code, shape (size, size), which sums to 1."""
    units = side.by_transition
    cells = side.visit[units.rows, column] * size + side.visit[units.rows + 1, column]
    weights = np.bincount(cells, units.draws[:, 0], minlength=size * size).reshape(size, size)
    return np.asarray(weights / max(weights.sum(), 1e-12))


def _given(table: Floats) -> tuple[tuple[float, ...], ...]:
    total = table.sum(axis=1, keepdims=True)
    given = np.divide(table, total, out=np.zeros_like(table), where=total > 0)
    return tuple(tuple(round(float(cell), 4) for cell in row) for row in given)


def _courses(analysis: VisitAnalysis, column: int) -> Courses:
    layout = analysis.layout
    name = layout.visit[column]
    return Courses(name, layout.grids.get(name), _lines(analysis.unseen, column), _lines(analysis.coded, column))


def _lines(side: CodedHistories, column: int) -> tuple[tuple[tuple[float, float], ...], ...]:
    """Return the known values of a column over time for a fixed random sample of the patients."""
    histories = side.histories
    lines = []
    for patient in sampled_rows(histories.patients, SHOWN_PATIENTS, "courses"):
        rows = slice(histories.starts[patient], histories.starts[patient + 1])
        times, values = histories.times[rows] - histories.times[rows.start], side.numbers[column][rows]
        points = zip(times.tolist(), values.tolist(), strict=True)
        lines.append(tuple((time, value) for time, value in points if not np.isnan(value)))
    return tuple(lines)
