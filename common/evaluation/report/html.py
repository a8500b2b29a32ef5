"""The report: one HTML file, readable offline, that says what a synthetic table is good for and what it cost.

A report is built from real rows and is a disclosure of its own, outside epsilon (see `evidence.py`). Render
it in a simulation, or at a hospital for that hospital's own eyes; what a server publishes is the model card.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from common.evaluation.assessment import Evidence, Measure
from common.evaluation.fidelity.relations import Pair
from common.evaluation.registry import MEASURES, METRICS, Metric
from common.evaluation.report.charts import NEUTRAL, REAL, SYNTHETIC, association_charts, column_chart
from common.evaluation.report.figures import AGAINST, ARMS, NEAR, TAUGHT, figures
from common.evaluation.statistics.intervals import LEVEL, Estimate
from common.evaluation.statistics.resampling import MOST_ROWS
from common.evaluation.utility.train_on_synthetic import YARDSTICK
from common.study.sections import NoiseMode

LISTED_PAIRS = 10

PAIR_MEASURES = {"pearson": "correlation", "correlation_ratio": "correlation ratio", "cramers_v": "Cramér's V"}


@dataclass(frozen=True, slots=True)
class HospitalRun:
    """What one hospital spent. `epsilon` is None where nothing protects its patients (noise mode `none`).

    `released` is what its ledger says about this run, in sentences.
    """

    name: str
    declared_rows: int
    epsilon: float | None
    delta: float
    seconds: float
    traffic_bytes: int
    released: tuple[str, ...] = ()

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
    maps = association_charts(evidence)
    charts = figures(evidence)
    charts |= {f"map-{place}": chart for place, chart in enumerate(maps.values())}
    charts |= {f"column-{place}": column_chart(column) for place, column in enumerate(evidence.columns)}
    page: str = _template().render(
        title=title,
        evidence=evidence,
        run=run,
        tiles=[_tile(metric, evidence) for metric in METRICS.values()],
        measures=[_row(metric, measure) for name, metric in MEASURES.items() if (measure := evidence.measures[name])],
        pillars=pillars(evidence, run),
        charts=charts,
        maps=list(maps),
        pairs=changed_pairs(evidence),
        pair_measures=PAIR_MEASURES,
        against=AGAINST,
        arms=ARMS,
        near=NEAR,
        taught=TAUGHT,
        colours={"real": REAL, "synthetic": SYNTHETIC, "neutral": NEUTRAL},
        slowest=max(run.phases.values(), default=0.0) if run else 0.0,
        widest_epsilon=max([run.epsilon, *(h.epsilon for h in run.hospitals if h.epsilon is not None)]) if run else 0.0,
        level=LEVEL,
        most_rows=MOST_ROWS,
        plotly=get_plotlyjs(),
    )
    return page


def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("common.evaluation.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "amount": in_bytes,
        "duration": duration,
        "score": _score,
        "interval": _interval,
        "share": _share,
        "shares": _shares,
        "signed": _signed,
    }
    return environment.get_template("report.html.jinja")


@dataclass(frozen=True, slots=True)
class Gauge:
    """A bar from worst (left) to best (right): places of a value, its interval and its reference in percent."""

    at: float
    low: float
    high: float
    reference: float | None


def gauge(metric: Metric, estimate: Estimate, reference: float | None) -> Gauge:
    """Where an estimate lies between the worst useful value of a metric and its best; cut off at the ends."""
    worst = metric.worst

    def place(value: float) -> float:
        return round(100 * min(1.0, max(0.0, (value - worst) / (metric.best - worst))), 1)

    low, high = sorted((place(estimate.low), place(estimate.high)))
    return Gauge(place(estimate.value), low, high, None if reference is None else place(reference))


def _tile(metric: Metric, evidence: Evidence) -> dict[str, Any]:
    """One key number with its interval and what it can be compared with."""
    value, estimate = evidence.scores[metric.name], evidence.intervals[metric.name]
    if metric.name in YARDSTICK:
        reference, words = evidence.real_scores[metric.name], "taught with real rows"
    elif metric.name in evidence.floor:
        reference, words = evidence.floor[metric.name], "real rows, resampled"
    else:
        reference, words = None, "chance, which is best here"
    shown = None if value is None or estimate is None else gauge(metric, estimate, reference)
    return {
        "metric": metric,
        "value": value,
        "estimate": estimate,
        "reference": reference,
        "words": words,
        "gauge": shown,
    }


def _row(metric: Metric, measure: Measure) -> dict[str, Any]:
    reference = None if measure.reference is None else measure.reference.value
    return {
        "metric": metric,
        "estimate": measure.estimate,
        "has_interval": measure.has_interval,
        "reference": reference,
        "gauge": gauge(metric, measure.estimate, reference),
    }


@dataclass(frozen=True, slots=True)
class Pillar:
    """One of the questions at the top: its answer in a word, why, and the colour that goes with it."""

    question: str
    answer: str
    why: str
    colour: Literal["close", "care", "unfit", "unknown"]


def pillars(evidence: Evidence, run: RunFacts | None) -> list[Pillar]:
    """Closeness, usefulness, privacy and fairness, each in one answer."""
    answers = {"close": "Yes", "care": "Partly", "unfit": "No"}
    parts = evidence.verdict.parts
    found = [
        Pillar("Does it look like the real patients?", answers[parts[0].grade], parts[0].text, parts[0].grade),
        Pillar("Can it teach a prediction?", answers[parts[1].grade], parts[1].text, parts[1].grade),
    ]
    privacy = evidence.privacy
    if not privacy.attacks:
        found.append(Pillar("Did attacks find anybody?", "Not tried", " ".join(privacy.notes), "unknown"))
    elif privacy.is_flagged:
        found.append(Pillar("Did attacks find anybody?", "Yes", privacy.verdict, "unfit"))
    elif any(attack.may_work for attack in privacy.attacks):
        found.append(Pillar("Did attacks find anybody?", "Not for certain", privacy.verdict, "care"))
    else:
        found.append(Pillar("Did attacks find anybody?", "No", privacy.verdict, "close"))
    if run is not None:
        found.append(_promise(run))
    if evidence.fairness is not None and evidence.fairness.columns:
        unequal = any(one.is_flagged for column in evidence.fairness.columns for one in column.comparisons)
        answer = "Not quite" if unequal else "As far as seen"
        colour: Literal["care", "close"] = "care" if unequal else "close"
        found.append(Pillar("Does it serve all groups alike?", answer, evidence.fairness.verdict, colour))
    return found


def _promise(run: RunFacts) -> Pillar:
    question = "What is promised to each patient?"
    if run.noise == "none":
        return Pillar(question, "Nothing", "Hospitals added no noise.", "unfit")
    spent = [hospital.epsilon for hospital in run.hospitals if hospital.epsilon is not None]
    most = max(spent, default=run.epsilon)
    within = most <= run.epsilon * 1.0001
    why = f"The largest epsilon that a hospital spent is {most:.2f}; the study allows {run.epsilon:g}."
    if run.simulation:
        return Pillar(
            question, f"Epsilon {most:.2f} in a deployment", f"{why} This simulation protects nobody.", "care"
        )
    return Pillar(question, f"Epsilon {most:.2f}", why, "close" if within else "unfit")


def changed_pairs(evidence: Evidence) -> list[Pair]:
    """The pairs of columns whose relation changed most."""
    return sorted(evidence.pairs, key=lambda pair: -abs(pair.change.value))[:LISTED_PAIRS]


def _interval(estimate: Estimate | None) -> str:
    return "" if estimate is None else f"{estimate.low:.2f} to {estimate.high:.2f}"


def _share(estimate: Estimate | None) -> str:
    return "n/a" if estimate is None else f"{estimate.value:.1%}"


def _shares(estimate: Estimate | None) -> str:
    return "" if estimate is None else f"{estimate.low:.1%} to {estimate.high:.1%}"


def _signed(estimate: Estimate | None) -> str:
    return "n/a" if estimate is None else f"{estimate.value:+.2f} ({estimate.low:+.2f} to {estimate.high:+.2f})"


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
