"""What is asked of a cell: how good its table is, or whether an attacker who can train recognises its patients."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from common.errors import StudyError
from common.evaluation.registry import evaluate
from common.study.study import Study
from common.tables.conforming import conform, format_table
from common.tables.raw import as_text
from simulations.benchmark.baselines import ARMS, Made, Task
from simulations.benchmark.results import COLUMNS, KEYS, Cell
from simulations.benchmark.tables import SITE, Source, load

TEST_SHARE = 0.2

SMOKE: dict[str, dict[str, object]] = {"synthesizer": {"fit_steps": 60}, "training": {"rounds": 0}}


@dataclass(frozen=True, slots=True)
class Options:
    """How cells are run. None of it changes a figure, but for `is_smoke`.

    Args:
        peers: the virtual environment with other projects' synthesizers.
        limit_s: the longest that a peer may take, in seconds.
        is_smoke: few steps and no adversary, to see whether everything works; such figures say nothing.
        shadows: synthesizers that a membership attack may train; of no account for quality.
    """

    processes: int = 1
    peers: Path | None = None
    limit_s: float | None = None
    is_smoke: bool = False
    shadows: int = 0


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of every cell, and where the answers are kept.

    Args:
        answer: trains the cell's arm and returns the columns that are not keys.
        file: in the benchmark's folder.
        columns: of the file, keys first.
    """

    answer: Callable[[Source, Cell, Options], dict[str, Any]]
    file: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """One split of a table, ready to train an arm on.

    Args:
        train, test: raw, with the hospital where the table names it.
        whole: both, without it.
        study: at the cell's epsilon, without hospitals.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    whole: pd.DataFrame
    study: Study
    target: str

    @classmethod
    def of(cls, source: Source, cell: Cell, options: Options) -> Split:
        """The same split for every arm and epsilon; one thread from here on."""
        import torch
        from sklearn.model_selection import train_test_split

        torch.set_num_threads(1)
        loaded = load(source)
        train, test = train_test_split(
            loaded.frame, test_size=TEST_SHARE, random_state=cell.seed, stratify=loaded.strata
        )
        study = loaded.study.amended(
            privacy={"epsilon": cell.epsilon or None},  # an arm without a budget says 0
            **(SMOKE if options.is_smoke else {}),
            evaluation={"holdout_fraction": 0.0},
        )
        whole = loaded.frame.drop(columns=SITE, errors="ignore")
        return cls(train.reset_index(drop=True), test.reset_index(drop=True), whole, study, loaded.target)

    def made_by(self, cell: Cell, options: Options, train: pd.DataFrame, seed: int) -> Made:
        """What the cell's arm makes of these rows."""
        return ARMS[cell.arm].run(Task(train, self.whole, self.study, seed, options.peers, options.limit_s))

    def seen(self, table: pd.DataFrame) -> pd.DataFrame:
        """As the schema sees it: rare labels are one category, and "?" is missing."""
        return conform(as_text(table[list(self.study.table.names)]), self.study.table)


def measure(source: Source, cell: Cell, options: Options) -> dict[str, Any]:
    """One cell: train an arm on one split of one table at one epsilon and measure the outcome."""
    split = Split.of(source, cell, options)
    started, spent = time.monotonic(), _cpu_seconds()
    made = split.made_by(cell, options, split.train, cell.seed)
    seconds, cpu = time.monotonic() - started, _cpu_seconds() - spent
    scores = evaluate(split.seen(split.train), split.seen(split.test), split.seen(made.synthetic), split.target)
    return scores | {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "hospitals": made.hospitals,
        "bytes": made.bytes,
        "spent": None if made.spent is None else round(made.spent, 4),
        "delta": split.study.privacy.delta if ARMS[cell.arm].has_budget else None,
    }


def attack(source: Source, cell: Cell, options: Options) -> dict[str, Any]:
    """One cell: a membership attack by someone who can train the arm on other rows, as often as `shadows` says.

    Raises:
        StudyError: the arm needs the table's own hospitals, of which a random half has others.
    """
    from common.evaluation.attacks.shadow import attack_with_shadows

    arm = ARMS[cell.arm]
    if arm.needs_sites:
        raise StudyError(f"arm '{cell.arm}' keeps the table's own hospitals, which shadows lack; choose local-4")
    split = Split.of(source, cell, options)
    schema = split.study.table
    spent = _cpu_seconds()

    def synthesize(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
        return split.seen(split.made_by(cell, options, format_table(rows, schema), seed).synthetic)

    made = split.seen(split.made_by(cell, options, split.train, cell.seed).synthetic)
    found = attack_with_shadows(
        split.seen(split.train), split.seen(split.test), made, schema, synthesize, seed=cell.seed,
        shadows=options.shadows,
        epsilon=cell.epsilon if arm.has_budget else None, delta=split.study.privacy.delta if arm.has_budget else None,
    )  # fmt: skip
    membership = found.everyone.membership
    assert membership is not None
    exposed = found.exposed.membership if found.exposed is not None else None
    point = membership.points[0] if membership.points else None
    return {
        "shadows": options.shadows,
        "auroc": membership.auroc.value,
        "low": membership.auroc.low,
        "high": membership.auroc.high,
        "bound": membership.bound,
        "blind": membership.blind.value,
        "exposed": exposed.auroc.value if exposed is not None else None,
        "recognised": point.true_positives.value if point is not None else None,
        "flagged": int(found.is_flagged),
        "cpu_seconds": round(_cpu_seconds() - spent, 1),
    }


QUALITY = Question(measure, "results.csv", COLUMNS)
MEMBERSHIP = Question(
    attack,
    "shadows.csv",
    (*KEYS, "shadows", "auroc", "low", "high", "bound", "blind", "exposed", "recognised", "flagged", "cpu_seconds"),
)
"""`auroc` (`low`, `high`: its 95 % interval): training rows told from unseen rows; 0.5 is chance, and `bound` the most
that epsilon allows. `exposed`: the same for rows that lie alone; `blind`: with a table made from the schema alone.
`recognised`: training rows, where 1 % of unseen rows are taken for one."""


def _cpu_seconds() -> float:
    """Of this process and of the children that it waited for: peers are children."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)
