"""Runs as far as they have come, with made-up sums."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from common.arrays import Integers
from common.planning.phases import PublicRun, vector_phase
from common.planning.plan import Plan
from common.study.study import Study

NOTHING = np.empty(0, dtype=np.int64)


def made_up_run(study: Study, plan: Plan, columns: Mapping[str, Integers] = MappingProxyType({})) -> PublicRun:
    """A run in which every vector was released; each one's sums are 0, 1, 2, ...

    Args:
        columns: those of the tables that were chosen, by phase.
    """
    public = PublicRun(study, plan)
    for planned in plan.vectors:
        chosen = columns.get(planned.name, NOTHING)
        length = vector_phase(planned.name).shape(public, chosen).length
        public = public.after(planned.name, np.arange(length, dtype=np.int64), chosen)
    return public
