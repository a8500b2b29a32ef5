from __future__ import annotations

import numpy as np
import pytest

from common.marginals.evidence import Evidence
from common.planning.phases import measurements_of
from common.planning.planner import make_plan
from common.synthesizers.model_rows import ModelRows
from simulations.experiments.ablations import ABLATIONS, Ablation, run, without_priors
from simulations.experiments.model_trial import TrialTable
from simulations.experiments.one_hospital import FrameRecords, count_vectors

TABLE = TrialTable.parity(3, 0, 400)
SHORT = {"fit_steps": 4, "chains": 64}


@pytest.mark.parametrize("name", list(ABLATIONS))
def test_ablation_leaves_out_its_part_alone(name: str) -> None:
    study = TABLE.study.amended(**ABLATIONS[name].settings | {"privacy": {"epsilon": 3.0}})
    phases = {phase.name for phase in make_plan(study).vectors}
    expected = {
        "no-triples": {"histograms", "coarse", "pairs"},
        "no-finer-pairs": {"histograms", "coarse"},
    }
    assert phases >= {"histograms", "coarse"}
    assert phases <= expected.get(name, phases)


def test_wide_priors_keep_the_tables() -> None:
    study = TABLE.study.amended(privacy={"epsilon": 3.0})
    public = count_vectors(FrameRecords(TABLE.train, study.table), study, make_plan(study), 0, ModelRows())
    measurements = measurements_of(public)
    assert measurements is not None
    evidence = Evidence.of(measurements)
    wide = without_priors(evidence)
    for before, after in zip(evidence.pairs, wide.pairs, strict=True):
        assert np.array_equal(before.proportions, after.proportions)
        assert np.array_equal(after.prior, 1.0 - np.eye(len(after.prior)))
    assert all(table.prior == 1.0 for table in wide.sets)


def test_run_returns_measures_and_seconds() -> None:
    found = run(TABLE, Ablation({"synthesizer": SHORT}), 3.0, 0)
    assert found["tvd2"] is not None
    assert found["seconds"] is not None
