"""Charts of columns and their relations, as plotly figures; the page colors their text for light or dark screens."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import plotly.graph_objects as go

from common.evaluation.assessment import Assessment, Matrix
from common.evaluation.fidelity.distributions import ColumnFidelity

# Blue and orange of Okabe and Ito, lightened: distinct with every common color blindness, and readable on white and on
# near-black. Real rows are always filled, so that shape distinguishes them as well.
REAL, SYNTHETIC, NEUTRAL = "#4a90c4", "#e08214", "#8a8f98"
CLEAR_BLUE, CLEAR_ORANGE = "rgba(74,144,196,0)", "rgba(224,130,20,0)"

FADED = 0.6
"""Opacity of real bars."""

LONGEST_LABEL = 20
"""Characters of a label on an axis."""

NAMED_COLUMNS = 30
"""Most columns whose names a heat map shows; beyond that they appear on hovering only."""


SMALLEST_CHANGE = 0.2
"""Least change that the map of changes shows in full color, so that sampling error stays pale."""


def plain(text: str, longest: int | None = LONGEST_LABEL) -> str:
    """Return the text with its markup escaped, as plotly shows it literally; cut to `longest` characters."""
    cut = text if longest is None or len(text) <= longest else f"{text[: longest - 1]}…"
    return html.escape(cut, quote=False)


def column_chart(column: ColumnFidelity) -> dict[str, Any]:
    """Draw real and synthetic fractions of one column, missing values as a bar of their own."""
    return _histogram(column) if column.edges else _bars(column)


def _histogram(column: ColumnFidelity) -> dict[str, Any]:
    width = column.edges[1] - column.edges[0]
    centers = [(low + high) / 2 for low, high in pairwise(column.edges)]
    real, outline_x = list(column.real), list[float | None](column.edges)
    outline_y: list[float | None] = [*column.synthetic, column.synthetic[-1]]
    tick_at, tick_text = _ticks(column)
    has_missing = column.missing_real + column.missing_synthetic > 0
    if has_missing:
        gap = max(2 * width, 0.12 * (column.edges[-1] - column.edges[0]))
        at = column.edges[-1] + gap
        bar = max(width, 0.06 * (column.edges[-1] - column.edges[0]))
        outline_x += [None, at - bar / 2, at + bar / 2]
        outline_y += [None, column.missing_synthetic, column.missing_synthetic]
        tick_at, tick_text = [*tick_at, at], [*tick_text, "missing"]
        centers, real = [*centers, at], [*real, column.missing_real]
    widths = [width] * len(column.real) + ([bar] if has_missing else [])
    line = {"shape": "hv", "color": SYNTHETIC, "width": 2.2}
    bars = {"type": "bar", "x": centers, "y": real, "width": widths, "marker": {"color": REAL, "opacity": FADED}}
    outline = {"type": "scatter", "x": outline_x, "y": outline_y, "mode": "lines", "line": line}
    ticks = {"tickvals": tick_at, "ticktext": tick_text, "tickangle": 0, "ticklabeloverflow": "allow"}
    on_bars, on_outline = _hover(column)
    return _chart(
        [{"name": "real", **bars, **on_bars}, {"name": "synthetic", **outline, **on_outline}],
        {
            "bargap": 0,
            "xaxis": {"showgrid": False, **ticks},
            "yaxis": {"tickformat": ".0%", "rangemode": "tozero", "nticks": 4},
        },
        height=190,
        margin={"l": 40, "r": 26 if has_missing else 8, "t": 6, "b": 38 if "<br>" in "".join(tick_text) else 24},
    )


def _hover(column: ColumnFidelity) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what hovering over the bars and over the outline of a histogram says: of dates, those of the bin, too."""
    if column.calendar is None:
        plain_hover = {"hovertemplate": "%{y:.1%}<extra>%{fullData.name}</extra>"}
        return plain_hover, plain_hover
    template = {"hovertemplate": "%{customdata}: %{y:.1%}<extra>%{fullData.name}</extra>"}
    spans = [column.calendar.span(low, high) for low, high in pairwise(column.edges)]
    return (
        {**template, "customdata": [*spans, "missing"]},
        {**template, "customdata": [*spans, spans[-1], None, "missing", "missing"]},
    )


def _ticks(column: ColumnFidelity) -> tuple[list[float], list[str]]:
    """Return a few round positions within the edges, and their texts."""
    last = column.edges[-1] - 0.12 * (column.edges[-1] - column.edges[0])  # leaves room for the word "missing"
    if column.calendar is None:
        return _round_numbers(column.edges, last)
    positions, texts = column.calendar.ticks(column.edges[0], last)
    return positions, [two_lines(text) for text in texts]


def two_lines(text: str) -> str:
    """Return a date with the time of day on a line of its own: ticks are narrow."""
    return text.replace(" ", "<br>")


def _round_numbers(edges: Sequence[float], last: float) -> tuple[list[float], list[str]]:
    """Return at most six round numbers from the first edge to `last`, and their texts."""
    spread = edges[-1] - edges[0]
    magnitude = 10.0 ** math.floor(math.log10(spread))
    least = max(spread / 5, 0.99 * (edges[1] - edges[0]))
    step = next(factor * magnitude for factor in (0.25, 0.5, 1, 2, 2.5, 5, 10) if factor * magnitude >= least)
    positions = [multiple * step for multiple in range(math.ceil(edges[0] / step), math.floor(last / step) + 1)]
    return positions, [f"{multiple:.6g}" for multiple in positions]


