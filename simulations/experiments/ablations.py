"""Measure what each part of the maximum-entropy model is worth: the model with all parts, and with one left out.

    python -m simulations.experiments.ablations [--table flchain] [--epsilon 3] [--seeds 100,101,102] [--arms full,...]

One hospital has all training rows of a clinical table, in the folder FEDSYNTH_DATA. Budget that a part does not spend
goes to the other counts. All but `no-votes` and what depends on it takes votes, also where the planner would not: on
flchain at epsilon 3 `no-votes` is what the planner chooses. Every result is printed as it comes, and then the means.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from common.marginals.evidence import Evidence
from common.planning.phases import measurements_of
from common.planning.planner import make_plan
from common.seeds import seed_for
from common.synthesizers.maximum_entropy.files import weights_of
from common.synthesizers.maximum_entropy.fit import fit_model
from common.synthesizers.maximum_entropy.synthesizer import MOST_CHAINS
from common.synthesizers.model_rows import ModelRows
from common.synthesizers.registry import make_synthesizer
from common.synthesizers.schedule import initial_weights
from simulations.experiments.model_trial import FIT_STEPS, TrialTable
from simulations.experiments.one_hospital import FrameRecords, count_vectors

WIDE = 1.0
"""Prior variance, relative to what independent columns explain, that shrinks no potential to speak of."""


@dataclass(frozen=True, slots=True)
class Ablation:
    """A model with one part left out.

    Attributes:
        settings: sections of the study.
        has_priors: whether potentials have the priors that the noisy tables show; if not, all have the same wide one.
    """

    settings: dict[str, dict[str, Any]]
    has_priors: bool = True


ABLATIONS: dict[str, Ablation] = {
    "full": Ablation({"synthesizer": {"votes": True}}),
    "no-priors": Ablation({"synthesizer": {"votes": True}}, has_priors=False),
    "no-triples": Ablation({"synthesizer": {"triples": 0, "votes": False}}),
    "no-votes": Ablation({"synthesizer": {"votes": False}}),
    "no-finer-pairs": Ablation({"synthesizer": {"votes": True, "pairs": 0}}),
    "mixture": Ablation({"synthesizer": {"kind": "marginal-gan"}, "training": {"rounds": 0}}),
}


def without_priors(evidence: Evidence) -> Evidence:
    """Return what the tables say, with the same wide prior for every pair and every counted set."""
    pairs = tuple(replace(level, prior=np.where(np.eye(len(level.prior)), 0.0, WIDE)) for level in evidence.pairs)
    return replace(evidence, pairs=pairs, sets=tuple(replace(table, prior=WIDE) for table in evidence.sets))


def run(table: TrialTable, arm: Ablation, epsilon: float, seed: int) -> dict[str, float | None]:
    """Count, fit, draw as many rows as there are for training, and return their measures and processor seconds.

    Args:
        table: the patients.
        arm: what is left out.
        epsilon: of the run.
        seed: seed of noise, fit and rows.
    """
    started = time.process_time()
    study = table.study.amended(**arm.settings | {"privacy": {"epsilon": epsilon}, "study": {"seed": seed}})
    records = FrameRecords(table.train, study.table)
    public = count_vectors(records, study, make_plan(study), seed, ModelRows())
    measurements = measurements_of(public)
    assert measurements is not None, "the plan counts tables"
    model = make_synthesizer(study.synthesizer, public.encoder)
    if arm.has_priors:
        initial = initial_weights(model, seed_for(seed, "initial"))
        weights = model.fit(initial, measurements, seed_for(seed, "fit"), rounds=0)
    else:
        evidence = without_priors(Evidence.of(measurements))
        weights = weights_of(fit_model(evidence, chains=MOST_CHAINS, steps=FIT_STEPS, seed=seed_for(seed, "fit")))
    drawn = model.sample(weights, len(table.train), seed_for(seed, "sample"), {})
    seconds = time.process_time() - started
    return table.score(drawn, public.encoder) | {"seconds": seconds}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every arm at every seed; print each result as it comes, then the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", default="flchain")
    parser.add_argument("--arms", default=",".join(ABLATIONS))
    parser.add_argument("--epsilon", type=float, default=3.0)
    parser.add_argument("--seeds", default="100,101,102")
    parser.add_argument("--rows", type=int, default=1_000_000, help="largest number of rows")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    cells: list[dict[str, Any]] = []
    for seed in map(int, options.seeds.split(",")):
        table = TrialTable.clinical(options.table, Path(os.environ["FEDSYNTH_DATA"]), seed, options.rows)
        for name in options.arms.split(","):
            cells.append({"arm": name, "seed": seed} | run(table, ABLATIONS[name], options.epsilon, seed))
            numbers = " ".join(f"{key}={value:.4g}" for key, value in cells[-1].items() if isinstance(value, float))
            sys.stderr.write(f"seed {seed} {name}: {numbers}\n")
    means = pd.DataFrame(cells).drop(columns="seed").groupby("arm", sort=False).mean()
    sys.stdout.write(means.round(4).to_string() + "\n")


if __name__ == "__main__":
    main()
