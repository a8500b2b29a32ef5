"""Survival curves as text, CSV and HTML with a drawing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from common.inference.rendering import aligned, csv_text, page
from common.inference.survival import SurvivalCurve, SurvivalCurves

HEADINGS = ("group", "time", "at_risk", "events", "survival", "low", "high")
"""Columns of the CSV file, which has one line for each time of each curve."""

COLORS = ("#1d4ed8", "#b45309", "#047857", "#7c3aed", "#be123c", "#0e7490", "#4d7c0f", "#a21caf", "#374151", "#c2410c",
          "#1e3a8a", "#065f46")  # fmt: skip

LEFT, RIGHT, TOP, BOTTOM = 60.0, 700.0, 20.0, 360.0
"""Corners of the drawing's axes."""


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A curve in the drawing: its band and line as points, and where its name stands."""

    name: str
    color: str
    band: str
    line: str
    x: float
    y: float


def summary_of(curve: SurvivalCurve, time: str) -> str:
    """Return patients and median of a curve in one sentence."""
    if math.isinf(curve.median.value):
        reached = "fewer than half had the event while enough were observed"
    else:
        high = f"{curve.median.high:,.4g}" if math.isfinite(curve.median.high) else "beyond the last time"
        reached = f"half had the event by {time} = {curve.median.value:,.4g} ({curve.median.low:,.4g} to {high})"
    return f"About {curve.patients:,.0f} patients; {reached}."


def notes_of(curves: SurvivalCurves) -> list[str]:
    """Return what stands below the curves."""
    notes = [
        f"Event: {curves.event} = {curves.label}. Kaplan-Meier by intervals of {curves.time}, with pointwise 95 % "
        "bands that hold sampling, the noise that protects the patients, and whether censored patients of an interval "
        "left before or after its events.",
    ]
    if curves.log_rank is not None:
        test = curves.log_rank
        notes.append(
            f"Log-rank test between groups of {curves.by}, with the noise in its variance: chi-squared "
            f"{test.statistic:.2f} with {test.freedom} degree{'s' * (test.freedom > 1)} of freedom, "
            f"p = {test.p_value:.2g}. It takes events and censored patients to be spread evenly within each interval."
        )
    elif curves.by is not None:
        notes.append("Noise hides the log-rank test.")
    return [*notes, *(f"Note: {note}." for note in curves.notes)]


def survival_text(curves: SurvivalCurves) -> str:
    """Return the curves as plain text."""
    parts = []
    for curve in curves.curves:
        rows = [(curves.time, "at risk", "events", "without the event"), *_rows(curve)]
        parts.append(f"{_name(curves, curve)}. {summary_of(curve, curves.time)}\n{aligned(rows)}")
    return "\n".join(parts) + "\n" + "\n".join(notes_of(curves)) + "\n"


def survival_csv(curves: SurvivalCurves) -> str:
    """Return one line for each time of each curve."""
    rows = []
    for curve in curves.curves:
        for point in curve.points:
            band = (point.survival.value, point.survival.low, point.survival.high)
            texts = [f"{point.time:.10g}", f"{point.at_risk:.1f}", f"{point.events:.1f}"]
            rows.append([curve.group, *texts, *(f"{number:.6f}" for number in band)])
    return csv_text(HEADINGS, rows)


def survival_html(curves: SurvivalCurves, title: str, warnings: Sequence[str]) -> str:
    """Return the curves as a page with a drawing, which needs nothing but itself.

    Args:
        curves: the curves.
        title: of the page.
        warnings: of the run.
    """
    last = max((point.time for curve in curves.curves for point in curve.points), default=1.0) or 1.0
    shown = curves.curves[1:] if len(curves.curves) > 1 else curves.curves
    drawn = [
        _draw(_name(curves, curve), COLORS[number % len(COLORS)], curve, last)
        for number, curve in enumerate(shown)
        if curve.points
    ]
    listed = [
        {"name": _name(curves, curve), "summary": summary_of(curve, curves.time), "rows": _rows(curve)}
        for curve in curves.curves
    ]
    ticks = [{"x": LEFT + (RIGHT - LEFT) * part, "text": f"{last * part:,.4g}"} for part in (0, 0.25, 0.5, 0.75, 1)]
    levels = [{"y": _y(part), "text": f"{part:g}"} for part in (0, 0.25, 0.5, 0.75, 1)]
    return str(
        page("survival.html.jinja").render(
            title=title, warnings=list(warnings), time=curves.time, ticks=ticks, levels=levels, drawn=drawn,
            curves=listed, notes=notes_of(curves),
        )
    )  # fmt: skip


def _name(curves: SurvivalCurves, curve: SurvivalCurve) -> str:
    return curve.group if curves.by is None or curve is curves.curves[0] else f"{curves.by} = {curve.group}"


def _rows(curve: SurvivalCurve) -> list[tuple[str, str, str, str]]:
    return [
        (f"{point.time:,.10g}", f"{point.at_risk:,.0f}", f"{point.events:,.0f}", point.survival.text(".3f"))
        for point in curve.points
    ]


def _y(part: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * part


def _draw(name: str, color: str, curve: SurvivalCurve, last: float) -> _Drawn:
    """Return a curve's points; between ends of intervals, where nothing is known, lines are straight."""
    x = [LEFT, *(LEFT + (RIGHT - LEFT) * point.time / last for point in curve.points)]
    value, low, high = (
        [TOP, *(_y(number) for number in numbers)]
        for numbers in (
            [point.survival.value for point in curve.points],
            [point.survival.low for point in curve.points],
            [point.survival.high for point in curve.points],
        )
    )
    band = [*zip(x, low, strict=True), *reversed(list(zip(x, high, strict=True)))]
    return _Drawn(name, color, _points(band), _points(list(zip(x, value, strict=True))), x[-1], value[-1])


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
