"""The questions asked of a case: how good is its table, and can an attacker who trains synthesizers detect patients?"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from common.errors import StudyError
from common.evaluation.measures.registry import core_values
from common.evaluation.statistics.data import EvaluationData
from common.study.study import Study
from common.tables.conforming import conform, format_table
from common.tables.raw import as_text
from simulations.benchmark.arms import ARMS
from simulations.benchmark.peers import NO_PEERS, PeerEnvironment
from simulations.benchmark.results import COLUMNS, KEYS, Case
from simulations.benchmark.synthesis import SynthesisResult, SynthesisTask
from simulations.benchmark.tables import TableSource, load
from simulations.usage import cpu_seconds

TEST_FRACTION = 0.2

SMOKE: dict[str, dict[str, object]] = {"synthesizer": {"fit_steps": 60}, "training": {"rounds": 0}}


@dataclass(frozen=True, slots=True)
class CaseOptions:
    """How cases are run. Only `is_smoke` and `shadows` change figures.

    Attributes:
        processes: number of cases at once.
        peers: where other projects' synthesizers are, and how long one may take for a table.
        is_smoke: few steps and no adversary, to see whether everything works; the figures say nothing.
        shadows: number of synthesizers that a membership attack trains; the measurement of quality ignores it.
    """

    processes: int = 1
    peers: PeerEnvironment = NO_PEERS
    is_smoke: bool = False
    shadows: int = 0


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask of every case, and the file of the answers.

    Attributes:
        answer: trains the case's arm and returns the columns that are not keys.
        file: name of the file in the benchmark's folder.
        columns: columns of the file, keys first.
    """

    answer: Callable[[TableSource, Case, CaseOptions], dict[str, Any]]
    file: str
    columns: tuple[str, ...]


def study_of(case: Case, study: Study, options: CaseOptions) -> Study:
    """Return a table's study at the case's epsilon, to be trained on all rows of a split.

    Args:
        case: an arm without a budget says an epsilon of 0.
        study: the table's.
        options: say whether the case is a mere try.
    """
    return study.amended(
        privacy={"epsilon": case.epsilon or None},
        **(SMOKE if options.is_smoke else {}),
        evaluation={"holdout_fraction": 0.0},
    )


@dataclass(frozen=True, slots=True, eq=False)
class TrainTestSplit:
    """One split of a table, ready to train an arm on.

    Attributes:
        train, test: raw rows, with the hospital where the table names it.
        study: the study at the case's epsilon, without hospitals.
        target: column to predict.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    study: Study
    target: str

    @classmethod
    def of(cls, source: TableSource, case: Case, options: CaseOptions) -> TrainTestSplit:
        """Split the case's table: the same split for every arm and epsilon. Limits torch to one thread."""
        import torch
        from sklearn.model_selection import train_test_split

        torch.set_num_threads(1)
        loaded = load(source)
        train, test = train_test_split(
            loaded.frame, test_size=TEST_FRACTION, random_state=case.seed, stratify=loaded.strata
        )
        study = study_of(case, loaded.study, options)
        return cls(train.reset_index(drop=True), test.reset_index(drop=True), study, loaded.target)

    def synthesize(self, case: Case, options: CaseOptions, train: pd.DataFrame, seed: int) -> SynthesisResult:
        """Train the case's arm on these rows."""
        return ARMS[case.arm].run(SynthesisTask(train, self.study, seed, options.peers))

    def conformed(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a table as the schema sees it: rare labels are one category, and "?" is missing."""
        return conform(as_text(table[list(self.study.table.read_names)]), self.study.table)

    def evaluation_data(self, synthetic: pd.DataFrame) -> EvaluationData:
        """Return a synthetic table beside the split's real rows, all as the schema sees them."""
        train, holdout, table = (self.conformed(rows) for rows in (self.train, self.test, synthetic))
        return EvaluationData(train, holdout, table, self.study.table, self.target)


def measure(source: TableSource, case: Case, options: CaseOptions) -> dict[str, Any]:
    """Train the case's arm on its split and measure the table it makes.

    Args:
        source: the case's table.
        case: what to train and measure.
        options: how to run it.

    Returns:
        Measures and costs, by the names of the columns of results.csv.
    """
    split = TrainTestSplit.of(source, case, options)
    synthetic, costs = with_costs(lambda: split.synthesize(case, options, split.train, case.seed))
    delta = split.study.privacy.delta if ARMS[case.arm].has_budget else None
    return core_values(split.evaluation_data(synthetic)) | costs | {"delta": delta}


def with_costs(synthesize: Callable[[], SynthesisResult]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Run an arm; return its table, and the columns of a result that say what it cost."""
    started, spent = time.monotonic(), cpu_seconds(with_children=True)
    result = synthesize()
    return result.synthetic, {
        "seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(cpu_seconds(with_children=True) - spent, 1),
        "hospitals": result.hospitals,
        "bytes": result.bytes,
        "spent": None if result.spent is None else round(result.spent, 4),
    }


def attack(source: TableSource, case: Case, options: CaseOptions) -> dict[str, Any]:
    """Attack membership in the case's table with `shadows` synthesizers, trained by the same arm on other rows.

    Raises:
        StudyError: the arm needs the table's own hospitals, and a random half of the rows has other hospitals.
    """
    from common.evaluation.attacks.shadow import attack_with_shadows

    arm = ARMS[case.arm]
    if arm.needs_sites:
        raise StudyError(f"arm '{case.arm}' needs the table's own hospitals, which shadows do not have; choose local-4")
    split = TrainTestSplit.of(source, case, options)
    schema = split.study.table
    spent = cpu_seconds(with_children=True)

    def train_shadow(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
        return split.conformed(split.synthesize(case, options, format_table(rows, schema), seed).synthetic)

    data = split.evaluation_data(split.synthesize(case, options, split.train, case.seed).synthetic)
    if arm.has_budget:
        data = replace(data, epsilon=case.epsilon, delta=split.study.privacy.delta)
    result = attack_with_shadows(data, train_shadow, seed=case.seed, shadows=options.shadows)
    membership = result.all_records.membership
    assert membership is not None
    outliers = result.outliers.membership if result.outliers is not None else None
    point = membership.points[0] if membership.points else None
    return {
        "shadows": options.shadows,
        "auroc": membership.auroc.value,
        "low": membership.auroc.low,
        "high": membership.auroc.high,
        "bound": membership.bound,
        "baseline": membership.baseline.value,
        "outliers": outliers.auroc.value if outliers is not None else None,
        "recognized": point.true_positives.value if point is not None else None,
        "flagged": int(result.is_flagged),
        "cpu_seconds": round(cpu_seconds(with_children=True) - spent, 1),
    }


QUALITY = Question(measure, "results.csv", COLUMNS)
MEMBERSHIP = Question(
    attack,
    "shadows.csv",
    (*KEYS, "shadows", "auroc", "low", "high", "bound", "baseline", "outliers", "recognized", "flagged", "cpu_seconds"),
)
"""`auroc` (95 % interval: `low`, `high`): training rows against unseen rows; 0.5 is chance, `bound` the largest that
epsilon allows. `outliers`: the same for outlier records. `baseline`: with a table made from the schema alone.
`recognized`: fraction of training rows flagged at a 1 % false positive rate."""
