"""Every measure over epsilon, as one HTML page that loads nothing from a server."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from simulations.benchmark.gaps import SeedMean
from simulations.benchmark.markdown import HEADINGS, NO_LABELS, label_of, ordered_arms, ordered_tables
from simulations.benchmark.results import COMPARED

ROLES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("centralized", ("central",), "#1f77b4"),
    ("federated, shared noise", ("distributed-by-site", "distributed-4"), "#2ca02c"),
    ("federated, local noise", ("by-site", "local-4"), "#ff7f0e"),
    ("each hospital alone", ("alone-by-site", "alone-4"), "#d62728"),
    ("plain DP-GAN", ("plain-dp-gan",), "#9467bd"),
    ("independent columns", ("independent",), "#8c564b"),
    ("AIM", ("aim",), "#17becf"),
    ("DP-CTGAN", ("dp-ctgan",), "#bcbd22"),
    ("CTGAN, not private", ("ctgan",), "#c49c94"),
    ("real rows, resampled", ("bootstrap",), "#555555"),
)
"""Name and color of each curve: a table's own hospitals and random hospitals share one."""

OTHERS = ("#7f7f7f", "#393b79", "#637939", "#843c39", "#7b4173")


def _role(arm: str, others: Sequence[str]) -> tuple[str, str]:
    """Return the name and the color of an arm's curve."""
    for name, arms, color in ROLES:
        if arm in arms:
            return name, color
    return label_of(arm), OTHERS[others.index(arm) % len(OTHERS)]


def curves(results: pd.DataFrame) -> str:
    """Render every measure over epsilon, one row of charts per table, as one HTML page that works offline."""
    import plotly.graph_objects as go
    from plotly.offline import get_plotlyjs
    from plotly.subplots import make_subplots

    tables = ordered_tables(results)
    epsilons = sorted({epsilon for epsilon in results.epsilon if epsilon}) or [1.0]
    titles = [f"{table}: {HEADINGS[name]}" for table in tables for name in COMPARED]
    figure = make_subplots(
        rows=max(len(tables), 1), cols=len(COMPARED), subplot_titles=titles, horizontal_spacing=0.035,
        vertical_spacing=0.3 / max(len(tables), 1),
    )  # fmt: skip
    for row, column, trace in _traces(results, tables, epsilons):
        figure.add_trace(go.Scatter(trace), row=row, col=column)
    grid = {"gridcolor": "#e6e6e6", "zeroline": False}
    figure.update_xaxes(type="log", tickvals=epsilons, ticktext=[f"{epsilon:g}" for epsilon in epsilons], **grid)
    figure.update_yaxes(**grid)
    figure.update_annotations(font_size=13)
    figure.update_layout(
        height=160 + 240 * len(tables), margin={"t": 110, "l": 40, "r": 20, "b": 40}, plot_bgcolor="white",
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0 + 40 / (80 + 240 * len(tables)), "x": 0},
        font={"family": "system-ui, sans-serif", "color": "#222222"},
    )  # fmt: skip
    drawing = json.dumps(json.loads(figure.to_json())).replace("</", "<\\/")
    return _page(html.escape(f"Benchmark: {', '.join(tables)}"), get_plotlyjs(), drawing)


def _traces(
    results: pd.DataFrame, tables: Sequence[str], epsilons: Sequence[float]
) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield row, column and description of every curve; one without a budget is a horizontal line."""
    arms = ordered_arms(results.arm, NO_LABELS)
    known_arms = [arm for _, names, _ in ROLES for arm in names]
    others = [arm for arm in arms if arm not in known_arms]
    in_legend: set[str] = set()
    for row, table in enumerate(tables, 1):
        for arm in sorted(set(arms) & set(results.arm[results.table == table]), key=[*known_arms, *others].index):
            cases = results[(results.table == table) & (results.arm == arm)]
            role, color = _role(arm, others)
            has_budget = bool((cases.epsilon > 0).all())
            for column, name in enumerate(COMPARED, 1):
                points = [(epsilon, SeedMean.of(list(group[name]))) for epsilon, group in cases.groupby("epsilon")]
                known = [(float(str(epsilon)), mean) for epsilon, mean in points if mean is not None]
                if known and not has_budget:
                    known = [(edge, known[0][1]) for edge in (epsilons[0], epsilons[-1])]
                yield (
                    row,
                    column,
                    {
                        "x": [epsilon for epsilon, _ in known],
                        "y": [mean.value for _, mean in known],
                        "error_y": {"array": [mean.half_width or 0 for _, mean in known], "thickness": 1, "width": 2},
                        "name": role,
                        "legendgroup": role,
                        "showlegend": role not in in_legend,
                        "mode": "lines+markers" if has_budget else "lines",
                        "line": {"color": color, "dash": "solid" if has_budget else "dot"},
                    },
                )
                in_legend.add(role)


def _page(title: str, library: str, drawing: str) -> str:
    """Return the HTML page of a drawing in plotly's JSON, with plotly's own script."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'unsafe-inline'; "
        f"style-src 'unsafe-inline'; img-src data:\"><style>body {{ font: 16px/1.5 system-ui, sans-serif; "
        f"margin: 2rem; color: #222; background: #fff }}</style></head><body><h1>{title}</h1><p>Over epsilon "
        "(logarithmic). Bars are 95 % intervals of the mean over split seeds. TVD: lower is better; AUROC: higher; "
        'C2ST: 0.5 is best. Click a name to hide its curves.</p><div id="curves"></div>'
        f"<script>{library}</script><script>const drawing = {drawing};"
        'Plotly.newPlot("curves", drawing.data, drawing.layout, {responsive: true, displayModeBar: false});'
        "</script></body></html>\n"
    )
