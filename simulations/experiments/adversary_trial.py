"""Measure whether adversarial rounds earn their budget, against a placebo, where no pair of columns shows dependence.

    python -m simulations.experiments.adversary_trial [--arms placebo,adversary,...] [--epsilons 1,3,10] [--seeds 0,1,2]

The table is that of `simulations.experiments.parity_table`, and one hospital declares all its rows. The parity's
distance is 0.45 for independent columns. Every arm of one epsilon takes the same number of the generator's optimizer
steps; "spent" is the epsilon of its releases.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from common.arrays import Weights
from common.marginals.queries import Domain
from common.planning.plan import HospitalPlan, Plan
from common.planning.planner import make_plan
from common.privacy import accountant
from common.privacy.mechanisms import SeededNoise
from common.seeds import seed_for
from common.study.study import Study
from common.synthesizers.base import TrainingRows
from common.synthesizers.gan.synthesizer import REFINE_STEPS
from common.synthesizers.registry import make_adversarial
from common.synthesizers.schedule import TrainingSchedule
from simulations.experiments.one_hospital import AdversaryArm, count_marginals
from simulations.experiments.parity_table import PARITIES, ROWS, distances, draw_patients, parity_study


@dataclass(frozen=True, slots=True)
class TrialArm(AdversaryArm):
    """One way to train.

    Attributes:
        triples: number of tables of the target and two other columns.
    """

    triples: int = 0


ARMS: dict[str, TrialArm] = {
    "marginals": TrialArm(trains=False),
    "placebo": TrialArm(sees_patients=False, has_noise=False),
    "adversary": TrialArm(has_noise=False),
    "dp-placebo": TrialArm(sees_patients=False),
    "dp-adversary": TrialArm(),
    "more-measurements": TrialArm(plans_rounds=False, trains=False),
    "all-triples": TrialArm(plans_rounds=False, trains=False, triples=15),
}


@dataclass(frozen=True, slots=True)
class TrialSettings:
    """What the trial can vary; the defaults are the setting in which the adversary has an effect.

    Args:
        rounds: rounds of the arms that train.
        steps: DP-SGD steps of a round.
        batch: expected patients of a step.
        hidden: units in each hidden layer of the discriminator.
        marginal_weight: weight of the marginal loss beside the discriminator.
        fit_steps: optimizer steps of the fit; arms without rounds add the generator's steps in rounds and refinement.
        adversary_weight: budget weight of the rounds; None leaves it to the planner.
        rows: patients.
        order: number of columns in the parity, 3 or 4.
    """

    rounds: int = 15
    steps: int = 20
    batch: int = 2000
    hidden: int = 64
    marginal_weight: float = 20.0
    fit_steps: int = 600
    adversary_weight: float | None = None
    rows: int = ROWS
    order: int = 3


def make_study(arm: TrialArm, epsilon: float, settings: TrialSettings) -> Study:
    """Return the study of an arm: one hospital with all rows.

    Arms without a discriminator take the generator's steps of rounds and refinement in the fit.
    """
    extra = 0 if arm.trains else settings.rounds * settings.steps + REFINE_STEPS
    return parity_study(epsilon, settings.rows).amended(
        synthesizer={
            "kind": "marginal-gan",
            "marginal_weight": settings.marginal_weight,
            "hidden": settings.hidden,
            "fit_steps": settings.fit_steps + extra,
            "triples": arm.triples,
        },
        training={
            "rounds": settings.rounds if arm.plans_rounds else 0,
            "steps": settings.steps,
            "batch": settings.batch,
        },
        budget={"adversary": settings.adversary_weight},
    )


def run_arm(arm: TrialArm, epsilon: float, settings: TrialSettings, seed: int) -> dict[str, float]:
    """Train one arm and measure it.

    Args:
        arm: how to train.
        epsilon: epsilon of the study.
        settings: settings of the trial.
        seed: seed of table, noise and training.

    Returns:
        Total variation distances (`distances`), the epsilon spent, and wall-clock seconds.
    """
    started = time.monotonic()
    study = make_study(arm, epsilon, settings)
    plan = make_plan(study)
    hospital = arm.training(plan.hospitals[0])
    frame = draw_patients(settings.rows, seed, settings.order)
    encoder, measurements = count_marginals(frame, study, plan, seed)
    codes = encoder.encode(frame)
    synthesizer = make_adversarial(study.synthesizer, encoder)
    shown, noise = codes if arm.sees_patients else codes[:0], SeededNoise(seed_for(seed, "steps"))

    def do_round(number: int, weights: Weights) -> Weights:
        train_seed = seed_for(seed, "train", number)
        return synthesizer.train(weights, TrainingRows(shown, hospital, noise.named(number)), measurements, train_seed)

    training = TrainingSchedule(synthesizer, measurements, settings.rounds if arm.trains else 0, seed)
    weights = training.run(synthesizer.initial_weights(seed_for(seed, "initial")), do_round)
    drawn = synthesizer.sample(weights, settings.rows, seed_for(seed, "sample"), {})
    return distances(codes, drawn, Domain.of(encoder), settings.order) | {
        "spent": spent(arm, plan, hospital),
        "seconds": time.monotonic() - started,
    }


def spent(arm: TrialArm, plan: Plan, hospital: HospitalPlan) -> float:
    """Return the epsilon of what the arm released; infinite where patients are seen without noise.

    Rounds of a placebo, which see no patient, are charged like any other.
    """
    is_open = arm.trains and not arm.has_noise and arm.sees_patients
    rounds = plan.rounds if arm.trains and arm.has_noise else 0
    return math.inf if is_open else accountant.epsilon(replace(plan, rounds=rounds).events(hospital), plan.delta)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every arm at every epsilon and seed; print each result as it comes, then the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--epsilons", default="1,3,10")
    parser.add_argument("--seeds", default="0,1,2")
    for name, default in (("rounds", 15), ("steps", 20), ("batch", 2000), ("hidden", 64), ("fit-steps", 600)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--order", type=int, choices=sorted(PARITIES), default=3, help="columns in the parity")
    parser.add_argument("--marginal-weight", type=float, default=20.0)
    parser.add_argument(
        "--adversary-weight", type=float, help="budget weight of the rounds, beside the planner's others"
    )
    options = parser.parse_args(arguments)
    names = ("rounds", "steps", "batch", "hidden", "fit_steps", "marginal_weight", "adversary_weight", "rows", "order")
    settings = TrialSettings(**{name: getattr(options, name) for name in names})
    cells: list[dict[str, Any]] = []
    for epsilon in map(float, options.epsilons.split(",")):
        for name in options.arms.split(","):
            for seed in map(int, options.seeds.split(",")):
                measured = run_arm(ARMS[name], epsilon, settings, seed)
                cells.append({"epsilon": epsilon, "arm": name, "seed": seed} | measured)
                sys.stderr.write(
                    " ".join(f"{key}={value:.4g}" if key != "arm" else name for key, value in cells[-1].items()) + "\n"
                )
    results = pd.DataFrame(cells)
    grouped = results.groupby(["epsilon", "arm"], sort=False)
    table = grouped[["parity", "tvd1", "tvd2", "spent", "seconds"]].mean()
    table.insert(1, "worst", grouped["parity"].max())
    sys.stdout.write(table.assign(seeds=grouped.size()).round(4).to_string() + "\n")


if __name__ == "__main__":
    main()
