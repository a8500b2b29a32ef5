"""The report: one HTML file, readable offline, that says what a synthetic table is useful for and what it cost.

A report is built from real rows and is a disclosure of its own, outside epsilon (see `assessment.py`). Render
it in a simulation, or at a hospital for that hospital's own eyes; what a server publishes is the model card.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from jinja2 import PackageLoader
from plotly.offline import get_plotlyjs

from common.evaluation.assessment import Assessment, Measured
from common.evaluation.fidelity.relations import Pair
from common.evaluation.measures.measure import Measure
from common.evaluation.measures.registry import CORE_MEASURES, FURTHER_MEASURES
from common.evaluation.private.page import NOTHING_KNOWN, TITLE, figures_of, introduction, text_of
from common.evaluation.report.charts import NEUTRAL, REAL, SYNTHETIC, association_charts, column_chart
from common.evaluation.report.figures import ATTACKED, AUGMENTED, CALIBRATED, COMPARED, TRAINED, figures
from common.evaluation.statistics.handling import HANDLING
from common.evaluation.statistics.intervals import LEVEL, Estimate
from common.evaluation.statistics.resampling import MOST_ROWS
from common.evaluation.utility.hospital_gains import gains_by_answer
from common.evaluation.utility.taking_part import USUAL
from common.evaluation.utility.train_on_synthetic import MOST_TRAINED
from common.study.sections import NoiseMode
from common.web.templates import environment

LISTED_PAIRS = 10
"""Pairs of columns that the page lists, those that changed most."""

PAIR_MEASURES = {"pearson": "correlation", "correlation_ratio": "correlation ratio", "cramers_v": "Cramér's V"}


@dataclass(frozen=True, slots=True)
class HospitalRun:
    """What one hospital spent.

    Attributes:
        epsilon: epsilon of the run at this hospital; None where nothing protects its patients (noise mode `none`).
        traffic_bytes: bytes sent and received.
        released: the ledger's releases of this run, in sentences.
    """

    name: str
    declared_rows: int
    epsilon: float | None
    delta: float
    traffic_bytes: int
    released: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.epsilon is not None and not self.epsilon >= 0:
            raise ValueError(f"hospital '{self.name}': epsilon={self.epsilon} is not a number from 0 up")


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What is known about the run that made the table: identity, promises, cost. None of it depends on records.

    Attributes:
        fingerprint: fingerprint of the study.
        epsilon: the study's limit per patient and hospital.
        evaluation: what was measured at the hospitals under differential privacy, as run.json has it; None without.
        warnings: on rules that most drawn patients broke, in sentences.
        rounds_note: what is known of training rounds like those of this run, in sentences; None without rounds.
        has_encoder_rounds: whether these are rounds of a VAE, in which patients were counted by latent class.
        seconds: duration of the whole run.
        phases: seconds by phase, in order.
        versions: version by package.
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
    warnings: tuple[str, ...] = ()
    rounds_note: str | None = None
    has_encoder_rounds: bool = False
    evaluation: Mapping[str, Any] | None = None


def render(evidence: Assessment, run: RunSummary | None, *, title: str) -> str:
    """Return the report as the text of one HTML file, which fetches nothing: its page policy forbids it.

    Args:
        evidence: results of the evaluation.
        run: what the run promised and cost; None for a table of unknown origin, of which only quality is shown.
        title: title of the page.
    """
    maps = association_charts(evidence)
    charts = figures(evidence)
    charts |= {f"map-{index}": chart for index, chart in enumerate(maps.values())}
    charts |= {f"column-{index}": column_chart(column) for index, column in enumerate(evidence.columns)}
    page: str = page_template("report.html.jinja").render(
        title=title,
        evidence=evidence,
        run=run,
        handling=HANDLING,
        private=None if run is None or run.evaluation is None else _private(run.evaluation),
        core=[_row(measure, evidence.measures[key]) for key, measure in CORE_MEASURES.items()],
        further=[_row(measure, evidence.measures[key]) for key, measure in FURTHER_MEASURES.items()],
        pillars=pillars(evidence, run),
        charts=charts,
        maps=list(maps),
        pairs=changed_pairs(evidence),
        pair_measures=PAIR_MEASURES,
        attacked=ATTACKED,
        augmented=AUGMENTED,
        compared=COMPARED,
        trained=TRAINED,
        calibrated=CALIBRATED,
        colors={"real": REAL, "synthetic": SYNTHETIC, "neutral": NEUTRAL},
        slowest=max(run.phases.values(), default=0.0) if run else 0.0,
        widest_epsilon=max([run.epsilon, *(h.epsilon for h in run.hospitals if h.epsilon is not None)]) if run else 0.0,
        gains=gains_by_answer(() if evidence.prediction is None else evidence.prediction.taking_part),
        usual_factor=f"{USUAL:g}",
        level=LEVEL,
        most_rows=MOST_ROWS,
        most_trained=MOST_TRAINED,
        plotly=get_plotlyjs(),
    )
    return page


def _private(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page says about the private evaluation."""
    texts = {"title": TITLE, "introduction": introduction(document), "nothing_known": NOTHING_KNOWN}
    return texts | {"figures": [(title, text_of(estimate), estimate) for title, estimate in figures_of(document)]}


def page_template(name: str) -> Any:
    """Return a template of the folder `page`."""
    templates = environment(PackageLoader("common.evaluation.report", "page"))
    templates.filters |= {
        "amount": in_bytes,
        "duration": duration,
        "score": _score,
        "interval": _interval,
        "percent": _percent,
        "percent_interval": _percent_interval,
        "signed": _signed,
    }
    return templates.get_template(name)


