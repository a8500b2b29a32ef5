"""Conclusions from the attacks on a synthetic table, in numbers and in sentences."""

from __future__ import annotations

from typing import Any

from common.evaluation.attacks.catalog import Attempts, why_no_attacks
from common.evaluation.attacks.embedding import Flags
from common.evaluation.attacks.images import why_no_image_attacks
from common.evaluation.attacks.membership import closest_records
from common.evaluation.attacks.outcome import FLAG_LEVEL, Attack, Outcome, Promise, conclude, promise_of
from common.evaluation.attacks.results import AttackFinding, AttackResult, PrivacyEvidence
from common.evaluation.attacks.setup import FEWEST_OUTLIERS
from common.evaluation.statistics.data import EvaluationData
from common.evaluation.statistics.intervals import auroc

OUTLIER_RULE = (
    "Outlier records are the tenth of the real rows, training and held-out alike, that are farthest from their fifth "
    "closest neighbor among up to 2,000 other real rows."
)

NOTHING_KNOWN = "No attack was run, so nothing is known."

NOT_SHOWN = "not shown at the stricter level that several attacks need"


def privacy_of(data: EvaluationData, attempts: Attempts | None) -> PrivacyEvidence:
    """Return what the attacks found.

    Args:
        data: gives the bounds, and says why there are no attempts.
        attempts: on these tables; None where `why_no_attacks` gives a reason.
    """
    if attempts is None:
        reason = why_no_attacks(data) or "No attack was asked for."
        return PrivacyEvidence(NOTHING_KNOWN, False, data.epsilon, data.delta, OUTLIER_RULE, (), None, (reason,))
    promise = promise_of(data.epsilon, data.delta)
    results = tuple(result_of(attack, outliers, outcome, promise) for attack, outliers, outcome in attempts.each())
    notes = []
    if any(_is_shifted(outcome) for attack, _, outcome in attempts.each() if attack.kind == "membership"):
        notes.append(
            "Training and held-out rows differ systematically: even a table drawn without any record separates them. "
            "Split patients at random; until then the attacks show nothing."
        )
    if data.images is not None:
        notes.append(why_no_image_attacks(data.images) or "Outlier images are chosen as rows are, by low frequencies.")
    if any(result.outliers is None for result in results):
        notes.append(f"Outlier records are shown where {FEWEST_OUTLIERS} of them were attacked in either arm.")
    return PrivacyEvidence(
        verdict=_judge(results),
        is_flagged=any(result.is_flagged for result in results),
        epsilon=data.epsilon,
        delta=data.delta,
        outlier_rule=OUTLIER_RULE,
        attacks=results,
        closest=closest_records(attempts.setup),
        notes=tuple(notes),
    )


def result_of(
    attack: Attack[Any], outliers: tuple[Flags, Flags], outcome: Outcome, promise: Promise | None
) -> AttackResult:
    """Return what one attack found on all targets and on outlier records.

    Args:
        attack: the attack.
        outliers: whether each attacked row is an outlier, training and control.
        outcome: what the attack scored for each of these rows.
        promise: epsilon and delta that give the bounds; None where nothing is promised.
    """
    all_records = conclude(attack.kind, outcome, promise)
    alone = outcome.where(*outliers)
    enough = min(len(alone.train.values), len(alone.control.values)) >= FEWEST_OUTLIERS
    on_outliers = conclude(attack.kind, alone, promise) if enough else None
    verdict = _sentence(attack, all_records)
    if on_outliers is not None and _rank(on_outliers) > _rank(all_records):
        verdict = f"On outlier records: {_sentence(attack, on_outliers)}"
    return AttackResult(attack.name, attack.title, attack.kind, attack.meaning, all_records, on_outliers, verdict)


def _rank(finding: AttackFinding) -> int:
    return 2 if finding.is_flagged else int(finding.may_work)


def _sentence(attack: Attack[Any], finding: AttackFinding) -> str:
    if finding.membership is not None:
        area = finding.membership.auroc
        measured = f"(AUROC {area.value:.2f}, {area.low:.2f} to {area.high:.2f})"
        if finding.may_work:
            return f"An attacker with this table may recognize training patients {measured}; {NOT_SHOWN}."
        if not finding.is_flagged:
            return f"An attacker with this table recognizes training patients no better than chance {measured}."
        extra = "".join(
            f"; {point.true_positives.value:.0%} of them with {point.false_positives.value:.1%} false alarms"
            for point in finding.membership.points[:1]
        )
        return f"An attacker with this table recognizes training patients {measured}{extra}."
    risk = finding.risk
    assert risk is not None, "neither of the two findings"
    measured = f"(risk {risk.residual_risk.value:.2f}, {risk.residual_risk.low:.2f} to {risk.residual_risk.high:.2f})"
    rates = f"{risk.attack.value:.0%} of training patients and {risk.control.value:.0%} of others"
    if finding.is_flagged:
        return f"{attack.title} succeeds on {rates}: this table reveals training patients {measured}."
    if finding.may_work:
        return f"{attack.title} may work: it succeeds on {rates} {measured}; {NOT_SHOWN}."
    if risk.attack.value == 0 and risk.control.value == 0:
        return f"{attack.title} succeeds on no patient {measured}."
    weak = " The baseline does as well." if risk.baseline.high >= risk.attack.value else ""
    return f"{attack.title} succeeds on {rates}, no more than chance explains {measured}.{weak}"


def _is_shifted(outcome: Outcome) -> bool:
    area = auroc(outcome.baseline_train.values, outcome.baseline_control.values, FLAG_LEVEL)
    return not area.low <= 0.5 <= area.high


def _judge(results: tuple[AttackResult, ...]) -> str:
    flagged = [result.title.lower() for result in results if result.is_flagged]
    suspected = [result.title.lower() for result in results if result.may_work]
    if flagged:
        works = "attack works" if len(flagged) == 1 else "attacks work"
        more = f" {len(suspected)} more may work ({'; '.join(suspected)})." if suspected else ""
        return (
            f"{len(flagged)} of {len(results)} {works} ({'; '.join(flagged)}): this table reveals training patients."
            + more
        )
    most, title = max(
        (finding.risk.residual_risk.high, f"{result.title.lower()}{where}")
        for result in results
        for finding, where in ((result.all_records, ""), (result.outliers, ", on outlier records"))
        if finding is not None and finding.risk is not None
    )
    if suspected:
        first = (
            f"None of {len(results)} attacks is shown to tell training patients from others; {len(suspected)} may "
            f"({'; '.join(suspected)}): their intervals exclude chance, as one in forty does by accident."
        )
    else:
        first = f"None of {len(results)} attacks tells training patients from others."
    return (
        f"{first} The largest risk that the measurements leave open is {most:.2f} ({title}). Attacks can show a leak, "
        "never its absence."
    )
