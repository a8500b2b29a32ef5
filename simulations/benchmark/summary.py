"""What the cells of a benchmark say together: means with intervals, the federated gap with a test, curves, Markdown."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from common.evaluation.registry import METRICS
from simulations.benchmark.baselines import ARMS, VARIANTS
from simulations.benchmark.results import COMPARED, Cell
from simulations.benchmark.run import Failure
from simulations.benchmark.tables import TABLES

CONFIDENCE = 0.95

HEADINGS = {
    "tvd1": "TVD 1", "tvd2": "TVD 2", "tvd3": "TVD 3", "auc_lr": "AUROC lr", "auc_gb": "AUROC gb", "c2st": "C2ST",
}  # fmt: skip

SHADOW_HEADINGS = {
    "auroc": "AUROC", "bound": "bound", "exposed": "exposed", "blind": "blind", "recognised": "recognised",
}  # fmt: skip

FEDERATED = ("by-site", "local-4", "distributed-4")
CENTRAL, ALONE = "central", "alone"

Labels = Mapping[str, str]
"""What to call arms and tables in place of their own labels, and in which order arms come."""

NO_LABELS: Labels = {}


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over seeds with its half-width: Student's t at 95 %, None for one seed."""

    value: float
    half_width: float | None
    seeds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean | None:
        """Over the values that are there; None where none is."""
        known = [value for value in values if not math.isnan(value)]
        if not known:
            return None
        half = None
        if len(known) > 1:
            error = float(np.std(known, ddof=1)) / math.sqrt(len(known))
            half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(known) - 1)) * error
        return cls(float(np.mean(known)), half, len(known))

    def __str__(self) -> str:
        return f"{self.value:.3f}" + (f" ± {self.half_width:.3f}" if self.half_width is not None else "")


@dataclass(frozen=True, slots=True)
class Gap:
    """Federated minus centralised on the same splits; `p` is the paired t-test's, two-sided, None for one seed."""

    table: str
    arm: str
    epsilon: float
    metric: str
    mean: Mean
    p: float | None


def gaps(results: pd.DataFrame) -> list[Gap]:
    """The gap of every table, federated arm, epsilon and measure, over the seeds that both arms have."""
    found = []
    for (table, epsilon), rows in results.groupby(["table", "epsilon"]):
        by_arm = {str(arm): part.set_index("seed")[list(COMPARED)] for arm, part in rows.groupby("arm")}
        for arm in by_arm:
            if CENTRAL not in by_arm or not arm.endswith(FEDERATED) or arm.startswith(ALONE):
                continue
            differences = (by_arm[arm] - by_arm[CENTRAL]).dropna(how="all")
            for metric in COMPARED:
                known = differences[metric].dropna().tolist()
                mean = Mean.of(known)
                if mean is not None:
                    found.append(Gap(str(table), arm, float(str(epsilon)), metric, mean, paired_p(known)))
    return found


def paired_p(differences: Sequence[float]) -> float | None:
    """Student's paired t-test against no difference, two-sided. Normal differences are assumed; seeds are few."""
    if len(differences) < 2:
        return None
    if np.ptp(differences) == 0:
        return 1.0 if differences[0] == 0 else 0.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def markdown(results: pd.DataFrame, missing: Iterable[Cell] = (), failures: Iterable[Failure] = ()) -> str:
    """The whole evidence as Markdown: a table per clinical table, gaps, costs, and what was not run."""
    parts = [
        "Mean over split seeds, ± half of the 95 % interval of that mean (Student's t over seeds: splits, noise and "
        "training differ, patients overlap). TVD: mean total variation distance of 1-, 2-, 3-way tables to the "
        "training rows. AUROC of a logistic regression / gradient boosting trained on synthetic rows, on held-out real "
        "ones. C2ST: how well gradient boosting tells real from synthetic rows; 0.5 is best. Peers (other projects' "
        "programs) train on all rows pooled, and get a grid at the table's exact quantiles that no epsilon pays for."
    ]
    for table in _ordered(results):
        parts.append(f"## {table}\n\n{quality_table(results[results.table == table])}")
    found = gaps(results)
    if found:
        parts.append(f"## Federated minus centralised\n\n{gap_table(found)}")
    if len(results):
        parts.append(f"## Cost\n\n{cost_table(results)}")
    parts.append(f"## Not run\n\n{not_run(missing, failures)}")
    return "\n\n".join(parts) + "\n"


