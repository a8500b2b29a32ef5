"""kill -9 at any moment: nothing leaves unpaid, nothing is paid twice, and what left once leaves again unchanged.

Every life is a process of its own, killed at a random time or before a random line of the hospital's code, and
started again on the state that it left. `crashing` is the process that forks them.
"""

from __future__ import annotations

import base64
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.encoding import histogram_length
from common.ledger.ledger import History, Kind, Ledger
from common.ledger.receipts import Receipt, receipts_to_json
from common.marginals.released import Asked
from common.planning.phases import COARSE, PAIRS
from common.planning.planner import make_plan
from common.privacy import accountant, renyi
from common.privacy.events import Event
from common.protocol.byte_form import from_bytes, to_bytes
from common.protocol.messages import (
    CountsRequest,
    EnrollReply,
    EnrollRequest,
    Message,
    Request,
    RoundRequest,
    Unavailable,
)
from common.study.sections import HospitalFacts
from common.synthesizers.registry import make_adversarial
from tests.testbeds.clinic import clinic_study, clinic_table
from tests.testbeds.released import made_up_run

ROOT = Path(__file__).parents[3]
FACTS = (HospitalFacts(name="north", declared_rows=100), HospitalFacts(name="south", declared_rows=80))
NOTHING = np.empty(0, dtype=np.int64)
TWO_PAIRS = Asked(np.array([0, 3, 1, 3]), np.array([72, 72]))


