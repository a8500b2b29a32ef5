"""The phases of a run, in one table: with its name, query, answer, budget weight and consent sentence.

To add a vector of counts, add one entry to `PHASES`. Plan, consent, policy, gate, ledger, run loop and audit iterate
over the table or look a phase up in it by name; none of them lists the phases itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial

import numpy as np

from common.arrays import Integers
from common.errors import WireError
from common.marginals.measurements import Measurements, PhaseTables
from common.marginals.queries import Query, coarse_queries, single_queries
from common.marginals.released import ReleasedMarginals
from common.marginals.selection import choose_pairs, choose_triples
from common.planning.phase_types import (
    HistogramsPhase,
    Phase,
    Records,
    Shape,
    TablesPhase,
    TrainingPhase,
    VectorPhase,
)
from common.planning.plan import ROUNDS, Plan, PlannedVector
from common.planning.public_run import HISTOGRAMS, PublicRun
from common.planning.sizing import (
    COARSE_GROUPS,
    TRIPLE_GROUPS,
    Outlook,
    TableCount,
    count_coarse,
    count_pairs,
    count_singles,
    count_triples,
    counts_coarse_pairs,
)
from common.study.study import Study

__all__ = [
    "COARSE", "HISTOGRAMS", "PAIRS", "PHASES", "ROUNDS", "SINGLES", "TRIPLES",
    "Outlook", "Phase", "PublicRun", "Records", "Shape", "TableCount", "TablesPhase", "TrainingPhase", "VectorPhase",
    "measurements_of", "phases_of", "read_public", "training_phase", "vector_phase",
]  # fmt: skip

COARSE, SINGLES, PAIRS, TRIPLES = "coarse", "singles", "pairs", "triples"

HISTOGRAM_WEIGHT, COARSE_WEIGHT, PAIR_WEIGHT, TRIPLE_WEIGHT, ROUND_WEIGHT = 0.15, 0.40, 0.45, 0.30, 0.15
"""Usual budget weights; what a run does not have goes to its other phases in proportion."""

SINGLES_ALONE, SINGLES_BESIDE = 0.85, 0.15
"""Usual weights of single columns without coarse pairs, and beside them."""


def _always(weight: float) -> Callable[[Study], float]:
    return lambda study: weight


def _singles_weight(study: Study) -> float:
    return SINGLES_BESIDE if counts_coarse_pairs(study) else study.budget.weight_of(COARSE, SINGLES_ALONE)


def _round_weight(study: Study) -> float:
    """Return the weight of DP-SGD; in the plain DP-GAN, everything but the bin edges."""
    is_plain = not study.synthesizer.counts_marginals and not study.budget.is_fixed
    return 1 - HISTOGRAM_WEIGHT if is_plain else ROUND_WEIGHT


def _coarse_measurements(public: PublicRun) -> Measurements:
    """Return the measurements of the coarse phase alone, which later phases are chosen by."""
    measurements = measurements_of(public, phases=(COARSE,))
    assert measurements is not None, "the coarse phase comes before the phases that it decides"
    return measurements


def _choose_pairs(public: PublicRun, planned: PlannedVector) -> tuple[Query, ...]:
    names, evaluation = public.study.table.names, public.study.evaluation
    always = [names.index(name) for name in (evaluation.target, *evaluation.sensitive)]
    return choose_pairs(_coarse_measurements(public), always, planned.max_changed_cells)


def _choose_triples(public: PublicRun, planned: PlannedVector) -> tuple[Query, ...]:
    target = public.study.table.names.index(public.study.evaluation.target)
    return choose_triples(_coarse_measurements(public), target, planned.max_changed_cells, planned.groups)


PHASES: dict[str, Phase] = {
    phase.name: phase
    for phase in (
        HistogramsPhase(
            name=HISTOGRAMS,
            title="histograms",
            budget_key="histograms",
            usual_weight=_always(HISTOGRAM_WEIGHT),
            counted="noisy counts of patients by range of value of every numeric column, in wide and narrow ranges: a "
            "patient is in at most {max_changed_cells} of them",
        ),
        TablesPhase(
            name=COARSE,
            title="all pairs of columns in groups",
            budget_key="coarse",
            usual_weight=_always(COARSE_WEIGHT),
            counted="noisy counts of patients by value of every column, and of every two columns in {groups} groups "
            "each: {max_changed_cells} tables",
            sizing=count_coarse,
            groups=COARSE_GROUPS,
            arity=2,
            fixed=coarse_queries,
            has_singles=True,
        ),
        TablesPhase(
            name=SINGLES,
            title="single columns",
            budget_key="singles",
            usual_weight=_singles_weight,
            counted="noisy counts of patients by value, for each of {max_changed_cells} columns",
            sizing=count_singles,
            arity=1,
            fixed=lambda width, groups: single_queries(width),
            has_singles=True,
        ),
        TablesPhase(
            name=PAIRS,
            title="pairs of columns in full",
            budget_key="pairs",
            usual_weight=_always(PAIR_WEIGHT),
            counted="noisy counts of patients by the values of two columns, in full: up to {max_changed_cells} tables, "
            "which the coordinator chooses",
            sizing=partial(count_pairs, proportion=PAIR_WEIGHT / (HISTOGRAM_WEIGHT + COARSE_WEIGHT + PAIR_WEIGHT)),
            arity=2,
            choose=_choose_pairs,
        ),
        TablesPhase(
            name=TRIPLES,
            title="triples of columns in groups",
            budget_key="triples",
            usual_weight=_always(TRIPLE_WEIGHT),
            counted="noisy counts of patients by three columns in {groups} groups each: up to {max_changed_cells} "
            "tables, which the coordinator chooses",
            sizing=count_triples,
            groups=TRIPLE_GROUPS,
            arity=3,
            choose=_choose_triples,
        ),
        TrainingPhase(name=ROUNDS, title="training round", budget_key="adversary", usual_weight=_round_weight),
    )
}
"""Every phase that a run may have, in the order of a run, by the name that plans and policies use."""


def vector_phase(name: str) -> VectorPhase:
    """Return the vector phase of that name.

    Raises:
        WireError: there is no such phase.
    """
    phase = PHASES.get(name)
    if not isinstance(phase, VectorPhase):
        raise WireError(f"there is no vector phase '{name}'")
    return phase


def training_phase() -> TrainingPhase:
    """Return the phase of rounds."""
    phase = PHASES[ROUNDS]
    assert isinstance(phase, TrainingPhase), "the table says so"
    return phase


def phases_of(plan: Plan) -> tuple[Phase, ...]:
    """Return the phases of a run, in order."""
    return tuple(PHASES[name] for name in plan.phases)


def read_public(study: Study, plan: Plan, arrays: Mapping[str, Integers], needed: Collection[str]) -> PublicRun:
    """Return the run with the released sums of a request or a file, checked against study and plan.

    Args:
        study: the study of the run.
        plan: plan of the study.
        arrays: released sums by name, as `ReleasedMarginals.arrays` gives them.
        needed: the phases whose sums must be there, and no others; phases that the plan does not have are left out.

    Raises:
        WireError: a phase is missing or unexpected, or its sums are not those of the tables that the plan allows.
    """
    names = [planned.name for planned in plan.vectors if planned.name in needed]
    public = PublicRun(study, plan, ReleasedMarginals.from_arrays(arrays, names))
    for name, vector in public.released.vectors.items():  # histograms first: without them there is no encoder
        shape = vector_phase(name).shape(public, vector.columns)
        if shape.max_changed_cells > public.planned(name).max_changed_cells:
            raise WireError(f"the released sums hold more tables of the phase '{name}' than planned")
        if len(vector.counts) != shape.length:
            raise WireError(f"the released sums of phase '{name}' are not as long as their tables")
    return public


def measurements_of(public: PublicRun, *, phases: Collection[str] | None = None) -> Measurements | None:
    """Return the noisy tables released so far, or None where there are none.

    Args:
        phases: take the tables of these phases alone.
    """
    counted, sums = [], []
    for name, vector in public.released.vectors.items():
        queries = vector_phase(name).queries(public, vector.columns)
        if queries and (phases is None or name in phases):
            counted.append(PhaseTables(name, queries, public.plan.total_deviation(name)))
            sums.append(vector.counts)
    return Measurements.of_phases(public.domain, counted, np.concatenate(sums)) if counted else None
