"""Figures of estimates: points with intervals, calibration, survival curves; as plotly figures in JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from common.evaluation.assessment import Evidence
from common.evaluation.attacks.results import PrivacyEvidence
from common.evaluation.fairness import Comparison
from common.evaluation.report.charts import NEUTRAL, REAL, SYNTHETIC, finished, plain
from common.evaluation.statistics.intervals import Estimate
from common.evaluation.utility.survival import Survival
from common.evaluation.utility.train_on_synthetic import CHANCE
from common.evaluation.utility.trials import Bar, Trials

MOST_COLUMNS = 40
"""The overview of columns shows so many of those that differ most."""


@dataclass(frozen=True, slots=True)
class Series:
    """How the points of one kind look: their name in the legend, colour and symbol."""

    name: str
    colour: str
    symbol: str


TAUGHT = (Series("taught with real rows", REAL, "circle"), Series("taught with synthetic rows", SYNTHETIC, "diamond"))
AGAINST = (
    Series("training patients", SYNTHETIC, "diamond"),
    Series("patients it never saw", REAL, "circle"),
    Series("blind guess", NEUTRAL, "square"),
)
ARMS = (
    Series("real rows", REAL, "circle"),
    Series("scarce rows repeated", NEUTRAL, "square"),
    Series("synthetic rows added", SYNTHETIC, "diamond"),
)
NEAR = (Series("other hospitals' rows too", REAL, "circle"), Series("synthetic table", SYNTHETIC, "diamond"))
ALONE = (Series("", SYNTHETIC, "diamond"),)

Rows = Mapping[str, Sequence[Estimate | None]]


def dots(
    rows: Rows,
    series: Sequence[Series],
    *,
    span: tuple[float, float] | None = None,
    line: tuple[float, str] | None = None,
    percent: bool = False,
    marks: Sequence[float | None] = (),
) -> dict[str, Any]:
    """One row of points a label, one point a series, each with its interval.

    Args:
        rows: label to one estimate a series; None leaves it out.
        span: least and largest value of the axis; what the intervals need where not given.
        line: a value with its name, drawn across all rows.
        marks: one value a row, drawn as an upright stroke: a bound.
    """
    figure = go.Figure()
    if line is not None:
        figure.add_vline(x=line[0], line={"dash": "dot", "color": NEUTRAL, "width": 1.5})
        figure.add_annotation(
            x=line[0], y=1, yref="paper", text=line[1], showarrow=False, xanchor="left", yanchor="bottom", xshift=3
        )
    shift = 0.22 if len(series) > 1 else 0.0
    offsets = [shift * (2 * place / max(len(series) - 1, 1) - 1) for place in range(len(series))]
    template = "%{customdata[0]}: %{customdata[1]}<extra>%{fullData.name}</extra>"
    for place, kind in enumerate(series):
        found = [(row, label, points[place]) for row, (label, points) in enumerate(rows.items())]
        shown = [(row, label, point) for row, label, point in found if point is not None]
        figure.add_scatter(
            x=[point.value for _, _, point in shown],
            y=[row + offsets[place] for row, _, _ in shown],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [point.high - point.value for _, _, point in shown],
                "arrayminus": [point.value - point.low for _, _, point in shown],
                "thickness": 2,
                "width": 0,
                "color": kind.colour,
            },
            mode="markers",
            name=kind.name,
            marker={"color": kind.colour, "size": 10, "symbol": kind.symbol},
            customdata=[[plain(label, None), interval_text(point, percent=percent)] for _, label, point in shown],
            hovertemplate=template,
        )
    stroked = [(row, value) for row, value in enumerate(marks) if value is not None]
    if stroked:
        figure.add_scatter(
            x=[value for _, value in stroked],
            y=[row for row, _ in stroked],
            mode="markers",
            name="most that epsilon allows",
            marker={"symbol": "line-ns", "size": 22, "line": {"width": 2.5, "color": NEUTRAL}},
            hovertemplate="%{x:.2f}<extra>%{fullData.name}</extra>",
        )
    figure.update_xaxes(
        tickformat=".0%" if percent else None, nticks=6, tickangle=0, range=_span(rows, marks, line, span)
    )
    figure.update_yaxes(
        tickvals=list(range(len(rows))),
        ticktext=[f"{plain(label, 30)}  " for label in rows],
        range=[len(rows) - 0.45, -0.55],
        showgrid=False,
        automargin=True,
    )
    height = 52 + (34 if len(series) > 1 else 26) * len(rows)
    return finished(figure, height=height, margin={"l": 8, "r": 18, "t": 20 if line else 6, "b": 26})


def _span(
    rows: Rows, marks: Sequence[float | None], line: tuple[float, str] | None, span: tuple[float, float] | None
) -> list[float]:
    ends = [end for points in rows.values() for point in points if point for end in (point.low, point.high)]
    ends += [mark for mark in marks if mark is not None] + ([] if line is None else [line[0]])
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    if span is not None:
        low, high = min(low, span[0]), max(high, span[1])
    margin = 0.03 * ((high - low) or 1.0)
    return [low - margin, high + margin]


def interval_text(estimate: Estimate, *, percent: bool = False) -> str:
    """The estimate with its interval as people read it."""
    if percent:
        return f"{estimate.value:.1%} ({estimate.low:.1%} to {estimate.high:.1%})"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def figures(evidence: Evidence) -> dict[str, dict[str, Any]]:
    """Every figure that this evidence has, by its place on the page."""
    found = {"distances": _distances(evidence)}
    if evidence.trials is not None:
        found |= _trials(evidence.trials)
    if evidence.hospitals:
        rows = {site.name: (site.pairs_pooled, site.pairs_synthetic) for site in evidence.hospitals}
        found["hospital-pairs"] = dots(rows, NEAR, span=(0.0, 0.0), percent=True)
    if evidence.survival is not None:
        found["survival"] = _survival(evidence.survival)
    found |= _attacks(evidence.privacy)
    for place, column in enumerate(evidence.fairness.columns if evidence.fairness else ()):
        for number, comparison in enumerate(column.comparisons):
            found[f"fair-{place}-{number}"] = _groups(comparison)
    return found


def _distances(evidence: Evidence) -> dict[str, Any]:
    """Total variation distance of the columns that differ most, largest first."""
    found = [(column.name, column.distances.tvd) for column in evidence.columns if column.distances is not None]
    found.sort(key=lambda pair: -pair[1].value)
    return dots({name: (tvd,) for name, tvd in found[:MOST_COLUMNS]}, ALONE, span=(0.0, 0.1), percent=True)


def _trials(trials: Trials) -> dict[str, dict[str, Any]]:
    rows = {trial.label: (trial.auroc_real, trial.auroc_synthetic) for trial in trials.learners}
    found = {"prediction": dots(rows, TAUGHT, span=(CHANCE, 1.0), line=(CHANCE, "chance"))}
    for trial in trials.learners[:3]:
        if trial.reliability_real:
            found[f"calibration-{trial.name}"] = _calibration(trial.reliability_real, trial.reliability_synthetic)
    if trials.augmentation:
        arms = {
            arm.label: (arm.precision_real, arm.precision_repeated, arm.precision_augmented)
            for arm in trials.augmentation
        }
        found["augmentation"] = dots(arms, ARMS, line=(trials.scarce_share, "guessing"))
    sites = {site.name: (site.auroc_real, site.auroc_synthetic) for site in trials.hospitals}
    if any(point is not None for points in sites.values() for point in points):
        found["hospital-prediction"] = dots(sites, TAUGHT, span=(CHANCE, 1.0), line=(CHANCE, "chance"))
    return found


def _calibration(real: Sequence[Bar], synthetic: Sequence[Bar]) -> dict[str, Any]:
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"dash": "dot", "color": NEUTRAL, "width": 1.5}, hoverinfo="skip"
    )
    for kind, bars in zip(TAUGHT, (real, synthetic), strict=True):
        figure.add_scatter(
            x=[bar.promised for bar in bars],
            y=[bar.observed.value for bar in bars],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [bar.observed.high - bar.observed.value for bar in bars],
                "arrayminus": [bar.observed.value - bar.observed.low for bar in bars],
                "thickness": 1.2,
                "width": 0,
                "color": kind.colour,
            },
            mode="lines+markers",
            name=kind.name,
            line={"color": kind.colour, "width": 1.5},
            marker={"color": kind.colour, "size": 7, "symbol": kind.symbol},
            hovertemplate="promised %{x:.0%}, observed %{y:.0%}<extra>%{fullData.name}</extra>",
        )
    figure.update_xaxes(range=[-0.03, 1.03], tickformat=".0%", nticks=6, title={"text": "predicted risk"})
    figure.update_yaxes(range=[-0.03, 1.03], tickformat=".0%", nticks=6, title={"text": "observed"})
    return finished(figure, height=280, margin={"l": 58, "r": 12, "t": 8, "b": 46})


def _survival(survival: Survival) -> dict[str, Any]:
    figure = go.Figure()
    for name, curve, colour, dash in (
        ("real", survival.curve_real, REAL, "solid"),
        ("synthetic", survival.curve_synthetic, SYNTHETIC, "dash"),
    ):
        figure.add_scatter(
            x=survival.times,
            y=curve,
            mode="lines",
            name=name,
            line={"color": colour, "width": 2.4, "shape": "hv", "dash": dash},
            hovertemplate="%{x:.6g}: %{y:.1%}<extra>%{fullData.name}</extra>",
        )
    figure.update_xaxes(title={"text": plain(survival.time)})
    figure.update_yaxes(tickformat=".0%", title={"text": f"without {plain(survival.event)}"})
    return finished(figure, height=300, margin={"l": 62, "r": 12, "t": 8, "b": 46})


def _attacks(privacy: PrivacyEvidence) -> dict[str, dict[str, Any]]:
    risks, areas, bounds = {}, {}, []
    for attack in privacy.attacks:
        if (risk := attack.everyone.risk) is not None:
            risks[attack.label] = (risk.attack, risk.control, risk.blind)
        if (membership := attack.everyone.membership) is not None:
            areas[attack.label] = (membership.auroc, None, membership.blind)
            bounds.append(membership.bound)
    found = {}
    if areas:
        found["membership"] = dots(areas, AGAINST, span=(CHANCE, 1.0), line=(CHANCE, "chance"), marks=bounds)
    if risks:
        found["risks"] = dots(risks, AGAINST, span=(0.0, 1.0), percent=True)
    return found


def _groups(comparison: Comparison) -> dict[str, Any]:
    return dots({group.group: (group.estimate,) for group in comparison.groups}, ALONE)
