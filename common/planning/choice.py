"""What a run of a study does, and the figures that decided it: public facts only, before any record is read.

The *signal-to-noise ratio* decides: patients over the noise of one count that spends the whole budget.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from common.errors import StudyError
from common.planning.calibration import NoiseSharing, spend_all
from common.planning.capacity import discriminator_parameters
from common.planning.class_rounds import ClassRoundsChoice, choose_class_rounds
from common.planning.phases import HISTOGRAMS, PHASES, ROUNDS, VectorPhase, vector_phase
from common.planning.plan import PlannedVector
from common.planning.sizing import MIN_CELLS, Outlook, TableCount, VotesChoice, choose_cells, choose_votes, usual_bins
from common.study.study import Study
from common.study.synthesizers import AdversarialSettings

DEFAULT_ROUNDS = 15
"""Rounds where there is an adversary and the study does not say how many."""

ADVERSARY_FROM = 30_000.0
"""Signal-to-noise ratio from which adversarial rounds get a part of the budget. Above it they find dependence that no
table of three columns shows, at no measurable cost on real tables; at half of it they find little and pairs get worse.
See docs/adversary.md."""


class RoundsReason(StrEnum):
    """Why a run has the rounds that it has."""

    STUDY = "study"
    """The study says how many."""
    ONLY_TRAINING = "only-training"
    """There are no marginals to fit, so training is all there is."""
    SIGNAL = "signal"
    """The signal-to-noise ratio of training reaches `ADVERSARY_FROM`."""
    NOISE = "noise"
    """It does not, so there are none."""
    PLACEBO = "placebo"
    """The discriminator reads whole histories. In trials it did no better than one that saw no patient."""
    ENCODER = "encoder"
    """Rounds are of counts by latent class, see `Choice.classes`; none are of DP-SGD."""
    FIT_ONLY = "fit-only"
    """The synthesizer is fitted to marginals and does not train in rounds."""


@dataclass(frozen=True, slots=True)
class TrainingChoice:
    """How a run trains.

    Attributes:
        rounds: rounds of DP-SGD; 0 for a run of counts alone.
        steps: DP-SGD steps in each round.
        reason: why there are this many rounds.
        signal_to_noise: the ratio that decided, under the noise that protects what a round releases; infinite without
            noise.
        is_own_noise: whether each hospital's own noise protects its rounds although that of counts is shared.
        is_synchronous: whether all hospitals take each step together, under masks and shared noise.
        parameters: upper bound on the number of discriminator parameters.
        reads_histories: whether the discriminator reads whole histories of visits.
    """

    rounds: int
    steps: int
    reason: RoundsReason
    signal_to_noise: float
    is_own_noise: bool
    is_synchronous: bool
    parameters: int
    reads_histories: bool = False


@dataclass(frozen=True, slots=True)
class SharedNoise:
    """The assumptions under which hospitals share the noise of sums.

    Attributes:
        hospitals: number of hospitals in the study.
        honest: how many of them are in every sum and keep their noise secret.
        dropouts: how many may drop out.
        colluders: how many may reveal their noise to the coordinator.
        retries: how many failed phases may be tried again.
    """

    hospitals: int
    honest: int
    dropouts: int
    colluders: int
    retries: int

    @property
    def price(self) -> float:
        """The variance of a sum with all hospitals, over that of a trusted curator's noise."""
        return self.hospitals / self.honest