def _ordered(results: pd.DataFrame) -> list[str]:
    known = list(TABLES)
    return sorted(set(results.table), key=lambda name: (known.index(name) if name in known else len(known), name))


def _arms(names: Iterable[str], labels: Labels) -> list[str]:
    known = list(labels or ARMS)
    return sorted(set(names), key=lambda name: (known.index(name) if name in known else len(known), name))


def label_of(arm: str, labels: Labels = NO_LABELS) -> str:
    """The arm for readers; one of an earlier version by its name."""
    return labels.get(arm) or (ARMS[arm].label if arm in ARMS else arm)


def quality_table(rows: pd.DataFrame, labels: Labels = NO_LABELS) -> str:
    """One line per arm and epsilon of one table; the better end of every measure stands in the heading."""
    lines = [
        ["arm", "epsilon", "seeds", *(f"{HEADINGS[name]} {_arrow(name)}" for name in COMPARED)],
    ]
    for arm in _arms(rows.arm, labels):
        for epsilon in sorted(set(rows.epsilon[rows.arm == arm])):
            cells = rows[(rows.arm == arm) & (rows.epsilon == epsilon)]
            means = [Mean.of(list(cells[name])) for name in COMPARED]
            lines.append(
                [
                    label_of(arm, labels),
                    f"{epsilon:g}" if epsilon else "-",
                    str(len(cells)),
                    *(str(mean or "-") for mean in means),
                ]
            )
    return table_of(lines)


def _arrow(name: str) -> str:
    return "→ 0.5" if name == "c2st" else {"lower": "↓", "higher": "↑"}[METRICS[name].direction]


def gap_table(found: Sequence[Gap], labels: Labels = NO_LABELS) -> str:
    """Gap ± interval (p) of every measure."""
    lines = [["table", "arm", "epsilon", "seeds", *HEADINGS.values()]]
    places = dict.fromkeys((gap.table, gap.arm, gap.epsilon) for gap in found)
    for table, arm, epsilon in places:
        mine = {gap.metric: gap for gap in found if (gap.table, gap.arm, gap.epsilon) == (table, arm, epsilon)}
        seeds = max(gap.mean.seeds for gap in mine.values())
        place = [labels.get(table, table), label_of(arm, labels), f"{epsilon:g}", str(seeds)]
        lines.append([*place, *(_gap(mine.get(name)) for name in COMPARED)])
    return (
        f"{table_of(lines)}\n\nPaired by split seed; in brackets the p of Student's paired t-test against no gap, "
        "two-sided, not corrected for how many there are. Negative is better for TVD and C2ST, positive for AUROC."
    )


def _gap(gap: Gap | None) -> str:
    if gap is None:
        return "-"
    half = "" if gap.mean.half_width is None else f" ± {gap.mean.half_width:.3f}"
    return f"{gap.mean.value:+.3f}{half}" + ("" if gap.p is None else f" ({gap.p:.2g})")


def cost_table(results: pd.DataFrame, labels: Labels = NO_LABELS) -> str:
    """Medians of processor seconds and bytes by arm and table."""
    tables = _ordered(results)
    lines = [["arm", *(f"{labels.get(table, table)}: CPU s, MB" for table in tables)]]
    for arm in _arms(results.arm, labels):
        cells = []
        for table in tables:
            rows = results[(results.arm == arm) & (results.table == table)]
            cpu, sent = (median(rows[name]) for name in ("cpu_seconds", "bytes"))
            texts = ["-" if math.isnan(value) else f"{value:.1f}" for value in (cpu, sent / 1e6)]
            cells.append(", ".join(texts) if len(rows) else "")
        lines.append([label_of(arm, labels), *cells])
    return (
        f"{table_of(lines)}\n\nMedians over epsilons and seeds; one thread. MB: everything that all hospitals sent and "
        "received. Reading the table and measuring the result are not counted."
    )


