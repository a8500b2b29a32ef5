"""Measure why synthetic diabetics differ from real ones: noise, or what the model of visits keeps of the past.

    python -m simulations.experiments.follow_up_trial [--arms model,without-noise,patients] [--seeds 20]

One clinic has all 400 invented patients and ten of their columns. 1,600 synthetic patients are compared with 800
others, invented with other seeds, so that chance in the held-out patients matters little. The arm `patients` has 400
further invented patients in place of the synthetic ones: what a perfect model would reach.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from common.evaluation.visits.analysis import VisitAnalysis
from common.evaluation.visits.from_study import layout_of, with_patient_and_time
from common.evaluation.visits.measures import VISIT_MEASURES
from common.planning.planner import make_plan
from common.seeds import seed_for
from common.study.schema import VISIT
from common.study.study import Study
from common.synthesizers.registry import make_synthesizer
from common.tables.conforming import conform
from common.tables.visits import visit_rows
from simulations.experiments.one_hospital import alone, count_marginals
from simulations.follow_up.table import follow_up_clinics, follow_up_study

COLUMNS = (
    "visit_date", "age_years", "weight_kg", "hba1c_percent", "fasting_glucose_mg_dL", "medications",
    "adherence_score_0_100", "exercise_sessions_per_week", "hypoglycemia", "uti",
)  # fmt: skip
"""Columns that are synthesized, the target among them."""

MEASURES = ("transition_error", "persistence", "first_last", "next_visit_auroc")
SYNTHETIC_PATIENTS, TEST_DRAWS = 1600, 2
"""Synthetic patients, and how often 400 patients are invented to test with."""

ARMS = {"model": "local", "without-noise": "none", "patients": None}
"""The noise of each arm; None for invented patients in the place of synthetic ones."""


@dataclass(frozen=True, slots=True, eq=False)
class InventedVisits:
    """The study of one clinic, and the visits of its patients and of others."""

    study: Study
    train: pd.DataFrame
    test: pd.DataFrame
    others: pd.DataFrame

    @classmethod
    def of(cls, seed: int) -> InventedVisits:
        """Return patients who are the same for the same seed."""
        whole = follow_up_study()
        kept = [column for column in whole.declared.columns if column.name in COLUMNS]
        columns = [column.model_dump(mode="json", by_alias=True, exclude_none=True) for column in kept]
        study = whole.amended(
            schema={"columns": columns},
            synthesizer={"chains": 512, "fit_steps": 40},
            evaluation={"holdout_fraction": 0.0},
            privacy={"noise": "local"},
        )
        drawn = [_visits(study, seed + 1000 * number) for number in range(TEST_DRAWS + 2)]
        test = pd.concat(drawn[1 : TEST_DRAWS + 1], ignore_index=True)
        return cls(alone(study, int((drawn[0][VISIT] == "1").sum())), drawn[0], test, drawn[-1])

    def synthesized(self, noise: str, seed: int) -> pd.DataFrame:
        """Return the visits of a model that was fitted to counts with this noise."""
        study = self.study.amended(privacy={"noise": noise})
        encoder, measurements = count_marginals(self.train, study, make_plan(study), seed)
        synthesizer = make_synthesizer(study.synthesizer, encoder)
        weights = synthesizer.fit({}, measurements, seed_for(seed, "fit"), rounds=0)
        codes = synthesizer.sample(weights, SYNTHETIC_PATIENTS, seed_for(seed, "sample"), {})
        return encoder.decode(codes, np.random.default_rng(seed))

    def score(self, drawn: pd.DataFrame) -> dict[str, float]:
        """Return the measures that are defined."""
        tables = [with_patient_and_time(frame, self.study) for frame in (self.train, self.test, drawn)]
        analysis = VisitAnalysis.of(tables[0], tables[1], tables[2], layout_of(self.study))
        estimates = {key: VISIT_MEASURES[key].compute(analysis) for key in MEASURES}
        return {key: estimate.value for key, estimate in estimates.items() if estimate is not None}


def _visits(study: Study, seed: int) -> pd.DataFrame:
    raw = pd.concat(follow_up_clinics(seed).values(), ignore_index=True)
    return conform(visit_rows(raw, study.declared), study.table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every arm at every seed; print each result as it comes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--seeds", default="20")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for seed in map(int, options.seeds.split(",")):
        invented = InventedVisits.of(seed)
        for arm in options.arms.split(","):
            noise = ARMS[arm]
            values = invented.score(invented.others if noise is None else invented.synthesized(noise, seed))
            texts = " ".join(f"{key}={value:.3f}" for key, value in values.items())
            sys.stdout.write(f"follow-up seed={seed} {arm}: {texts}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
