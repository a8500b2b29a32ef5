"""The table of attacks: each with its name, what the attacker knows, and the function that runs it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from common.evaluation.attacks.disclosure import infer_attribute, link, single_out_by_combination, single_out_by_value
from common.evaluation.attacks.embedding import Flags
from common.evaluation.attacks.images import IMAGE_ATTACKS, ImageSetup, why_no_image_attacks
from common.evaluation.attacks.membership import by_density_ratio, by_distance
from common.evaluation.attacks.outcome import Attack, Outcome
from common.evaluation.attacks.setup import FEWEST_IN_A_TABLE, AttackSetup, prepare
from common.evaluation.statistics.data import EvaluationData
from common.run_events.events import Emit, Progressed, ignore

FEWEST_ROWS = 20
"""Training or held-out rows below which no attack is run: its interval would enclose every answer."""


ATTACKS: dict[str, Attack[AttackSetup]] = {
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
            "Knows a patient's row and rows of other people; asks whether synthetic rows are denser there than people.",
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
    """The outcome of every attack on every target, from which results and comparisons between groups are computed.

    Attributes:
        setup, outcomes: attacks on rows.
        images, image_outcomes: attacks on images; None and nothing without enough of them.
    """

    setup: AttackSetup
    outcomes: dict[str, Outcome]
    images: ImageSetup | None = None
    image_outcomes: dict[str, Outcome] = field(default_factory=dict)

    def each(self) -> Iterator[tuple[Attack[Any], tuple[Flags, Flags], Outcome]]:
        """Yield every attack with the outliers among its targets and what it did."""
        for name, outcome in self.outcomes.items():
            yield ATTACKS[name], self.setup.outliers, outcome
        if self.images is not None:
            for name, outcome in self.image_outcomes.items():
                yield IMAGE_ATTACKS[name], self.images.outliers, outcome


def run_attacks(data: EvaluationData, *, seed: int = 0, emit: Emit = ignore) -> Attempts:
    """Run every attack of `ATTACKS`, and of `IMAGE_ATTACKS` where there are images; held-out patients are the control.

    Args:
        seed: seed of the rows that are attacked and of the attackers' choices.
        emit: takes the progress before every attack.

    Raises:
        DataError: a table has fewer than two rows.
    """
    images = data.images if data.images is not None and why_no_image_attacks(data.images) is None else None
    steps = len(ATTACKS) + 1 + (len(IMAGE_ATTACKS) if images is not None else 0)
    emit(Progressed(task="attacks", done=0, total=steps))
    setup = prepare(data, seed=seed)
    outcomes, on_images, image_setup = {}, {}, None
    for done, attack in enumerate(ATTACKS.values(), start=1):
        emit(Progressed(task="attacks", done=done, total=steps))
        outcomes[attack.name] = attack.run(setup)
    if images is not None:
        image_setup = ImageSetup.of(images, seed=seed)
        for done, image_attack in enumerate(IMAGE_ATTACKS.values(), start=1 + len(ATTACKS)):
            emit(Progressed(task="attacks", done=done, total=steps))
            on_images[image_attack.name] = image_attack.run(image_setup)
    emit(Progressed(task="attacks", done=steps, total=steps))
    return Attempts(setup, outcomes, image_setup, on_images)


def why_no_attacks(data: EvaluationData) -> str | None:
    """Return why attacks cannot be run on these tables, as a sentence; None if they can."""
    train, control, synthetic = len(data.train), len(data.holdout), len(data.synthetic)
    if min(train, control) < FEWEST_ROWS:
        role = "training" if train < FEWEST_ROWS else "held-out"
        least = min(train, control)
        return f"Attacks need {FEWEST_ROWS} training rows and as many held-out rows; there are {least} {role}."
    if synthetic < FEWEST_IN_A_TABLE:
        return f"Attacks need {FEWEST_IN_A_TABLE} synthetic rows; there are {synthetic}."
    return None
