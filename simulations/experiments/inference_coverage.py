"""Measure how often 95 % intervals of `fedsynth table1` and `fedsynth survival` hold the truth, beside naive ones.

    python -m simulations.experiments.inference_coverage table1 --table flchain --by death --runs 200
    python -m simulations.experiments.inference_coverage survival --table flchain --time futime --by sex --runs 200

The population is a clinical table, in the folder FEDSYNTH_DATA. In each run, as many patients as it has are drawn from
it with replacement, counted under the plan's noise at one hospital, and the intervals are computed from the counts. No
federation is launched. The naive intervals are those of an analyst who takes the rows of the synthetic table for
patients; a model is fitted for them in the first `--naive` runs. `--null` shuffles the groups of every sample, so
that the log-rank test rejects a true hypothesis whenever it rejects.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from common.arrays import Floats
from common.errors import StudyError
from common.evaluation.statistics.intervals import LEVEL, normal_quantile, wilson
from common.evaluation.utility.survival import kaplan_meier
from common.inference.counts import RunCounts
from common.inference.survival import SurvivalCurves, SurvivalOutcome, survival_curves
from common.inference.table_one import OVERALL, TableLine, table_one
from common.planning.phases import PublicRun, measurements_of
from common.planning.plan import Plan
from common.planning.planner import make_plan
from common.seeds import seed_for
from common.study.study import Study
from common.synthesizers.model_rows import ModelRows
from common.synthesizers.registry import make_synthesizer
from common.synthesizers.schedule import initial_weights
from common.tables.conforming import conform
from common.tables.raw import as_text
from simulations.benchmark.tables import ClinicalTable
from simulations.experiments.one_hospital import FrameRecords, alone, count_vectors

QUARTILES = {"q25": 0.25, "median": 0.5, "q75": 0.75}

ALPHA = 1 - LEVEL


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """A table that samples are drawn from, with the study and the plan of one hospital.

    Attributes:
        shuffled: column that is shuffled in every sample, so that its groups do not differ; None for none.
    """

    frame: pd.DataFrame
    study: Study
    plan: Plan
    shuffled: str | None = None

    @classmethod
    def clinical(cls, name: str, folder: Path, sections: dict[str, dict[str, Any]]) -> Population:
        """Return a clinical table as a population.

        Args:
            name: of a clinical table of the benchmark.
            folder: of the clinical tables.
            sections: of the study to change.
        """
        loaded = ClinicalTable(name, folder).load()
        evaluation = {"holdout_fraction": 0.0, **sections.get("evaluation", {})}
        study = loaded.study.amended(**sections | {"evaluation": evaluation})
        frame = conform(as_text(loaded.frame[list(study.table.read_names)]), study.table)
        study = alone(study, len(frame))
        return cls(frame, study, make_plan(study))

    def draw(self, seed: int) -> tuple[pd.DataFrame, PublicRun]:
        """Return a sample with replacement, of as many patients, and the run that counted it."""
        sample = self.frame.sample(len(self.frame), replace=True, random_state=seed).reset_index(drop=True)
        if self.shuffled is not None:
            sample[self.shuffled] = sample[self.shuffled].sample(frac=1.0, random_state=seed).to_numpy()
        records = FrameRecords(sample, self.study.table)
        return sample, count_vectors(records, self.study, self.plan, seed, ModelRows())

    def synthetic(self, public: PublicRun, seed: int) -> pd.DataFrame:
        """Return a synthetic table of as many rows, from the model that a run would fit."""
        measurements = measurements_of(public)
        assert measurements is not None, "the plan counts tables"
        model = make_synthesizer(self.study.synthesizer, public.encoder)
        initial = initial_weights(model, seed_for(seed, "initial"))
        weights = model.fit(initial, measurements, seed_for(seed, "fit"), rounds=0)
        codes = model.sample(weights, len(self.frame), seed_for(seed, "sample"), {})
        return public.encoder.decode(codes, np.random.default_rng(seed))


@dataclass(slots=True)
class CoverageTally:
    """How often intervals of each kind held the truth."""

    hits: dict[tuple[str, ...], list[float]] = field(default_factory=lambda: defaultdict(list))

    def note(self, key: tuple[str, ...], truth: float, low: float, high: float) -> None:
        """Note one interval. `key` is the kind of figure, then which one it is."""
        self.hits[key].append(float(low - 1e-9 <= truth <= high + 1e-9))

    def table(self) -> pd.DataFrame:
        """Return, by kind: intervals per run, coverage of all and of the worst figure seen in half of the runs."""
        most = max(map(len, self.hits.values()), default=0)
        kinds: dict[str, list[tuple[str, ...]]] = defaultdict(list)
        for key in self.hits:
            kinds[key[0]].append(key)
        rows = {}
        for kind, keys in kinds.items():
            often = [key for key in keys if len(self.hits[key]) >= most / 2]
            worst = min(often, key=lambda key: float(np.mean(self.hits[key])), default=None)
            rows[kind] = {
                "figures": len(keys),
                "coverage": float(np.mean([hit for key in keys for hit in self.hits[key]])),
                "least": math.nan if worst is None else float(np.mean(self.hits[worst])),
                "of": "" if worst is None else " ".join(filter(None, worst[1:])),
            }
        return pd.DataFrame(rows).T


def truth_of(frame: pd.DataFrame, row: TableLine) -> float:
    """Return the population's figure of a line of Table One; quantiles as the smallest value that reaches the level."""
    values = frame[row.variable]
    if row.statistic == "missing":
        return float(100 * values.isna().mean())
    known = values.dropna()
    if row.statistic == "percent":
        return float(100 * known.isin(row.level.split(" / ")).mean())
    if row.statistic == "mean":
        return float(known.mean())
    return float(np.quantile(known.to_numpy(dtype=np.float64), QUARTILES[row.statistic], method="inverted_cdf"))