@dataclass(frozen=True, slots=True)
class Choice:
    """What a run does, and why.

    Attributes:
        rows: declared training patients of all hospitals.
        hospitals: number of hospitals.
        signal_to_noise: declared training patients divided by the noise of one count that spends the whole budget,
            over all hospitals; infinite without noise.
        cells: upper bound on the histogram cells of a numeric column.
        bins: upper bound on the codes of a numeric column, missing not counted.
        vectors: vectors of counts, in the order of the run.
        tables: tables counted and left out, by phase; only phases that leave tables out.
        votes: whether patients vote for rows of the model.
        classes: how often they are put in latent classes.
        training: how the run trains.
        proportions: part of the budget by phase; they sum to 1, or are all 0 where there is no noise to pay for.
        shared_noise: terms of shared noise; None where each hospital's own noise protects it.
        own_epsilons: epsilon by hospital, for hospitals that set one of their own and add more noise.
    """

    rows: int
    hospitals: int
    signal_to_noise: float
    cells: int
    bins: int
    vectors: tuple[PlannedVector, ...]
    tables: Mapping[str, TableCount]
    votes: VotesChoice
    classes: ClassRoundsChoice
    training: TrainingChoice
    proportions: Mapping[str, float]
    shared_noise: SharedNoise | None = None
    own_epsilons: Mapping[str, float] | None = None

    def to_fields(self) -> dict[str, Any]:
        """Return all fields as JSON values; an infinite ratio becomes None."""
        fields = asdict(self)
        for section in (fields, fields["training"]):
            section["signal_to_noise"] = None if math.isinf(section["signal_to_noise"]) else section["signal_to_noise"]
        return fields


def choose(study: Study) -> Choice:
    """Return what a run of the study does: what the study fixes, and the rest by its signal-to-noise ratio.

    Raises:
        StudyError: nothing would be released, or `[budget]` leaves nothing for a phase.
        Unaffordable: no amount of noise meets the study's epsilon.
    """
    ratio = sums_signal_to_noise(study)
    bins = study.synthesizer.bins or usual_bins(ratio)
    training = _choose_training(study, ratio, bins)
    outlook = Outlook(ratio, bins, MIN_CELLS)
    names = [vector.name for vector in _plan_vectors(study, outlook)]
    proportions = _proportions(study, ratio, names + [ROUNDS] * bool(training.rounds))
    cells = choose_cells(study, ratio, proportions.get(HISTOGRAMS))
    outlook = Outlook(ratio, bins, cells)
    own = {facts.name: facts.epsilon for facts in study.hospitals if facts.epsilon is not None}
    return Choice(
        rows=study.pooled_rows,
        hospitals=len(study.hospitals),
        signal_to_noise=ratio,
        cells=cells,
        bins=bins,
        vectors=_with_weights(study, outlook, proportions),
        tables=_choose_tables(study, outlook),
        votes=choose_votes(study, outlook),
        classes=choose_class_rounds(study, outlook),
        training=training,
        proportions=proportions,
        shared_noise=_shared_noise(study),
        own_epsilons=own if own and study.privacy.noise != "none" else None,
    )


def noise_sharing(study: Study) -> NoiseSharing:
    """Return whose noise protects a patient of this study."""
    if study.privacy.noise != "distributed":
        return NoiseSharing()
    return NoiseSharing(study.honest_survivors, study.federation.retries)


def sums_signal_to_noise(study: Study) -> float:
    """Return the signal-to-noise ratio of sums over hospitals; infinite for a study without noise.

        rows / (s sqrt(v)),    s = noise of one count that spends the whole budget, v as `_sum_variance`

    Raises:
        Unaffordable: no amount of noise meets the study's epsilon.
    """
    if study.privacy.noise == "none":
        return math.inf
    one_count = spend_all(study.privacy.epsilon, study.privacy.delta)
    return study.pooled_rows / (one_count * math.sqrt(_sum_variance(study, one_count)))


def _sum_variance(study: Study, one_count: float) -> float:
    """Return the noise variance of a sum over hospitals, that of one hospital at the study's epsilon being 1.

    Under each hospital's own noise this is the number of hospitals, and more where one of them has a smaller epsilon of
    its own. Under shared noise it is the number of hospitals over that of the honest ones; a planned retry costs about
    half of a run's vectors again.
    """
    sharing = noise_sharing(study)
    if sharing.honest_hospitals:
        return len(study.hospitals) / sharing.honest_hospitals * (1 + sharing.retries / 2)
    units = [spend_all(study.epsilon_of(hospital), study.privacy.delta) for hospital in study.hospitals]
    return sum((unit / one_count) ** 2 for unit in units)


