"""Trials of a table: several learners taught with it, beside the same learners taught with real rows.

Every learner predicts the target for the same held-out patients, so differences are paired: one resample of patients
gives both numbers. Learners themselves are not taught anew for a resample; the intervals say how sure one can be of
these patients, not of another synthetic table.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from common.evaluation.fairness import PatientMeasure
from common.evaluation.statistics.intervals import (
    LEVEL,
    Estimate,
    Statistic,
    bootstrap,
    from_resamples,
    paired_difference,
    resampled,
    wilson,
)
from common.evaluation.statistics.resampling import sampled
from common.evaluation.statistics.values import MISSING, Floats, Ints, Labels, check_comparable, labels
from common.evaluation.utility.learners import LEARNERS, Prediction, judged_classes, predict
from common.evaluation.utility.scoring import (
    area,
    average_precision,
    brier,
    calibration_error,
    calibration_noise,
    over_classes,
    probability_groups,
)
from common.evaluation.utility.train_on_synthetic import YARDSTICK, why_no_utility, yardstick_scores
from common.seeds import seed_for

RESAMPLES = 400

MOST_LEARNT = 20_000
"""Learners beside those of the yardstick are taught with a fixed random sample of this size of any larger table."""

AUGMENTED = ("lr", "gb", "rf")
"""Learners that augmentation is tried with, and whose calibration is drawn."""

WEIGHT_CELLS = 8_000_000

Balanced = Callable[[int], pd.DataFrame]
"""Draws that many synthetic rows, as many of each class of the target."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One group of patients of like predicted probability: what was promised, and what happened."""

    promised: float
    observed: Estimate


@dataclass(frozen=True, slots=True)
class Trial:
    """One learner, taught with synthetic and with real rows. `gap` is synthetic minus real AUROC, paired."""

    name: str
    label: str
    auroc_synthetic: Estimate
    auroc_real: Estimate
    gap: Estimate
    brier_synthetic: Estimate
    brier_real: Estimate
    calibration_error_synthetic: Estimate
    calibration_error_real: Estimate
    reliability_synthetic: tuple[Bar, ...]
    reliability_real: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Whether the synthetic table alone leads to the right learner.

    `same_order`: the share of pairs of learners that come out in the same order when taught and tested with synthetic
    rows as when taught with real rows and tested on real patients (Jordon et al. 2018, "synthetic ranking agreement");
    1.0 is best, 0.5 chance. `regret`: the real AUROC lost by taking the learner that looks best on synthetic rows.
    """

    same_order: Estimate
    best_by_synthetic: str
    best_by_real: str
    regret: Estimate
    auroc_within_synthetic: dict[str, float]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """One learner taught with real rows; with scarce real rows repeated; with balanced synthetic rows added.

    `precision_*`: mean precision for the scarcest class. `gain`: synthetic rows added minus real rows alone;
    `gain_over_repeating`: minus the scarce real rows repeated. Both are paired.
    """

    name: str
    label: str
    precision_real: Estimate
    precision_repeated: Estimate
    precision_augmented: Estimate
    gain: Estimate
    gain_over_repeating: Estimate
    auroc_gain: Estimate


@dataclass(frozen=True, slots=True)
class HospitalTrial:
    """Logistic regression judged on one hospital's held-out patients; None where they are of one class.

    `gap`: taught with the synthetic table minus taught with all hospitals' real rows, paired.
    """

    name: str
    patients: int
    auroc_synthetic: Estimate | None
    auroc_real: Estimate | None
    gap: Estimate | None


@dataclass(frozen=True, slots=True)
class Trials:
    """What several learners make of the table. `scarce` is the rarest class, `scarce_share` its share of real rows."""

    target: str
    patients: int
    classes: tuple[str, ...]
    learners: tuple[Trial, ...]
    agreement: Agreement | None
    hospitals: tuple[HospitalTrial, ...]
    scarce: str
    scarce_share: float
    added_rows: int
    augmentation: tuple[Augmentation, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """Predictions for the held-out patients by every learner, taught with real and with synthetic rows."""

    truth: Labels
    real: dict[str, Prediction]
    synthetic: dict[str, Prediction]

    def yardstick(self) -> tuple[dict[str, float | None], dict[str, float | None]]:
        """The utility metrics of the yardstick: of the synthetic and of the real rows."""
        return yardstick_scores(self.synthetic, self.truth), yardstick_scores(self.real, self.truth)

    def intervals(self) -> dict[str, Estimate | None]:
        """Intervals of the synthetic rows' utility metrics; None where nothing could be learnt."""
        found: dict[str, Estimate | None] = {}
        for name, learner in YARDSTICK.items():
            prediction = self.synthetic.get(learner)
            judged = [] if prediction is None else judged_classes(self.truth, prediction.classes)
            found[name] = (
                _estimate(area(self.truth, prediction, judged), len(self.truth)) if prediction and judged else None
            )
        return found