def naive_interval(frame: pd.DataFrame, row: TableLine) -> tuple[float, float]:
    """Return the textbook interval of a line from rows that are taken for patients."""
    values, z = frame[row.variable], normal_quantile(LEVEL)
    if row.statistic in ("missing", "percent"):
        base = values if row.statistic == "missing" else values.dropna()
        hits = base.isna() if row.statistic == "missing" else base.isin(row.level.split(" / "))
        interval = wilson(int(hits.sum()), len(base))
        return 100 * interval.low, 100 * interval.high
    known = np.sort(values.dropna().to_numpy(dtype=np.float64))
    if len(known) < 2:
        return -math.inf, math.inf
    if row.statistic == "mean":
        reach = z * known.std(ddof=1) / math.sqrt(len(known))
        return float(known.mean() - reach), float(known.mean() + reach)
    level = QUARTILES[row.statistic]
    reach = z * math.sqrt(level * (1 - level) / len(known))
    low, high = (np.quantile(known, min(max(level + s * reach, 0), 1), method="inverted_cdf") for s in (-1, 1))
    return float(low), float(high)


def table_one_coverage(population: Population, by: str, runs: range, naive: int) -> Iterator[tuple[str, CoverageTally]]:
    """Yield the tallies of Table One and of naive intervals.

    Args:
        population: what samples are drawn from.
        by: column of the groups.
        runs: seeds of the runs.
        naive: in how many runs a model is fitted.
    """
    of_counts, of_model = CoverageTally(), CoverageTally()
    groups = {OVERALL: population.frame}
    for seed in runs:
        _, public = population.draw(seed)
        table = table_one(RunCounts(public), population.study, by)
        groups |= {name: population.frame[population.frame[by] == name] for name in table.groups[1:]}
        rows = [row for row in table.rows if row.statistic != "sd"]
        for row in rows:
            for name, cell in zip(table.groups, row.cells, strict=True):
                if not cell.is_suppressed:
                    key = (row.statistic, row.variable, row.level, name)
                    of_counts.note(key, truth_of(groups[name], row), cell.interval.low, cell.interval.high)
        if seed - runs.start < naive:
            drawn = population.synthetic(public, seed)
            for row in rows:
                for name in table.groups:
                    part = drawn if name == OVERALL else drawn[drawn[by] == name]
                    low, high = naive_interval(part, row)
                    of_model.note(
                        (row.statistic, row.variable, row.level, name), truth_of(groups[name], row), low, high
                    )
    yield "fedsynth table1", of_counts
    yield "naive: synthetic rows as patients", of_model


