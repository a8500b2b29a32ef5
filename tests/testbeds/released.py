"""Runs as far as they have come, with made-up sums."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from common.marginals.released import NOTHING_ASKED, Asked
from common.planning.phases import PublicRun, vector_phase
from common.planning.plan import Plan
from common.study.study import Study


def made_up_run(study: Study, plan: Plan, asked: Mapping[str, Asked] = MappingProxyType({})) -> PublicRun:
    """A run in which every vector was released; each one's sums are 0, 1, 2, ...

    Args:
        asked: the tables that were chosen, by phase.
    """
    public = PublicRun(study, plan)
    for planned in plan.vectors:
        chosen = asked.get(planned.name, NOTHING_ASKED)
        length = vector_phase(planned.name).shape(public, chosen).length
        public = public.after(planned.name, np.arange(length, dtype=np.int64), chosen)
    return public
