"""A hospital in a private evaluation: which patients it counts, what it charges, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from client.consent.policy import Policy
from client.hospital import Hospital
from client.shard import Shard, StreamedShard
from common.arrays import Integers
from common.errors import PolicyRefusal, Reason
from common.ledger.ledger import Ledger
from common.planning.phase_types import Records
from common.planning.phases import EVALUATION, HISTOGRAMS
from common.planning.planner import make_plan
from common.privacy.events import DiscreteGaussianVector, Event
from common.protocol.messages import CountsReply, CountsRequest, EnrollRequest, Unavailable
from common.tables.parts import Part
from simulations.audit.opened import MuteNoise
from tests.testbeds.clinic import clinic_table
from tests.testbeds.evaluating import a_classifier, evaluating_study, released_histograms

STUDY = evaluating_study()
PLAN = make_plan(STUDY)
PUBLIC = released_histograms(STUDY)
ENROLL = EnrollRequest("run-1", STUDY.to_toml(), STUDY.fingerprint, PLAN.to_json(), "{}")
REQUEST = CountsRequest(
    "run-1", EVALUATION, PUBLIC.released.only({HISTOGRAMS}).arrays(), weights=a_classifier(PUBLIC).weights
)
KEY = b"k" * 32


def patients(rows: int = 100) -> pd.DataFrame:
    return clinic_table(rows, seed=0).assign(patient=[f"p{row}" for row in range(rows)])


def shard_of(raw: pd.DataFrame) -> Shard:
    return Shard(raw, STUDY, key=KEY, patient_column="patient")


def answer_of(records: Records, path: Path, request: CountsRequest = REQUEST) -> tuple[Integers | None, list[Event]]:
    """The exact counts that a hospital without noise answers, and what it charged."""
    ledger = Ledger(path, cohort="clinic", delta=1e-4)
    hospital = Hospital(Policy("north", is_simulation=True), lambda study: records, ledger, MuteNoise())
    hospital.handle(ENROLL)
    reply = hospital.handle(request)
    events = list(ledger.events())
    ledger.close()
    return (reply.counts if isinstance(reply, CountsReply) else None), events


class TestPatients:
    def test_held_out_one_more_changes_what_is_charged(self, tmp_path: Path) -> None:
        raw = patients()
        with_all = shard_of(raw)
        before, events = answer_of(with_all, tmp_path / "all.sqlite")
        assert before is not None
        sigma, planned = PLAN.sigma(PLAN.hospitals[0], EVALUATION), PLAN.vector(EVALUATION)
        assert planned is not None
        assert events == [DiscreteGaussianVector(sigma, planned.squared_sensitivity, planned.largest_weight)]
        sides = set()
        for row in range(0, 100, 9):
            without = shard_of(raw.drop(index=row).reset_index(drop=True))
            after, _ = answer_of(without, tmp_path / f"{row}.sqlite")
            assert after is not None
            is_held_out = len(without.holdout) < len(with_all.holdout)
            sides.add(is_held_out)
            squared = int(((before - after) ** 2).sum())
            assert squared == (planned.squared_sensitivity if is_held_out else 0)
        assert sides == {True, False}

    @pytest.mark.parametrize("rows", [7, 64])
    def test_read_part_by_part_are_the_same(self, rows: int, tmp_path: Path) -> None:
        raw = pd.concat([patients(), patients(20)], ignore_index=True)  # some patients come twice
        parts = [Part.of(raw.iloc[start : start + rows].reset_index(drop=True)) for start in range(0, len(raw), rows)]
        streamed = StreamedShard(parts, STUDY, key=KEY, patient_column="patient")
        np.testing.assert_array_equal(streamed.held_out(PUBLIC), shard_of(raw).held_out(PUBLIC))
        np.testing.assert_array_equal(
            answer_of(streamed, tmp_path / "a.sqlite")[0], answer_of(shard_of(raw), tmp_path / "b.sqlite")[0]
        )

    def test_are_not_kept_for_a_study_that_does_not_ask(self) -> None:
        plain = STUDY.amended(evaluation={"private": False})
        streamed = StreamedShard([Part.of(patients())], plain, key=KEY, patient_column="patient")
        assert len(streamed.held_out(PUBLIC)) == 0


class TestRefusals:
    @pytest.mark.parametrize(
        "change",
        [
            {"weights": np.empty(0, dtype=np.int64)},
            {"weights": REQUEST.weights[1:]},
            {"weights": REQUEST.weights + 2**30},
            {"columns": np.array([0, 1])},
            {"candidates": np.array([0, 0, 0, 0])},
            {"released": {}},
        ],
        ids=range(6),
    )
    def test_cost_nothing(self, change: dict[str, object], tmp_path: Path) -> None:
        counts, events = answer_of(shard_of(patients()), tmp_path / "a.sqlite", replace(REQUEST, **change))  # type: ignore[arg-type]
        assert counts is None
        assert events == []

    def test_another_classifier_gets_no_second_answer(self, tmp_path: Path) -> None:
        ledger = Ledger(tmp_path / "ledger.sqlite", cohort="clinic", delta=1e-4)
        hospital = Hospital(Policy("north", is_simulation=True), lambda _: shard_of(patients()), ledger, MuteNoise())
        hospital.handle(ENROLL)
        assert isinstance(hospital.handle(REQUEST), CountsReply)
        other = replace(REQUEST, weights=a_classifier(PUBLIC, seed=1).weights)
        assert isinstance(hospital.handle(other), Unavailable)
        assert len(ledger.lines()) == 1
        ledger.close()

    def test_a_site_that_does_not_list_the_phase_refuses_the_run(self) -> None:
        policy = Policy("north", phases=frozenset(PLAN.phases) - {EVALUATION}, is_simulation=True)
        with pytest.raises(PolicyRefusal) as refused:
            policy.check("run-1", STUDY, PLAN, ())
        assert refused.value.reason == Reason.PHASE_NOT_ALLOWED
