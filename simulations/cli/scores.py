"""Tables of measures on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from common.evaluation.assessment import Assessment
    from common.evaluation.visits.evidence import VisitEvidence


def scores_of(evidence: Assessment | VisitEvidence) -> list[Table | str]:
    """Return the core measures, or those of visits, and the verdict."""
    from common.evaluation.assessment import Assessment

    headline = f"[bold]{evidence.verdict.headline}[/]"
    if not isinstance(evidence, Assessment):
        return [visit_scores_table(evidence), *visit_scores_lacking(evidence), headline]
    return [scores_table(evidence), headline]


def scores_table(evidence: Assessment) -> Table:
    """Return a table of every core measure, for the synthetic table and for real rows."""
    from common.evaluation.measures.registry import CORE_MEASURES

    table = _scores("Synthetic against real rows", "real rows")
    for key, measure in CORE_MEASURES.items():
        measured = evidence.measures[key]
        value, reference = (None, None) if measured is None else (measured.estimate.value, measured.reference)
        table.add_row(measure.title, _number(value), _number(reference), measure.direction)
    return table


def visit_scores_table(evidence: VisitEvidence) -> Table:
    """Return a table of every measure of visits, for the synthetic patients and for real ones."""
    from common.evaluation.visits.measures import VISIT_MEASURES

    table = _scores("Synthetic against real patients", "real patients")
    for key, measure in VISIT_MEASURES.items():
        measured = evidence.measures[key]
        value = None if measured is None else measured.estimate.value
        reference = None if measured is None or measured.reference is None else measured.reference.value
        table.add_row(measure.title, _number(value), _number(reference), measure.direction)
    return table


def visit_scores_lacking(evidence: VisitEvidence) -> list[str]:
    """Return a line for every measure without a value: why it may have none."""
    from common.evaluation.visits.measures import VISIT_MEASURES

    lacking = [measure for key, measure in VISIT_MEASURES.items() if evidence.measures[key] is None]
    return [f"{measure.title} has no value: {measure.without}." for measure in lacking]


def _scores(title: str, real: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in ("measure", "synthetic", real, "better is"):
        table.add_column(heading, justify="left" if heading == "measure" else "right")
    return table


def _number(score: float | None) -> str:
    return "-" if score is None else f"{score:.3f}"