@dataclass(frozen=True)
class Warm:
    """The process that forks hospitals, and what a whole run of them comes to."""

    process: subprocess.Popen[str]
    events: tuple[Event, ...]
    requests: int

    def live(self, state: Path, known: Receipt | None = None, **kill: float) -> dict[str, Any]:
        """One life: `after_s` seconds, up to `step`, or to its end."""
        held = receipts_to_json({} if known is None else {"north": known})
        order = {
            "state": str(state),
            "receipts": held,
            "requests": self.requests,
            "after_s": None,
            "step": None,
            **kill,
        }
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self.read()

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the warm process is gone"
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def warm_process(folder: Path, *, rounds: int) -> Iterator[Warm]:
    study = clinic_study(training={"rounds": rounds}, synthesizer={"pairs": 2}).with_hospitals(FACTS)
    plan = make_plan(study)
    histograms = np.arange(histogram_length(study.table, plan.cells), dtype=np.int64)
    requests: list[Request] = [
        EnrollRequest("run-1", study.to_toml(), study.fingerprint, plan.to_json(), "{}"),
        CountsRequest("run-1", "histograms"),
        CountsRequest("run-1", COARSE, {"histograms": histograms}, NOTHING),
        CountsRequest("run-1", PAIRS, {"histograms": histograms}, TWO_PAIRS.columns, TWO_PAIRS.weights),
    ]
    if rounds:
        public = made_up_run(study, plan, {PAIRS: TWO_PAIRS})
        weights = make_adversarial(study.synthesizer, public.encoder).initial_weights(0)
        requests += [
            RoundRequest("run-1", number, public.released.arrays(), weights) for number in range(1, rounds + 1)
        ]
    folder.mkdir()
    (folder / "study.toml").write_text(study.to_toml())
    clinic_table(100, seed=0).to_csv(folder / "table.csv", index=False)
    for place, request in enumerate(requests):
        (folder / f"{place}.request").write_bytes(to_bytes(request))
    command = [sys.executable, "-m", "tests.testbeds.crashing_agent", str(folder), *(["--training"] if rounds else [])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        warm = Warm(process, plan.events(plan.hospitals[0]), len(requests))
        assert warm.read()["has_torch"] == bool(rounds)
        yield warm
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """Hospitals that are asked for counts alone; their process never imports torch."""
    with warm_process(tmp_path_factory.mktemp("counting") / "scenario", rounds=0) as warm:
        yield warm


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """Hospitals that are asked for counts and for two rounds of training."""
    with warm_process(tmp_path_factory.mktemp("training") / "scenario", rounds=2) as warm:
        yield warm


class Outside:
    """All that ever left the hospital, as the coordinator saw it."""

    def __init__(self) -> None:
        self.replies: dict[int, bytes] = {}
        self.latest: Receipt | None = None

    def receive(self, life: dict[str, Any]) -> None:
        for place, text in life["frames"]:
            data = base64.b64decode(text)
            message = from_bytes(data)
            assert not isinstance(message, Unavailable), "a request was refused after a crash"
            assert isinstance(message, EnrollReply) == (place == 0)
            if place > 0:  # an enrollment gives the current head of the ledger; all else is repeated byte for byte
                assert self.replies.setdefault(place, data) == data
            self.latest = receipt_of(message)
        if life["torn"] is not None:
            place, text = life["torn"]
            if place in self.replies:
                assert self.replies[place].startswith(base64.b64decode(text))

    def check(self, history: History, life: dict[str, Any]) -> None:
        """Every byte that left has its line in the ledger, paid before it was answered."""
        entries = history.entries
        charges = [entry for entry in entries if entry.kind == Kind.CHARGE]
        for data in self.replies.values():
            receipt = receipt_of(from_bytes(data))
            answer = entries[receipt.counter]
            assert (answer.kind, answer.hash) == (Kind.ANSWER, receipt.head)
            assert any(charge.slot == answer.slot and charge.counter < answer.counter for charge in charges)
        left = {place for place, _ in life["frames"]} | ({life["torn"][0]} if life["torn"] else set())
        assert sum(line.is_answered for line in history.lines()) >= max(left, default=0)
        assert len({charge.slot for charge in charges}) == len(charges)
        if self.latest is not None:
            history.check_receipt(self.latest)


def receipt_of(message: Message) -> Receipt:
    return Receipt(message.counter, message.head)  # type: ignore[attr-defined]


def survive(warm: Warm, state: Path, kills: list[dict[str, float]]) -> int:
    """Live and die as told, then live to the end; how many lives ended in a kill."""
    outside, killed = Outside(), 0
    for kill in [*kills, {}]:
        life = warm.live(state, outside.latest, **kill)
        assert life["ended"] in ((-9, 0) if kill else (0,))
        killed += life["ended"] == -9
        outside.receive(life)
        if outside.replies or not kill:
            outside.check(Ledger.view(state / "ledger.sqlite", with_replies=True), life)
    history = Ledger.view(state / "ledger.sqlite", with_replies=True)
    assert sorted(outside.replies) == list(range(1, warm.requests))
    assert all(line.is_answered for line in history.lines())
    assert history.events() == warm.events  # all of the plan, nothing twice
    assert history.epsilon == pytest.approx(renyi.epsilon_rdp(warm.events, history.delta))
    assert accountant.epsilon(history.events(), history.delta) <= 3.0
    return killed


def schedules(warm: Warm, folder: Path, seed: int, count: int) -> int:
    """As many random schedules of one to three kills, by time and by line in turn; how many kills struck."""
    whole = [warm.live(folder / "timed"), warm.live(folder / "stepped", step=10**9)]
    rng, killed = random.Random(seed), 0
    for number in range(count):
        kills: list[dict[str, float]] = []
        for _ in range(rng.choice((1, 1, 2, 3))):
            if number % 2:
                kills.append({"step": rng.randint(1, whole[1]["steps"])})
            else:
                kills.append({"after_s": rng.uniform(0, whole[0]["seconds"])})
        killed += survive(warm, folder / f"schedule-{number}", kills)
    return killed


def test_a_kill_at_any_moment_releases_nothing_unpaid(counting: Warm, tmp_path: Path) -> None:
    assert schedules(counting, tmp_path, seed=1, count=50) >= 50


@pytest.mark.slow
def test_a_hospital_killed_before_any_line_comes_back(counting: Warm, tmp_path: Path) -> None:
    short = replace(counting, requests=2, events=counting.events[:1])  # an enrollment and one release
    steps = short.live(tmp_path / "whole", step=10**9)["steps"]
    for step in range(1, steps + 1):
        assert survive(short, tmp_path / f"step-{step}", [{"step": step}]) == 1


@pytest.mark.slow
def test_470_more_schedules(counting: Warm, tmp_path: Path) -> None:
    assert schedules(counting, tmp_path, seed=2, count=470) >= 400


@pytest.mark.slow
def test_a_training_hospital_killed_at_any_moment_comes_back(training: Warm, tmp_path: Path) -> None:
    assert schedules(training, tmp_path, seed=3, count=30) >= 25


def test_a_restored_copy_is_refused_at_the_next_enrollment(counting: Warm, tmp_path: Path) -> None:
    outside = Outside()
    outside.receive(counting.live(tmp_path))
    for file in tmp_path.iterdir():
        file.unlink()  # the oldest copy there is: none
    (place, text), *others = counting.live(tmp_path, outside.latest)["frames"]
    reply = from_bytes(base64.b64decode(text))
    assert isinstance(reply, EnrollReply)
    assert (place, reply.reason) == (0, "ledger-behind")
    # Without an enrollment nothing is released either.
    assert all(isinstance(from_bytes(base64.b64decode(data)), Unavailable) for _, data in others)
    assert Ledger.view(tmp_path / "ledger.sqlite").lines() == ()
