from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus import GradSampleModule
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from common.privacy import dpsgd
from common.privacy.discriminator import SLOPE, Discriminator
from common.privacy.dpsgd import (
    GRID_BITS,
    clipped_gradient_sum,
    fake_gradient_sum,
    noisy_gradient,
    require_even_kernels,
)
from common.privacy.mechanisms import SecureNoise, SeededNoise
from common.privacy.step import DpSgdStep


def network(width: int = 7, hidden: int = 5, *, scale: float = 1.0, seed: int = 0) -> Discriminator:
    net = Discriminator(width, hidden, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(scale)
    return net


def one_hot(rows: int, width: int = 7, *, seed: int = 1) -> Tensor:
    places = torch.randint(width, (rows,), generator=torch.Generator().manual_seed(seed))
    return F.one_hot(places, width).float()


def labels_of(real: int, fake: int) -> Tensor:
    return torch.cat([torch.ones(real), torch.zeros(fake)])


def flat(parts: list[Tensor]) -> Tensor:
    return torch.cat([part.reshape(-1).double() for part in parts])


def each_gradient(net: Discriminator, rows: Tensor, labels: Tensor) -> list[Tensor]:
    """Gradients of one example after the other, by plain autograd."""
    gradients = []
    for row, label in zip(rows, labels, strict=True):
        loss = F.binary_cross_entropy_with_logits(net(row[None]), label[None])
        gradients.append(flat(list(torch.autograd.grad(loss, list(net.parameters())))))
    return gradients


def brute_force(net: Discriminator, rows: Tensor, labels: Tensor, clip: float | None) -> Tensor:
    total = torch.zeros(sum(parameter.numel() for parameter in net.parameters()), dtype=torch.float64)
    for gradient in each_gradient(net, rows, labels):
        total += gradient if clip is None else gradient * min(1.0, clip / float(gradient.norm() + 1e-6))
    return total


SLACK = 1 + 1e-4


ATTACKS: dict[str, Callable[[Discriminator], None]] = {}


def attack(function: Callable[[Discriminator], None]) -> Callable[[Discriminator], None]:
    ATTACKS[function.__name__] = function
    return function


@attack
def overflow_in_the_first_layer(net: Discriminator) -> None:
    net.linear[0].weight[:, 3] = math.inf


@attack
def not_a_number_in_the_first_layer(net: Discriminator) -> None:
    net.linear[0].weight[:, 3] = math.nan


@attack
def overflow_in_the_second_layer_from_finite_weights(net: Discriminator) -> None:
    net.linear[0].weight[:, 3] = 3e38
    net.linear[1].weight[:] = 100.0


@attack
def overflow_in_the_logit_from_finite_weights(net: Discriminator) -> None:
    net.linear[0].weight[:, 3] = 1e30
    net.linear[1].weight[:] = 1e8
    net.linear[2].weight[:] = -1e8


@attack
def overflow_only_in_the_squared_norm(net: Discriminator) -> None:
    net.linear[0].weight[:, 3] = 1e25
    net.linear[1].weight[:] = 1e-25


@attack
def infinity_minus_infinity(net: Discriminator) -> None:
    net.linear[0].weight[:, 3] = 3e38
    net.linear[1].weight[0] = 100.0
    net.linear[1].weight[1] = -100.0


MARKED = F.one_hot(torch.tensor([3]), 7).float()
"""The patient that the server wants to find."""


def on_the_edge_of_rounding(hidden: int, few: int) -> tuple[Discriminator, Tensor, Tensor]:
    """Weights that turn the last bit of a row's numbers among `few` rows, or one more, into a gradient of a whole clip.

    Returns the network, the patient's row, and the row of everybody else.
    """
    net = network(60, hidden, seed=1)
    one, other = torch.zeros(1, 60), torch.zeros(1, 60)
    one[:, 1::6], other[:, ::6] = 1.0, 1.0
    crowd = other.expand(few, -1)
    with torch.no_grad():
        net.linear[0].weight.mul_(1e4)
        net.linear[1].weight.copy_(torch.randn(hidden, hidden, generator=torch.Generator().manual_seed(1)) * 1e2)
        first, second = net.linear[:2]
        without = second(F.leaky_relu(first(crowd), SLOPE))[0]
        present = second(F.leaky_relu(first(torch.cat([one, crowd])), SLOPE))[1]
        unit = int((present - without).argmax())
        net.linear[1].bias[unit] -= float((without[unit].double() + present[unit].double()) / 2)
        net.linear[2].weight.zero_()
        net.linear[2].bias.zero_()
        net.linear[2].weight[0, unit] = 1e5
    return net, one, other


class TestClippedSum:
    @pytest.mark.parametrize("clip", [0.01, 0.5, 1.0, 100.0, None])
    @pytest.mark.parametrize(
        ("real", "fake", "width", "hidden"), [(6, 6, 7, 5), (0, 4, 7, 5), (1, 0, 2, 1), (9, 3, 30, 16)]
    )
    def test_it_equals_clipping_one_example_at_a_time(
        self, real: int, fake: int, width: int, hidden: int, clip: float | None
    ) -> None:
        net, rows, labels = network(width, hidden, scale=3.0), one_hot(real + fake, width), labels_of(real, fake)
        got = flat(clipped_gradient_sum(net, rows, labels, clip))
        assert torch.allclose(got, brute_force(net, rows, labels, clip), atol=1e-5, rtol=1e-5)

    def test_of_no_examples_it_is_zero(self) -> None:
        assert not flat(clipped_gradient_sum(network(), one_hot(0), labels_of(0, 0), 1.0)).any()

    def test_its_parts_are_in_the_order_of_the_parameters(self) -> None:
        net = network()
        parts = clipped_gradient_sum(net, one_hot(3), labels_of(3, 0), 1.0)
        assert [part.shape for part in parts] == [parameter.shape for parameter in net.parameters()]

    @pytest.mark.filterwarnings("ignore:Full backward hook")
    def test_opacus_computes_the_same_gradient_per_example(self) -> None:
        net, rows, labels = network(scale=2.0), one_hot(8), labels_of(4, 4)
        wrapped = GradSampleModule(network(scale=2.0), loss_reduction="sum")
        F.binary_cross_entropy_with_logits(wrapped(rows), labels, reduction="sum").backward()  # type: ignore[no-untyped-call]
        theirs = [parameter.grad_sample for parameter in wrapped.parameters()]
        for place in range(len(rows)):
            mine = flat(clipped_gradient_sum(net, rows[place : place + 1], labels[place : place + 1], None))
            assert torch.allclose(mine, flat([part[place] for part in theirs]), atol=1e-6)

    def test_order_of_patients_changes_nothing_but_rounding(self) -> None:
        net, rows = network(), one_hot(6)
        one = flat(clipped_gradient_sum(net, rows, labels_of(6, 0), 0.5))
        other = flat(clipped_gradient_sum(net, rows.flip(0), labels_of(6, 0), 0.5))
        assert torch.allclose(one, other, atol=1e-6)

    def test_a_generated_row_that_overflows_contributes_zero(self) -> None:
        net, fake = network(), torch.cat([one_hot(4), MARKED])
        with torch.no_grad():
            net.linear[0].weight[:, 3] = math.inf
        kept, given = fake[fake[:, 3] == 0], fake.clone()
        found = flat(fake_gradient_sum(net, fake, 0.5))
        assert torch.allclose(found, flat(fake_gradient_sum(net, kept, 0.5)), atol=1e-6)
        assert torch.equal(fake, given)

    @pytest.mark.slow
    def test_a_private_step_takes_at_most_2_3_plain_ones(self, capsys: pytest.CaptureFixture[str]) -> None:
        net, real, fake = network(200, 256), one_hot(512, 200), one_hot(512, 200, seed=2)
        rows, labels, noise = torch.cat([real, fake]), labels_of(512, 512), SecureNoise()

        def plain() -> None:
            loss = F.binary_cross_entropy_with_logits(net(rows), labels)
            torch.autograd.grad(loss, list(net.parameters()))

        def private() -> None:
            noisy_gradient(net, real, fake, DpSgdStep(1.0, 1.0, 512), noise)

        seconds: dict[Callable[[], None], list[float]] = {plain: [], private: []}
        for _ in range(80):  # taken in turns and in CPU time, so that a busy machine slows both
            for step, times in seconds.items():
                start = time.process_time()
                step()
                times.append(time.process_time() - start)
        ratio = statistics.median(seconds[private]) / statistics.median(seconds[plain])
        with capsys.disabled():
            print(f"\na private step takes {ratio:.2f} times a plain one")  # noqa: T201
        assert ratio <= 2.3


class TestSensitivity:
    @settings(deadline=None, max_examples=150)
    @given(
        exponents=st.lists(st.integers(-44, 38), min_size=6, max_size=6),
        seed=st.integers(0, 2**32 - 1),
        clip=st.sampled_from([0.1, 1.0, 10.0]),
        others=st.integers(0, 6),
    )
    def test_one_patient_moves_the_sum_by_at_most_the_clip(
        self, exponents: list[int], seed: int, clip: float, others: int
    ) -> None:
        net = network(seed=seed)
        with torch.no_grad():
            for parameter, exponent in zip(net.parameters(), exponents, strict=True):
                parameter.mul_(10.0**exponent)  # from the smallest to the largest float32
        rows, labels = one_hot(others + 1, seed=seed), labels_of(1, others)
        alone = flat(clipped_gradient_sum(net, rows[:1], labels[:1], clip))
        assert float(alone.norm()) <= clip * SLACK
        moved = flat(clipped_gradient_sum(net, rows, labels, clip)) - flat(
            clipped_gradient_sum(net, rows[1:], labels[1:], clip)
        )
        assert float(moved.norm()) <= clip * SLACK

    @settings(deadline=None, max_examples=100)
    @given(seed=st.integers(0, 2**32 - 1), special=st.sampled_from([math.inf, -math.inf, math.nan, 3e38, -3e38, 1e-45]))
    def test_no_weights_make_the_sum_infinite(self, seed: int, special: float) -> None:
        net, rng = network(seed=seed), torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in net.parameters():
                parameter[torch.rand(parameter.shape, generator=rng) < 0.1] = special
        gradient = flat(clipped_gradient_sum(net, one_hot(8, seed=seed), labels_of(4, 4), 1.0))
        assert gradient.isfinite().all()
        assert float(gradient.norm()) <= 8 * SLACK

    def test_tiny_times_huge_is_clipped_by_its_true_size(self) -> None:
        # Inputs of 1e18 and output gradients of 1e-20: squared, the latter underflow to a norm of 0, while the norm of
        # the gradient is about 1e-20 * sqrt(256) * 1e18 * sqrt(256) = 2.6.
        net = network(2, 256, scale=0.0)
        with torch.no_grad():
            net.linear[0].weight[:, 0] = 1e18
            net.linear[1].weight[0, :] = 1e-22
            net.linear[2].weight[:] = 1e-20
        rows = torch.tensor([[1.0, 0.0]])
        assert float(flat(clipped_gradient_sum(net, rows, torch.ones(1), 1.0)).norm()) <= SLACK

    @pytest.mark.parametrize("name", ATTACKS)
    def test_overflow_does_not_reveal_a_patient(self, name: str) -> None:
        net = network()
        with torch.no_grad():
            ATTACKS[name](net)
        others = F.one_hot(torch.tensor([0, 1, 2, 4, 5, 6]), 7).float()
        without = flat(clipped_gradient_sum(net, others, labels_of(6, 0), 1.0))
        present = flat(clipped_gradient_sum(net, torch.cat([others, MARKED]), labels_of(7, 0), 1.0))
        assert without.isfinite().all()
        assert present.isfinite().all()
        assert float((present - without).norm()) <= SLACK
        released = noisy_gradient(net, MARKED, others, DpSgdStep(1.0, 1.0, 1), SeededNoise(0))
        assert flat(released).isfinite().all()

    def test_a_patient_who_overflows_contributes_zero(self) -> None:
        net = network()
        with torch.no_grad():
            net.linear[0].weight[:, 3] = math.nan
        assert not flat(clipped_gradient_sum(net, MARKED, torch.ones(1), 1.0)).any()

    def test_under_nan_weights_only_noise_is_released(self) -> None:
        net = network(scale=math.nan)
        real, fake = one_hot(4), one_hot(4)
        assert not flat(clipped_gradient_sum(net, torch.cat([real, fake]), labels_of(4, 4), 1.0)).any()
        released = noisy_gradient(net, real, fake, DpSgdStep(1.0, 2.0, 1), SeededNoise(4))
        noise = torch.from_numpy(SeededNoise(4).gaussian(sum(p.numel() for p in net.parameters()), 2.0))
        assert torch.allclose(flat(released), noise, atol=2.0 * 2.0**-GRID_BITS)


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every operation and the shapes that it is given, in order."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[tuple[str, list[tuple[int, ...]]]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append((str(function), [tuple(value.shape) for value in args if isinstance(value, Tensor)]))
        return function(*args, **(kwargs or {}))


class TestTiming:
    @pytest.mark.parametrize("name", ATTACKS)
    def test_the_same_operations_whatever_is_in_a_row(self, name: str) -> None:
        net = network()
        with torch.no_grad():
            ATTACKS[name](net)
        others = F.one_hot(torch.tensor([0, 1, 2, 4, 5, 6]), 7).float()
        operations = []
        clipped_gradient_sum(net, others, labels_of(6, 0), 1.0)  # it tries the kernels out once for each size
        for row in (others[:1], MARKED):
            with Operations() as noted:
                clipped_gradient_sum(net, torch.cat([others, row]), labels_of(7, 0), 1.0)
            operations.append(noted.seen)
        assert operations[0] == operations[1]

    def test_no_rows_go_through_the_network_as_one_does(self, monkeypatch: pytest.MonkeyPatch) -> None:
        honest, sizes = dpsgd._passes, list[int]()

        def noting(net: Discriminator, rows: Tensor, labels: Tensor, block: int) -> tuple[list[Tensor], list[Tensor]]:
            sizes.append(len(rows))
            return honest(net, rows, labels, block)

        clipped_gradient_sum(network(), one_hot(1), torch.ones(1), 1.0)  # it tries the kernels out once for each size
        monkeypatch.setattr(dpsgd, "_passes", noting)
        for count in (0, 1):
            clipped_gradient_sum(network(), one_hot(count), torch.ones(count), 1.0)
        assert sizes == [dpsgd.BLOCK, dpsgd.BLOCK]

    def test_denormal_numbers_are_zero_here_and_only_here(self) -> None:
        net, tiny = network(), torch.tensor([1e-40])
        with torch.no_grad():
            net.linear[0].weight.fill_(-2e-38)  # a normal number, whose product with the slope is not
            net.linear[0].bias.zero_()
        second_layer = clipped_gradient_sum(net, one_hot(4), torch.ones(4), 1.0)[2]
        assert not second_layer.any()
        assert float(tiny * 1.0) > 0


class TestNoisyGradient:
    @pytest.mark.parametrize(
        ("multiplier", "clip", "expected"),
        [
            (0.7, 1.0, 4),
            pytest.param(2.0, 0.25, 1, marks=pytest.mark.slow),
            pytest.param(5.0, 3.0, 64, marks=pytest.mark.slow),
        ],
    )
    def test_noise_is_multiplier_times_clip_over_expected_batch(
        self, multiplier: float, clip: float, expected: int
    ) -> None:
        net, real, fake = network(3, 2), one_hot(2, 3), one_hot(2, 3)
        center = flat(clipped_gradient_sum(net, torch.cat([real, fake]), labels_of(2, 2), clip)) / expected
        draws = torch.stack(
            [
                flat(
                    noisy_gradient(
                        net,
                        real,
                        fake,
                        DpSgdStep(clip, multiplier, expected),
                        SeededNoise(seed),
                    )
                )
                for seed in range(800)
            ]
        )
        std = multiplier * clip / expected
        # Of 800 normal numbers, the mean errs by std / sqrt(800) = 3.5 % and the deviation by 2.5 %; five times that.
        assert ((draws.mean(0) - center).abs() < 5 * 0.0354 * std).all()
        assert ((draws.std(0) / std - 1).abs() < 5 * 0.025).all()
        correlation = torch.corrcoef(draws.T) - torch.eye(draws.shape[1])
        assert float(correlation.abs().max()) < 5 / math.sqrt(800)

    def test_the_sum_is_divided_by_the_expected_batch(self) -> None:
        net, fake, quiet = network(), one_hot(3, seed=5), 1e-6
        for drawn in (0, 1, 9):
            real = one_hot(drawn)
            released = flat(noisy_gradient(net, real, fake, DpSgdStep(1.0, quiet, 4), SeededNoise(0)))
            total = flat(clipped_gradient_sum(net, torch.cat([real, fake]), labels_of(drawn, 3), 1.0))
            assert torch.allclose(released, total / 4, atol=6 * quiet)

    def test_the_sum_is_on_a_grid_far_finer_than_the_noise(self) -> None:
        released = noisy_gradient(network(), one_hot(3), one_hot(3), DpSgdStep(1.0, 1.0, 1), SeededNoise(0))
        steps = flat(released) * 2.0**GRID_BITS
        assert (steps == steps.round()).all()

    def test_without_noise_nothing_is_clipped(self) -> None:
        net, real, fake = network(scale=3.0), one_hot(4), one_hot(4, seed=2)
        got = noisy_gradient(net, real, fake, DpSgdStep(1e-3, 0.0, 2), SeededNoise(0))
        exact = brute_force(net, torch.cat([real, fake]), labels_of(4, 4), None) / 2
        assert torch.allclose(flat(got), exact, atol=1e-5)


class TestEvenKernels:
    @pytest.mark.parametrize(("hidden", "few"), [(256, 10), (512, 15), (64, 2), (256, 9), (64, 3), (64, 1)])
    def test_rounding_does_not_reveal_the_number_of_rows(self, hidden: int, few: int) -> None:
        net, one, other = on_the_edge_of_rounding(hidden, few)
        crowd = other.expand(few, -1).contiguous()
        without = flat(clipped_gradient_sum(net, crowd, labels_of(0, few), 1.0))
        present = flat(clipped_gradient_sum(net, torch.cat([one, crowd]), labels_of(1, few), 1.0))
        assert float((present - without).norm()) <= 1.0
        released = [
            flat(noisy_gradient(net, real, crowd, DpSgdStep(1.0, 1.0, 1), SeededNoise(0))) for real in (one[:0], one)
        ]
        assert float((released[1] - released[0]).norm()) <= SLACK

    def test_a_rows_contribution_does_not_depend_on_other_rows(self) -> None:
        net, rows = network(40, 33, scale=3.0), one_hot(200, 40)
        contributions = [
            flat(clipped_gradient_sum(net, rows[: count + 1], torch.ones(count + 1), 0.5))
            - flat(clipped_gradient_sum(net, rows[1 : count + 1], torch.ones(count), 0.5))
            for count in (0, 1, 7, 63, 64, 65, 199)
        ]
        for one in contributions[1:]:
            assert float((one - contributions[0]).norm()) < 1e-12

    def test_uneven_kernels_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        honest = dpsgd._passes

        def uneven(net: Discriminator, rows: Tensor, labels: Tensor, block: int) -> tuple[list[Tensor], list[Tensor]]:
            inputs, backprops = honest(net, rows, labels, block)
            inputs[1][-1] += 1e-6  # the last row of a block goes through another kernel
            return inputs, backprops

        monkeypatch.setattr(dpsgd, "_passes", uneven)
        require_even_kernels.cache_clear()
        with pytest.raises(ArithmeticError, match="depend on a row's position"):
            clipped_gradient_sum(network(), one_hot(3), labels_of(3, 0), 1.0)
        require_even_kernels.cache_clear()

    @pytest.mark.parametrize("hidden", [1, 4, 17, 64])
    def test_no_product_is_narrower_than_the_lanes(self, hidden: int, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[int] = []
        monkeypatch.setattr(dpsgd, "require_even_kernels", lambda width, units: asked.append(units))
        net, rows, labels = network(7, hidden), one_hot(5, 7), labels_of(2, 3)
        found = clipped_gradient_sum(net, rows, labels, 0.5)
        assert asked == [math.ceil(hidden / 16) * 16]
        assert [part.shape for part in found] == [parameter.shape for parameter in net.parameters()]
        assert torch.allclose(flat(found), brute_force(net, rows, labels, 0.5), atol=1e-5)
