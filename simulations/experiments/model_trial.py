"""Measure whether a discriminator that tilts the maximum-entropy model adds to it, against a placebo and more counts.

    python -m simulations.experiments.model_trial --table parity-4 [--arms model,tilt,...] [--epsilon 10] [--seeds 0]

Tables are `parity-3` and `parity-4` of `simulations.experiments.parity_table`, or clinical tables of the benchmark, in
the folder FEDSYNTH_DATA. One hospital has all training rows. The discriminator has the setting of
`simulations.experiments.adversary_trial`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import train_test_split

from common.arrays import Weights
from common.columns.base import Codes
from common.encoding import Encoder
from common.evaluation.measures.registry import core_values
from common.evaluation.statistics.data import EvaluationData
from common.marginals.queries import Domain
from common.planning.plan import HospitalPlan, Plan
from common.planning.planner import make_plan
from common.privacy.discriminator import Discriminator
from common.privacy.mechanisms import SeededNoise
from common.seeds import seed_for
from common.study.study import Study
from common.study.synthesizers import MaximumEntropySettings
from common.synthesizers.base import mean_of
from common.synthesizers.gan.weights import dump, restore
from common.synthesizers.maximum_entropy.files import model_of
from common.synthesizers.maximum_entropy.synthesizer import MaximumEntropy
from common.tables.conforming import conform
from common.tables.raw import as_text
from simulations.benchmark.questions import TEST_FRACTION
from simulations.benchmark.synthesis import ADVERSARY
from simulations.benchmark.tables import ClinicalTable
from simulations.experiments.one_hospital import AdversaryArm, alone, count_marginals
from simulations.experiments.parity_table import ROWS, distances, draw_patients, parity_study
from simulations.experiments.tilted_model import ShownRows, tilted_rows, train_discriminator

Score = Callable[[Codes, Encoder], dict[str, float | None]]
"""Measures drawn rows."""

FIT_STEPS = 200
"""Steps of the model's fit, as it is by default; the longer fit also has the 300 of the discriminator."""

SHOWN = 4
"""Rows of the model that its discriminator is shown, as a multiple of the training rows."""


@dataclass(frozen=True, slots=True)
class ModelArm(AdversaryArm):
    """One way to go on from the model.

    Attributes:
        fit_steps: steps of the model's fit.
    """

    fit_steps: int = FIT_STEPS


ARMS: dict[str, ModelArm] = {
    "model": ModelArm(trains=False, plans_rounds=False),
    "longer-fit": ModelArm(trains=False, plans_rounds=False, fit_steps=FIT_STEPS + 300),
    "unspent": ModelArm(trains=False),
    "tilt": ModelArm(has_noise=False),
    "tilt-placebo": ModelArm(sees_patients=False, has_noise=False),
    "dp-tilt": ModelArm(),
    "dp-tilt-placebo": ModelArm(sees_patients=False),
}


@dataclass(frozen=True, slots=True, eq=False)
class TrialTable:
    """Training rows, conformed, the study of a hospital that has them all, and how rows like them are measured.

    Each arm sets the epsilon of the study.
    """

    train: pd.DataFrame
    study: Study
    score: Score

    @classmethod
    def parity(cls, order: int, seed: int, rows: int) -> TrialTable:
        """Return a table with a parity of three or four columns, of which all rows are for training."""
        frame = draw_patients(rows, seed, order)

        def score(drawn: Codes, encoder: Encoder) -> dict[str, float | None]:
            return dict(distances(encoder.encode(frame), drawn, Domain.of(encoder), order))

        return cls(frame, parity_study(1.0, rows), score)

    @classmethod
    def clinical(cls, name: str, folder: Path, seed: int, rows: int) -> TrialTable:
        """Return a clinical table of at most that many rows, four fifths of them for training."""
        loaded = ClinicalTable(name, folder).load()
        if len(loaded.frame) > rows:
            loaded = replace(loaded, frame=loaded.frame.sample(rows, random_state=0).reset_index(drop=True))
        study = loaded.study.amended(evaluation={"holdout_fraction": 0.0})
        parts = train_test_split(loaded.frame, test_size=TEST_FRACTION, random_state=seed, stratify=loaded.strata)
        train, test = (conform(as_text(part[list(study.table.read_names)]), study.table) for part in parts)

        def score(drawn: Codes, encoder: Encoder) -> dict[str, float | None]:
            table = encoder.decode(drawn, np.random.default_rng(seed))
            return core_values(EvaluationData(train, test, table, study.table, loaded.target))

        return cls(train, alone(study, len(train)), score)

    @classmethod
    def named(cls, name: str, seed: int, rows: int) -> TrialTable:
        """Return the table of that name."""
        if name.startswith("parity-"):
            return cls.parity(int(name.removeprefix("parity-")), seed, rows)
        return cls.clinical(name, Path(os.environ["FEDSYNTH_DATA"]), seed, rows)


