"""A small invented clinic for tests: three hospitals, four columns, a study that trains in a second."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from common.arrays import Weights
from common.marginals.released import NOTHING_ASKED
from common.model import Model
from common.planning.phases import PublicRun, vector_phase
from common.planning.planner import make_plan
from common.study.sections import HospitalFacts
from common.study.study import Study, parse_study
from common.synthesizers.registry import make_adversarial

STUDY = """
[study]
name = "clinic"
seed = 11
[[schema.columns]]
name = "age"
kind = "numeric"
lower = 18
upper = 100
[[schema.columns]]
name = "lab"
kind = "numeric"
lower = 0
upper = 20
decimals = 1
missing = true
[[schema.columns]]
name = "sex"
kind = "categorical"
categories = ["female", "male"]
[[schema.columns]]
name = "outcome"
kind = "categorical"
categories = ["no", "yes"]
[synthesizer]
kind = "marginal-gan"
prototypes = 40
bins = 6
hidden = 16
fit_steps = 60
[training]
rounds = 2
steps = 3
batch = 32
[privacy]
unit = "patient"
epsilon = 3.0
delta = 1e-4
[federation]
min_hospitals = 2
round_deadline_s = 60
[evaluation]
target = "outcome"
sensitive = ["sex"]
"""

HOSPITALS = ("north", "south", "west")


def clinic_study(**sections: dict[str, object]) -> Study:
    return parse_study(STUDY).amended(**sections)


def declaring(study: Study, rows: int, names: Sequence[str]) -> Study:
    """Return the study for hospitals with so many declared rows, rounded or not: for bounds between rounded numbers."""
    facts = tuple(HospitalFacts.model_construct(name=name, declared_rows=rows) for name in names)
    return study.model_copy(update={"hospitals": facts})


def clinic_table(rows: int, seed: int) -> pd.DataFrame:
    """A raw table: the outcome follows age and lab."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 101, rows)
    lab = np.round(rng.gamma(2.0, 2.0, rows).clip(0, 20), 1)
    sick = rng.random(rows) < 1 / (1 + np.exp(-(age - 60) / 10 - (lab - 4) / 2))
    return pd.DataFrame(
        {
            "age": age.astype(str),
            "lab": np.where(rng.random(rows) < 0.1, "", lab.astype(str)),
            "sex": np.where(rng.random(rows) < 0.5, "female", "male"),
            "outcome": np.where(sick, "yes", "no"),
        }
    )


def clinic_tables(rows: int = 90) -> dict[str, pd.DataFrame]:
    return {name: clinic_table(rows, seed) for seed, name in enumerate(HOSPITALS)}


def clinic_model(**synthesizer: object) -> Model:
    """A model that nobody trained: of its two prototypes, one is a woman who falls ill, the other a man who does not.

    Each is so with probability 0.9 column by column, and all else is even.
    """
    settings: dict[str, object] = {"prototypes": 2, **synthesizer}
    facts = tuple(HospitalFacts(name=name, declared_rows=90) for name in HOSPITALS)
    study = clinic_study(synthesizer=settings, privacy={"noise": "none"}, training={"rounds": 0}).with_hospitals(facts)
    plan = make_plan(study)
    public = PublicRun(study, plan)
    for planned in plan.vectors:
        length = vector_phase(planned.name).shape(public, NOTHING_ASKED).length
        public = public.after(planned.name, np.ones(length, dtype=np.int64))
    weights: Weights = make_adversarial(study.synthesizer, public.encoder).initial_weights(0)
    if "gen.table" in weights:
        logits = np.zeros_like(weights["gen.table"])
        # The last four codes: female, male, no, yes.
        logits[:, -4:] = np.log([[0.9, 0.1, 0.1, 0.9], [0.1, 0.9, 0.9, 0.1]])
        weights = {**weights, "gen.table": logits}
    return Model(study, plan, public.released, weights)
