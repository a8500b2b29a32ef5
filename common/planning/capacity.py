"""Whether a plan fits: vectors short enough to draw noise for, and sums within the range of masked integers."""

from __future__ import annotations

from common.errors import StudyError
from common.marginals.whole_histories import discriminator_width
from common.planning.phases import vector_phase
from common.planning.plan import Plan
from common.planning.sizing import MAX_VECTOR_CELLS
from common.privacy.quantization import parameters_of
from common.secagg.terms import most_rows
from common.secagg.words import MOST
from common.study.study import Study
from common.study.synthesizers import AdversarialSettings

NOISE_REACH = 20
"""Deviations of a hospital's noise that sums leave room for. A discrete Gaussian exceeds them with probability below
2 exp(-200), about 3e-87 (Canonne, Kamath and Steinke 2020: its tails are no heavier than a Gaussian's)."""


def most_counted(study: Study, plan: Plan, phase: str) -> int:
    """Return the largest absolute value that a sum of counts can have.

    Args:
        study: study that lists its hospitals; each hospital counts at most `most_rows` patients in a cell.
        plan: plan that gives the noise of each hospital, which is taken to stay within `NOISE_REACH` deviations.
        phase: name of the counted vector.

    Returns:
        A bound in parts of patients times weight, over all cells of the vector.
    """
    planned = plan.vector(phase)
    assert planned is not None, "a phase of the plan"
    rows = plan.largest_change(planned) * sum(most_rows(study, facts.name) for facts in study.hospitals)
    noise = NOISE_REACH * sum(plan.sigma(hospital_plan, phase) for hospital_plan in plan.hospitals)
    return rows + int(noise) + 1


def check_capacity(study: Study, plan: Plan) -> None:
    """Raise `StudyError` if the sum of a counted vector could leave the range of masked integers."""
    for phase in plan.vectors:
        if most_counted(study, plan, phase.name) > MOST:
            raise StudyError(
                f"the sums of phase '{phase.name}' could exceed {MOST}, beyond which masked integers wrap around; "
                "declare fewer rows or raise epsilon"
            )


def check_cells(study: Study, plan: Plan) -> None:
    """Raise `StudyError` if a vector could have more than `MAX_VECTOR_CELLS`, whichever tables are asked for."""
    for phase in plan.vectors:
        tables = vector_phase(phase.name).largest(study, plan, phase)
        cells = sum(size for size, _ in tables)
        if cells > MAX_VECTOR_CELLS:
            size, names = max(tables)
            largest = " and ".join(f"'{name}'" for name in names)
            raise StudyError(
                f"the phase '{phase.name}' may count {cells} cells, more than {MAX_VECTOR_CELLS}; its largest table, "
                f"of {largest}, has {size}: merge categories, leave out columns, or lower [synthesizer] bins, pairs or "
                "triples"
            )


def discriminator_parameters(study: Study, bins: int) -> int:
    """Return an upper bound on the number of discriminator parameters, where numeric columns have at most `bins`.

    It is 0 for a synthesizer that does not train in rounds.
    """
    if not isinstance(study.synthesizer, AdversarialSettings):
        return 0
    width = discriminator_width(study.table, [column.max_codes(bins) for column in study.table.each()])
    return parameters_of(width, study.synthesizer.hidden)


def check_parameters(parameters: int) -> None:
    """Raise `StudyError` if a masked gradient of that many parameters is longer than `MAX_VECTOR_CELLS`."""
    if parameters > MAX_VECTOR_CELLS:
        raise StudyError(
            f"[training] steps = 1: the discriminator may have {parameters} parameters, more than {MAX_VECTOR_CELLS}; "
            "lower [synthesizer] hidden, leave out columns, or choose more steps, which are not masked"
        )