def make_study(table: TrialTable, arm: ModelArm, epsilon: float) -> Study:
    """Return the study of an arm; it names the GAN, whose plan counts the same tables and can have rounds."""
    sections = ADVERSARY if arm.plans_rounds else ADVERSARY | {"training": {"rounds": 0}}
    return table.study.amended(**sections | {"privacy": {"epsilon": epsilon}})


@dataclass(frozen=True, slots=True, eq=False)
class FittedModel:
    """A model fitted to a hospital's noisy counts, and the plan that they followed."""

    plan: Plan
    encoder: Encoder
    model: MaximumEntropy
    weights: Weights

    @classmethod
    def of(cls, table: TrialTable, arm: ModelArm, epsilon: float, seed: int) -> FittedModel:
        """Count and fit as the arm says."""
        study = make_study(table, arm, epsilon)
        plan = make_plan(study)
        encoder, measurements = count_marginals(table.train, study, plan, seed)
        model = MaximumEntropy(MaximumEntropySettings(fit_steps=arm.fit_steps), Domain.of(encoder))
        return cls(plan, encoder, model, model.fit({}, measurements, seed_for(seed, "fit"), rounds=0))


def run_arm(table: TrialTable, arm: ModelArm, fitted: FittedModel, seed: int) -> dict[str, float | None]:
    """Tilt the model where the arm says so, and measure as many rows as there are for training."""
    model, weights, encoder, rows = fitted.model, fitted.weights, fitted.encoder, len(table.train)
    if not arm.trains:
        return table.score(model.sample(weights, rows, seed_for(seed, "sample"), {}), encoder)
    fake = model.sample(weights, SHOWN * rows, seed_for(seed, "fake"), {})
    if arm.sees_patients:
        real = encoder.encode(table.train)
    else:
        real = model.sample(weights, rows, seed_for(seed, "placebo"), {})
    hospital = arm.training(fitted.plan.hospitals[0])
    net = _discriminator(ShownRows(real, fake, encoder.sizes), hospital, fitted.plan.rounds, seed)
    fit = model_of(weights, Domain.of(encoder))
    return table.score(tilted_rows(fit, net, rows, seed_for(seed, "sample")), encoder)


def _discriminator(shown: ShownRows, plan: HospitalPlan, rounds: int, seed: int) -> Discriminator:
    """Return the mean discriminator of the later half of the rounds."""
    hidden = ADVERSARY["synthesizer"]["hidden"]
    assert isinstance(hidden, int)
    net = Discriminator(sum(shown.sizes), hidden, torch.Generator().manual_seed(seed))
    noise, late = SeededNoise(seed_for(seed, "steps")), []
    for number in range(1, rounds + 1):
        train_discriminator(net, shown, plan, noise.named(number))
        if number > rounds // 2:
            late.append(dump(net, ""))
    restore(net, "", mean_of(late))
    return net


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every arm at every seed; print each result as it comes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", default="parity-4")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--epsilon", type=float, default=10.0)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--rows", type=int, default=ROWS, help="largest number of rows")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for seed in map(int, options.seeds.split(",")):
        table = TrialTable.named(options.table, seed, options.rows)
        models: dict[tuple[bool, int], FittedModel] = {}
        for name in options.arms.split(","):
            arm = ARMS[name]
            key = arm.plans_rounds, arm.fit_steps
            models[key] = models.get(key) or FittedModel.of(table, arm, options.epsilon, seed)
            found = run_arm(table, arm, models[key], seed)
            cells = " ".join(f"{key}={value:.4f}" for key, value in found.items() if value is not None)
            sys.stdout.write(f"{options.table} epsilon={options.epsilon:g} seed={seed} {name}: {cells}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
