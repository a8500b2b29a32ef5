"""Measure whether a discriminator of whole histories adds to the model of visits, against a placebo and more counts.

    python -m simulations.experiments.visits_trial [--table diabetes130] [--arms model,...] [--epsilon 10] [--seeds 100]

Tables are the clinical tables of visits of the benchmark, in the folder FEDSYNTH_DATA. One hospital has all training
patients. `model` spends the whole budget on counts; `unspent` is the model that the others tilt; a placebo's
discriminator sees further histories of the model in the place of patients.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from common.arrays import Weights
from common.encoding import Encoder
from common.evaluation.visits.analysis import VisitAnalysis
from common.evaluation.visits.from_study import layout_of, with_patient_and_time
from common.evaluation.visits.measures import visit_values
from common.marginals.measurements import Measurements
from common.planning.plan import Plan
from common.planning.planner import make_plan
from common.privacy.mechanisms import SeededNoise
from common.seeds import seed_for
from common.study.schema import VISIT
from common.study.study import Study
from common.synthesizers.base import AdversarialSynthesizer, TrainingRows, discriminator_of, mean_of
from common.synthesizers.registry import make_adversarial
from common.tables.conforming import conform
from common.tables.visits import visit_rows
from simulations.benchmark.questions import TEST_FRACTION
from simulations.benchmark.visits.tables import ClinicalVisits
from simulations.experiments.one_hospital import AdversaryArm, alone, count_marginals

ARMS: dict[str, AdversaryArm] = {
    "model": AdversaryArm(trains=False, plans_rounds=False),
    "unspent": AdversaryArm(trains=False),
    "tilt": AdversaryArm(has_noise=False),
    "placebo": AdversaryArm(sees_patients=False, has_noise=False),
    "dp-tilt": AdversaryArm(),
    "dp-placebo": AdversaryArm(sees_patients=False),
}


@dataclass(frozen=True, slots=True, eq=False)
class TrialVisits:
    """Conformed visits of training and held-out patients, and the study of a hospital that has the training ones."""

    train: pd.DataFrame
    test: pd.DataFrame
    study: Study

    @classmethod
    def clinical(cls, name: str, folder: Path, seed: int, patients: int) -> TrialVisits:
        """Return a clinical table of at most that many patients, four fifths of them for training."""
        loaded = ClinicalVisits(name, folder).load()
        study = loaded.study.amended(evaluation={"holdout_fraction": 0.0})
        frame = conform(visit_rows(loaded.frame, study.declared), study.table)
        owners = (frame[VISIT] == "1").cumsum().to_numpy() - 1
        drawn = np.random.default_rng(seed).permutation(owners[-1] + 1)[:patients]
        held_out = round(TEST_FRACTION * len(drawn))
        test, train = (frame[np.isin(owners, part)] for part in (drawn[:held_out], drawn[held_out:]))
        return cls(train.reset_index(drop=True), test.reset_index(drop=True), alone(study, len(drawn) - held_out))

    def score(self, drawn: pd.DataFrame) -> dict[str, float | None]:
        """Return the measures of visits of a synthetic table."""
        train, test, synthetic = (with_patient_and_time(frame, self.study) for frame in (self.train, self.test, drawn))
        return visit_values(VisitAnalysis.of(train, test, synthetic, layout_of(self.study)))


@dataclass(frozen=True, slots=True, eq=False)
class FittedHistories:
    """A model fitted to a hospital's noisy counts, and the plan that they followed."""

    plan: Plan
    encoder: Encoder
    measurements: Measurements
    synthesizer: AdversarialSynthesizer
    weights: Weights

    @classmethod
    def of(cls, table: TrialVisits, arm: AdversaryArm, settings: argparse.Namespace, seed: int) -> FittedHistories:
        """Count and fit as the arm says."""
        rounds = settings.rounds if arm.plans_rounds else 0
        study = table.study.amended(
            synthesizer={"kind": "history-gan", "hidden": settings.hidden},
            training={"rounds": rounds, "steps": settings.steps, "batch": settings.batch},
            privacy={"epsilon": settings.epsilon},
            budget={"adversary": settings.adversary_weight},
        )
        plan = make_plan(study)
        encoder, measurements = count_marginals(table.train, study, plan, seed)
        synthesizer = make_adversarial(study.synthesizer, encoder)
        initial = synthesizer.initial_weights(seed_for(seed, "initial"))
        weights = synthesizer.fit(initial, measurements, seed_for(seed, "fit"), rounds=plan.rounds)
        return cls(plan, encoder, measurements, synthesizer, weights)


def run_arm(table: TrialVisits, arm: AdversaryArm, fitted: FittedHistories, seed: int) -> dict[str, float | None]:
    """Tilt the model where the arm says so, and measure as many histories as there are training patients."""
    synthesizer, weights, started = fitted.synthesizer, fitted.weights, time.process_time()
    patients, codes = int((table.train[VISIT] == "1").sum()), fitted.encoder.encode(table.train)
    hospital, noise = arm.training(fitted.plan.hospitals[0]), SeededNoise(seed_for(seed, "steps"))
    late = []
    for number in range(1, fitted.plan.rounds + 1) if arm.trains else ():
        shown = codes
        if not arm.sees_patients:
            shown = synthesizer.sample(fitted.weights, patients, seed_for(seed, "placebo", number), {})
        train_seed = seed_for(seed, "train", number)
        rows = TrainingRows(shown, hospital, noise.named(number))
        weights = synthesizer.train(weights, rows, None, train_seed)
        if number > fitted.plan.rounds // 2:
            late.append(discriminator_of(weights))
    if late:
        weights = synthesizer.refine(weights, mean_of(late), fitted.measurements, seed_for(seed, "refine"))
    drawn = synthesizer.sample(weights, patients, seed_for(seed, "sample"), {})
    seconds = time.process_time() - started
    values = table.score(fitted.encoder.decode(drawn, np.random.default_rng(seed)))
    return values | {"multiplier": hospital.noise_multiplier, "cpu_seconds": seconds}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every arm at every seed; print each result as it comes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", default="diabetes130")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--epsilon", type=float, default=10.0)
    parser.add_argument("--seeds", default="100")
    parser.add_argument("--patients", type=int, default=20_000, help="largest number of patients")
    for name, default in (("rounds", 15), ("steps", 20), ("batch", 2000), ("hidden", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--adversary-weight", type=float, help="budget weight of the rounds")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for seed in map(int, options.seeds.split(",")):
        table = TrialVisits.clinical(options.table, Path(os.environ["FEDSYNTH_DATA"]), seed, options.patients)
        models: dict[bool, FittedHistories] = {}
        for name in options.arms.split(","):
            arm = ARMS[name]
            key = arm.plans_rounds
            models[key] = models.get(key) or FittedHistories.of(table, arm, options, seed)
            values = run_arm(table, arm, models[key], seed)
            texts = " ".join(f"{measure}={value:.4f}" for measure, value in values.items() if value is not None)
            sys.stdout.write(f"{options.table} epsilon={options.epsilon:g} seed={seed} {name}: {texts}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
