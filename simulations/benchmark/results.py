"""The results of a benchmark: one CSV row per finished case, saved at once, so that the next run resumes there."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from common.errors import StudyError, cause_of
from common.evaluation.measures.registry import CORE_MEASURES
from common.study.limits import DELTA_ROWS
from common.system.files import write_synced

KEYS = ("table", "arm", "epsilon", "seed")
COSTS = ("seconds", "cpu_seconds", "hospitals", "bytes", "spent", "delta")
"""`seconds` and `cpu_seconds`: of the arm, without reading and measuring. `bytes`: sent and received by all hospitals.
`spent`: largest epsilon of a hospital, from its ledger."""

COLUMNS = (*KEYS, *CORE_MEASURES, *COSTS)
"""Columns that a file of an earlier version lacks are empty."""

COMPARED = ("tvd1", "tvd2", "tvd3", "auc_lr", "auc_gb", "c2st")
"""Measures of gaps and counts of wins: those that every case of the published evidence has."""

SHOWN = ("tvd1", "tvd2", "tvd2g", "tvd3", "tvd3g", "auc_lr", "auc_gb", "c2st")
"""Measures shown in tables of quality. Cases of earlier versions lack the two over several grids."""


@dataclass(frozen=True, slots=True, order=True)
class Case:
    """One arm on one split of one table at one epsilon; an arm without a budget is at epsilon 0."""

    table: str
    arm: str
    epsilon: float
    seed: int

    def __str__(self) -> str:
        budget = f" epsilon {self.epsilon:g}" if self.epsilon else ""
        return f"{self.table} {self.arm}{budget} seed {self.seed}"


@dataclass(frozen=True, slots=True)
class CaseFailure:
    """A case without a result; `is_excused` if a peer is missing or gave up, so that nothing of this project failed."""

    case: Case
    reason: str
    is_excused: bool


class ResultsFile:
    """The finished cases of a folder.

    Args:
        path: a CSV file, created with the first case; columns that it lacks are empty.
        columns: columns of the file, `KEYS` first.

    Raises:
        StudyError: the file does not contain a benchmark's results.
    """

    def __init__(self, path: Path, columns: Sequence[str] = COLUMNS) -> None:
        self.path = path
        self._columns = tuple(columns)
        self._rows: list[dict[str, Any]] = []
        if not path.exists():
            return
        try:
            rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")), strict=True))
            cases = [_case_of(row) for row in rows]
        except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError) as problem:
            cause = cause_of(problem)
            raise StudyError(
                f"'{path}' does not contain a benchmark's results ({cause}); choose another --out"
            ) from None
        # A case that two runs computed counts once: the later result stands.
        self._rows = list(dict(zip(cases, rows, strict=True)).values())

    def cases(self) -> set[Case]:
        return {_case_of(row) for row in self._rows}

    def keep(self, case: Case, answer: dict[str, Any]) -> None:
        """Add a finished case; the complete file is on the disk when this returns.

        Raises:
            StudyError: the file holds cases of this table at another delta, which no mean may mix.
        """
        self._refuse_another_delta(case, answer.get("delta"))
        row = {"table": case.table, "arm": case.arm, "epsilon": case.epsilon, "seed": case.seed} | answer
        self._rows.append({name: row.get(name) for name in self._columns})
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        write_synced(self.path, text.getvalue().encode())

    def _refuse_another_delta(self, case: Case, delta: Any) -> None:
        known = {float(row["delta"]) for row in self._rows if row["table"] == case.table and row.get("delta")}
        if delta is not None and known - {float(delta)}:
            raise StudyError(
                f"'{self.path}' holds results of table '{case.table}' at delta = {max(known):g}, and this version "
                f"takes {float(delta):g}, at most 1 / ({DELTA_ROWS} x rows); choose another --out"
            )

    def frame(self) -> pd.DataFrame:
        """Return all finished cases with numeric columns, ordered by table, epsilon, arm and seed."""
        frame = pd.DataFrame(self._rows, columns=list(self._columns))
        numbers = [name for name in self._columns if name not in ("table", "arm")]
        frame[numbers] = frame[numbers].apply(pd.to_numeric)
        return frame.sort_values(["table", "epsilon", "arm", "seed"], ignore_index=True)


def _case_of(row: dict[str, Any]) -> Case:
    return Case(str(row["table"]), str(row["arm"]), float(row["epsilon"]), int(row["seed"]))


def absent(wanted: Iterable[Case], results: ResultsFile) -> list[Case]:
    """Return the cases that have no result yet, in the order given."""
    known = results.cases()
    return [case for case in wanted if case not in known]