def median(values: pd.Series) -> float:
    """NaN where nothing is known."""
    known = values.dropna()
    return float(known.median()) if len(known) else math.nan


def not_run(missing: Iterable[Cell], failures: Iterable[Failure] = ()) -> str:
    """Which cells have no row, and why."""
    reasons = {failure.cell: failure.reason for failure in failures}
    cells = sorted({*missing, *reasons})
    if not cells:
        return "Nothing: every cell has a row."
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.table, cell.arm, reasons.get(cell, "not asked for yet")), []).append(cell)
    lines = [["table", "arm", "cells (epsilon / seed)", "reason"]]
    for (table, arm, reason), group in groups.items():
        places = ", ".join(f"{cell.epsilon:g} / {cell.seed}" if cell.epsilon else f"- / {cell.seed}" for cell in group)
        lines.append([table, label_of(arm), places, reason])
    return table_of(lines)


def table_of(lines: Sequence[Sequence[str]]) -> str:
    """Markdown; the first line is the heading."""
    rows = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    return "\n".join([rows[0], "|" + "---|" * len(lines[0]), *rows[1:]])


def shadow_markdown(results: pd.DataFrame, missing: Iterable[Cell] = (), failures: Iterable[Failure] = ()) -> str:
    """What attackers who can train recognise, as Markdown: one line per cell."""
    lines = [["table", "arm", "epsilon", "seed", "shadows", *SHADOW_HEADINGS.values(), "works"]]
    for _, row in results.iterrows():
        numbers = ["-" if math.isnan(row[name]) else f"{row[name]:.3f}" for name in SHADOW_HEADINGS]
        numbers[0] += f" ({row.low:.3f} to {row.high:.3f})"
        budget = f"{row.epsilon:g}" if row.epsilon else "-"
        place = [str(row.table), label_of(str(row.arm)), budget, f"{row.seed:.0f}", f"{row.shadows:.0f}"]
        lines.append([*place, *numbers, "yes" if row.flagged else "no"])
    return (
        "Membership, attacked with shadow synthesizers: the arm is trained again and again with and without each "
        "patient. AUROC of training rows against unseen ones with its 95 % interval; 0.5 is chance. Bound: the largest "
        "that epsilon allows. Exposed: of the rows that lie most alone. Blind: with a table made of the schema. "
        "Recognised: training rows, where 1 % of the unseen are taken for one.\n\n"
        f"{table_of(lines)}\n\n## Not run\n\n{not_run(missing, failures)}\n"
    )


ROLES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("centralised", ("central",), "#1f77b4"),
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
"""What a curve is called and its colour: hospitals of a table's own and random ones play the same part."""

OTHERS = ("#7f7f7f", "#393b79", "#637939", "#843c39", "#7b4173")


def _role(arm: str, others: Sequence[str]) -> tuple[str, str]:
    """The name and the colour of an arm's curve."""
    for name, arms, colour in ROLES:
        if arm in arms:
            return name, colour
    return label_of(arm), OTHERS[others.index(arm) % len(OTHERS)]


