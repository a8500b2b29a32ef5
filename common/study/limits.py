"""Limits of what a study and a site may declare, and warnings about what is allowed and unwise.

Each number here is public. A declared number of rows must not be a count, delta must be negligible beside one patient's
share of the table, and an epsilon that protects little must be somebody's decision.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

DIGITS = 2
"""Most significant digits of a declared number of rows. More would say whether one patient is in the table."""

DELTA_ROWS = 10
"""Delta times the declared rows is at most 1 / DELTA_ROWS: a mechanism may expose a patient outright with probability
delta, so that of all patients at most a tenth of one is exposed in expectation."""

WARNED_EPSILON, LARGEST_EPSILON = 10.0, 20.0
"""Epsilon above which a warning is printed, and above which `allow_large_epsilon` must be set. At 10, a suspicion of 1
in 100 that somebody took part may become near certainty (odds times e^10)."""


PLANNED_EPSILON = (0.01, 100.0)
"""Smallest and largest epsilon of a run. Outside, computing the noise takes minutes or hours. Below the smallest, a
release would be noise alone; above the largest, the noise protects hardly any patient."""


def rounded(rows: int) -> int:
    """Return the allowed number of declared rows that is nearest to a count, at least 1."""
    return max(1, round(float(f"{rows:.{DIGITS - 1}e}")))


def _rounded_only(rows: int) -> int:
    if rounded(rows) != rows:
        step = 10 ** (len(str(rows)) - DIGITS)
        below = rows // step * step
        raise ValueError(
            f"declared_rows = {rows} has more than {DIGITS} significant digits; it is public and must not be a count: "
            f"write {below} or {below + step}"
        )
    return rows


DeclaredRows = Annotated[int, AfterValidator(_rounded_only)]
"""A declared number of rows: at most `DIGITS` significant digits."""


def largest_delta(rows: int) -> float:
    """Return the largest delta for this many declared rows."""
    return 1 / (DELTA_ROWS * rows)


def delta_problem(delta: float, rows: int, whose: str) -> str | None:
    """Return what is wrong with a delta for a declared number of rows, and the remedy; None if it is small enough.

    Args:
        delta: delta of the study or the cohort.
        rows: declared rows.
        whose: whose declared rows they are, as the end of a sentence's subject.
    """
    if delta <= largest_delta(rows) * (1 + 1e-9):  # 1 / (10 n) as people write it may be rounded up
        return None
    return (
        f"delta = {delta:g} is above 1 / ({DELTA_ROWS} x declared_rows){whose} ({largest_delta(rows):.2g}); "
        "choose a smaller delta"
    )


def planning_problem(key: str, epsilon: float) -> str | None:
    """Return why noise cannot be planned for an epsilon, and the remedy; None if it can."""
    least, most = PLANNED_EPSILON
    if least <= epsilon <= most:
        return None
    return f"{key} = {epsilon:g} is outside {least:g} to {most:g}, the values for which noise can be planned; change it"


def epsilon_problem(key: str, epsilon: float, *, is_allowed: bool) -> str | None:
    """Return what is wrong with an epsilon, and the remedy; None if it is small enough or was allowed.

    Args:
        key: key of the file that holds it, behind its section where the file has any.
        epsilon: epsilon of a run, or of a cohort's lifetime.
        is_allowed: whether `allow_large_epsilon` is set.
    """
    if epsilon <= LARGEST_EPSILON or is_allowed:
        return None
    section, _, _ = key.rpartition(" ")
    where = f"in section {section} of the study file" if section else "in site.toml"
    return (
        f"{key} = {epsilon:g} is above {LARGEST_EPSILON:g}, which protects nobody in the worst case; lower it, or set "
        f"allow_large_epsilon = true {where} to say that this is meant"
    )


def warnings(key: str, epsilon: float, delta: float, rows: int) -> list[str]:
    """Return warnings about an epsilon and a delta that are allowed and unwise.

    Args:
        key: name of the epsilon, for the text.
        epsilon, delta: of a run, or of a cohort's lifetime.
        rows: declared rows, the fewest of all hospitals.
    """
    texts = []
    if epsilon > WARNED_EPSILON:
        texts.append(
            f"{key} = {epsilon:g} is above {WARNED_EPSILON:g}: the guarantee alone would allow somebody to become "
            "nearly certain who took part. Choose 10 or less unless you know why not"
        )
    if delta > rows**-1.5:
        texts.append(
            f"delta = {delta:g} is above {rows:g}^-1.5 = {rows**-1.5:.1g} for {rows} declared rows; a smaller delta "
            "costs little noise"
        )
    return texts
