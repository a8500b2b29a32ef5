"""All attacks on a synthetic table, and what they mean in plain words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from common.evaluation.attacks.disclosure import infer_attribute, link, single_out_by_combination, single_out_by_value
from common.evaluation.attacks.membership import by_density_ratio, by_distance, closest_records
from common.evaluation.attacks.outcome import FLAG_LEVEL, Attack, Outcome, conclude
from common.evaluation.attacks.results import AttackResult, Finding, PrivacyEvidence
from common.evaluation.attacks.scene import FEWEST_EXPOSED, FEWEST_IN_A_TABLE, Scene, prepare
from common.evaluation.statistics.intervals import auroc
from common.study.schema import Schema

FEWEST_ROWS = 20
"""With fewer training or unseen rows no attack is run: its interval would hold every answer."""

EXPOSURE = (
    "Exposed rows are the tenth of the real rows, training and unseen alike, that are farthest from their fifth "
    "closest neighbour among up to 2,000 other real rows."
)

UNSHOWN = "not shown at the stricter level that many attacks need"

Progress = Callable[[int, int], None]
"""Called with the steps done and the steps there are."""

ATTACKS: dict[str, Attack] = {
    attack.name: attack
    for attack in (
        Attack(
            "membership_distance",
            "Membership, by distance",
            "membership",
            "Knows a patient's whole row; takes the patient for a training patient if a synthetic row is close.",
            by_distance,
        ),
        Attack(
            "membership_density",
            "Membership, by density",
            "membership",
            "Knows a whole row and rows of other people; asks whether synthetic rows are denser there than people are.",
            by_density_ratio,
        ),
        Attack(
            "attribute_inference",
            "Attribute inference",
            "risk",
            "Knows all of a patient but one column; reads that column off the closest synthetic row.",
            infer_attribute,
        ),
        Attack(
            "linkability",
            "Linkability",
            "risk",
            "Has two data sets with half of the columns each; links the rows that have the same closest synthetic row.",
            link,
        ),
        Attack(
            "singling_out_value",
            "Singling out, one column",
            "risk",
            "Looks for values that one synthetic row has, or extremes; succeeds where they describe one patient only.",
            single_out_by_value,
        ),
        Attack(
            "singling_out_combination",
            "Singling out, several columns",
            "risk",
            "Looks for combinations that one synthetic row has; succeeds where they describe one patient only.",
            single_out_by_combination,
        ),
    )
}


@dataclass(frozen=True, slots=True, eq=False)
class Attempts:
    """What every attack did to every target: the raw material of the evidence, and of comparisons between groups."""

    scene: Scene
    outcomes: dict[str, Outcome]


def run_attacks(
    train: pd.DataFrame,
    control: pd.DataFrame,
    synthetic: pd.DataFrame,
    schema: Schema,
    *,
    seed: int = 0,
    progress: Progress = lambda done, steps: None,
) -> Attempts:
    """Run every attack of `ATTACKS`.

    Args:
        train: real rows that the synthesizer learnt from, one per patient; the schema's columns.
        control: real rows of the same population that it never saw; held-out patients.
        synthetic: the table under attack.
        seed: of the rows that are attacked and of the attackers' choices.

    Raises:
        DataError: a column is absent from a table, or there are fewer than two rows in one.
    """
    steps = len(ATTACKS) + 1
    progress(0, steps)
    scene = prepare(train, control, synthetic, schema, seed=seed)
    outcomes = {}
    for place, attack in enumerate(ATTACKS.values(), start=1):
        progress(place, steps)
        outcomes[attack.name] = attack.run(scene)
    progress(steps, steps)
    return Attempts(scene, outcomes)


def assess_privacy(
    train: pd.DataFrame,
    control: pd.DataFrame,
    synthetic: pd.DataFrame,
    schema: Schema,
    *,
    seed: int = 0,
    epsilon: float | None = None,
    delta: float | None = None,
    progress: Progress = lambda done, steps: None,
) -> PrivacyEvidence:
    """Attack a synthetic table and say what came of it. Computed from real rows without noise: keep it where they are.

    Args:
        train, control, synthetic, schema, seed: see `run_attacks`.
        epsilon, delta: what the release promises each patient, the largest over hospitals; None where nothing is
            promised or known. They only draw the bounds beside the attacks.
    """
    reason = why_no_attacks(len(train), len(control), len(synthetic))
    if reason is not None:
        return without_attacks(reason, epsilon, delta)
    attempts = run_attacks(train, control, synthetic, schema, seed=seed, progress=progress)
    return evidence_of(attempts, epsilon=epsilon, delta=delta)


def why_no_attacks(train: int, control: int, synthetic: int) -> str | None:
    """Return why attacks cannot be run on tables of so many rows, as a sentence; None if they can.

    Args:
        train: number of training rows.
        control: number of held-out rows.
        synthetic: number of synthetic rows.
    """
    if min(train, control) < FEWEST_ROWS:
        few = "training" if train < FEWEST_ROWS else "held-out"
        least = min(train, control)
        return f"Attacks need {FEWEST_ROWS} training rows and as many held-out rows; there are {least} {few}."
    if synthetic < FEWEST_IN_A_TABLE:
        return f"Attacks need {FEWEST_IN_A_TABLE} synthetic rows; there are {synthetic}."
    return None


def without_attacks(reason: str, epsilon: float | None, delta: float | None) -> PrivacyEvidence:
    """Return evidence that no attack was run, with the reason (`why_no_attacks`) as its note."""
    return PrivacyEvidence(
        "No attack was run, so nothing is known.", False, epsilon, delta, EXPOSURE, (), None, (reason,)
    )


def evidence_of(attempts: Attempts, *, epsilon: float | None = None, delta: float | None = None) -> PrivacyEvidence:
    """What the attempts amount to."""
    scene = attempts.scene
    results = tuple(
        result_of(ATTACKS[name], scene, outcome, epsilon, delta) for name, outcome in attempts.outcomes.items()
    )
    notes = []
    if any(_is_shifted(outcome) for name, outcome in attempts.outcomes.items() if ATTACKS[name].kind == "membership"):
        notes.append(
            "Training and held-out rows differ by themselves: a table that was drawn without any record tells them "
            "apart. Split patients at random; until then the attacks cannot be read."
        )
    if any(result.exposed is None for result in results):
        notes.append(f"Exposed rows are shown where {FEWEST_EXPOSED} of them were attacked in either arm.")
    return PrivacyEvidence(
        verdict=_judge(results),
        is_flagged=any(result.is_flagged for result in results),
        epsilon=epsilon,
        delta=delta,
        exposure=EXPOSURE,
        attacks=results,
        closest=closest_records(scene),
        notes=tuple(notes),
    )


def result_of(
    attack: Attack, scene: Scene, outcome: Outcome, epsilon: float | None, delta: float | None
) -> AttackResult:
    """What one attack's outcome amounts to, on all targets and on the exposed ones."""
    everyone = conclude(attack.kind, outcome, epsilon, delta)
    alone = outcome.where(scene.train_exposed, scene.control_exposed)
    enough = min(len(alone.train.values), len(alone.control.values)) >= FEWEST_EXPOSED
    exposed = conclude(attack.kind, alone, epsilon, delta) if enough else None
    verdict = _sentence(attack, everyone)
    if exposed is not None and _rank(exposed) > _rank(everyone):
        verdict = f"On the most exposed patients: {_sentence(attack, exposed)}"
    return AttackResult(attack.name, attack.label, attack.kind, attack.meaning, everyone, exposed, verdict)


