"""The report on synthetic visits: one HTML file, readable offline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from common.columns.value_grid import ValueGrid
from common.evaluation.report.charts import (
    CLEAR_BLUE,
    FADED,
    NEUTRAL,
    REAL,
    SYNTHETIC,
    finished,
    plain,
    two_lines,
)
from common.evaluation.report.html import RunSummary, page_template
from common.evaluation.statistics.handling import HANDLING
from common.evaluation.statistics.intervals import LEVEL
from common.evaluation.visits.evidence import Courses, Distribution, TransitionMap, VisitEvidence
from common.evaluation.visits.measures import VISIT_MEASURES

MOST_NAMED = 12
"""Most values of a column whose names a map of transitions shows."""


def render_visits(evidence: VisitEvidence, run: RunSummary | None, *, title: str) -> str:
    """Return the report as the text of one HTML file, which fetches nothing: its page policy forbids it.

    Args:
        evidence: results of the evaluation.
        run: what the run promised and cost; None for visits of unknown origin.
        title: title of the page.
    """
    page: str = page_template("visits.html.jinja").render(
        title=title,
        evidence=evidence,
        run=run,
        handling=HANDLING,
        measures=[(measure, evidence.measures[key]) for key, measure in VISIT_MEASURES.items()],
        charts=visit_charts(evidence),
        colors={"real": REAL, "synthetic": SYNTHETIC, "neutral": NEUTRAL},
        level=LEVEL,
        plotly=get_plotlyjs(),
    )
    return page


def visit_charts(evidence: VisitEvidence) -> dict[str, dict[str, Any]]:
    """Return the charts of the page by name."""
    charts = {"lengths": _bars(evidence.lengths, "visits")}
    if evidence.gaps.labels:
        charts["gaps"] = _bars(evidence.gaps, "time to the next visit")
    charts["persistence"] = _persistence(evidence)
    for index, transitions in enumerate(evidence.transitions):
        charts[f"real-map-{index}"] = _map(transitions, transitions.real)
        charts[f"synthetic-map-{index}"] = _map(transitions, transitions.synthetic)
    for index, courses in enumerate(evidence.courses):
        span = _span(courses)
        charts[f"real-courses-{index}"] = _lines(courses.real, REAL, span, courses.grid)
        charts[f"synthetic-courses-{index}"] = _lines(courses.synthetic, SYNTHETIC, span, courses.grid)
    return charts


def _bars(distribution: Distribution, unit: str) -> dict[str, Any]:
    figure = go.Figure()
    sides = (("real", distribution.real, REAL, FADED), ("synthetic", distribution.synthetic, SYNTHETIC, 1.0))
    for name, fractions, color, opacity in sides:
        figure.add_bar(
            x=list(distribution.labels),
            y=list(fractions),
            name=name,
            marker={"color": color, "opacity": opacity},
            hovertemplate=f"{unit} %{{x}}: %{{y:.1%}}<extra>{name}</extra>",
        )
    figure.update_layout(barmode="group", bargap=0.25)
    figure.update_xaxes(type="category", showgrid=False, automargin=True)
    figure.update_yaxes(tickformat=".0%", rangemode="tozero", nticks=5)
    return finished(figure, height=240, margin={"l": 44, "r": 8, "t": 6, "b": 30})


def _persistence(evidence: VisitEvidence) -> dict[str, Any]:
    names = [plain(column.column) for column in evidence.persistence]
    figure = go.Figure()
    for name, color, opacity in (("real", REAL, FADED), ("synthetic", SYNTHETIC, 1.0)):
        figure.add_bar(
            y=names,
            x=[getattr(column, name) for column in evidence.persistence],
            name=name,
            orientation="h",
            marker={"color": color, "opacity": opacity},
            hovertemplate=f"%{{y}}: %{{x:.2f}}<extra>{name}</extra>",
        )
    figure.update_layout(barmode="group", bargap=0.28)
    figure.update_yaxes(autorange="reversed", showgrid=False, automargin=True)
    figure.update_xaxes(range=[min(0.0, *_values(evidence)), 1.0], nticks=6)
    return finished(figure, height=60 + 30 * len(names), margin={"l": 8, "r": 14, "t": 6, "b": 24})


def _values(evidence: VisitEvidence) -> list[float]:
    both = [value for column in evidence.persistence for value in (column.real, column.synthetic)]
    return [0.0, *(value for value in both if value is not None)]


def _map(transitions: TransitionMap, given: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Draw the probabilities of the next value (columns) given a value (rows)."""
    positions = list(range(len(transitions.labels)))
    names = [plain(label, None) for label in transitions.labels]
    figure = go.Figure()
    figure.add_heatmap(
        z=[list(row) for row in given],
        x=positions,
        y=positions,
        customdata=[[f"{now}, then {following}" for following in names] for now in names],
        hovertemplate="%{customdata}: %{z:.0%}<extra></extra>",
        colorscale=[[0.0, CLEAR_BLUE], [1.0, REAL]],
        zmin=0.0,
        zmax=1.0,
        xgap=1,
        ygap=1,
        showscale=False,
    )
    shown = [plain(label, 12) for label in transitions.labels] if len(names) <= MOST_NAMED else [""] * len(names)
    axis = {"tickvals": positions, "ticktext": shown, "showgrid": False, "tickfont": {"size": 10}, "automargin": True}
    figure.update_xaxes(**axis, side="top", tickangle=-90)
    figure.update_yaxes(**axis, autorange="reversed")
    return finished(figure, height=260, margin={"l": 4, "r": 4, "t": 4, "b": 4})


def _span(courses: Courses) -> tuple[list[float], list[float]]:
    """Return the ranges of time and value that both charts of a column share."""
    points = [point for line in (*courses.real, *courses.synthetic) for point in line] or [(0.0, 0.0)]
    times, values = zip(*points, strict=True)
    reach = 0.05 * (max(values) - min(values) or 1.0)
    return [0.0, max(times) or 1.0], [min(values) - reach, max(values) + reach]


def _lines(
    lines: Sequence[Sequence[tuple[float, float]]],
    color: str,
    span: tuple[list[float], list[float]],
    grid: ValueGrid | None,
) -> dict[str, Any]:
    """Draw one line per patient.

    Args:
        lines: points (time, value) of every patient.
        color: color of the lines.
        span: ranges of the two axes.
        grid: how values are shown; None for plain numbers.
    """
    calendar = None if grid is None else grid.calendar
    figure = go.Figure()
    for line in lines:
        figure.add_scatter(
            x=[time for time, _ in line],
            y=[value for _, value in line],
            mode="lines+markers",
            line={"color": color, "width": 1.2},
            marker={"size": 3, "color": color},
            opacity=0.75,
            customdata=None if calendar is None else [calendar.text(value) for _, value in line],
            hovertemplate=f"%{{x:.0f}}: %{{{'y:.4g' if calendar is None else 'customdata'}}}<extra></extra>",
        )
    figure.update_xaxes(range=span[0], nticks=5)
    figure.update_yaxes(range=span[1], nticks=5)
    if calendar is not None:
        positions, texts = calendar.ticks(*span[1])
        figure.update_yaxes(tickvals=positions, ticktext=[two_lines(text) for text in texts], automargin=True)
    return finished(figure, height=230, margin={"l": 44, "r": 8, "t": 6, "b": 26})