def teach(train: pd.DataFrame, holdout: pd.DataFrame, synthetic: pd.DataFrame, target: str) -> Taught | None:
    """Teach all learners of `LEARNERS` with both tables; None where `why_no_utility` gives a reason."""
    check_comparable(train, synthetic, "synthetic")
    if why_no_utility(train, holdout, target) is not None:
        return None
    check_comparable(train, holdout, "held-out")
    by_real, by_synthetic = (_taught(learnt, train, holdout, target) for learnt in (train, synthetic))
    return Taught(labels(holdout[target]), by_real, by_synthetic)


def utility_measures(taught: Taught, holdout: pd.DataFrame) -> list[PatientMeasure]:
    """What a logistic regression taught with synthetic rows gives held-out patients, to compare groups of them by."""
    if "lr" not in taught.synthetic or "lr" not in taught.real:
        return []
    sides = taught.synthetic["lr"], taught.real["lr"]
    judged = judged_classes(taught.truth, sides[1].classes)

    def reached(places: Ints) -> Statistic:
        return area(taught.truth[places], sides[0].at(places), judged)

    def lost(places: Ints) -> Statistic:
        synthetic, real = (area(taught.truth[places], side.at(places), judged) for side in sides)
        return lambda weights: real(weights) - synthetic(weights)

    arm = np.zeros(len(holdout), dtype=np.int64)
    return [
        PatientMeasure("auroc", "AUROC, taught with synthetic rows", "higher", 0.0, 1.0, holdout, arm, reached),
        PatientMeasure("auroc_lost", "AUROC lost against real rows", "lower", -1.0, 1.0, holdout, arm, lost),
    ]


def run_trials(
    taught: Taught,
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    synthetic: pd.DataFrame,
    target: str,
    *,
    balanced: Balanced | None = None,
    hospital_of: Labels | None = None,
) -> Trials | None:
    """Judge what learners were taught, and try two more things with them: choosing among them, and adding rows.

    Args:
        taught: by `teach`, with the same tables.
        balanced: draws synthetic rows with equally many of each class; without it they are taken from `synthetic`.
        hospital_of: the hospital of every held-out patient, where it is known.

    Returns:
        None where a table has a single class, so that nothing could be learnt.
    """
    truth, by_real, by_synthetic = taught.truth, taught.real, taught.synthetic
    judged = _judged(truth, train, target)
    if not by_real or not by_synthetic or not judged:
        return None
    scarce = _scarcest(train, truth, target)
    augmentation, added = _augment(train, holdout, synthetic, target, scarce, by_real, judged, balanced)
    return Trials(
        target=target,
        patients=len(holdout),
        classes=tuple(judged),
        learners=tuple(_trial(name, truth, by_synthetic[name], by_real[name], judged) for name in LEARNERS),
        agreement=_agree(train, synthetic, target, truth, by_real, judged),
        hospitals=() if hospital_of is None else _by_hospital(hospital_of, truth, by_synthetic["lr"], by_real["lr"]),
        scarce=scarce,
        scarce_share=float((labels(train[target]) == scarce).mean()),
        added_rows=added,
        augmentation=augmentation,
    )


def _taught(learnt: pd.DataFrame, train: pd.DataFrame, patients: pd.DataFrame, target: str) -> dict[str, Prediction]:
    """Predictions by learner; those of the yardstick see all rows."""
    yardstick = tuple(YARDSTICK.values())
    others = tuple(name for name in LEARNERS if name not in yardstick)
    return predict(learnt, train, patients, target, yardstick) | predict(
        sampled(learnt, MOST_LEARNT, "learnt"), train, patients, target, others
    )


def _judged(truth: Labels, train: pd.DataFrame, target: str) -> list[str]:
    """The classes that held-out patients and training rows share, sorted; one of two."""
    shared = sorted(set(truth) & set(labels(train[target])))
    return shared[1:] if len(shared) == 2 and len(set(truth)) == 2 else shared


def _estimate(statistic: Statistic, patients: int) -> Estimate:
    return bootstrap(statistic, patients, seed=_seed(patients), resamples=_resamples(patients))