def survival_coverage(
    population: Population, outcome: SurvivalOutcome, runs: range, naive: int
) -> Iterator[tuple[str, CoverageTally]]:
    """Yield the tallies of survival curves and of naive ones, and of p-values that are at least alpha.

    Args:
        population: what samples are drawn from.
        outcome: time, event and groups.
        runs: seeds of the runs.
        naive: in how many runs a model is fitted.
    """
    of_counts, of_model = CoverageTally(), CoverageTally()
    assert outcome.by is not None, "the study counts the groups"
    for seed in runs:
        _, public = population.draw(seed)
        curves = survival_curves(RunCounts(public), population.study, outcome)
        drawn = population.synthetic(public, seed) if seed - runs.start < naive else None
        for curve in curves.curves:
            is_whole = curve.group == OVERALL or population.shuffled is not None
            of = population.frame if is_whole else _group(population.frame, outcome.by, curve.group)
            times = np.array([point.time for point in curve.points])
            truth, _ = greenwood(of, curves, times)
            for number, point in enumerate(curve.points):
                kind = "curve" if curve.group == OVERALL else "curve by group"
                key = (kind, f"{curve.group} {number + 1}")
                of_counts.note(key, truth[number], point.survival.low, point.survival.high)
            if drawn is not None:
                part = drawn if curve.group == OVERALL else _group(drawn, outcome.by, curve.group)
                value, deviation = greenwood(part, curves, times)
                for number in range(len(times)):
                    reach = normal_quantile(LEVEL) * deviation[number]
                    key = (kind, f"{curve.group} {number + 1}")
                    of_model.note(key, truth[number], value[number] - reach, value[number] + reach)
        if population.shuffled is not None and curves.log_rank is not None:
            of_counts.hits["log-rank p at least .05", ""].append(float(curves.log_rank.p_value >= ALPHA))
    yield "fedsynth survival", of_counts
    yield "naive: synthetic rows as patients", of_model


def _group(frame: pd.DataFrame, by: str, label: str) -> pd.DataFrame:
    return frame[frame[by] == label]


def greenwood(frame: pd.DataFrame, curves: SurvivalCurves, times: Floats) -> tuple[Floats, Floats]:
    """Return the Kaplan-Meier curve of rows at some times, and Greenwood's standard deviation (1926).

    Args:
        frame: rows.
        curves: says which columns are time and event.
        times: where the curve is wanted, shape (times,).
    """
    known = frame[[curves.time, curves.event]].dropna()
    seen, happened = known[curves.time].to_numpy(dtype=np.float64), (known[curves.event] == curves.label).to_numpy()
    curve = kaplan_meier(seen, happened, times, np.ones((1, len(seen))))[0]
    distinct, place = np.unique(seen, return_inverse=True)
    events = np.bincount(place, happened, len(distinct))
    at_risk = np.bincount(place, minlength=len(distinct))[::-1].cumsum()[::-1]
    terms = np.divide(events, at_risk * (at_risk - events), out=np.zeros(len(events)), where=at_risk > events)
    sums = np.concatenate([[0.0], np.cumsum(terms)])[np.searchsorted(distinct, times, side="right")]
    return curve, curve * np.sqrt(sums)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study and print coverage by kind of figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("table1", "survival"))
    parser.add_argument("--table", default="flchain")
    parser.add_argument("--epsilon", type=float, default=3.0)
    parser.add_argument("--by", help="column of the groups; default: the target, or for survival 'sex'")
    parser.add_argument("--time", default="futime")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="seed of the first run")
    parser.add_argument("--naive", type=int, default=0, help="runs in which a model is fitted")
    parser.add_argument("--null", action="store_true", help="shuffle the groups of every sample")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    runs = range(options.first, options.first + options.runs)
    sections: dict[str, dict[str, Any]] = {
        "privacy": {"epsilon": options.epsilon},
        "synthesizer": {"votes": False},  # a model is fitted for votes, and intervals do not use them
    }
    by = options.by or "sex"
    if options.what == "survival":
        sections["evaluation"] = {"time": options.time, "sensitive": [by]}
    population = Population.clinical(options.table, Path(os.environ["FEDSYNTH_DATA"]), sections)
    target = population.study.evaluation.target
    if options.null:
        population = replace(population, shuffled=by)
    if options.what == "survival":
        outcome = SurvivalOutcome(options.time, target, None, by)
        tallies = survival_coverage(population, outcome, runs, options.naive)
    else:
        tallies = table_one_coverage(population, options.by or target, runs, options.naive)
    try:
        for title, tally in tallies:
            if tally.hits:
                sys.stdout.write(f"{title}\n{tally.table().to_string()}\n\n")
    except StudyError as problem:
        raise SystemExit(str(problem)) from None


if __name__ == "__main__":
    main()
