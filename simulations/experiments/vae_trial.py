"""Measure what encoder rounds of the VAE find where no table of two columns shows dependence, and what they cost.

    python -m simulations.experiments.vae_trial [--order 4] [--epsilons 1,3] [--seeds 0,1,2] [--rows 20000]

The table is that of `simulations.experiments.parity_table`, and one hospital declares all its rows. Every epsilon and
seed runs with rounds and without; what rounds do not spend goes to the tables. `c2st` is the AUROC of a classifier that
tells drawn rows from real ones.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from common.evaluation.fidelity.two_sample_test import c2st
from common.planning.class_rounds import CLASS_ROUNDS
from common.planning.phases import measurements_of
from common.planning.planner import make_plan
from common.privacy import accountant
from common.seeds import seed_for
from common.study.study import Study
from common.synthesizers.model_rows import ModelRows
from common.synthesizers.registry import make_synthesizer
from simulations.experiments.one_hospital import FrameRecords, count_vectors
from simulations.experiments.parity_table import PARITIES, ROWS, distances, draw_patients, means_by, parity_study


def run_once(study: Study, rows: int, seed: int, order: int) -> dict[str, float]:
    """Count, encode, fit and draw one table; return its distances from the real one, C2ST, epsilon and CPU seconds.

    Args:
        study: one hospital's study.
        rows: patients.
        seed: seed of table, noise, first decoder and fit.
        order: number of columns in the parity.
    """
    started, study = time.process_time(), study.amended(study={"seed": seed})
    frame, plan = draw_patients(rows, seed, order), make_plan(study)
    public = count_vectors(FrameRecords(frame, study.table), study, plan, seed, ModelRows())
    measurements = measurements_of(public)
    assert measurements is not None, "the plan counts tables"
    synthesizer = make_synthesizer(study.synthesizer, public.encoder)
    weights = synthesizer.fit({}, measurements, seed_for(seed, "fit"), rounds=0)
    drawn = synthesizer.sample(weights, rows, seed_for(seed, "sample"), {})
    told_apart = c2st(frame, public.encoder.decode(drawn, np.random.default_rng(seed_for(seed, "values"))))
    return distances(public.encoder.encode(frame), drawn, public.domain, order) | {
        "c2st": told_apart.value if told_apart else math.nan,
        "spent": accountant.epsilon(plan.events(plan.hospitals[0]), plan.delta),
        "seconds": time.process_time() - started,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every epsilon and seed with rounds and without; print each result as it comes, then the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--order", type=int, choices=sorted(PARITIES), default=4, help="columns in the parity")
    parser.add_argument("--epsilons", default="1,3")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--rounds", default=f"{CLASS_ROUNDS},0")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--fit-steps", type=int, help="optimizer steps of the fit; if not given, the usual ones")
    options = parser.parse_args(arguments)
    settings = {"kind": "marginal-vae", "fit_steps": options.fit_steps}
    cells: list[dict[str, Any]] = []
    for epsilon in map(float, options.epsilons.split(",")):
        for rounds in map(int, options.rounds.split(",")):
            study = parity_study(epsilon, options.rows).amended(synthesizer=settings, training={"rounds": rounds})
            for seed in map(int, options.seeds.split(",")):
                measured = run_once(study, options.rows, seed, options.order)
                cells.append({"epsilon": epsilon, "rounds": rounds, "seed": seed} | measured)
                sys.stderr.write(" ".join(f"{key}={value:.4g}" for key, value in cells[-1].items()) + "\n")
    sys.stdout.write(means_by(cells, "rounds", ["parity", "tvd1", "tvd2", "c2st", "spent", "seconds"]))


if __name__ == "__main__":
    main()