@dataclass(frozen=True, slots=True)
class Gauge:
    """A bar from worst (left) to best (right): positions of a value, its interval and its reference in percent."""

    at: float
    low: float
    high: float
    reference: float | None


def gauge(measure: Measure, estimate: Estimate, reference: float | None) -> Gauge:
    """Return where an estimate is between the worst useful value of a measure and its best; cut off at the ends.

    Args:
        measure: gives the two ends.
        estimate: the value and its interval.
        reference: what real rows reach; None where it is unknown.

    Returns:
        Positions in percent of the gauge's length, 100 at the best value.
    """
    worst = measure.worst

    def place(value: float) -> float:
        return round(100 * min(1.0, max(0.0, (value - worst) / (measure.best - worst))), 1)

    low, high = sorted((place(estimate.low), place(estimate.high)))
    return Gauge(place(estimate.value), low, high, None if reference is None else place(reference))


@dataclass(frozen=True, slots=True)
class Row:
    """One measure as the page shows it: how to read it, its value where there is one, and its gauge."""

    measure: Measure
    measured: Measured | None
    gauge: Gauge | None


def _row(measure: Measure, measured: Measured | None) -> Row:
    shown = None if measured is None else gauge(measure, measured.estimate, measured.reference)
    return Row(measure, measured, shown)


@dataclass(frozen=True, slots=True)
class Pillar:
    """One of the questions at the top: its answer in a word, why, and the color that goes with it."""

    question: str
    answer: str
    why: str
    color: Literal["close", "care", "unfit", "unknown"]


def pillars(evidence: Assessment, run: RunSummary | None) -> list[Pillar]:
    """Return closeness, usefulness, privacy and fairness, each with one answer."""
    answers = {"close": "Yes", "care": "Partly", "unfit": "No"}
    parts = evidence.verdict.parts
    answered = [
        Pillar("Does it look like the real patients?", answers[parts[0].grade], parts[0].text, parts[0].grade),
        Pillar("Can a prediction be learned from it?", answers[parts[1].grade], parts[1].text, parts[1].grade),
    ]
    privacy = evidence.privacy
    if not privacy.attacks:
        answered.append(Pillar("Did attacks find a patient?", "Not tested", " ".join(privacy.notes), "unknown"))
    elif privacy.is_flagged:
        answered.append(Pillar("Did attacks find a patient?", "Yes", privacy.verdict, "unfit"))
    elif any(attack.may_work for attack in privacy.attacks):
        answered.append(Pillar("Did attacks find a patient?", "Not shown", privacy.verdict, "care"))
    else:
        answered.append(Pillar("Did attacks find a patient?", "No", privacy.verdict, "close"))
    if run is not None:
        answered.append(_promise(run))
    if evidence.fairness is not None and evidence.fairness.columns:
        unequal = any(
            comparison.is_flagged for column in evidence.fairness.columns for comparison in column.comparisons
        )
        answer = "Not quite" if unequal else "No difference found"
        color: Literal["care", "close"] = "care" if unequal else "close"
        answered.append(Pillar("Does it serve all groups alike?", answer, evidence.fairness.verdict, color))
    return answered


def _promise(run: RunSummary) -> Pillar:
    question = "What is promised to each patient?"
    if run.noise == "none":
        return Pillar(question, "Nothing", "Hospitals added no noise.", "unfit")
    spent = [hospital.epsilon for hospital in run.hospitals if hospital.epsilon is not None]
    most = max(spent, default=run.epsilon)
    within = most <= run.epsilon * 1.0001
    why = f"The largest epsilon that a hospital spent is {most:.2f}; the study allows {run.epsilon:g}."
    if run.simulation:
        return Pillar(
            question, f"Epsilon {most:.2f} in a deployment", f"{why} This simulation protects no patient.", "care"
        )
    return Pillar(question, f"Epsilon {most:.2f}", why, "close" if within else "unfit")


def changed_pairs(evidence: Assessment) -> list[Pair]:
    """Return the pairs of columns whose relation changed most."""
    return sorted(evidence.pairs, key=lambda pair: -abs(pair.change.value))[:LISTED_PAIRS]


def _interval(estimate: Estimate | None, decimals: int = 2) -> str:
    return "" if estimate is None else f"{estimate.low:.{decimals}f} to {estimate.high:.{decimals}f}"


def _percent(estimate: Estimate | None) -> str:
    return "n/a" if estimate is None else f"{estimate.value:.1%}"


def _percent_interval(estimate: Estimate | None) -> str:
    return "" if estimate is None else f"{estimate.low:.1%} to {estimate.high:.1%}"


def _signed(estimate: Estimate | None) -> str:
    return "n/a" if estimate is None else f"{estimate.value:+.2f} ({estimate.low:+.2f} to {estimate.high:+.2f})"


def _score(value: float | None, digits: int = 2) -> str:
    return "n/a" if value is None else f"{value:.{digits}f}"


def in_bytes(count: int) -> str:
    """Return a number of bytes as people read it, in powers of 1024."""
    if count < 1024:
        return f"{count} B"
    power = min(4, int(math.log(count, 1024)))
    return f"{count / 1024**power:.1f} {('KiB', 'MiB', 'GiB', 'TiB')[power - 1]}"


def duration(seconds: float) -> str:
    """Return a time span as people read it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
