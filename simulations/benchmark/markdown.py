"""The results of a benchmark as Markdown tables: quality, gap, cost, membership, and what was not run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import pandas as pd

from common.evaluation.measures.registry import CORE_MEASURES
from simulations.benchmark.arms import ARMS
from simulations.benchmark.gaps import Gap, SeedMean, gaps
from simulations.benchmark.results import COMPARED, SHOWN, Case, CaseFailure
from simulations.benchmark.tables import CLINICAL_TABLES

HEADINGS = {
    "tvd1": "TVD 1", "tvd2": "TVD 2", "tvd2g": "TVD 2g", "tvd3": "TVD 3", "tvd3g": "TVD 3g", "auc_lr": "AUROC lr",
    "auc_gb": "AUROC gb", "c2st": "C2ST",
}  # fmt: skip

SHADOW_HEADINGS = {
    "auroc": "AUROC", "bound": "bound", "outliers": "outliers", "baseline": "baseline", "recognized": "recognized",
}  # fmt: skip

Labels = Mapping[str, str]
"""Names of arms and tables for readers, which replace the arms' own labels and order."""

NO_LABELS: Labels = {}


def markdown(results: pd.DataFrame, missing: Iterable[Case] = (), failures: Iterable[CaseFailure] = ()) -> str:
    """Render all results: a table of quality for each table of records, gaps, costs, and what was not run."""
    parts = [
        "Mean over split seeds ± half of the 95 % interval of that mean (Student's t over seeds: splits, noise and "
        "training differ, patients overlap). TVD: mean total variation distance of 1-, 2- and 3-way marginals to the "
        "training rows (2g, 3g: over grids of 10, 13, 20 and 27 bins). AUROC: of a logistic "
        "regression or gradient boosting trained on synthetic rows, on held-out real rows. C2ST: AUROC with which "
        "gradient boosting separates real from synthetic rows; 0.5 is best. Peers (other synthesizers) train on the "
        "pooled rows; where their bins are free, epsilon does not pay for them."
    ]
    for table in ordered_tables(results):
        parts.append(f"## {table}\n\n{quality_table(results[results.table == table])}")
    all_gaps = gaps(results)
    if all_gaps:
        parts.append(f"## Federated minus centralized\n\n{gap_table(all_gaps)}")
    if len(results):
        parts.append(f"## Cost\n\n{cost_table(results)}")
    parts.append(f"## Not run\n\n{not_run(missing, failures)}")
    return "\n\n".join(parts) + "\n"


def ordered_tables(results: pd.DataFrame) -> list[str]:
    """Return the tables of the results, clinical tables first."""
    known = list(CLINICAL_TABLES)
    return sorted(set(results.table), key=lambda name: (known.index(name) if name in known else len(known), name))


def ordered_arms(names: Iterable[str], labels: Labels) -> list[str]:
    """Return the arms, each once, in the order of the labels, or of `ARMS` where there are no labels."""
    known = list(labels or ARMS)
    return sorted(set(names), key=lambda name: (known.index(name) if name in known else len(known), name))


def label_of(arm: str, labels: Labels = NO_LABELS) -> str:
    """Return the arm's name for readers; an arm of an earlier version keeps its own."""
    return labels.get(arm) or (ARMS[arm].label if arm in ARMS else arm)


def quality_table(rows: pd.DataFrame, labels: Labels = NO_LABELS) -> str:
    """Render one line per arm and epsilon of one table; the heading shows the better direction of every measure."""
    lines = [
        ["arm", "epsilon", "seeds", *(f"{HEADINGS[name]} {_arrow(name)}" for name in SHOWN)],
    ]
    for arm in ordered_arms(rows.arm, labels):
        for epsilon in sorted(set(rows.epsilon[rows.arm == arm])):
            cases = rows[(rows.arm == arm) & (rows.epsilon == epsilon)]
            means = [SeedMean.of(list(cases[name])) if cases[name].notna().all() else None for name in SHOWN]
            lines.append(
                [
                    label_of(arm, labels),
                    f"{epsilon:g}" if epsilon else "-",
                    str(len(cases)),
                    *(str(mean or "-") for mean in means),
                ]
            )
    return table_of(lines)


def _arrow(name: str) -> str:
    return "→ 0.5" if name == "c2st" else {"lower": "↓", "higher": "↑"}[CORE_MEASURES[name].direction]


def gap_table(all_gaps: Sequence[Gap], labels: Labels = NO_LABELS) -> str:
    """Render the gap, its interval and its p value for every measure."""
    lines = [["table", "arm", "epsilon", "seeds", *(HEADINGS[name] for name in COMPARED)]]
    row_keys = dict.fromkeys((gap.table, gap.arm, gap.epsilon) for gap in all_gaps)
    for table, arm, epsilon in row_keys:
        gap_of = {gap.metric: gap for gap in all_gaps if (gap.table, gap.arm, gap.epsilon) == (table, arm, epsilon)}
        seeds = max(gap.mean.seeds for gap in gap_of.values())
        key_cells = [labels.get(table, table), label_of(arm, labels), f"{epsilon:g}", str(seeds)]
        lines.append([*key_cells, *(_gap(gap_of.get(name)) for name in COMPARED)])
    return (
        f"{table_of(lines)}\n\nPaired by split seed. In brackets: p of Student's two-sided paired t-test against no "
        "gap, not corrected for multiple tests. Negative is better for TVD and C2ST, positive for AUROC."
    )


