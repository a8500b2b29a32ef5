"""The private evaluation of a run: everything that its released counts of held-out patients say.

All of it is post-processing of noisy counts, so it may be published with the synthetic table.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from common.columns.base import Codes
from common.evaluation.private.distances import Patients, count_patients, mean_distance
from common.evaluation.private.rates import NoisyCount, rate
from common.evaluation.statistics.intervals import Estimate
from common.marginals.classifier import GROUPS
from common.marginals.queries import Domain, count, split
from common.planning.evaluation import HeldOutCounts, released_evaluation, target_of
from common.planning.public_run import PublicRun
from common.study.study import Study


@dataclass(frozen=True, slots=True)
class PrivatePrediction:
    """How a logistic regression that was trained on synthetic rows predicts held-out patients.

    Attributes:
        target: the column that is predicted.
        classes: name of each class, in the order of `recalls`.
        accuracy: rate of right predictions among patients whose class is known.
        guess: rate of the class that is most frequent among synthetic rows: what always guessing it would reach.
        recalls: of every class, the rate of patients of that class who are predicted to be in it. Of two classes, the
            first is the specificity and the second the sensitivity.
    """

    target: str
    classes: tuple[str, ...]
    accuracy: Estimate
    guess: Estimate
    recalls: tuple[Estimate, ...]


@dataclass(frozen=True, slots=True)
class PrivateEvaluation:
    """What was measured at the hospitals under differential privacy.

    Attributes:
        patients: about how many held-out patients were counted.
        noise: standard deviation of the noise of a count in tables of columns; None where none were counted.
        noise_of_predictions: the same of a count of predictions.
        tvd1, tvd2: mean total variation distance of tables of one and of two columns between the synthetic table and
            the population of the patients; None where they were not counted, or noise hides how many patients there
            are.
        columns: the same of every column alone, by its name.
        tables1, tables2: how many tables `tvd1` and `tvd2` are means of.
        prediction: how a classifier trained on synthetic rows predicts; None where noise hides how many patients
            there are.
    """

    patients: int
    noise: float | None
    noise_of_predictions: float
    tables1: int
    tables2: int
    tvd1: Estimate | None
    tvd2: Estimate | None
    columns: dict[str, Estimate]
    prediction: PrivatePrediction | None

    def as_document(self) -> dict[str, Any]:
        """Return the values as JSON."""
        document: dict[str, Any] = _rounded(asdict(self))
        return document


def evaluate_privately(public: PublicRun, synthetic: Codes) -> PrivateEvaluation | None:
    """Return the private evaluation of a run; None for a run without.

    Args:
        public: the run, with all its released sums.
        synthetic: the synthetic table as codes of the run, (rows, columns).
    """
    counts = released_evaluation(public)
    if counts is None:
        return None
    study, domain = public.study, public.domain
    patients = _patients(counts)
    queries = counts.tables.queries
    drawn = split(count(synthetic, queries, domain), queries, domain) if queries else []
    singles, pairs = drawn[: len(counts.singles)], drawn[len(counts.singles) :]
    sigma, is_known = counts.deviation, patients.is_known
    columns = zip(study.table.names, counts.singles, singles, strict=False)
    return PrivateEvaluation(
        patients=round(patients.number),
        noise=sigma if queries else None,
        noise_of_predictions=counts.confusion_deviation,
        tables1=len(counts.singles),
        tables2=len(counts.pairs),
        tvd1=mean_distance(counts.singles, singles, sigma, patients) if is_known and singles else None,
        tvd2=mean_distance(counts.pairs, pairs, sigma, patients) if is_known and pairs else None,
        columns={name: mean_distance([real], [rows], sigma, patients) for name, real, rows in columns if is_known},
        prediction=_prediction(study, counts, domain, synthetic) if is_known else None,
    )


def _patients(counts: HeldOutCounts) -> Patients:
    """Return how many patients were counted, from the totals of all tables."""
    tables = [*counts.singles, *counts.pairs]
    totals = [(float(table.sum()), counts.deviation * table.size**0.5) for table in tables]
    predicted = counts.confusion
    return count_patients([*totals, (float(predicted.sum()), counts.confusion_deviation * predicted.size**0.5)])


def _prediction(study: Study, counts: HeldOutCounts, domain: Domain, synthetic: Codes) -> PrivatePrediction:
    """Return the rates of the classifier."""
    target = target_of(study)
    known = len(counts.confusion) - domain.has_missing[target]  # two at least: a study refuses other targets
    cells = counts.confusion.shape[1]
    rows, hits = counts.confusion[:known].sum(axis=1), counts.confusion.diagonal()[:known]
    sigma, total = counts.confusion_deviation, float(rows.sum())
    own = domain.groups(target, GROUPS)[synthetic[:, target]]
    frequent = max(range(known), key=lambda group: int((own == group).sum()))
    right = NoisyCount(float(hits.sum()), known)
    others = NoisyCount(total - float(rows[frequent]), (known - 1) * cells)
    return PrivatePrediction(
        target=study.evaluation.target,
        classes=_class_names(study, domain, known),
        accuracy=rate(right, NoisyCount(total - right.total, known * (cells - 1)), sigma),
        guess=rate(NoisyCount(float(rows[frequent]), cells), others, sigma),
        recalls=tuple(
            rate(NoisyCount(float(hits[group]), 1), NoisyCount(float(rows[group] - hits[group]), cells - 1), sigma)
            for group in range(known)
        ),
    )


def _class_names(study: Study, domain: Domain, known: int) -> tuple[str, ...]:
    """Return a name for every class: its labels, or its place among groups of numbers, lowest first."""
    target = target_of(study)
    labels, groups = study.table[study.evaluation.target].labels, domain.groups(target, GROUPS)
    if not labels:
        return tuple(f"group {number} of {known}, lowest first" for number in range(1, known + 1))
    return tuple(
        " or ".join(label for label, group in zip(labels, groups, strict=False) if group == number)
        for number in range(known)
    )


def _rounded(value: Any) -> Any:
    """Return a document with every number rounded: further digits are noise."""
    match value:
        case float():
            return round(value, 4)
        case dict():
            return {key: _rounded(item) for key, item in value.items()}
        case list() | tuple():
            return [_rounded(item) for item in value]
        case _:
            return value
