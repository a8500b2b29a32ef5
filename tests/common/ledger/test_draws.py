from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.ledger.draws import DIGEST_BYTES, Draws, RecordedNoise
from common.ledger.slot import Slot
from common.privacy.mechanisms import SECRET_BYTES, SecureNoise

SLOT = Slot("ab" * 32, "run-1", "rounds", 1)
KEY_END = SECRET_BYTES + DIGEST_BYTES


def draws_of(noise: RecordedNoise) -> list[np.ndarray]:
    """Everything that a release may draw, in an order that mixes both sources."""
    return [
        noise.poisson_sample(100, 0.2),
        noise.discrete_gaussian(5, 3.0),
        noise.gaussian(4, 2.0),
        noise.discrete_gaussian(3, 8.0),
        noise.uniform(2),
    ]


def same(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


def test_every_process_draws_the_same(tmp_path: Path) -> None:
    draws = Draws(tmp_path / "ledger.sqlite")
    first = draws_of(draws.noise(SLOT, SecureNoise()))
    assert same(first, draws_of(Draws(tmp_path / "ledger.sqlite").noise(SLOT, SecureNoise())))
    assert same(first, draws_of(draws.noise(SLOT, SecureNoise()).named("anything")))


@pytest.mark.parametrize("other", [replace(SLOT, round=2), replace(SLOT, run_id="run-2"), replace(SLOT, attempt=1)])
def test_every_release_draws_something_else(tmp_path: Path, other: Slot) -> None:
    draws = Draws(tmp_path / "ledger.sqlite")
    assert not same(draws_of(draws.noise(SLOT, SecureNoise())), draws_of(draws.noise(other, SecureNoise())))


def test_once_forgotten_it_is_drawn_afresh(tmp_path: Path) -> None:
    draws = Draws(tmp_path / "ledger.sqlite")
    first = draws_of(draws.noise(SLOT, SecureNoise()))
    draws.forget(SLOT)
    draws.forget(SLOT)  # an answered request is repeated
    assert list(tmp_path.iterdir()) == []
    assert not same(first, draws_of(draws.noise(SLOT, SecureNoise())))


def test_only_unanswered_releases_are_kept(tmp_path: Path) -> None:
    draws, other = Draws(tmp_path / "ledger.sqlite"), replace(SLOT, round=2)
    (tmp_path / "ledger.sqlite").touch()
    kept = draws_of(draws.noise(SLOT, SecureNoise()))
    draws.noise(other, SecureNoise())
    draws.forget_all_but([SLOT])
    assert len(list(tmp_path.iterdir())) == 2  # one of them is the ledger
    assert same(kept, draws_of(draws.noise(SLOT, SecureNoise())))


def test_only_its_account_can_read_it(tmp_path: Path) -> None:
    draws_of(Draws(tmp_path / "ledger.sqlite").noise(SLOT, SecureNoise()))
    assert [path.stat().st_mode & 0o077 for path in tmp_path.iterdir()] == [0]


def test_noise_of_another_vector_is_refused(tmp_path: Path) -> None:
    draws = Draws(tmp_path / "ledger.sqlite")
    draws.noise(SLOT, SecureNoise()).discrete_gaussian(5, 3.0)
    for count, sigma in ((5, 4.0), (6, 3.0)):
        with pytest.raises(ValueError, match="another vector"):
            draws.noise(SLOT, SecureNoise()).discrete_gaussian(count, sigma)


class TestTornFile:
    """A loss of power leaves a file cut, or with zeros where data were to be."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        RecordedNoise(tmp_path / "noise", SecureNoise()).discrete_gaussian(500, 1e6)
        return tmp_path / "noise"

    @pytest.mark.parametrize("kept", [0, 10, KEY_END - 1])
    def test_without_a_whole_key_everything_is_fresh(self, path: Path, kept: int) -> None:
        before = RecordedNoise(path, SecureNoise()).uniform(4)
        path.write_bytes(path.read_bytes()[:kept])
        assert not np.array_equal(RecordedNoise(path, SecureNoise()).uniform(4), before)

    @pytest.mark.parametrize("kept", [KEY_END, KEY_END + 5, KEY_END + 16, KEY_END + 100, -1])
    def test_a_cut_vector_is_drawn_again_and_recorded(self, path: Path, kept: int) -> None:
        stream = RecordedNoise(path, SecureNoise()).uniform(4)
        path.write_bytes(path.read_bytes()[:kept])
        drawn = RecordedNoise(path, SecureNoise()).discrete_gaussian(500, 1e6)
        again = RecordedNoise(path, SecureNoise())
        assert np.array_equal(again.discrete_gaussian(500, 1e6), drawn)
        assert np.array_equal(again.uniform(4), stream)

    @pytest.mark.parametrize("first", [0, KEY_END, KEY_END + 16])
    def test_zeros_are_no_noise(self, path: Path, first: int) -> None:
        data = path.read_bytes()
        path.write_bytes(data[:first] + bytes(len(data) - first))
        assert np.abs(RecordedNoise(path, SecureNoise()).discrete_gaussian(500, 1e6)).mean() > 1e5
