"""Measure how often pooled intervals of several synthetic tables hold the truth, and how often tests reject it.

    python -m simulations.experiments.combining_coverage --table heart-disease --runs 200 --out heart.csv

The population is a clinical table, in the folder FEDSYNTH_DATA, from which each run draws as many patients with
replacement; they are counted under the plan's noise at one hospital. One column, `--shuffle`, is shuffled in every
sample, so that it depends on nothing: its log odds ratios are 0, and a test that finds one is wrong. Naive intervals
are those of an analyst who takes as many rows of the first table as there are patients for patients. `--out` keeps the
figures of every run in a CSV file: started again, the study continues after the runs that the file holds.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from common.evaluation.statistics.intervals import LEVEL, normal_quantile
from common.inference.combining import pool
from common.inference.estimands import Estimand
from common.planning.phases import measurements_of
from common.study.schema import Schema
from common.synthesizers.maximum_entropy.posterior import PosteriorSettings, posterior_codes
from common.system.files import write_synced
from simulations.experiments.inference_coverage import Population

NULL = "log-odds, independent"
"""Kind of the estimands that hold the shuffled column."""


def estimands_of(schema: Schema, target: str, shuffled: str) -> list[tuple[str, Estimand]]:
    """Return what is estimated, by kind: means, proportions, log odds of the target and of the shuffled column.

    Args:
        schema: columns.
        target: column whose last label is the outcome.
        shuffled: column that depends on nothing.
    """
    estimands: list[tuple[str, Estimand]] = []
    for column in schema.each():
        if column.grid is not None:
            estimands.append(("mean", Estimand("mean", column.name)))
        else:
            estimands.append(("proportion", Estimand("proportion", column.name, column.labels[-1])))
    for column in schema.each():
        label = "" if column.grid is not None else column.labels[-1]
        for outcome, kind in ((target, "log-odds"), (shuffled, NULL)):
            if column.name not in (target, shuffled):
                chosen = Estimand("log-odds", outcome, schema[outcome].labels[-1], column.name, label)
                estimands.append((kind, chosen))
    return estimands


def run(population: Population, shuffled: str, settings: PosteriorSettings) -> list[dict[str, object]]:
    """Return one row for each estimand: kind, truth, and whether pooled and naive intervals and tests hold it.

    Args:
        population: what the sample is drawn from.
        shuffled: the column that depends on nothing.
        settings: how many tables; its seed is that of the sample, too.
    """
    sample, public = population.draw(settings.seed)
    measurements = measurements_of(public)
    assert measurements is not None, "the plan counts tables"
    rng = np.random.default_rng(settings.seed)
    tables = [public.encoder.redrawn(rng).decode(codes, rng) for codes in posterior_codes(measurements, settings)]
    found = []
    for kind, estimand in estimands_of(population.study.table, population.study.evaluation.target, shuffled):
        truth = 0.0 if kind == NULL else estimand.estimate(population.frame)[0]
        estimates = np.array([estimand.estimate(table) for table in tables])
        if not np.isfinite(estimates).all():
            continue
        pooled = pool(str(estimand), estimates[:, 0].tolist(), estimates[:, 1].tolist(), settings.rows / len(sample))
        value, variance = estimand.estimate(tables[0].iloc[: len(sample)])
        reach = normal_quantile(LEVEL) * variance**0.5
        low, high = pooled.interval.low, pooled.interval.high
        row = {"kind": kind, "estimand": str(estimand), "truth": truth, "estimate": pooled.interval.value}
        row |= {"low": low, "high": high, "pooled": low <= truth <= high, "naive": abs(value - truth) <= reach}
        found.append(row | {"width over naive": (high - low) / max(2 * reach, 1e-12)})
    return found


def summary(frame: pd.DataFrame) -> str:
    """Return coverage by kind, with its own 95 % interval and the lowest of any estimand.

    For independent columns, 1 - coverage is the type I error. Figures of one run depend on each other, so the interval
    of the coverage is from the runs' means. `bias` is the mean error of the pooled estimates of an estimand,
    as a fraction of half the width of the interval, without its sign; for a kind, the mean over its estimands.

    Args:
        frame: rows of `run`, with the seed of each.
    """
    grouped = frame.groupby("kind")[["pooled", "naive", "width over naive"]]
    runs = frame.groupby(["kind", "seed"])["pooled"].mean().groupby("kind")
    reach = normal_quantile(LEVEL) * runs.std() / runs.size() ** 0.5
    bias = 2 * (frame["estimate"] - frame["truth"]) / (frame["high"] - frame["low"])
    biases = bias.groupby([frame["kind"], frame["estimand"]]).mean().abs().groupby("kind").mean().rename("bias")
    lowest = frame.groupby(["kind", "estimand"])["pooled"].mean().groupby("kind").min().rename("lowest")
    missed = frame[~frame["pooled"].astype(bool)]["estimand"].value_counts().head(8)
    means = (
        grouped.mean().astype(float).join(lowest).join(biases).join(frame.groupby("kind").size().rename("intervals"))
    )
    means = means.assign(low=means["pooled"] - reach, high=means["pooled"] + reach)
    return f"{frame['seed'].nunique()} runs\n{means.round(3).to_string()}\nmissed most often: {missed.to_dict()}\n\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study; print coverage by kind after every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", default="heart-disease")
    parser.add_argument("--epsilon", type=float, default=3.0)
    parser.add_argument("--shuffle", default="fbs")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="seed of the first run")
    parser.add_argument("--datasets", type=int, default=8)
    parser.add_argument("--times", type=int, default=5, help="rows of a table, as a multiple of the patients")
    parser.add_argument("--out", type=Path, help="CSV file of the figures; runs that it holds are not run again")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    sections = {"privacy": {"epsilon": options.epsilon}, "synthesizer": {"votes": False}}
    population = Population.clinical(options.table, Path(os.environ["FEDSYNTH_DATA"]), sections)
    population = replace(population, shuffled=options.shuffle)
    frame = pd.read_csv(options.out) if options.out and options.out.is_file() else pd.DataFrame({"seed": []})
    for seed in sorted(set(range(options.first, options.first + options.runs)) - set(frame["seed"])):
        settings = PosteriorSettings(options.datasets, options.times * len(population.frame), seed)
        figures = pd.DataFrame(run(population, options.shuffle, settings)).assign(seed=seed)
        frame = pd.concat([frame, figures]) if len(frame) else figures
        if options.out:
            write_synced(options.out, frame.to_csv(index=False).encode())
        sys.stdout.write(summary(frame))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
