"""Our estimates beside those of the authors' library, where the peers' environment has it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from simulations.benchmark.peers import find_python
from simulations.benchmark.pgm.estimation import Measurement, Stop, fit
from simulations.benchmark.pgm.model import sum_to
from tests.simulations.benchmark.pgm.test_model import ALL, CYCLE, SIZES, enumerated, random_potentials

QUERIES = [(0, 1), (2, 4), (0, 2, 3), (1, 5)]


@pytest.mark.skipif(not os.environ.get("FEDSYNTH_PEERS"), reason="FEDSYNTH_PEERS names no environment")
@pytest.mark.slow
def test_noisy_marginals_give_the_model_of_mbi(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    joint = enumerated(random_potentials(6), 1000.0)
    exact = {columns: sum_to(joint, ALL, columns) for columns in CYCLE}
    noisy = [Measurement(columns, table + rng.normal(0, 5, table.shape), 5.0) for columns, table in exact.items()]
    request = tmp_path / "request.json"
    measurements = [(entry.columns, entry.counts.tolist(), entry.deviation) for entry in noisy]
    request.write_text(json.dumps({"sizes": SIZES, "total": 1000.0, "measurements": measurements, "queries": QUERIES}))
    python = find_python(None)
    assert python is not None
    program = Path(__file__).with_name("mbi_program.py")
    done = subprocess.run([python, "-I", program, request], capture_output=True, text=True, check=True)
    model = fit(SIZES, noisy, 1000.0, Stop(3000)).model
    for columns, theirs in zip(QUERIES, json.loads(done.stdout), strict=True):
        np.testing.assert_allclose(model.marginal(columns).ravel(), theirs, atol=0.5)