def curves(results: pd.DataFrame) -> str:
    """Every measure over epsilon, a row of charts per table, as one HTML page that asks no server for anything."""
    import plotly.graph_objects as go
    from plotly.offline import get_plotlyjs
    from plotly.subplots import make_subplots

    tables = _ordered(results)
    titles = [f"{table}: {HEADINGS[name]}" for table in tables for name in COMPARED]
    figure = make_subplots(
        rows=max(len(tables), 1), cols=len(COMPARED), subplot_titles=titles, horizontal_spacing=0.035,
        vertical_spacing=0.3 / max(len(tables), 1),
    )  # fmt: skip
    arms = _arms(results.arm, NO_LABELS)
    known_arms = [arm for _, names, _ in ROLES for arm in names]
    others = [arm for arm in arms if arm not in known_arms]
    epsilons = sorted({epsilon for epsilon in results.epsilon if epsilon}) or [1.0]
    in_legend: set[str] = set()
    for row, table in enumerate(tables, 1):
        for arm in sorted(set(arms) & set(results.arm[results.table == table]), key=[*known_arms, *others].index):
            mine = results[(results.table == table) & (results.arm == arm)]
            role, colour = _role(arm, others)
            has_budget = bool((mine.epsilon > 0).all())
            for column, name in enumerate(COMPARED, 1):
                points = [(epsilon, Mean.of(list(part[name]))) for epsilon, part in mine.groupby("epsilon")]
                known = [(float(str(epsilon)), mean) for epsilon, mean in points if mean is not None]
                if known and not has_budget:  # a level line
                    known = [(edge, known[0][1]) for edge in (epsilons[0], epsilons[-1])]
                figure.add_trace(
                    go.Scatter(
                        x=[epsilon for epsilon, _ in known],
                        y=[mean.value for _, mean in known],
                        error_y={"array": [mean.half_width or 0 for _, mean in known], "thickness": 1, "width": 2},
                        name=role,
                        legendgroup=role,
                        showlegend=role not in in_legend,
                        mode="lines+markers" if has_budget else "lines",
                        line={"color": colour, "dash": "solid" if has_budget else "dot"},
                    ),
                    row=row,
                    col=column,
                )
                in_legend.add(role)
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
    title = html.escape(f"Benchmark: {', '.join(tables)}")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'unsafe-inline'; "
        f"style-src 'unsafe-inline'; img-src data:\"><style>body {{ font: 16px/1.5 system-ui, sans-serif; "
        f"margin: 2rem; color: #222; background: #fff }}</style></head><body><h1>{title}</h1><p>Over epsilon "
        "(logarithmic). Bars are 95 % intervals of the mean over split seeds. TVD: lower is better; AUROC: higher; "
        'C2ST: 0.5 is best. Click a name to hide its curves.</p><div id="curves"></div>'
        f"<script>{get_plotlyjs()}</script><script>const drawing = {drawing};"
        'Plotly.newPlot("curves", drawing.data, drawing.layout, {responsive: true, displayModeBar: false});'
        "</script></body></html>\n"
    )


LEAST_TOLD_APART = 0.02
"""Of C2ST above a half: less is chance, and ratios of it are anything."""


def leave_one_out(results: pd.DataFrame) -> str:
    """For each table: which constants the other tables would choose, and what these gain on it over the planner's own.

    A gain of 10 % means that the planner's error is 1.1 times that of the constants: the geometric mean of that ratio
    over the measures and over the cells where both arms have an error above 0, less one. Noise in either error does
    not favour an arm, as it would in a mean of the ratios themselves. The error of an AUROC is its distance from 1; of
    C2ST what it is above a half, and never less than 0.02, which chance alone gives.
    """
    errors = results.set_index(["table", "epsilon", "seed", "arm"])[list(COMPARED)]
    for name in ("auc_lr", "auc_gb"):
        errors[name] = 1 - errors[name]
    errors["c2st"] = (errors["c2st"] - 0.5).clip(lower=LEAST_TOLD_APART)
    logarithms: pd.DataFrame = errors.where(errors > 0).apply(np.log)
    own = logarithms.xs("central", level="arm")
    gains: pd.DataFrame = pd.DataFrame(
        {arm: (own - logarithms.xs(arm, level="arm")).dropna().T.mean() for arm in VARIANTS if arm in set(results.arm)}
    )
    by_table = gains.groupby("table").mean()
    lines = [by_table.apply(np.expm1).round(4).to_string(), ""]
    for table in by_table.index:
        others = by_table.drop(index=[table]).mean()
        best = str(others.idxmax()) if others.max() > 0 else "central"
        there, here = np.expm1([others[best], by_table.loc[table, best]]) if best != "central" else (0.0, 0.0)
        lines.append(f"{table}: the others choose {best} (gain {there:+.1%}); here it gains {here:+.1%}")
    return "\n".join(lines)
