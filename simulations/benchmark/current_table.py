"""The table of today's version: what its synthesizer reaches, beside resampled real rows and AIM.

Cells of today's version are in a file of their own, `CURRENT`, so that none of an earlier version is mixed in.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from simulations.benchmark.markdown import HEADINGS, median, table_of
from simulations.benchmark.results import SHOWN

CURRENT = "maximum-entropy.csv"
"""File of the cases of today's version, in the folder of evidence."""

CURRENT_LABELS = {
    "central": "one hospital with all rows",
    "distributed-4": "four hospitals, shared noise",
    "distributed-25": "25 hospitals, shared noise",
    "distributed-by-site": "by hospital, shared noise",
    "bootstrap": "real rows, resampled",
    "aim": "AIM, all rows",
}

INDEPENDENT = ("bootstrap", "aim")
"""Arms that today's version does not change: cases of an earlier benchmark still hold."""


def current_table(current: pd.DataFrame, earlier: pd.DataFrame, tables: Mapping[str, str]) -> str:
    """Render the means over splits of every case of today's version, and of the arms that it does not change.

    Args:
        current: cases of today's version.
        earlier: cases of an earlier one; of these, `INDEPENDENT` arms at splits that `current` lacks are used.
        tables: names of the tables for readers, in their order.
    """
    kept = earlier[earlier.arm.isin(INDEPENDENT) & earlier.table.isin(set(current.table))]
    both = pd.concat([current, kept]).drop_duplicates(["table", "arm", "epsilon", "seed"])
    pairs = [name for name in SHOWN if not name.startswith("auc_")]
    headings = [HEADINGS[name] for name in pairs]
    lines = [["table", "", "epsilon", "seeds", *headings[:-1], "AUROC lr / gb", headings[-1], "CPU s"]]
    for table, label in tables.items():
        shown = label
        for arm, words in CURRENT_LABELS.items():
            rows = both[(both.table == table) & (both.arm == arm)]
            for epsilon in sorted(set(rows.epsilon)):
                cases = rows[rows.epsilon == epsilon]
                values = [_mean(cases[name]) for name in pairs]
                utility = " / ".join(_mean(cases[name]) for name in ("auc_lr", "auc_gb"))
                seconds = "-" if arm == "bootstrap" else f"{median(cases.cpu_seconds):.0f}"
                at = f"{epsilon:g}" if epsilon else "-"
                lines.append([shown, words, at, str(len(cases)), *values[:-1], utility, values[-1], seconds])
                shown = ""
    return table_of(lines)


def _mean(values: pd.Series) -> str:
    """Return the mean with three decimals; a dash where a case was measured before the measure existed."""
    return f"{values.mean():.3f}" if values.notna().all() else "-"
