"""The phases of a run, in one table: with its name, query, answer, budget weight and consent sentence.

To add a vector of counts, add one entry to `PHASES`. Plan, consent, policy, gate, ledger, run loop and audit iterate
over the table or look a phase up in it by name; none of them lists the phases itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from itertools import combinations

import numpy as np

from common.arrays import Integers
from common.errors import WireError
from common.marginals.evidence import Evidence
from common.marginals.measurements import LEAST_DEVIATION, Measurements, PhaseTables
from common.marginals.queries import NESTED, Query, single_queries
from common.marginals.released import ReleasedMarginals
from common.marginals.vote_scores import choose_sets
from common.marginals.votes import MOST_CANDIDATES
from common.planning.classes import ClassesPhase, measured_classes
from common.planning.evaluation import EVALUATION_WEIGHT, EvaluationPhase
from common.planning.images import MEANS_PHASE, MOMENTS_PHASE
from common.planning.phase_types import (
    Draw,
    HistogramsPhase,
    Phase,
    Records,
    Shape,
    TrainingPhase,
    VectorPhase,
)
from common.planning.plan import CLASSES, EVALUATION, IMAGE_MEANS, IMAGE_MOMENTS, ROUNDS, VOTES, Plan, PlannedVector
from common.planning.public_run import HISTOGRAMS, PublicRun
from common.planning.selection import Choosing, choose_pairs, choose_triples, choose_triples_again, survival_triples
from common.planning.sizing import (
    COARSE_TRIPLE_GROUPS,
    Outlook,
    TableCount,
    coarse_groups,
    count_coarse,
    count_pairs,
    count_triples,
    count_triples_again,
)
from common.planning.tables_phase import Choice, TablesPhase
from common.planning.transitions import (
    CROSS_TRANSITIONS,
    TRANSITIONS,
    TransitionsPhase,
    cross_columns,
    measured_steps,
    same_columns,
)
from common.planning.usual_weights import (
    CLASSES_WEIGHT,
    CROSS_TRANSITIONS_WEIGHT,
    TRANSITIONS_WEIGHT,
    VOTES_WEIGHT,
    round_weight,
    usual_weight_of,
)
from common.planning.votes import VotesPhase, released_votes
from common.study.study import Study

__all__ = [
    "CLASSES", "COARSE", "COARSE_TRIPLES", "CROSS_TRANSITIONS", "EVALUATION", "HISTOGRAMS", "IMAGE_MEANS",
    "IMAGE_MOMENTS",
    "PAIRS",
    "PHASES",
    "ROUNDS",
    "TRANSITIONS",
    "TRIPLES",
    "VOTES",
    "Draw",
    "Outlook",
    "Phase",
    "PublicRun",
    "Records",
    "Shape",
    "TableCount",
    "TablesPhase",
    "TrainingPhase",
    "VectorPhase",
    "measurements_of",
    "phases_of",
    "read_public",
    "training_phase",
    "vector_phase",
]  # fmt: skip

COARSE, PAIRS, COARSE_TRIPLES, TRIPLES = "coarse", "pairs", "coarse-triples", "triples"


def _choosing(choose: Callable[[Choosing], tuple[Query, ...]], *, by_votes: bool = False) -> Choice:
    """Return how the coordinator chooses the tables of a phase, from what was released before it."""

    def by_released(public: PublicRun, planned: PlannedVector, draw: Draw) -> tuple[Query, ...]:
        measurements = measurements_of(public)
        assert measurements is not None, "single columns come before what they decide"
        target = public.study.table.names.index(public.study.evaluation.target)
        sigma = max(public.plan.total_deviation(planned.name), LEAST_DEVIATION)
        precision = planned.for_tables * (measurements.total / sigma) ** 2
        votes = released_votes(public, draw) if by_votes else None
        voted = tuple(scored.columns for scored in choose_sets(votes, planned.tables)) if votes else ()
        declared = survival_triples(public.study)
        return choose(Choosing(Evidence.of(measurements), target, planned, precision, voted, declared))

    return by_released


def coarse_pairs(study: Study, tables: int) -> tuple[tuple[int, ...], ...]:
    """Return the indices of the columns of every coarse pair: all pairs if there are `tables` of them, else those with
    the target.
    """
    every = tuple(combinations(range(len(study.table.names)), 2))
    if tables == len(every):
        return every
    target = study.table.names.index(study.evaluation.target)
    return tuple(pair for pair in every if target in pair)


PHASES: dict[str, Phase] = {
    phase.name: phase
    for phase in (
        HistogramsPhase(
            name=HISTOGRAMS,
            title="histograms",
            budget_key="histograms",
            usual_weight=usual_weight_of("histograms"),
            counted="noisy counts of {unit}s by value of every column, of numbers in wide and narrow ranges: a "
            "{unit} adds at most {tables} to all of them together",
        ),
        TablesPhase(
            name=COARSE,
            title="pairs of columns in groups",
            budget_key="coarse",
            usual_weight=usual_weight_of("coarse"),
            counted="noisy counts of {unit}s by {pairs} in {groups}: {tables} tables",
            sizing=count_coarse,
            groups=coarse_groups,
            arity=2,
            fixed=coarse_pairs,
        ),
        TablesPhase(
            name=PAIRS,
            title="pairs of columns again",
            budget_key="pairs",
            usual_weight=usual_weight_of("pairs"),
            counted="noisy counts of {unit}s by two columns in {groups}: up to {tables} tables, which the "
            "coordinator chooses",
            sizing=count_pairs,
            groups=lambda study, outlook: max(NESTED),
            arity=2,
            choose=_choosing(choose_pairs),
        ),
        VotesPhase(
            name=VOTES,
            title="votes for rows of the model",
            budget_key="votes",
            usual_weight=lambda study, ratio: VOTES_WEIGHT,
            counted=f"noisy counts of {{unit}}s by which of up to {MOST_CANDIDATES} rows that the coordinator made up "
            "is most like them: a {unit} is in one of them",
        ),
        TablesPhase(
            name=COARSE_TRIPLES,
            title="{sets} in groups",
            budget_key="coarse_triples",
            usual_weight=usual_weight_of("coarse_triples"),
            counted="noisy counts of {unit}s by {sets} in {groups}: up to {tables} tables, which "
            "the coordinator chooses",
            sizing=count_triples,
            groups=lambda study, outlook: COARSE_TRIPLE_GROUPS,
            arity=3,
            choose=_choosing(choose_triples, by_votes=True),
        ),
        TablesPhase(
            name=TRIPLES,
            title="{sets} again",
            budget_key="triples",
            usual_weight=usual_weight_of("triples"),
            counted="noisy counts of {unit}s by {sets} in {groups}: up to {tables} tables, which "
            "the coordinator chooses",
            sizing=count_triples_again,
            groups=lambda study, outlook: max(NESTED),
            arity=3,
            choose=_choosing(choose_triples_again),
        ),
        TransitionsPhase(
            name=TRANSITIONS,
            title="columns at a visit and the next",
            budget_key="transitions",
            usual_weight=lambda study, ratio: TRANSITIONS_WEIGHT,
            counted="noisy counts of {unit}s by every column at a visit and at the next, in {groups}: {tables} tables, "
            "in which the steps of a {unit} from visit to visit together weigh as much as one {unit}",
            pairs=same_columns,
            groups=max(NESTED),
        ),
        TransitionsPhase(
            name=CROSS_TRANSITIONS,
            title="columns at a visit and others at the next",
            budget_key="cross_transitions",
            usual_weight=lambda study, ratio: CROSS_TRANSITIONS_WEIGHT,
            counted="noisy counts of {unit}s by every column at a visit and every other one at the next, in {groups}: "
            "{tables} tables, weighed likewise",
            pairs=cross_columns,
            groups=min(NESTED),
        ),
        MEANS_PHASE,
        MOMENTS_PHASE,
        ClassesPhase(
            name=CLASSES,
            title="encoder round",
            budget_key="classes",
            usual_weight=lambda study, ratio: CLASSES_WEIGHT,
            counted="noisy counts of {unit}s by latent class and column",
        ),
        TrainingPhase(name=ROUNDS, title="training round", budget_key="adversary", usual_weight=round_weight),
        EvaluationPhase(
            name=EVALUATION,
            title="evaluation on held-out patients",
            budget_key="evaluation",
            usual_weight=lambda study, ratio: EVALUATION_WEIGHT,
            counted="when the synthetic rows exist, noisy counts of the {unit}s that were held out and trained "
            "nothing:",
        ),
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
        shape = vector_phase(name).shape(public, vector.asked)
        planned = public.planned(name)
        if shape.squared_sensitivity > planned.squared_sensitivity * planned.rounds:
            raise WireError(f"the released sums hold more tables of the phase '{name}' than planned")
        if len(vector.counts) != shape.length:
            raise WireError(f"the released sums of phase '{name}' are not as long as their tables")
    return public


def measurements_of(public: PublicRun) -> Measurements | None:
    """Return the noisy tables released so far, single columns first; None for a study that fits none."""
    if not public.study.synthesizer.counts_marginals or HISTOGRAMS not in public.released.vectors:
        return None
    encoder = public.encoder
    counted = [PhaseTables(HISTOGRAMS, single_queries(len(encoder.sizes)), encoder.deviations)]
    sums = [np.rint(np.concatenate(encoder.masses)).astype(np.int64)]
    for name, vector in public.released.vectors.items():
        queries = vector_phase(name).queries(public, vector.asked)
        if queries:
            counted.append(PhaseTables.counted(name, queries, public.plan.total_deviation(name)))
            sums.append(vector.counts)
    measurements = Measurements.of_phases(public.domain, counted, np.concatenate(sums))
    transitions = [phase for phase in PHASES.values() if isinstance(phase, TransitionsPhase)]
    return replace(measurements, steps=measured_steps(public, transitions), classes=measured_classes(public))