def _calibration_error(truth: Labels, prediction: Prediction, judged: list[str]) -> Estimate:
    """From the error less what chance adds to it in all but one of twenty cases, up to where resamples reach."""
    patients = len(truth)
    error = _estimate(over_classes(calibration_error, truth, prediction, judged), patients)
    noise = over_classes(calibration_noise, truth, prediction, judged)
    drawn = resampled(noise, patients, seed=_seed(patients), resamples=_resamples(patients))
    least = error.value - float(np.nanquantile(drawn, LEVEL))
    return Estimate(error.value, max(0.0, least), error.high, patients)


def _difference(first: Statistic, second: Statistic, patients: int) -> Estimate:
    return paired_difference(first, second, patients, seed=_seed(patients), resamples=_resamples(patients))


def _seed(patients: int) -> int:
    return seed_for(0, "bootstrap", "patients", patients)


def _resamples(patients: int) -> int:
    """Fewer resamples of many patients, whose intervals are narrow."""
    return int(np.clip(WEIGHT_CELLS // max(patients, 1), 100, RESAMPLES))


def _trial(name: str, truth: Labels, synthetic: Prediction, real: Prediction, judged: list[str]) -> Trial:
    patients = len(truth)
    areas = [area(truth, one, judged) for one in (synthetic, real)]
    squares = [_estimate(over_classes(brier, truth, one, judged), patients) for one in (synthetic, real)]
    errors = [_calibration_error(truth, one, judged) for one in (synthetic, real)]
    return Trial(
        name=name,
        label=LEARNERS[name].label,
        auroc_synthetic=_estimate(areas[0], patients),
        auroc_real=_estimate(areas[1], patients),
        gap=_difference(areas[0], areas[1], patients),
        brier_synthetic=squares[0],
        brier_real=squares[1],
        calibration_error_synthetic=errors[0],
        calibration_error_real=errors[1],
        reliability_synthetic=_reliability(truth, synthetic, judged),
        reliability_real=_reliability(truth, real, judged),
    )


def _reliability(truth: Labels, prediction: Prediction, judged: list[str]) -> tuple[Bar, ...]:
    """Bars of a calibration plot, for two classes only: several plots would be needed for more."""
    if len(judged) != 1:
        return ()
    happened, promised = truth == judged[0], prediction.of(judged[0])
    return tuple(
        Bar(float(promised[rows].mean()), wilson(int(happened[rows].sum()), len(rows)))
        for rows in probability_groups(promised)
    )


def _by_hospital(
    hospital_of: Labels, truth: Labels, synthetic: Prediction, real: Prediction
) -> tuple[HospitalTrial, ...]:
    found = []
    for name in sorted(set(hospital_of)):
        rows = np.flatnonzero(hospital_of == name)
        own = truth[rows]
        judged = [label for label in sorted(set(own)) if label in real.classes]
        judged = judged[1:] if len(judged) == 2 and len(set(own)) == 2 else judged
        scores = None
        if len(set(own)) > 1 and judged:
            areas = [area(own, one.at(rows), judged) for one in (synthetic, real)]
            scores = (*(_estimate(one, len(rows)) for one in areas), _difference(areas[0], areas[1], len(rows)))
        found.append(HospitalTrial(str(name), len(rows), *(scores or (None, None, None))))
    return tuple(found)


def _agree(
    train: pd.DataFrame,
    synthetic: pd.DataFrame,
    target: str,
    truth: Labels,
    by_real: dict[str, Prediction],
    judged: list[str],
) -> Agreement | None:
    table = sampled(synthetic, MOST_LEARNT, "ranking")
    order = np.random.default_rng(seed_for(0, "ranking")).permutation(len(table))
    tested, taught = (
        table.iloc[rows].reset_index(drop=True) for rows in (order[: len(table) // 5], order[len(table) // 5 :])
    )
    truth_within = labels(tested[target])
    within = predict(taught, train, tested, target) if len(set(truth_within)) > 1 else {}
    if not within or not set(judged) <= set(truth_within):
        return None
    count = min(_resamples(len(truth)), _resamples(len(tested)))
    sides = []
    for outcomes, predictions in ((truth, by_real), (truth_within, within)):
        areas = [area(outcomes, predictions[name], judged) for name in LEARNERS]
        whole = np.stack([one(np.ones((1, len(outcomes)))) for one in areas])
        seed = _seed(len(outcomes))
        again = np.stack([resampled(one, len(outcomes), seed=seed, resamples=count) for one in areas])
        sides.append(np.hstack([whole, again]))
    ours, theirs = sides
    pairs = itertools.combinations(range(len(LEARNERS)), 2)
    same = np.mean([(np.sign((ours[i] - ours[j]) * (theirs[i] - theirs[j])) + 1) / 2 for i, j in pairs], axis=0)
    best, truly_best = int(theirs[:, 0].argmax()), int(ours[:, 0].argmax())
    names = [learner.label for learner in LEARNERS.values()]
    return Agreement(
        same_order=from_resamples(float(same[0]), same[1:], len(truth)),
        best_by_synthetic=names[best],
        best_by_real=names[truly_best],
        regret=_regret(ours, best, len(truth)),
        auroc_within_synthetic={name: float(area) for name, area in zip(LEARNERS, theirs[:, 0], strict=True)},
    )


def _regret(areas: Floats, chosen: int, patients: int) -> Estimate:
    """What the chosen learner lacks of the best one, whichever that is.

    The best of several looks better than it is. So the interval allows for any of them to be it: no advantage over the
    chosen one is off by more than `reach` with probability `LEVEL`, and neither, then, is the largest of them (after
    Hsu 1981, Ann. Stat. 9).

    Args:
        areas: of every learner on the patients and on every resample, shape (learners, 1 + resamples).
        chosen: the place of a learner.
    """
    advantage = areas - areas[chosen]
    errors = np.abs(advantage[:, 1:] - advantage[:, :1]).max(axis=0)
    known = errors[~np.isnan(errors)]
    reach = float(np.quantile(known, LEVEL)) if len(known) else 0.0
    lost = float(advantage[:, 0].max())
    return Estimate(lost, max(0.0, lost - reach), lost + reach, patients)


def _scarcest(train: pd.DataFrame, truth: Labels, target: str) -> str:
    """The rarest class of the training rows that held-out patients have too; missing is none."""
    counts = pd.Series(labels(train[target])).value_counts()
    present = sorted(label for label in counts.index if label in set(truth) and label != MISSING)
    return str(min(present or list(counts.index), key=lambda label: int(counts[label])))


def _augment(
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    synthetic: pd.DataFrame,
    target: str,
    scarce: str,
    by_real: dict[str, Prediction],
    judged: list[str],
    balanced: Balanced | None,
) -> tuple[tuple[Augmentation, ...], int]:
    counts = pd.Series(labels(train[target])).value_counts().drop(MISSING, errors="ignore")
    wanted = {str(label): int(counts.max() - count) for label, count in counts.items() if counts.max() > count}
    drawn = synthetic if balanced is None else balanced(len(counts) * int(counts.max()))
    extra = _fill(drawn, wanted, target, repeat=False)
    if extra.empty:
        return (), 0
    truth, patients = labels(holdout[target]), len(holdout)
    arms = [
        predict(pd.concat([train, rows[list(train.columns)]], ignore_index=True), train, holdout, target, AUGMENTED)
        for rows in (_fill(train, wanted, target, repeat=True), extra)
    ]
    found = []
    for name in AUGMENTED:
        predictions = (by_real[name], arms[0][name], arms[1][name])
        precision = [average_precision(truth == scarce, one.of(scarce)) for one in predictions]
        areas = [area(truth, one, judged) for one in predictions]
        found.append(
            Augmentation(
                name=name,
                label=LEARNERS[name].label,
                precision_real=_estimate(precision[0], patients),
                precision_repeated=_estimate(precision[1], patients),
                precision_augmented=_estimate(precision[2], patients),
                gain=_difference(precision[2], precision[0], patients),
                gain_over_repeating=_difference(precision[2], precision[1], patients),
                auroc_gain=_difference(areas[2], areas[0], patients),
            )
        )
    return tuple(found), len(extra)


def _fill(rows: pd.DataFrame, wanted: dict[str, int], target: str, *, repeat: bool) -> pd.DataFrame:
    """Rows of every wanted class: as many as wanted where they may repeat, else as many as there are at most."""
    classes, rng = labels(rows[target]), np.random.default_rng(seed_for(0, "augmentation"))
    parts = [rows.head(0)]
    for label, count in sorted(wanted.items()):
        at = np.flatnonzero(classes == label)
        chosen = rng.choice(at, count) if repeat and len(at) else rng.permutation(at)[:count]
        parts.append(rows.iloc[chosen])
    return pd.concat(parts, ignore_index=True)
