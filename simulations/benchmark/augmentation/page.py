"""The results of a benchmark of augmentation as a Markdown page."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from simulations.benchmark.augmentation.question import DRAWS, SIZES
from simulations.benchmark.gaps import SeedMean
from simulations.benchmark.markdown import by_table, label_of, ordered_arms, table_of
from simulations.benchmark.results import Case, CaseFailure

INTRODUCTION = f"""\
AUROC on held-out real rows of a logistic regression that a hospital with few patients trains, at most one in ten of
them with the rarest outcome: on its own rows, on these and synthetic rows of the federation, and on synthetic rows
alone. Mean over split seeds of the mean over {DRAWS} such hospitals; in brackets, where 95 % of the hospitals of a
split are. Gain: the second minus the first, ± half of the 95 % interval of its mean over split seeds (Student's t).
Helped: fraction of hospitals to which the synthetic rows brought anything. Best: what reaches the highest mean AUROC,
and its mean lead over the second best, paired by split seed, ± half of the 95 % interval."""

WAYS = {"own": "own rows", "both": "own and synthetic", "alone": "synthetic alone"}
"""What a hospital can train on, as the page names it."""


TOO_FEW = "not measured: no more training rows"
"""Stands where a split has at most as many training rows as the hospital has patients."""


def augmentation_markdown(results: pd.DataFrame, missing: Iterable[Case], failures: Iterable[CaseFailure]) -> str:
    """Render one table of figures for every table of patients, and what was not run.

    Args:
        results: finished cases.
        missing: cases without a result.
        failures: why some of them have none.
    """
    return by_table(INTRODUCTION.replace("\n", " "), results, missing, failures, _table)


def _table(rows: pd.DataFrame) -> str:
    """Render one line per arm, epsilon and size of the hospital."""
    lines = [
        [
            "arm",
            "epsilon",
            "seeds",
            "own patients",
            *WAYS.values(),
            "gain",
            "helped",
            "best",
        ]
    ]
    for arm in ordered_arms(rows.arm, {}):
        for epsilon in sorted(set(rows.epsilon[rows.arm == arm])):
            cases = rows[(rows.arm == arm) & (rows.epsilon == epsilon)]
            for size in SIZES:
                known = cases[cases[f"own_{size}"].notna()]
                key_cells = [label_of(arm), f"{epsilon:g}" if epsilon else "-", str(len(known)), str(size)]
                if known.empty:
                    synthetic = f"{cases.synthetic.mean():.3f}"
                    lines.append([*key_cells, TOO_FEW, TOO_FEW, synthetic, *["not measured"] * 3])
                    continue
                lines.append([
                    *key_cells, *(_ranged(known, f"{way}_{size}") for way in ("own", "both")),
                    f"{known.synthetic.mean():.3f}",
                    str(SeedMean.of(list(known[f"gain_{size}"]))), f"{known[f'helped_{size}'].mean():.0%}",
                    _best(known, size),
                ])  # fmt: skip
    return table_of(lines)


def _ranged(cases: pd.DataFrame, name: str) -> str:
    """Return a mean over seeds, and the mean limits of a split's hospitals in brackets."""
    value, low, high = (cases[name + end].mean() for end in ("", "_low", "_high"))
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def _best(cases: pd.DataFrame, size: int) -> str:
    """Return which way reaches the highest mean, and by how much it leads the second; the first among equal ones.

    Args:
        cases: one row for each split seed.
        size: patients of the hospital.
    """
    reached = {"own": cases[f"own_{size}"], "both": cases[f"both_{size}"], "alone": cases["synthetic"]}
    best, second = sorted(reached, key=lambda way: -reached[way].mean())[:2]
    return f"{WAYS[best]}, by {SeedMean.of(list(reached[best] - reached[second]))} over {WAYS[second]}"
