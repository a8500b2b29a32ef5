"""The results of a benchmark of visits as a Markdown page."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from common.evaluation.visits.measures import VISIT_MEASURES
from simulations.benchmark.gaps import SeedMean
from simulations.benchmark.markdown import by_table, median, table_of
from simulations.benchmark.results import Case, CaseFailure
from simulations.benchmark.visits.arms import VISIT_ARMS

HEADINGS = {
    "transition_error": "transition error ↓", "transitions": "same column ↓", "cross_transitions": "cross column ↓",
    "visits_per_patient": "visits ↓", "gaps": "gaps ↓", "persistence": "persistence ↓", "static_visit": "static ↓",
    "first_last": "first, last ↓", "history_c2st": "C2ST → 0.5", "history_membership": "membership → 0.5",
    "next_visit_auroc": "next visit ↑",
}  # fmt: skip
"""Short headings of the measures with their better direction."""

INTRODUCTION = """\
Mean over split seeds ± half of the 95 % interval of that mean (Student's t over seeds). Patients are split, never
visits: distances are to the training patients, the next visit is predicted for held-out ones. The bootstrap of real
patients says what sampling error alone costs."""


def visits_markdown(results: pd.DataFrame, missing: Iterable[Case], failures: Iterable[CaseFailure]) -> str:
    """Render a table of the measures for every table of visits, and what was not run.

    Args:
        results: finished cases.
        missing: cases without a result.
        failures: why some of them have none.
    """
    return by_table(INTRODUCTION.replace("\n", " "), results, missing, failures, _table)


def _table(rows: pd.DataFrame) -> str:
    """Render one line per arm and epsilon, arms in the order of `VISIT_ARMS`."""
    lines = [["arm", "epsilon", "seeds", *(HEADINGS[key] for key in VISIT_MEASURES), "CPU s"]]
    for arm in sorted(set(rows.arm), key=list(VISIT_ARMS).index):
        for epsilon in sorted(set(rows.epsilon[rows.arm == arm])):
            cases = rows[(rows.arm == arm) & (rows.epsilon == epsilon)]
            means = [str(SeedMean.of(list(cases[key])) or "-") for key in VISIT_MEASURES]
            budget = f"{epsilon:g}" if epsilon else "-"
            cost = f"{median(cases.cpu_seconds):.0f}"
            lines.append([VISIT_ARMS[arm].label, budget, str(len(cases)), *means, cost])
    return table_of(lines)