def _rank(finding: Finding) -> int:
    return 2 if finding.is_flagged else int(finding.may_work)


def _sentence(attack: Attack, finding: Finding) -> str:
    if finding.membership is not None:
        area = finding.membership.auroc
        measured = f"(AUROC {area.value:.2f}, {area.low:.2f} to {area.high:.2f})"
        if finding.may_work:
            return f"An attacker with this table may recognise training patients {measured}; {UNSHOWN}."
        if not finding.is_flagged:
            return f"An attacker with this table guesses who was in training no better than chance {measured}."
        extra = "".join(
            f"; {point.true_positives.value:.0%} of them with {point.false_positives.value:.1%} false alarms"
            for point in finding.membership.points[:1]
        )
        return f"An attacker with this table recognises training patients {measured}{extra}."
    risk = finding.risk
    assert risk is not None, "neither of the two findings"
    measured = f"(risk {risk.excess.value:.2f}, {risk.excess.low:.2f} to {risk.excess.high:.2f})"
    rates = f"{risk.attack.value:.0%} of training patients and {risk.control.value:.0%} of others"
    if finding.is_flagged:
        return f"{attack.label} succeeds on {rates}: this table gives training patients away {measured}."
    if finding.may_work:
        return f"{attack.label} may work: it succeeds on {rates} {measured}; {UNSHOWN}."
    if risk.attack.value == 0 and risk.control.value == 0:
        return f"{attack.label} succeeds on nobody {measured}."
    weak = " A blind guess does as well." if risk.blind.high >= risk.attack.value else ""
    return f"{attack.label} succeeds on {rates}, no more than chance explains {measured}.{weak}"


def _is_shifted(outcome: Outcome) -> bool:
    area = auroc(outcome.blind_train.values, outcome.blind_control.values, FLAG_LEVEL)
    return not area.low <= 0.5 <= area.high


def _judge(results: tuple[AttackResult, ...]) -> str:
    flagged = [result.label.lower() for result in results if result.is_flagged]
    suspected = [result.label.lower() for result in results if result.may_work]
    if flagged:
        works = "attack works" if len(flagged) == 1 else "attacks work"
        more = f" {len(suspected)} more may work ({'; '.join(suspected)})." if suspected else ""
        return (
            f"{len(flagged)} of {len(results)} {works} ({'; '.join(flagged)}): this table gives training patients away."
            + more
        )
    most, label = max(
        (finding.risk.excess.high, f"{result.label.lower()}{where}")
        for result in results
        for finding, where in ((result.everyone, ""), (result.exposed, ", on the most exposed patients"))
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
        f"{first} The largest risk that the measurements leave open is {most:.2f} ({label}). Attacks can show a leak, "
        "never its absence."
    )
