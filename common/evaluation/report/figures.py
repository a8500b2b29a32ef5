"""Figures of estimates: points with intervals, calibration, survival curves; as plotly figures in JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from common.evaluation.assessment import Assessment
from common.evaluation.attacks.results import PrivacyEvidence
from common.evaluation.fairness.results import Comparison
from common.evaluation.report.charts import NEUTRAL, REAL, SYNTHETIC, finished, plain
from common.evaluation.statistics.intervals import Estimate
from common.evaluation.utility.prediction import CalibrationBin, PredictionUtility
from common.evaluation.utility.survival import Survival
from common.evaluation.utility.train_on_synthetic import CHANCE

CALIBRATED = 3
"""Learners whose calibration is drawn."""

MOST_COLUMNS = 40
"""Most columns that the overview shows: those that differ most."""


@dataclass(frozen=True, slots=True)
class Series:
    """How points of one kind look: name in the legend, color and symbol."""

    name: str
    color: str
    symbol: str


TRAINED = (
    Series("trained on real rows", REAL, "circle"),
    Series("trained on synthetic rows", SYNTHETIC, "diamond"),
)
ATTACKED = (
    Series("training patients", SYNTHETIC, "diamond"),
    Series("held-out patients", REAL, "circle"),
    Series("baseline", NEUTRAL, "square"),
)
AUGMENTED = (
    Series("real rows", REAL, "circle"),
    Series("minority rows repeated", NEUTRAL, "square"),
    Series("synthetic rows added", SYNTHETIC, "diamond"),
)
COMPARED = (Series("all hospitals' real rows", REAL, "circle"), Series("synthetic table", SYNTHETIC, "diamond"))
SINGLE = (Series("", SYNTHETIC, "diamond"),)

Rows = Mapping[str, Sequence[Estimate | None]]


@dataclass(frozen=True, slots=True)
class Axis:
    """The axis of values of a chart.

    Attributes:
        span: least and largest value; None for what the intervals need.
        percent: show percentages.
        line: a value with its name, drawn across all rows; None for none.
    """

    span: tuple[float, float] | None = None
    percent: bool = False
    line: tuple[float, str] | None = None


FROM_CHANCE = Axis((CHANCE, 1.0), line=(CHANCE, "chance"))
"""An area under a curve: from a coin's to that of perfect predictions."""


def dots(
    rows: Rows, series: Sequence[Series], axis: Axis | None = None, *, marks: Sequence[float | None] = ()
) -> dict[str, Any]:
    """Draw one row of points per label, one point per series, each with its interval.

    Args:
        rows: label to estimates, one per series; None leaves an estimate out.
        series: how the points look.
        axis: the axis of values; None for one as wide as the intervals need.
        marks: one value per row, drawn as an upright stroke: a bound.
    """
    figure, axis = go.Figure(), axis or Axis()
    if axis.line is not None:
        _add_line(figure, *axis.line)
    shift = 0.22 if len(series) > 1 else 0.0
    for index, kind in enumerate(series):
        offset = shift * (2 * index / max(len(series) - 1, 1) - 1)
        points = [
            (row + offset, label, estimate)
            for row, (label, estimates) in enumerate(rows.items())
            if (estimate := estimates[index]) is not None
        ]
        _add_points(figure, kind, points, percent=axis.percent)
    _add_marks(figure, marks)
    figure.update_xaxes(
        tickformat=".0%" if axis.percent else None, nticks=6, tickangle=0, range=_span(rows, marks, axis)
    )
    figure.update_yaxes(
        tickvals=list(range(len(rows))),
        ticktext=[f"{plain(label, 30)}  " for label in rows],
        range=[len(rows) - 0.45, -0.55],
        showgrid=False,
        automargin=True,
    )
    height = 52 + (34 if len(series) > 1 else 26) * len(rows)
    return finished(figure, height=height, margin={"l": 8, "r": 18, "t": 20 if axis.line else 6, "b": 26})


