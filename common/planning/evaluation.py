"""The phase of private evaluation: held-out patients are counted once the synthetic rows exist.

From the noisy sum of one vector the coordinator learns how far the synthetic table is from patients that trained
nothing, and how well a classifier that was trained on synthetic rows predicts them (`common.evaluation.private`).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from common.arrays import Floats, Integers
from common.errors import WireError
from common.marginals import classifier
from common.marginals.queries import Query, count, split
from common.marginals.released import Asked
from common.planning.phase_types import Draw, Records, Shape, VectorPhase, require_no_candidates
from common.planning.plan import EVALUATION, HospitalPlan, Plan, PlannedVector
from common.planning.public_run import PublicRun
from common.planning.sizing import LargestTable, Outlook, merged_codes
from common.study.study import Study

EVALUATION_WEIGHT = 0.1
"""Usual weight of the phase beside the counted tables, whose usual weights sum to 1."""

SINGLE_GROUPS, PAIR_GROUPS = 8, 4
"""Groups of a column in the tables of one and of two columns. Finer tables would show noise and little else."""

MOST_PAIRS = 24
"""Tables of two columns. They estimate the mean over all pairs; more of them would make every count less precise."""

MOST_ROWS = 50_000
"""Rows that the classifier is trained on."""

MOST_HIDDEN = 0.25
"""Distance that noise alone feigns, above which tables of one or two columns are not counted: half of the absolute
noise of all cells of a table, over the patients. The predictions then get the whole part of the budget."""


@dataclass(frozen=True, slots=True)
class EvaluationTables:
    """The tables of held-out patients: of one column each, of two, and true against predicted classes.

    Attributes:
        singles, pairs: tables of columns, of weight 1; none where noise would hide what they show.
        weight: factor on the counts of true against predicted classes, which gives them a third of the squared
            sensitivity where there are other tables.
    """

    singles: tuple[Query, ...]
    pairs: tuple[Query, ...]
    weight: int

    @classmethod
    def choices(cls, study: Study) -> tuple[EvaluationTables, ...]:
        """Return what a run of the study may count, most first: all, no pairs, or predictions alone.

        Schema and seed decide which pairs, and no record does.
        """
        width = len(study.table.names)
        every = sorted(combinations(range(width), 2), key=lambda pair: _mark(study.seed, pair))
        singles = tuple(Query((column,), SINGLE_GROUPS) for column in range(width))
        pairs = tuple(Query(pair, PAIR_GROUPS) for pair in sorted(every[:MOST_PAIRS]))
        subsets = ((singles, pairs), (singles, ()), ((), ()))
        return tuple(cls(*chosen, max(1, round(math.sqrt(sum(map(len, chosen)) / 2)))) for chosen in subsets)

    @classmethod
    def planned(cls, study: Study, signal_to_noise: float) -> EvaluationTables:
        """Return the most that noise does not hide at this signal-to-noise ratio."""
        every = cls.choices(study)
        return next((tables for tables in every if tables.hidden(study, signal_to_noise) <= MOST_HIDDEN), every[-1])

    @classmethod
    def of(cls, study: Study, vector: PlannedVector) -> EvaluationTables:
        """Return the tables of a planned vector.

        Raises:
            WireError: no choice of the study has that many tables.
        """
        for tables in cls.choices(study):
            if tables.count == vector.tables:
                return tables
        raise WireError("the plan has an evaluation of other tables than its study")

    def hidden(self, study: Study, signal_to_noise: float) -> float:
        """Return the distance that noise feigns in the largest tables of columns; 0 where there are none.

            sqrt(2 / pi) cells / 2 sqrt(c / b) / (r h / (1 - h))

        c = squared sensitivity, b = the phase's usual part of the budget, r = signal-to-noise ratio, and h = fraction
        of patients that is held out.
        """
        cells = PAIR_GROUPS**2 if self.pairs else SINGLE_GROUPS if self.singles else 0
        part = EVALUATION_WEIGHT / (1 + EVALUATION_WEIGHT)
        held_out = study.evaluation.holdout_fraction / (1 - study.evaluation.holdout_fraction)
        noise = math.sqrt(self.squared_sensitivity / part) / (signal_to_noise * held_out)
        return math.sqrt(2 / math.pi) * cells / 2 * noise

    @property
    def count(self) -> int:
        """Number of tables, with that of predictions."""
        return len(self.queries) + 1

    @property
    def queries(self) -> tuple[Query, ...]:
        return self.singles + self.pairs

    @property
    def squared_sensitivity(self) -> int:
        """A patient adds one to one cell of each table, and `weight` to one cell of the last."""
        return len(self.queries) + self.weight**2


def _mark(seed: int, pair: tuple[int, int]) -> bytes:
    """Return what pairs are ordered by: a hash, which is the same on every machine."""
    return hashlib.sha256(f"{seed} {pair[0]} {pair[1]}".encode()).digest()


@dataclass(frozen=True, kw_only=True)
class EvaluationPhase(VectorPhase):
    """Counts of held-out patients, and the classes that the coordinator's classifier gives them.

    Sensitivity: the unit is the patient, and neighboring tables differ by adding or removing one. Which patients are
    held out depends on the hospital's key and on each patient alone (`common.tables.patients`), so one patient more
    changes no other's side. If that patient is held out, one cell of each of T tables changes by 1 and one cell of the
    last by m, whatever the classifier's weights are (`common.marginals.classifier`): |v|^2 = T + m^2, and no entry
    exceeds m. If the patient trains, nothing changes. The noise and its proof are those of `DiscreteGaussianVector`,
    or of `DistributedGaussianVector` under masks.

    Composition: sequential. A patient is in the counts of training patients or in these, never in both, so a run's
    true cost is the larger of the two. It is charged as their sum all the same: in another study with another
    fraction, a patient who is held out here may train, and the ledger's events do not say whose they are.
    """

    def planned(self, study: Study, outlook: Outlook) -> PlannedVector | None:
        if not study.evaluation.private:
            return None
        tables = EvaluationTables.planned(study, outlook.signal_to_noise)
        return PlannedVector(self.name, tables.count, SINGLE_GROUPS, tables.squared_sensitivity, tables.weight)

    def largest(self, study: Study, plan: Plan, planned: PlannedVector) -> list[LargestTable]:
        columns = list(study.table.each())

        def cells(query: Query) -> LargestTable:
            chosen = [columns[column] for column in query.columns]
            sizes = (merged_codes(column.max_codes(plan.bins), column, query.groups) for column in chosen)
            return math.prod(sizes), tuple(column.name for column in chosen)

        target = study.table[study.evaluation.target]
        classes = merged_codes(target.max_codes(plan.bins), target, classifier.GROUPS)
        return [*map(cells, EvaluationTables.of(study, planned).queries), (classes**2, (target.name,))]

    def ask(self, public: PublicRun, draw: Draw) -> Asked:
        rows = draw(public, min(MOST_ROWS, public.study.pooled_rows))
        return Asked(weights=classifier.fit_classifier(rows, public.domain, target_of(public.study)).ravel())

    def shape(self, public: PublicRun, asked: Asked) -> Shape:
        tables = EvaluationTables.of(public.study, public.planned(self.name))
        self._weights(public, asked)
        classes = classifier.class_count(public.domain, target_of(public.study))
        length = public.domain.cells(tables.queries) + classes**2
        return Shape(length, tables.squared_sensitivity, tables.weight)

    def answer(self, public: PublicRun, asked: Asked, records: Records) -> Integers:
        return count_held_out(public, self._weights(public, asked), records)

    def sentences(self, study: Study, plan: Plan, hospital: HospitalPlan) -> list[str]:
        """Return what is counted, of whom, and how precisely."""
        vector, unit = plan.vector(self.name), study.privacy.unit
        assert vector is not None, "a phase of the plan"
        tables = EvaluationTables.of(study, vector)
        if plan.honest_hospitals:
            noise, start = plan.total_deviation(self.name), "- under masks, "
        else:
            noise, start = plan.sigma(hospital, self.name), "- "
        parts = [f"by one column ({len(tables.singles)} tables)"] if tables.singles else []
        parts += [f"by two columns ({len(tables.pairs)} tables)"] if tables.pairs else []
        parts.append("by what a classifier that the coordinator sends predicts beside what is true")
        listed = ", and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
        off = f"each count is off by about {noise:.3g} {unit}s"
        if tables.weight > 1:
            off += f", those of the classifier by about {noise / tables.weight:.3g}"
        return [
            f"{start}{self.counted.format(unit=unit)} {listed}; {off}. This is charged beside the rest, as "
            f"if every {unit} were in both"
        ]

    def _weights(self, public: PublicRun, asked: Asked) -> Integers:
        """Return the classifier of a request, checked."""
        require_no_candidates(asked)
        if len(asked.columns):
            raise WireError("the tables of this phase follow from the schema; the request must name no columns")
        return classifier.read_classifier(asked.weights, public.domain, target_of(public.study))


def target_of(study: Study) -> int:
    """Return the number of the column to predict."""
    return study.table.names.index(study.evaluation.target)


def count_held_out(public: PublicRun, weights: Integers, records: Records) -> Integers:
    """Return the exact counts of held-out patients, int64; see `EvaluationPhase`. They must not leave without noise.

    Args:
        public: the run, with its released histograms.
        weights: of the classifier, (classes, features).
        records: the hospital's records.
    """
    tables = EvaluationTables.of(public.study, public.planned(EVALUATION))
    domain, target = public.domain, target_of(public.study)
    codes = records.held_out(public)
    predicted = tables.weight * classifier.confusion(codes, weights, domain, target)
    return np.concatenate([count(codes, tables.queries, domain), predicted.ravel()])


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutCounts:
    """The released sums of a run's held-out patients, table by table, in patients.

    Attributes:
        tables: which they are.
        singles, pairs: noisy counts of each table.
        confusion: noisy counts of true (first axis) against predicted classes.
        deviation: standard deviation of the noise of a count in `singles` and `pairs`. Where a hospital dropped out,
            the noise is less than that.
    """

    tables: EvaluationTables
    singles: tuple[Integers, ...]
    pairs: tuple[Integers, ...]
    confusion: Floats
    deviation: float

    @property
    def confusion_deviation(self) -> float:
        """Standard deviation of the noise of a count in `confusion`."""
        return self.deviation / self.tables.weight


def released_evaluation(public: PublicRun) -> HeldOutCounts | None:
    """Return the counts of held-out patients that a run released; None for a run without."""
    released = public.released.vectors.get(EVALUATION)
    if released is None:
        return None
    tables, domain = EvaluationTables.of(public.study, public.planned(EVALUATION)), public.domain
    end = domain.cells(tables.queries)
    parts = split(released.counts[:end], tables.queries, domain) if tables.queries else []
    classes = classifier.class_count(domain, target_of(public.study))
    return HeldOutCounts(
        tables,
        tuple(parts[: len(tables.singles)]),
        tuple(parts[len(tables.singles) :]),
        released.counts[end:].reshape(classes, classes) / tables.weight,
        public.plan.total_deviation(EVALUATION),
    )
