from __future__ import annotations

import pytest

from common.privacy.step import DpSgdStep


@pytest.mark.parametrize(("clip", "noise_multiplier", "batch"), [(0.0, 1.0, 1), (1.0, -0.1, 1), (1.0, 1.0, 0)])
def test_a_step_has_a_clip_norm_noise_and_a_batch(clip: float, noise_multiplier: float, batch: int) -> None:
    assert DpSgdStep(1.0, 0.0, 1).clip == 1.0
    with pytest.raises(ValueError, match="is no step of DP-SGD"):
        DpSgdStep(clip, noise_multiplier, batch)
