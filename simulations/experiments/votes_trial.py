"""Measure what votes find where no table of two columns shows dependence, and what they cost the pairs.

    python -m simulations.experiments.votes_trial [--order 4] [--epsilons 1,3] [--seeds 0,1,2] [--rows 20000]

The table is that of `simulations.experiments.parity_table`, and one hospital declares all its rows. Every epsilon and
seed runs with votes and without; what votes do not spend goes to the tables. `z` is that of the parity's columns, and
`next` the largest of any other set of three or four columns.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from typing import Any

from common.marginals.vote_scores import score_sets
from common.planning.phases import measurements_of
from common.planning.planner import make_plan
from common.planning.votes import released_votes
from common.seeds import seed_for
from common.study.study import Study
from common.synthesizers.model_rows import ModelRows
from common.synthesizers.registry import make_synthesizer
from simulations.experiments.one_hospital import FrameRecords, count_vectors
from simulations.experiments.parity_table import PARITIES, ROWS, distances, draw_patients, means_by, parity_study


def run_once(study: Study, rows: int, seed: int, order: int) -> dict[str, float]:
    """Count, fit and draw one table; return its distances from the real one, z where there are votes, and seconds.

    Args:
        study: one hospital's study.
        rows: patients.
        seed: seed of table, noise and fit.
        order: number of columns in the parity.
    """
    started, study = time.monotonic(), study.amended(study={"seed": seed})
    frame, draw = draw_patients(rows, seed, order), ModelRows()
    public = count_vectors(FrameRecords(frame, study.table), study, make_plan(study), seed, draw)
    measurements = measurements_of(public)
    assert measurements is not None, "the plan counts tables"
    synthesizer = make_synthesizer(study.synthesizer, public.encoder)
    weights = synthesizer.fit({}, measurements, seed_for(seed, "fit"), rounds=0)
    drawn = synthesizer.sample(weights, rows, seed_for(seed, "sample"), {})
    found = distances(public.encoder.encode(frame), drawn, public.domain, order)
    votes = released_votes(public, draw)
    scores = {scored.columns: scored.z for scored in score_sets(votes)} if votes else {}
    true = scores.pop(PARITIES[order].columns, math.nan)
    return found | {"z": true, "next": max(scores.values(), default=math.nan), "seconds": time.monotonic() - started}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every epsilon and seed with votes and without; print each result as it comes, then the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--order", type=int, choices=sorted(PARITIES), default=4, help="columns in the parity")
    parser.add_argument("--epsilons", default="1,3")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--rows", type=int, default=ROWS)
    options = parser.parse_args(arguments)
    cells: list[dict[str, Any]] = []
    for epsilon in map(float, options.epsilons.split(",")):
        for votes in (True, False):
            study = parity_study(epsilon, options.rows).amended(synthesizer={"votes": votes})
            for seed in map(int, options.seeds.split(",")):
                measured = run_once(study, options.rows, seed, options.order)
                cells.append({"epsilon": epsilon, "votes": votes, "seed": seed} | measured)
                sys.stderr.write(" ".join(f"{key}={value:.4g}" for key, value in cells[-1].items()) + "\n")
    sys.stdout.write(means_by(cells, "votes", ["parity", "tvd1", "tvd2", "z", "next", "seconds"]))


if __name__ == "__main__":
    main()
