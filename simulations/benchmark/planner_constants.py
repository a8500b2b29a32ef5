"""Which of the planner's constants other tables would choose: leave-one-out over the tables of a benchmark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from common.errors import StudyError
from simulations.benchmark.arms import VARIANTS
from simulations.benchmark.results import COMPARED

CHANCE_C2ST = 0.02
"""Smallest C2ST error (AUROC above 0.5) that counts: chance alone gives as much, and ratios of less mean nothing."""


def leave_one_out(results: pd.DataFrame, source: Path) -> str:
    """Render, for each table, the constants that the other tables would choose and their gain over the planner's own.

    Args:
        results: finished cases, as `ResultsFile.frame` returns them.
        source: the file that they come from, for messages.

    A gain of 10 % means that the planner's error is 1.1 times the error under the constants: the geometric mean of
    that ratio over the measures and the cases where both errors are above 0, minus one. Unlike an arithmetic mean of
    the ratios, it does not favor either arm when both are noisy. The error of an AUROC is its distance from 1; the
    error of C2ST is its excess over 0.5, at least `CHANCE_C2ST`.

    Raises:
        StudyError: the planner's own constants and others were not measured on the same cases.
    """
    _refuse_absent(results, source)
    errors = results.set_index(["table", "epsilon", "seed", "arm"])[list(COMPARED)]
    for name in ("auc_lr", "auc_gb"):
        errors[name] = 1 - errors[name]
    errors["c2st"] = (errors["c2st"] - 0.5).clip(lower=CHANCE_C2ST)
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
        expected, achieved = np.expm1([others[best], by_table.loc[table, best]]) if best != "central" else (0.0, 0.0)
        lines.append(f"{table}: the others choose {best} (gain {expected:+.1%}); here it gains {achieved:+.1%}")
    return "\n".join(lines)


def _refuse_absent(results: pd.DataFrame, source: Path) -> None:
    """Raise `StudyError` where no case has both the arm 'central' and one of `VARIANTS`."""
    cases: dict[str, set[tuple[object, ...]]] = {}
    for arm, *case in results[["arm", "table", "epsilon", "seed"]].itertuples(index=False):
        cases.setdefault(str(arm), set()).add(tuple(case))
    own = cases.get("central", set())
    if any(own & cases.get(arm, set()) for arm in VARIANTS):
        return
    if not own:
        absent = "row of arm 'central', the planner's own constants"
    elif not set(VARIANTS) & set(cases):
        absent = f"row of an arm with other constants ({', '.join(VARIANTS)})"
    else:
        absent = "table, epsilon and seed with both arm 'central' and one with other constants"
    raise StudyError(
        f"'{source}' has no {absent}; measure both with "
        f"`fedsynth benchmark run --arms {','.join(['central', *VARIANTS])} --out {source.parent}`"
    )
