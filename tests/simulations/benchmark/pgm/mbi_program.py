"""Fit measurements with mbi in the peers' environment: `python -I mbi_program.py REQUEST.json` prints marginals.

This file imports nothing of fedsynth. mbi 1 and 2 name the same estimate differently.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def main(request: dict[str, Any]) -> list[list[float]]:
    """Return the marginals that the request asks for."""
    import jax
    from mbi import Domain, LinearMeasurement, estimation

    jax.config.update("jax_enable_x64", True)
    names = [f"c{column}" for column in range(len(request["sizes"]))]
    measurements = [
        LinearMeasurement(np.array(counts).ravel(), tuple(names[column] for column in columns), stddev=deviation)
        for columns, counts, deviation in request["measurements"]
    ]
    domain, total = Domain(names, request["sizes"]), request["total"]
    if hasattr(estimation, "MirrorDescent"):
        model = estimation.MirrorDescent().estimate(domain, measurements, known_total=total, iters=3000)
    else:
        model = estimation.mirror_descent(domain, measurements, known_total=total, iters=3000)
    wanted = (tuple(names[column] for column in columns) for columns in request["queries"])
    return [np.asarray(model.project(columns).datavector()).tolist() for columns in wanted]


if __name__ == "__main__":
    print(json.dumps(main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))  # noqa: T201