def _bars(column: ColumnFidelity) -> dict[str, Any]:
    names, real, synthetic = list(column.categories), list(column.real), list(column.synthetic)
    if column.missing_real + column.missing_synthetic > 0:
        names, real = [*names, "missing"], [*real, column.missing_real]
        synthetic = [*synthetic, column.missing_synthetic]
    positions = list(range(len(names)))
    bars = [
        {
            "type": "bar",
            "y": positions,
            "x": fractions,
            "name": name,
            "orientation": "h",
            "marker": {"color": color, "opacity": opacity},
            "customdata": [plain(category, None) for category in names],
            "hovertemplate": "%{customdata}: %{x:.1%}<extra>%{fullData.name}</extra>",
        }
        for name, fractions, color, opacity in (("real", real, REAL, FADED), ("synthetic", synthetic, SYNTHETIC, 1.0))
    ]
    ticks = {"tickvals": positions, "ticktext": [f"{plain(name)} " for name in names]}
    return _chart(
        bars,
        {
            "barmode": "group",
            "bargap": 0.28,
            "bargroupgap": 0.05,
            "yaxis": {**ticks, "autorange": "reversed", "showgrid": False, "automargin": True},
            "xaxis": {"tickformat": ".0%", "rangemode": "tozero", "nticks": 5},
        },
        height=46 + 30 * len(names),
        margin={"l": 8, "r": 14, "t": 6, "b": 24},
    )


def association_charts(evidence: Assessment) -> dict[str, dict[str, Any]]:
    """Draw heat maps of Cramer's V: real rows, synthetic rows, and synthetic minus real."""
    real, synthetic = evidence.association_real, evidence.association_synthetic
    names = [column.name for column in evidence.columns]
    change = tuple(
        tuple(round(after - before, 4) for before, after in zip(*rows, strict=True))
        for rows in zip(real, synthetic, strict=True)
    )
    strength = [[0.0, CLEAR_BLUE], [1.0, REAL]]
    direction = [[0.0, REAL], [0.5, CLEAR_BLUE], [0.5, CLEAR_ORANGE], [1.0, SYNTHETIC]]
    largest = max(SMALLEST_CHANGE, *(abs(cell) for row in change for cell in row))
    return {
        "Real rows": _heat_map(real, names, strength, (0.0, 1.0)),
        "Synthetic rows": _heat_map(synthetic, names, strength, (0.0, 1.0)),
        "Synthetic minus real": _heat_map(change, names, direction, (-largest, largest)),
    }


def _heat_map(values: Matrix, names: list[str], scale: list[list[Any]], span: tuple[float, float]) -> dict[str, Any]:
    positions = list(range(len(names)))
    full_names = [plain(name, None) for name in names]
    bar = {"orientation": "h", "thickness": 8, "len": 0.9, "y": -0.02, "yanchor": "top", "outlinewidth": 0, "nticks": 5}
    cells = [[None if row == place else cell for place, cell in enumerate(cells)] for row, cells in enumerate(values)]
    heat_map = {
        "type": "heatmap",
        "z": cells,
        "x": positions,
        "y": positions,
        "customdata": [[f"{row} and {column}" for column in full_names] for row in full_names],
        "hovertemplate": "%{customdata}: %{z:.2f}<extra></extra>",
        "hoverongaps": False,
        "colorscale": scale,
        "zmin": span[0],
        "zmax": span[1],
        "xgap": 1,
        "ygap": 1,
        "colorbar": bar,
    }
    shown = [plain(name, 14) for name in names] if len(names) <= NAMED_COLUMNS else [""] * len(names)
    axis = {"tickvals": positions, "ticktext": shown, "showgrid": False, "tickfont": {"size": 10}, "automargin": True}
    return _chart(
        [heat_map],
        {"xaxis": {**axis, "side": "top", "tickangle": -90}, "yaxis": {**axis, "autorange": "reversed"}},
        height=430,
        margin={"l": 4, "r": 4, "t": 4, "b": 40},
    )


def _chart(
    data: list[dict[str, Any]], layout: dict[str, Any], *, height: int, margin: dict[str, int]
) -> dict[str, Any]:
    """Return `finished` of a chart that is written as JSON values: a wide table has hundreds, and each `go.Figure`
    checks every value.

    Args:
        data: the traces.
        layout: the layout, with both axes.
        height: height in pixels.
        margin: margins in pixels, by plotly's names of the sides.
    """
    common = _common_layout()
    axes = {name: {**layout[name], **common[name]} for name in ("xaxis", "yaxis")}
    return {"data": data, "layout": {**common, **layout, **axes, "height": height, "margin": margin}}


@lru_cache(maxsize=1)
def _common_layout() -> dict[str, Any]:
    """Return the layout that `finished` gives an empty figure."""
    layout: dict[str, Any] = finished(go.Figure(), height=100, margin={})["layout"]
    return layout


def finished(figure: go.Figure, *, height: int, margin: dict[str, int]) -> dict[str, Any]:
    """Return the figure as JSON values: transparent, without a legend (the page has one) and plotly's own theme.

    Args:
        figure: the figure, which is changed in place.
        height: height in pixels.
        margin: margins in pixels, by plotly's names of the sides.
    """
    figure.update_layout(
        template="none",
        height=height,
        margin=margin,
        showlegend=False,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"size": 12},
        dragmode=False,
    )
    figure.update_xaxes(fixedrange=True, zeroline=False)
    figure.update_yaxes(fixedrange=True, zeroline=False)
    values: dict[str, Any] = figure.to_plotly_json()
    return values
