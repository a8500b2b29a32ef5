"""The report: one HTML file, readable offline, that says what a synthetic table is good for and what it cost.

A report is built from real rows and is a disclosure of its own, outside epsilon (see `evidence.py`). Render
it in a simulation, or at a hospital for that hospital's own eyes; what a server publishes is the model card.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from common.evaluation.charts import REAL, SYNTHETIC, association_charts, column_chart, prediction_chart
from common.evaluation.evidence import Evidence
from common.evaluation.metrics import METRICS, Metric
from common.evaluation.utility import YARDSTICK
from common.study import NoiseMode

LISTED_PAIRS = 6


@dataclass(frozen=True, slots=True)
class HospitalRun:
    """What one hospital spent. `epsilon` is None where nothing protects its patients (noise mode `none`)."""

    name: str
    declared_rows: int
    epsilon: float | None
    delta: float
    seconds: float
    traffic_bytes: int

    def __post_init__(self) -> None:
        if self.epsilon is not None and not self.epsilon >= 0:
            raise ValueError(f"hospital '{self.name}': epsilon={self.epsilon} is not a number from 0 up")


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is known about the run that made the table: identity, promises, cost. Nothing of it depends on records.

    `epsilon` is the study's limit per patient and hospital; `phases` maps a phase to its seconds, in order;
    `versions` maps a package to its version.
    """

    fingerprint: str
    simulation: bool
    noise: NoiseMode
    drafted: bool
    epsilon: float
    hospitals: tuple[HospitalRun, ...]
    seconds: float
    peak_memory_mib: float
    phases: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


def render(evidence: Evidence, run: RunFacts | None, *, title: str) -> str:
    """The report as the text of one HTML file. It asks no server for anything, and its page policy forbids it to.

    Args:
        run: what the run promised and cost; None for a table of unknown making, about which only quality is shown.
    """
    charts: dict[str, dict[str, Any]] = {}
    prediction = prediction_chart(evidence)
    if prediction is not None:
        charts["prediction"] = prediction
    maps = association_charts(evidence)
    charts |= {f"map-{place}": chart for place, chart in enumerate(maps.values())}
    charts |= {f"column-{place}": column_chart(column) for place, column in enumerate(evidence.columns)}
    page: str = _template().render(
        title=title,
        evidence=evidence,
        run=run,
        tiles=[_tile(metric, evidence) for metric in METRICS.values()],
        charts=charts,
        maps=list(maps),
        pairs=changed_pairs(evidence),
        colours={"real": REAL, "synthetic": SYNTHETIC},
        slowest=max(run.phases.values(), default=0.0) if run else 0.0,
        widest_epsilon=max([run.epsilon, *(h.epsilon for h in run.hospitals if h.epsilon is not None)]) if run else 0.0,
        plotly=get_plotlyjs(),
    )
    return page


def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("common", "evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"amount": in_bytes, "duration": duration, "score": _score}
    return environment.get_template("report.html.jinja")


def _tile(metric: Metric, evidence: Evidence) -> dict[str, Any]:
    """One key number with what it can be compared with."""
    if metric.name in YARDSTICK:
        aside = f"trained on real rows: {_score(evidence.real_scores[metric.name])}"
    elif metric.name in evidence.floor:
        aside = f"resampled real rows: {_score(evidence.floor[metric.name])}"
    else:
        aside = ""
    return {"metric": metric, "value": evidence.scores[metric.name], "aside": aside}


def changed_pairs(evidence: Evidence) -> list[tuple[str, str, float, float]]:
    """The pairs of columns whose association changed most: both names, Cramer's V in real and in synthetic rows."""
    names = [column.name for column in evidence.columns]
    pairs = [
        (names[row], names[place], evidence.association_real[row][place], evidence.association_synthetic[row][place])
        for row in range(len(names))
        for place in range(row)
    ]
    return sorted(pairs, key=lambda pair: -abs(pair[3] - pair[2]))[:LISTED_PAIRS]


def _score(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}"


def in_bytes(count: int) -> str:
    """A number of bytes as people read it, in powers of 1024."""
    if count < 1024:
        return f"{count} B"
    power = min(4, int(math.log(count, 1024)))
    return f"{count / 1024**power:.1f} {('KiB', 'MiB', 'GiB', 'TiB')[power - 1]}"


def duration(seconds: float) -> str:
    """A time span as people read it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
