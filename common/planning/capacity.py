"""Whether the sums of a plan fit the integers that masks work in."""

from __future__ import annotations

from common.errors import StudyError
from common.planning.plan import Plan
from common.secagg.masks import MOST
from common.secagg.terms import most_rows
from common.study.study import Study

NOISE_REACH = 20
"""Deviations of a hospital's noise that sums leave room for. A discrete Gaussian exceeds them with probability below
2 exp(-200), about 3e-87 (Canonne, Kamath and Steinke 2020: its tails are no heavier than a Gaussian's)."""


def most_counted(study: Study, plan: Plan, phase: str) -> int:
    """Return the largest absolute value that a sum of counts can have.

    Args:
        study: with its hospitals; each counts at most `most_rows` patients in a cell.
        plan: with the noise of each hospital, taken to stay within `NOISE_REACH` deviations.
        phase: name of the counted vector.

    Returns:
        A bound in patients, over all cells of the vector.
    """
    rows = sum(most_rows(study, facts.name) for facts in study.hospitals)
    noise = NOISE_REACH * sum(plan.sigma(mine, phase) for mine in plan.hospitals)
    return rows + int(noise) + 1


def check_capacity(study: Study, plan: Plan) -> None:
    """Raise `StudyError` if the sum of a counted vector could leave the range of masked integers."""
    for phase in plan.vectors:
        if most_counted(study, plan, phase.name) > MOST:
            raise StudyError(
                f"the sums of phase '{phase.name}' could exceed {MOST}, beyond which masked integers wrap around; "
                "declare fewer rows or raise epsilon"
            )