def _gap(gap: Gap | None) -> str:
    if gap is None:
        return "-"
    half = "" if gap.mean.half_width is None else f" ± {gap.mean.half_width:.3f}"
    return f"{gap.mean.value:+.3f}{half}" + ("" if gap.p is None else f" ({gap.p:.2g})")


def cost_table(results: pd.DataFrame, labels: Labels = NO_LABELS) -> str:
    """Render medians of processor seconds and bytes by arm and table."""
    tables = ordered_tables(results)
    lines = [["arm", *(f"{labels.get(table, table)}: CPU s, MB" for table in tables)]]
    for arm in ordered_arms(results.arm, labels):
        values = []
        for table in tables:
            rows = results[(results.arm == arm) & (results.table == table)]
            cpu, sent = (median(rows[name]) for name in ("cpu_seconds", "bytes"))
            texts = ["-" if math.isnan(value) else f"{value:.1f}" for value in (cpu, sent / 1e6)]
            values.append(", ".join(texts) if len(rows) else "")
        lines.append([label_of(arm, labels), *values])
    return (
        f"{table_of(lines)}\n\nMedians over epsilons and seeds, one thread. MB: sent and received by all "
        "hospitals. Reading the table and measuring the result are not counted."
    )


def median(values: pd.Series) -> float:
    """Return the median of the known values; NaN if there are none."""
    known = values.dropna()
    return float(known.median()) if len(known) else math.nan


def not_run(missing: Iterable[Case], failures: Iterable[CaseFailure] = ()) -> str:
    """Render which cases have no result, and why."""
    reasons = {failure.case: failure.reason for failure in failures}
    cases = sorted({*missing, *reasons})
    if not cases:
        return "Nothing: every case has a result."
    groups: dict[tuple[str, str, str], list[Case]] = {}
    for case in cases:
        groups.setdefault((case.table, case.arm, reasons.get(case, "not run yet")), []).append(case)
    lines = [["table", "arm", "cases (epsilon / seed)", "reason"]]
    for (table, arm, reason), group in groups.items():
        listed = ", ".join(f"{case.epsilon:g} / {case.seed}" if case.epsilon else f"- / {case.seed}" for case in group)
        lines.append([table, label_of(arm), listed, reason])
    return table_of(lines)


def by_table(
    introduction: str,
    results: pd.DataFrame,
    missing: Iterable[Case],
    failures: Iterable[CaseFailure],
    render: Callable[[pd.DataFrame], str],
) -> str:
    """Render a page with a section for each table of records, and what was not run.

    Args:
        introduction: says what the figures are.
        results: finished cases.
        missing: cases without a result.
        failures: why some of them have none.
        render: returns the figures of the cases of one table of records.
    """
    sections = [f"## {name}\n\n{render(results[results.table == name])}" for name in sorted(set(results.table))]
    return "\n\n".join([introduction, *sections, f"## Not run\n\n{not_run(missing, failures)}"]) + "\n"


def table_of(lines: Sequence[Sequence[str]]) -> str:
    """Render a Markdown table; the first line is its heading."""
    rows = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    return "\n".join([rows[0], "|" + "---|" * len(lines[0]), *rows[1:]])


def shadow_markdown(results: pd.DataFrame, missing: Iterable[Case] = (), failures: Iterable[CaseFailure] = ()) -> str:
    """Render the results of membership attacks with shadow synthesizers: one line per case."""
    lines = [["table", "arm", "epsilon", "seed", "shadows", *SHADOW_HEADINGS.values(), "works"]]
    for _, row in results.iterrows():
        numbers = ["-" if math.isnan(row[name]) else f"{row[name]:.3f}" for name in SHADOW_HEADINGS]
        numbers[0] += f" ({row.low:.3f} to {row.high:.3f})"
        budget = f"{row.epsilon:g}" if row.epsilon else "-"
        key_cells = [str(row.table), label_of(str(row.arm)), budget, f"{row.seed:.0f}", f"{row.shadows:.0f}"]
        lines.append([*key_cells, *numbers, "yes" if row.flagged else "no"])
    return (
        "Membership attacks with shadow synthesizers: the arm is trained repeatedly with and without each patient. "
        "AUROC: training rows against unseen rows, with its 95 % interval; 0.5 is chance. Bound: the largest AUROC "
        "that epsilon allows. Outliers: the same for the rows farthest from all others. Baseline: AUROC with a table "
        "made from the schema alone. Recognized: fraction of training rows flagged at a 1 % false positive rate.\n\n"
        f"{table_of(lines)}\n\n## Not run\n\n{not_run(missing, failures)}\n"
    )