def _add_line(figure: go.Figure, value: float, name: str) -> None:
    """Draw a value with its name across all rows."""
    figure.add_vline(x=value, line={"dash": "dot", "color": NEUTRAL, "width": 1.5})
    figure.add_annotation(
        x=value, y=1, yref="paper", text=name, showarrow=False, xanchor="left", yanchor="bottom", xshift=3
    )


def _add_points(
    figure: go.Figure, kind: Series, points: Sequence[tuple[float, str, Estimate]], *, percent: bool
) -> None:
    """Draw the points of one series: height, label and estimate of each."""
    figure.add_scatter(
        x=[estimate.value for _, _, estimate in points],
        y=[height for height, _, _ in points],
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [estimate.high - estimate.value for _, _, estimate in points],
            "arrayminus": [estimate.value - estimate.low for _, _, estimate in points],
            "thickness": 2,
            "width": 0,
            "color": kind.color,
        },
        mode="markers",
        name=kind.name,
        marker={"color": kind.color, "size": 10, "symbol": kind.symbol},
        customdata=[[plain(label, None), interval_text(estimate, percent=percent)] for _, label, estimate in points],
        hovertemplate="%{customdata[0]}: %{customdata[1]}<extra>%{fullData.name}</extra>",
    )


def _add_marks(figure: go.Figure, marks: Sequence[float | None]) -> None:
    """Draw bounds as upright strokes, one per row that has one."""
    known = [(row, value) for row, value in enumerate(marks) if value is not None]
    if known:
        figure.add_scatter(
            x=[value for _, value in known],
            y=[row for row, _ in known],
            mode="markers",
            name="most that epsilon allows",
            marker={"symbol": "line-ns", "size": 22, "line": {"width": 2.5, "color": NEUTRAL}},
            hovertemplate="%{x:.2f}<extra>%{fullData.name}</extra>",
        )


def _span(rows: Rows, marks: Sequence[float | None], axis: Axis) -> list[float]:
    ends = [end for points in rows.values() for point in points if point for end in (point.low, point.high)]
    ends += [mark for mark in marks if mark is not None] + ([] if axis.line is None else [axis.line[0]])
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    if axis.span is not None:
        low, high = min(low, axis.span[0]), max(high, axis.span[1])
    margin = 0.03 * ((high - low) or 1.0)
    return [low - margin, high + margin]


def interval_text(estimate: Estimate, *, percent: bool = False) -> str:
    """Return the estimate with its interval as people read it."""
    if percent:
        return f"{estimate.value:.1%} ({estimate.low:.1%} to {estimate.high:.1%})"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def figures(evidence: Assessment) -> dict[str, dict[str, Any]]:
    """Draw every figure that this evidence has, by its place on the page."""
    charts = {"distances": _distances(evidence)}
    if evidence.prediction is not None:
        charts |= _prediction(evidence.prediction)
    if evidence.hospitals:
        rows = {site.name: (site.pairs_pooled, site.pairs_synthetic) for site in evidence.hospitals}
        charts["hospital-pairs"] = dots(rows, COMPARED, Axis((0.0, 0.0), percent=True))
    if evidence.survival is not None:
        charts["survival"] = _survival(evidence.survival)
    charts |= _attacks(evidence.privacy)
    for index, column in enumerate(evidence.fairness.columns if evidence.fairness else ()):
        for number, comparison in enumerate(column.comparisons):
            charts[f"fair-{index}-{number}"] = _groups(comparison)
    return charts


def _distances(evidence: Assessment) -> dict[str, Any]:
    """Draw the total variation distance of the columns that differ most, largest first."""
    columns = sorted(evidence.columns, key=lambda column: -column.distances.tvd.value)
    return dots(
        {column.name: (column.distances.tvd,) for column in columns[:MOST_COLUMNS]},
        SINGLE,
        Axis((0.0, 0.1), percent=True),
    )


