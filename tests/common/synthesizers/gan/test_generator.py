from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from common.synthesizers.gan.generator import TEMPERATURE, Blocks, Generator, MlpGenerator, PrototypeGenerator, gumbel
from common.synthesizers.gan.sampling import draw

SIZES = (2, 5, 3)

KINDS: dict[str, Callable[[torch.Generator], Generator]] = {
    "prototypes": lambda rng: PrototypeGenerator(SIZES, 8, rng),
    "mlp": lambda rng: MlpGenerator(SIZES, 16, rng),
}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def is_one_hot(rows: Tensor) -> bool:
    return all(
        ((block == 0) | (block == 1)).all() and (block.sum(1) == 1).all()
        for block in torch.split(rows, list(SIZES), dim=1)
    )


class TestBlocks:
    def test_padding_gives_every_column_its_row(self) -> None:
        padded = Blocks((2, 3)).pad(torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]]))
        assert padded.shape[:2] == (1, 2)
        assert padded[0, 0, :2].tolist() == [1.0, 2.0]
        assert padded[0, 1, :3].tolist() == [3.0, 4.0, 5.0]
        assert (padded == -torch.inf).sum() == padded.numel() - 5

    @pytest.mark.parametrize("sizes", [(2, 3), (1,), (4, 4, 4), (1, 30, 2)])
    def test_flattening_undoes_padding(self, sizes: tuple[int, ...]) -> None:
        blocks = Blocks(sizes)
        flat = torch.randn(7, sum(sizes), generator=seeded(0))
        assert (blocks.flatten(blocks.pad(flat)) == flat).all()
        assert blocks.flatten(blocks.pad(flat[:0])).shape == (0, sum(sizes))

    def test_codes_become_one_hot_rows(self) -> None:
        rows = Blocks((2, 3)).one_hot(torch.tensor([[1, 0], [0, 2]], dtype=torch.int16))
        assert rows.tolist() == [[0, 1, 1, 0, 0], [1, 0, 0, 0, 1]]

    def test_probabilities_sum_to_one_within_each_column(self) -> None:
        # exp(log 3) : exp(0) = 3 : 1, and three equal logits.
        logits = torch.tensor([[3.0, 1.0, 5.0, 5.0, 5.0]])
        logits[0, :2] = logits[0, :2].log()
        assert torch.allclose(Blocks((2, 3)).probabilities(logits), torch.tensor([[3 / 4, 1 / 4, 1 / 3, 1 / 3, 1 / 3]]))


class TestSample:
    @pytest.mark.parametrize("kind", KINDS)
    def test_samples_are_one_hot_and_pass_gradients_back(self, kind: str) -> None:
        generator = KINDS[kind](seeded(0))
        rows = generator.sample(200, seeded(1))
        assert is_one_hot(rows.detach())
        (rows * torch.arange(10.0)).sum().backward()  # type: ignore[no-untyped-call]
        assert any(
            parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in generator.parameters()
        )

    @pytest.mark.parametrize("kind", KINDS)
    def test_samples_follow_the_column_probabilities(self, kind: str) -> None:
        generator, rows = KINDS[kind](seeded(0)), 20_000
        expected = generator.blocks.probabilities(generator.logits(rows, seeded(1))).mean(0)
        # Five standard errors of a frequency are at most 5 sqrt(0.25 / 20000) = 0.018, twice over for both sides.
        assert (generator.sample(rows, seeded(2)).mean(0) - expected).abs().max() < 0.036
        drawn = generator.blocks.one_hot(torch.from_numpy(draw(generator, rows, 3, {})))
        assert (drawn.mean(0) - expected).abs().max() < 0.036

    @pytest.mark.parametrize("kind", KINDS)
    def test_codes_are_below_the_sizes_and_repeat(self, kind: str) -> None:
        generator = KINDS[kind](seeded(0))
        codes = draw(generator, 50, 1, {})
        assert codes.shape == (50, 3)
        assert (codes >= 0).all()
        assert (codes < np.array(SIZES)).all()
        assert (codes == draw(generator, 50, 1, {})).all()
        assert (codes != draw(generator, 50, 2, {})).any()
        assert draw(generator, 0, 1, {}).shape == (0, 3)

    def test_gradient_is_that_of_the_tempered_softmax(self) -> None:
        generator = PrototypeGenerator((2, 2), 1, seeded(0))
        generator.sample(1, seeded(1))[0, 0].backward()  # type: ignore[no-untyped-call]
        rng = seeded(1)
        logits = generator.blocks.pad(generator.logits(1, rng))
        soft = ((logits + gumbel(tuple(logits.shape), rng)) / TEMPERATURE).softmax(2)[0, 0, 0].detach()
        assert generator.table.grad is not None
        # d softmax / d logit = p (1 - p) / temperature.
        assert float(generator.table.grad[0, 0]) == pytest.approx(float(soft * (1 - soft) / TEMPERATURE), rel=1e-4)


def test_gumbel_noise_has_the_known_mean() -> None:
    noise = gumbel((100_000,), seeded(0))
    assert noise.isfinite().all()
    # Euler's constant; the deviation is pi / sqrt(6) = 1.28, so five standard errors are 0.02.
    assert float(noise.mean()) == pytest.approx(0.5772, abs=0.02)
