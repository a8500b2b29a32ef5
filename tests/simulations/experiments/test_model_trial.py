from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from common.marginals.queries import Domain
from common.privacy.discriminator import Discriminator
from common.synthesizers.gan.generator import Blocks
from common.synthesizers.maximum_entropy.chains import column_tables
from common.synthesizers.maximum_entropy.fit import Fit
from common.synthesizers.maximum_entropy.potentials import Potentials
from simulations.experiments.model_trial import ARMS, FittedModel, TrialTable, make_study, run_arm
from simulations.experiments.tilted_model import TiltedChains, tilted_rows

SIZES = (2, 3, 2)


def model_of_nothing() -> Potentials:
    """Uniform: all potentials are zero."""
    return Potentials(Domain(SIZES, (False,) * 3), torch.zeros(7), torch.zeros(7, 7), ())


class TestTiltedChains:
    def test_conditionals_are_the_exponential_of_the_logit(self) -> None:
        net = Discriminator(7, 4, torch.Generator().manual_seed(1))
        rows = torch.tensor([[0, 1, 1], [1, 2, 0]])
        chains = TiltedChains(model_of_nothing(), rows, torch.Generator(), net=net)
        found = chains.probabilities(1, column_tables(model_of_nothing())[1])
        for row, probabilities in zip(rows, found, strict=True):
            variants = torch.stack([torch.stack([row[0], torch.tensor(code), row[2]]) for code in range(3)])
            expected = net(Blocks(SIZES).one_hot(variants)).softmax(0)
            assert torch.allclose(probabilities, expected, atol=1e-6)

    def test_rows_go_where_the_logit_is_large(self) -> None:
        net = Discriminator(7, 1, torch.Generator())
        with torch.no_grad():
            for layer in net.linear:
                layer.bias.zero_()
                layer.weight.fill_(1.0)
            net.linear[0].weight.copy_(torch.tensor([[0.0, 40.0, 0.0, 0.0, 0.0, 0.0, 0.0]]))  # first column, code 1
        uniform = torch.cat([torch.full((size,), 1 / size) for size in SIZES])
        fit = Fit(model_of_nothing(), torch.zeros(64, 3, dtype=torch.int64), torch.outer(uniform, uniform), uniform)
        # The pull back to the model's half is at most 3 for the column and each pair, both ways: 18 of 40.
        assert (tilted_rows(fit, net, 500, 0)[:, 0] == 1).all()


class TestArms:
    def test_arms_without_a_plan_for_rounds_count_more(self) -> None:
        table = TrialTable.parity(4, 0, 2000)
        rounds = {name: make_study(table, arm, 10.0).training.rounds for name, arm in ARMS.items()}
        counted = [name for name, planned in rounds.items() if not planned]
        assert counted == ["model", "longer-fit"]
        assert set(rounds.values()) == {0, 15}

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["unspent", "dp-tilt", "tilt-placebo"])
    def test_every_arm_measures_a_table(self, name: str) -> None:
        table, arm = TrialTable.parity(3, 0, 1000), replace(ARMS[name], fit_steps=10)
        found = run_arm(table, arm, FittedModel.of(table, arm, 3.0, 0), 0)
        assert set(found) == {"parity", "tvd1", "tvd2"}
        assert all(value is not None and np.isfinite(value) for value in found.values())

    @pytest.mark.slow
    def test_tilting_without_noise_finds_a_parity_of_four(self) -> None:
        table = TrialTable.parity(4, 0, 10_000)
        model = FittedModel.of(table, replace(ARMS["tilt"], fit_steps=40), 10.0, 0)
        tilted, placebo = (run_arm(table, ARMS[name], model, 0)["parity"] for name in ("tilt", "tilt-placebo"))
        assert tilted is not None
        assert placebo is not None
        assert placebo > 0.4
        assert tilted < placebo / 2