def _prediction(prediction: PredictionUtility) -> dict[str, dict[str, Any]]:
    rows = {learner.title: (learner.auroc_real, learner.auroc_synthetic) for learner in prediction.learners}
    charts = {"prediction": dots(rows, TRAINED, FROM_CHANCE)}
    for learner in prediction.learners[:CALIBRATED]:
        if learner.calibration_real:
            charts[f"calibration-{learner.name}"] = _calibration(
                learner.calibration_real, learner.calibration_synthetic
            )
    if prediction.augmentation:
        arms = {
            learner.title: (learner.precision_real, learner.precision_oversampled, learner.precision_augmented)
            for learner in prediction.augmentation
        }
        charts["augmentation"] = dots(arms, AUGMENTED, Axis(line=(prediction.minority_fraction, "guessing")))
    hospitals = {hospital.name: (hospital.auroc_real, hospital.auroc_synthetic) for hospital in prediction.hospitals}
    if any(point is not None for points in hospitals.values() for point in points):
        charts["hospital-prediction"] = dots(hospitals, TRAINED, FROM_CHANCE)
    return charts


def _calibration(real: Sequence[CalibrationBin], synthetic: Sequence[CalibrationBin]) -> dict[str, Any]:
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"dash": "dot", "color": NEUTRAL, "width": 1.5}, hoverinfo="skip"
    )
    for kind, points in zip(TRAINED, (real, synthetic), strict=True):
        figure.add_scatter(
            x=[point.predicted for point in points],
            y=[point.observed.value for point in points],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [point.observed.high - point.observed.value for point in points],
                "arrayminus": [point.observed.value - point.observed.low for point in points],
                "thickness": 1.2,
                "width": 0,
                "color": kind.color,
            },
            mode="lines+markers",
            name=kind.name,
            line={"color": kind.color, "width": 1.5},
            marker={"color": kind.color, "size": 7, "symbol": kind.symbol},
            hovertemplate="predicted %{x:.0%}, observed %{y:.0%}<extra>%{fullData.name}</extra>",
        )
    figure.update_xaxes(range=[-0.03, 1.03], tickformat=".0%", nticks=6, title={"text": "predicted risk"})
    figure.update_yaxes(range=[-0.03, 1.03], tickformat=".0%", nticks=6, title={"text": "observed"})
    return finished(figure, height=280, margin={"l": 58, "r": 12, "t": 8, "b": 46})


def _survival(survival: Survival) -> dict[str, Any]:
    figure = go.Figure()
    for name, curve, color, dash in (
        ("real", survival.curve_real, REAL, "solid"),
        ("synthetic", survival.curve_synthetic, SYNTHETIC, "dash"),
    ):
        figure.add_scatter(
            x=survival.times,
            y=curve,
            mode="lines",
            name=name,
            line={"color": color, "width": 2.4, "shape": "hv", "dash": dash},
            hovertemplate="%{x:.6g}: %{y:.1%}<extra>%{fullData.name}</extra>",
        )
    unit = f" ({plain(survival.unit, None)})" if survival.unit else ""
    figure.update_xaxes(title={"text": plain(survival.time) + unit})
    figure.update_yaxes(tickformat=".0%", title={"text": f"without {plain(survival.event)}"})
    return finished(figure, height=300, margin={"l": 62, "r": 12, "t": 8, "b": 46})


def _attacks(privacy: PrivacyEvidence) -> dict[str, dict[str, Any]]:
    risks, areas, bounds = {}, {}, []
    for attack in privacy.attacks:
        if (risk := attack.all_records.risk) is not None:
            risks[attack.title] = (risk.attack, risk.control, risk.baseline)
        if (membership := attack.all_records.membership) is not None:
            areas[attack.title] = (membership.auroc, None, membership.baseline)
            bounds.append(membership.bound)
    charts = {}
    if areas:
        charts["membership"] = dots(areas, ATTACKED, FROM_CHANCE, marks=bounds)
    if risks:
        charts["risks"] = dots(risks, ATTACKED, Axis((0.0, 1.0), percent=True))
    return charts


def _groups(comparison: Comparison) -> dict[str, Any]:
    return dots({group.group: (group.estimate,) for group in comparison.groups}, SINGLE)
