from __future__ import annotations

import math

import numpy as np
import pytest

from common.errors import StudyError
from common.privacy.mechanisms import SeededNoise
from common.privacy.quantization import (
    COARSEST,
    FINE_SHARE,
    OVERFLOW,
    QuantizationGrid,
    choose_grid,
    furthest_sum,
    layer_shapes,
    most_drawn,
    parameters_of,
)
from common.secagg.words import MOST, to_integers, to_words
from common.study.synthesizers import GanSettings
from common.synthesizers.gan.synthesizer import MarginalGan


class TestGrid:
    @pytest.mark.parametrize("hospitals", [2, 4, 25])
    @pytest.mark.parametrize("multiplier", [0.05, 1.0, 20.0])
    def test_it_is_the_finest_on_which_a_sum_fits_the_masks(self, hospitals: int, multiplier: float) -> None:
        batches = [math.ceil(256 / hospitals)] * hospitals
        quantization = choose_grid(70_000, batches, multiplier, 256)
        assert quantization.share_sigma >= multiplier * quantization.sensitivity
        assert furthest_sum(quantization.units, 70_000, quantization.share_sigma, batches) <= MOST
        assert furthest_sum(2 * quantization.units, 70_000, 2 * quantization.share_sigma, batches) > MOST
        # Rounding adds sqrt(parameters) to a clip of so many points: next to nothing.
        assert quantization.sensitivity == quantization.units + math.sqrt(70_000) <= (1 + 1e-2) * quantization.units

    def test_too_coarse_a_grid_is_refused(self) -> None:
        with pytest.raises(
            StudyError, match=r"steps = 1: sums of 500000 gradients over 25 hospitals do not fit .*lower"
        ):
            choose_grid(500_000, [100_000] * 25, 1.0, 2_500_000)
        with pytest.raises(ValueError, match="too few for 10000 parameters"):
            QuantizationGrid(COARSEST * 100 - 1, 10_000, 100.0, 1)
        with pytest.raises(ValueError, match=r"below 16\.0 grid points"):
            QuantizationGrid(2**20, 100, FINE_SHARE - 0.1, 1)

    def test_the_shapes_are_those_of_the_discriminator(self) -> None:
        made = MarginalGan(GanSettings(prototypes=2, hidden=5), (3, 4)).initial_weights(0)
        discriminator = {name: value.shape for name, value in made.items() if name.startswith("disc.")}
        assert layer_shapes(7, 5) == discriminator
        assert list(layer_shapes(7, 5)) == list(discriminator)
        assert parameters_of(7, 5) == sum(math.prod(shape) for shape in discriminator.values()) == 8 * 5 + 6 * 5 + 6


class TestRange:
    def test_noise_leaves_the_range_as_rarely_as_promised(self) -> None:
        # The bound for one coordinate, K shares of sigma and an allowed probability p: sqrt(2 K ln(2 / p)) sigma.
        share, hospitals, draws = 50.0, 4, 200_000
        noise = sum(SeededNoise(seed).discrete_gaussian(draws, share) for seed in range(hospitals))
        for allowed in (0.1, 0.01, 0.001):
            reach = share * math.sqrt(2 * hospitals * math.log(2 / allowed))
            assert np.mean(np.abs(noise) > reach) <= allowed
        claimed = furthest_sum(0, 1, share, [1] * hospitals)
        assert claimed == pytest.approx(share * math.sqrt(2 * hospitals * math.log(2 / OVERFLOW)))

    def test_a_sum_at_the_ends_of_the_range_survives_masks(self) -> None:
        ends = np.array([MOST, -MOST, 0, -1])
        assert to_integers(to_words(ends)).tolist() == ends.tolist()

    def test_a_sample_hardly_ever_exceeds_its_bound(self) -> None:
        for batch in (1, 16, 256, 4000):
            more = most_drawn(batch) - batch
            # Chernoff: P(X >= m + t) <= exp(-t^2 / (2 (m + t / 3))).
            assert math.exp(-(more**2) / (2 * (batch + more / 3))) < 1e-7