def _choose_training(study: Study, ratio: float, bins: int) -> TrainingChoice:
    """Return the study's rounds, or as many as an adversary needs where it earns its budget."""
    steps, is_shared = study.training.steps, study.privacy.noise == "distributed"
    is_own_noise = is_shared and steps > 1
    if is_own_noise:  # the weights of averaged rounds keep each hospital's own noise
        one_count = spend_all(study.privacy.epsilon, study.privacy.delta)
        ratio = study.pooled_rows / one_count / math.sqrt(len(study.hospitals))
    if not isinstance(study.synthesizer, AdversarialSettings):
        rounds, reason = 0, RoundsReason.ENCODER if study.synthesizer.latent_classes else RoundsReason.FIT_ONLY
    elif study.training.rounds is not None:
        rounds, reason = study.training.rounds, RoundsReason.STUDY
    elif not study.synthesizer.counts_marginals:
        rounds, reason = DEFAULT_ROUNDS, RoundsReason.ONLY_TRAINING
    elif study.has_visits:
        rounds, reason = 0, RoundsReason.PLACEBO
    elif ratio >= ADVERSARY_FROM:
        rounds, reason = DEFAULT_ROUNDS, RoundsReason.SIGNAL
    else:
        rounds, reason = 0, RoundsReason.NOISE
    is_synchronous = is_shared and steps == 1 and rounds > 0
    parameters = discriminator_parameters(study, bins)
    return TrainingChoice(
        rounds, steps, reason, ratio, is_own_noise, is_synchronous, parameters, study.has_visits and rounds > 0
    )


def _vector_phases() -> list[VectorPhase]:
    return [phase for phase in PHASES.values() if isinstance(phase, VectorPhase)]


def _plan_vectors(study: Study, outlook: Outlook) -> tuple[PlannedVector, ...]:
    """Return the vectors that the study leads to, in order."""
    planned = (phase.planned(study, outlook) for phase in _vector_phases())
    return tuple(vector for vector in planned if vector is not None)


def _choose_tables(study: Study, outlook: Outlook) -> dict[str, TableCount]:
    """Return how many tables are counted, by phase, of those phases that leave tables out."""
    counts = ((phase.name, phase.choice(study, outlook)) for phase in _vector_phases())
    return {name: count for name, count in counts if count is not None}


def _with_weights(study: Study, outlook: Outlook, proportions: Mapping[str, float]) -> tuple[PlannedVector, ...]:
    """Return the vectors that the study leads to, with weights where their noise allows it."""
    vectors = _plan_vectors(study, outlook)
    if study.privacy.noise == "none":
        return vectors
    unit = spend_all(study.privacy.epsilon, study.privacy.delta)  # an epsilon of a hospital's own is smaller
    return tuple(
        vector_phase(vector.name).weighted(study, outlook, vector, unit / math.sqrt(proportions[vector.name]))
        for vector in vectors
    )


def _proportions(study: Study, ratio: float, phases: list[str]) -> dict[str, float]:
    """Return each phase's part of the budget.

    Raises:
        StudyError: there is nothing to learn from, or a phase that needs noise gets nothing.
    """
    if not study.synthesizer.counts_marginals and ROUNDS not in phases:
        raise StudyError("[training] rounds = 0 and nothing to count: nothing would be trained; raise rounds")
    keys = {phase: PHASES[phase].budget_key for phase in phases}
    weights = {phase: study.budget.weight_of(keys[phase], PHASES[phase].usual_weight(study, ratio)) for phase in phases}
    empty = next((keys[phase] for phase, weight in weights.items() if not weight), None)
    if empty is not None and study.privacy.noise != "none":
        raise StudyError(f"[budget] {empty} = 0 leaves no budget for a phase of the run; give it a weight or drop it")
    total = sum(weights.values()) or 1.0  # all 0: without noise, where weights mean nothing
    return {phase: weight / total for phase, weight in weights.items()}


def _shared_noise(study: Study) -> SharedNoise | None:
    if study.privacy.noise != "distributed":
        return None
    rules = study.federation
    return SharedNoise(
        len(study.hospitals), study.honest_survivors, rules.dropouts, rules.colluders, retries=rules.retries
    )
