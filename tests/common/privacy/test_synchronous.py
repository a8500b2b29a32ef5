from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from common.privacy.discriminator import Discriminator
from common.privacy.dpsgd import clipped_gradient_sum, noisy_gradient
from common.privacy.events import DpSgdRun, SynchronousRun
from common.privacy.mechanisms import NoiseSource, SecureNoise, SeededNoise
from common.privacy.quantization import ClippedGrid, QuantizationGrid, choose_grid, parameters_of
from common.privacy.step import DpSgdStep
from common.privacy.synchronous import gradient_of_sum, gradient_share
from simulations.audit.bounds import Scores, contradicts
from simulations.audit.gradients import canary_rows, steep_network
from simulations.audit.trials import together

WIDTH, HIDDEN, CLIP = 7, 5, 0.5
PARAMETERS = (WIDTH + 1) * HIDDEN + (HIDDEN + 1) * HIDDEN + HIDDEN + 1
SILENT = QuantizationGrid(2**20, PARAMETERS, 0.0, 12)


def network(seed: int = 0, scale: float = 3.0) -> Discriminator:
    net = Discriminator(WIDTH, HIDDEN, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(scale)
    return net


def rows_of(count: int, seed: int = 1) -> Tensor:
    places = torch.randint(WIDTH, (count,), generator=torch.Generator().manual_seed(seed))
    return F.one_hot(places, WIDTH).float()


def flat(parts: list[Tensor]) -> np.ndarray:
    return torch.cat([part.reshape(-1).double() for part in parts]).numpy()


def share(
    rows: Tensor,
    quantization: QuantizationGrid = SILENT,
    *,
    net: Discriminator | None = None,
    noise: NoiseSource | None = None,
) -> np.ndarray:
    source = noise or SeededNoise(0)
    return gradient_share(net or network(), rows, ClippedGrid(CLIP, quantization), batch=12, noise=source)


def attack(shares: int, *, runs: int = 5, steps: int = 8) -> tuple[Scores, DpSgdRun]:
    """Attack opened sums of steps under the noise of so many hospitals, and what three hospitals' noise amounts to.

    That is the sampled Gaussian: `SynchronousRun` charges its Renyi divergences, whose curve of (epsilon, delta) lies
    above its own, too far for an attack of this size to reach.

    A thousand canaries of one hospital are in its table or not by a coin each; their gradients are orthogonal, so each
    is a trial. Scores as in `simulations.audit.gradients`.
    """
    canaries, rate, multiplier = 1000, 0.5, 0.6
    width = canaries + 128
    net, quantization = steep_network(width), choose_grid(parameters_of(width, 1), [250] * 3, multiplier, 250)
    claim = SynchronousRun(quantization.share_sigma / quantization.sensitivity, 3, rate, steps)
    central, coins = claim.central_multiplier, np.random.default_rng(1)
    found = []
    for run in range(runs):
        source = SeededNoise(run)
        members = np.flatnonzero(coins.random(canaries) < 0.5)
        total = np.zeros(canaries)
        for step in range(steps):
            chosen = members[source.named("draw", step).poisson_sample(len(members), rate)]
            opened = np.zeros(quantization.parameters, dtype=np.int64)
            for place in range(shares):
                rows = canary_rows(chosen if place == 0 else chosen[:0], width)
                noise = source.named("share", step, place)
                opened += gradient_share(net, rows, ClippedGrid(CLIP, quantization), batch=250, noise=noise)
            seen = -opened[:canaries] / quantization.units
            shift = (2 * seen - 1) / (2 * central**2)
            total += np.logaddexp(math.log1p(-rate), math.log(rate) + shift)
        is_member = np.isin(np.arange(canaries), members)
        found.append(Scores(total[is_member], total[~is_member]))
    return together(found), DpSgdRun(central, rate, steps)


class TestShare:
    def test_the_grid_counts_the_discriminators_parameters(self) -> None:
        assert sum(parameter.numel() for parameter in network().parameters()) == PARAMETERS == len(share(rows_of(3)))

    @settings(max_examples=40, deadline=None)
    @given(
        st.integers(0, 70), st.integers(0, WIDTH - 1), st.integers(0, 1000), st.sampled_from([16, 40, 2**12]),
        st.sampled_from([0.01, 3.0, 1e4]),
    )  # fmt: skip
    def test_one_patient_moves_it_by_at_most_the_sensitivity(
        self, others: int, place: int, seed: int, clips: int, scale: float
    ) -> None:
        # Coarse quantization_module too, where rounding is most of it.
        quantization = QuantizationGrid(clips * math.ceil(math.sqrt(PARAMETERS)), PARAMETERS, 0.0, 12)
        net, rows = network(seed, scale), rows_of(others, seed)
        patient = F.one_hot(torch.tensor([place]), WIDTH).float()
        moved = share(torch.cat([rows, patient]), quantization, net=net) - share(rows, quantization, net=net)
        assert np.linalg.norm(moved) <= quantization.sensitivity

    def test_a_clipped_patient_moves_it_by_clip_and_rounding(self) -> None:
        quantization = QuantizationGrid(16 * math.ceil(math.sqrt(PARAMETERS)), PARAMETERS, 0.0, 12)
        moved = []
        for seed in range(20):
            net, rows = network(seed), rows_of(12, seed)
            moved.append(np.linalg.norm(share(rows, quantization, net=net) - share(rows[1:], quantization, net=net)))
        assert max(moved) <= quantization.sensitivity
        assert max(moved) > quantization.units  # so rounding has to be counted

    def test_it_is_cut_at_its_reach(self) -> None:
        quantization = QuantizationGrid(2**20, PARAMETERS, 0.0, 12)
        many = F.one_hot(torch.zeros(400, dtype=torch.int64), WIDTH).float()  # as alike as can be: all point one way
        points = gradient_share(network(), many, ClippedGrid(1e-3, quantization), batch=1, noise=SeededNoise(0))
        assert np.abs(points).max() == quantization.reach(1) == 2**20 * 17  # 1 + 6 + 10 patients

    @pytest.mark.parametrize("noise", [SecureNoise(), SeededNoise(3)], ids=lambda source: type(source).__name__)
    def test_every_hospital_adds_its_share_of_noise(self, noise: NoiseSource) -> None:
        quantization = QuantizationGrid(2**20, PARAMETERS, 2.0**18, 12)
        rows = rows_of(5)
        noises = np.concatenate(
            [share(rows, quantization, noise=noise.named("draw", n)) - share(rows) for n in range(40)]
        )
        assert noises.dtype == np.int64
        assert noises.std() == pytest.approx(2.0**18, rel=0.05)  # 3,040 numbers: a standard error of 1.3 %
        assert abs(noises.mean()) < 5 * 2.0**18 / math.sqrt(len(noises))

    def test_hostile_weights_do_not_leave_the_grid(self) -> None:
        net = network(scale=1.0)
        with torch.no_grad():
            net.linear[0].weight[0, 0] = math.inf
            net.linear[1].weight[0, 0] = math.nan
        points = share(rows_of(20), net=net)
        assert points.dtype == np.int64
        assert np.linalg.norm(points) <= 20 * SILENT.sensitivity

    def test_a_larger_network_than_planned_is_refused(self) -> None:
        small = QuantizationGrid(2**20, PARAMETERS - 1, 0.0, 12)
        with pytest.raises(ValueError, match=f"{PARAMETERS} parameters exceed the {PARAMETERS - 1}"):
            share(rows_of(2), small)


class TestSum:
    def test_it_is_the_pooled_gradient_up_to_rounding(self) -> None:
        net, rows, fake = network(), rows_of(11), rows_of(12, seed=2)
        total = sum((share(part) for part in (rows[:4], rows[4:4], rows[4:])), np.zeros(PARAMETERS, dtype=np.int64))
        ours = flat(gradient_of_sum(net, total, fake, ClippedGrid(CLIP, SILENT)))
        pooled = flat(clipped_gradient_sum(net, rows, torch.ones(11), CLIP))
        made = flat(clipped_gradient_sum(net, fake, torch.zeros(12), CLIP))
        # Three roundings of at most half a point each, divided by the batch; float32 at the end.
        assert np.abs(ours - (pooled + made) / 12).max() <= 3 * 0.5 * CLIP / SILENT.units / 12 + 1e-7

    def test_with_little_noise_it_is_a_centralized_step(self) -> None:
        net, rows, fake = network(), rows_of(9), rows_of(12, seed=2)
        central = noisy_gradient(net, rows, fake, DpSgdStep(CLIP, 1e-6, 12), SeededNoise(1))
        ours = gradient_of_sum(net, share(rows), fake, ClippedGrid(CLIP, SILENT))
        for one, other in zip(ours, central, strict=True):
            assert one.shape == other.shape
            assert torch.allclose(one, other, atol=1e-6)


class TestAttack:
    def test_an_attack_on_sums_does_not_refute_the_charge(self) -> None:
        scores, claim = attack(3)
        assert not contradicts(scores, [claim], 1e-5)
        # What an adversary would see if two of the three told their noise: one share, at the price of three.
        scores, claim = attack(1)
        assert contradicts(scores, [claim], 1e-5)
