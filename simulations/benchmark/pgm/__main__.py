"""Run AIM or MST as a process of its own, which the benchmark can stop.

    python -m simulations.benchmark.pgm FOLDER

FOLDER is as `simulations.benchmark.peer_program` describes it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.arrays import Integers
from simulations.benchmark.peer_program import Program, main
from simulations.benchmark.pgm.aim import aim
from simulations.benchmark.pgm.mst import mst

Mechanism = Callable[[Integers, tuple[int, ...], float, np.random.Generator], Integers]


def _program(mechanism: Mechanism) -> Program:
    def run(request: dict[str, Any], given: pd.DataFrame) -> pd.DataFrame:
        codes, rng = given.to_numpy(dtype=np.int64), np.random.default_rng(request["seed"])
        return pd.DataFrame(mechanism(codes, tuple(request["sizes"]), request["budget"], rng), columns=given.columns)

    return run


PROGRAMS: dict[str, Program] = {"aim": _program(aim), "mst": _program(mst)}

if __name__ == "__main__":
    main(Path(sys.argv[1]), PROGRAMS)
