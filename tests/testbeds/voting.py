"""A clinic whose patients vote, and rows that stand in for those of a fitted model."""

from __future__ import annotations

import numpy as np

from common.columns.base import Codes
from common.marginals.released import Asked
from common.planning.phases import COARSE_TRIPLES, PAIRS, VOTES, PublicRun
from common.planning.planner import make_plan
from common.study.sections import HospitalFacts
from common.study.study import Study
from tests.testbeds.clinic import clinic_study
from tests.testbeds.marginals import random_codes
from tests.testbeds.released import made_up_run

CANDIDATES = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [3, 0, 0, 0], [2, 1, 0, 1], [3, 2, 1, 1]], dtype=np.int64)
"""Groups of age, lab, sex and outcome. A patient may be as near to one of the first three as to another."""

FACTS = (HospitalFacts(name="north", declared_rows=100), HospitalFacts(name="south", declared_rows=80))

VOTING: dict[str, object] = {"kind": "maximum-entropy", "votes": True, "pairs": 2, "triples": 2, "fit_steps": 10}

ASKED = {
    PAIRS: Asked(np.array([0, 3, 1, 3]), np.array([72, 74])),
    VOTES: Asked(candidates=CANDIDATES.ravel()),
    COARSE_TRIPLES: Asked(np.array([0, 1, 3, -1, 0, 1, 2, 3]), np.array([66, 60])),
}
"""What a coordinator asks a run of `voting_study` for: two pairs, votes, a triple and all four columns."""


def voting_study(**sections: dict[str, object]) -> Study:
    """Return the study of a clinic whose patients vote for rows of a maximum-entropy model."""
    synthesizer = VOTING | sections.pop("synthesizer", {})
    return clinic_study(synthesizer=synthesizer, training={"rounds": 0}, **sections).with_hospitals(FACTS)


def voting_run() -> PublicRun:
    """Return a run of it that has released everything."""
    study = voting_study()
    return made_up_run(study, make_plan(study), ASKED)


def draw_uniform(public: PublicRun, rows: int) -> Codes:
    """Return independent uniform codes: the rows of a model that has learned nothing."""
    return random_codes(rows, public.domain)


def never_drawn(public: PublicRun, rows: int) -> Codes:
    raise AssertionError("rows were drawn")
