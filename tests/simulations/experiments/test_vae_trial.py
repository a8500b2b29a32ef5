from __future__ import annotations

import pytest

from simulations.experiments.parity_table import parity_study
from simulations.experiments.vae_trial import main, run_once


@pytest.mark.slow
def test_encoder_rounds_find_a_parity() -> None:
    study = parity_study(20.0, 5_000).amended(synthesizer={"kind": "marginal-vae", "fit_steps": 300})
    by_rounds = {
        rounds: run_once(study.amended(training={"rounds": rounds}), 5_000, 0, 3)["parity"] for rounds in (24, 0)
    }
    assert by_rounds[24] < 0.15
    assert by_rounds[0] > 0.35


@pytest.mark.slow
def test_command_prints_a_row_for_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--epsilons", "3", "--seeds", "0", "--rounds", "2,0", "--rows", "400", "--fit-steps", "2"])
    printed = capsys.readouterr()
    assert printed.err.count("seed=0") == 2
    assert printed.out.splitlines()[-1].split()[-1] == "1"  # one seed
