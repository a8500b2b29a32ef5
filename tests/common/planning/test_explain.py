from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from common.planning.choice import ADVERSARY_FROM, Choice, RoundsReason, SharedNoise, TrainingChoice
from common.planning.class_rounds import ClassRoundsChoice, ClassRoundsReason
from common.planning.explain import about_rounds, explain
from common.planning.phases import COARSE, HISTOGRAMS, PAIRS
from common.planning.plan import ROUNDS, PlannedVector
from common.planning.sizing import TableCount, VotesChoice, VotesReason

TRAINING = TrainingChoice(
    rounds=0,
    steps=20,
    reason=RoundsReason.NOISE,
    signal_to_noise=20_915.4,
    is_own_noise=True,
    is_synchronous=False,
    parameters=1234,
)

CHOICE = Choice(
    rows=24_000,
    hospitals=4,
    signal_to_noise=41_830.2,
    cells=512,
    bins=24,
    vectors=(
        PlannedVector.unweighted(HISTOGRAMS, 5),
        PlannedVector.unweighted(COARSE, 6, 4),
        PlannedVector(PAIRS, 2, 16, 10_600, 150),
    ),
    tables={PAIRS: TableCount(2, 3)},
    votes=VotesChoice(False, VotesReason.NOISE, 50_000.0),
    classes=ClassRoundsChoice(0, ClassRoundsReason.NO_CLASSES),
    training=TRAINING,
    proportions={HISTOGRAMS: 0.15, COARSE: 0.40, PAIRS: 0.45},
)

SHARED = SharedNoise(hospitals=4, honest=3, dropouts=0, colluders=1, retries=2)


def rounds_sentence(**changes: object) -> str:
    return explain(replace(CHOICE, training=replace(TRAINING, **changes)))[3]  # type: ignore[arg-type]


class TestExplain:
    def test_each_subject_has_a_sentence(self) -> None:
        assert explain(CHOICE) == (
            "24000 declared training patients in 4 hospitals give a signal-to-noise ratio of 41830 (patients over the "
            "noise of one count that spends the whole budget).",
            "At most 512 histogram cells and 24 bins per numeric column. Counted, each patient once in every table: "
            "histograms 5 tables, coarse 6 tables in 4 groups, pairs 2 tables in 16 groups, weighted up to 150. 2 of 3 "
            "pairs.",
            "No votes: a signal-to-noise ratio of 41830 is below the 50000 at which votes show dependence of four of "
            "so many columns.",
            "No training rounds: a signal-to-noise ratio under each hospital's own noise of 20915 is below the 30000 "
            "at which they pay.",
            "Budget: histograms 15%, coarse 40%, pairs 45%.",
        )

    def test_without_noise_there_is_no_ratio(self) -> None:
        votes = replace(CHOICE.votes, is_taken=True)
        unpaid = dict.fromkeys(CHOICE.proportions, 0.0)
        choice = replace(CHOICE, signal_to_noise=math.inf, votes=votes, proportions=unpaid)
        first, *others = explain(choice)
        assert first == "24000 declared training patients in 4 hospitals, without noise."
        assert not any("Budget" in sentence for sentence in others)

    def test_without_vectors_nothing_is_counted(self) -> None:
        assert explain(replace(CHOICE, vectors=()))[1] == "Nothing is counted."


class TestVotes:
    @pytest.mark.parametrize(
        ("votes", "ratio", "sentence"),
        [
            (VotesChoice(True, VotesReason.VISIBLE, 2450.0), 5400.0,
             "Patients vote for rows of the model: a signal-to-noise ratio of 5400 reaches the 2450 at which votes "
             "show dependence of four of so many columns."),
            (VotesChoice(True, VotesReason.VISIBLE, 2450.0), math.inf,
             "Patients vote for rows of the model: without noise that shows dependence of three and four columns."),
            (VotesChoice(True, VotesReason.STUDY, 2450.0), 1.0,
             "Patients vote for rows of the model, as the study says."),
            (VotesChoice(False, VotesReason.STUDY, 2450.0), 1.0, "No votes, as the study says."),
        ],
        ids=range(4),
    )  # fmt: skip
    def test_reason_is_named(self, votes: VotesChoice, ratio: float, sentence: str) -> None:
        assert sentence in explain(replace(CHOICE, votes=votes, signal_to_noise=ratio))

    @pytest.mark.parametrize("ratio", [1.0, 2449.2, 2449.999, 2450.0, 2450.7])
    def test_the_figure_shown_agrees_with_the_reason(self, ratio: float) -> None:
        is_taken = ratio >= 2450.0
        reason = VotesReason.VISIBLE if is_taken else VotesReason.NOISE
        votes = VotesChoice(is_taken, reason, 2450.0)
        found = explain(replace(CHOICE, votes=votes, signal_to_noise=ratio))[2]
        shown, threshold = map(int, re.findall(r"(?:ratio of|below the|reaches the) (\d+)", found))
        assert (shown >= threshold) == ("reaches" in found) == is_taken

    def test_where_votes_have_nothing_to_choose_nothing_is_said(self) -> None:
        nothing = VotesChoice(False, VotesReason.NO_SETS, 2450.0)
        assert not any("vote" in sentence for sentence in explain(replace(CHOICE, votes=nothing)))


class TestClasses:
    @pytest.mark.parametrize(
        ("rounds", "reason", "ratio", "sentence"),
        [
            (0, ClassRoundsReason.NOISE, 100.0, "No encoder rounds: a signal-to-noise ratio of 100 is below the 12000"),
            (3, ClassRoundsReason.SIGNAL, math.inf, "3 encoder rounds: without noise they find dependence"),
            (3, ClassRoundsReason.SIGNAL, 12_000.0, "3 encoder rounds: a signal-to-noise ratio of 12000 reaches the"),
        ],
    )
    def test_reason_is_named(self, rounds: int, reason: ClassRoundsReason, ratio: float, sentence: str) -> None:
        votes, classes = replace(CHOICE.votes, is_taken=math.isinf(ratio)), ClassRoundsChoice(rounds, reason)
        choice = replace(CHOICE, votes=votes, classes=classes, signal_to_noise=ratio)
        assert any(text.startswith(sentence) for text in explain(choice))

    def test_rounds_without_noise_take_no_budget(self) -> None:
        counted = ClassRoundsChoice(3, ClassRoundsReason.SIGNAL)
        note = about_rounds(replace(CHOICE, classes=counted, signal_to_noise=math.inf, proportions={}))
        assert note == "3 encoder rounds were counted without noise."


class TestRounds:
    def test_the_ratio_that_decided_is_named(self) -> None:
        found = rounds_sentence(rounds=15, reason=RoundsReason.SIGNAL, signal_to_noise=41_830.2, is_own_noise=False)
        assert found == "15 training rounds: a signal-to-noise ratio of 41830 reaches the 30000 at which they pay."

    def test_the_study_is_named_where_it_decides(self) -> None:
        assert rounds_sentence(rounds=3, reason=RoundsReason.STUDY) == "3 training rounds, as the study says."

    def test_training_alone_needs_no_ratio(self) -> None:
        assert "without marginals" in rounds_sentence(rounds=15, reason=RoundsReason.ONLY_TRAINING)

    def test_without_noise_no_infinite_ratio_is_shown(self) -> None:
        found = rounds_sentence(rounds=15, reason=RoundsReason.SIGNAL, signal_to_noise=math.inf, is_own_noise=False)
        assert found == "15 training rounds: without noise an adversary pays."

    @pytest.mark.parametrize("is_own_noise", [False, True])
    @pytest.mark.parametrize("value", [1.0, 29_999.2, 29_999.999, 30_000.0, 30_000.4, 41_830.2])
    def test_the_figure_shown_agrees_with_the_reason(self, value: float, is_own_noise: bool) -> None:
        reason = RoundsReason.SIGNAL if value >= ADVERSARY_FROM else RoundsReason.NOISE
        found = rounds_sentence(reason=reason, signal_to_noise=value, is_own_noise=is_own_noise)
        shown, threshold = map(int, re.findall(r"(?:of|below the|reaches the) (\d+)", found))
        assert (shown >= threshold) == ("reaches" in found) == (reason is RoundsReason.SIGNAL)


class TestAboutRounds:
    @pytest.mark.parametrize(
        ("ratio", "words"),
        [
            (
                480.9,
                "15 rounds took 13% of the budget, at a signal-to-noise ratio of 480. Below 30000,",
            ),
            (29_999.9, "at a signal-to-noise ratio of 29999. Below 30000,"),
            (30_000.0, "at a signal-to-noise ratio of 30000. From 30000 on, rounds found"),
            (math.inf, "15 rounds were trained without noise."),
        ],
    )
    def test_what_is_known_of_such_rounds_is_said(self, ratio: float, words: str) -> None:
        training = replace(TRAINING, rounds=15, reason=RoundsReason.STUDY, signal_to_noise=ratio)
        found = about_rounds(replace(CHOICE, training=training, proportions={ROUNDS: 0.13}))
        assert found is not None
        assert words in found

    def test_of_whole_histories_the_placebo_is_named(self) -> None:
        training = replace(TRAINING, rounds=15, reason=RoundsReason.STUDY, reads_histories=True)
        found = about_rounds(replace(CHOICE, training=training, proportions={ROUNDS: 0.13}))
        assert found is not None
        assert "whole histories that saw no patient" in found
        assert "placebo" in rounds_sentence(rounds=0, reason=RoundsReason.PLACEBO)

    def test_without_rounds_there_is_nothing_to_say(self) -> None:
        assert about_rounds(CHOICE) is None


class TestSharedNoise:
    def test_price_and_retries_are_named(self) -> None:
        sentences = explain(replace(CHOICE, shared_noise=SHARED))[5:]
        assert len(sentences) == 2
        assert "4/3 = 1.33 times the central variance, the price of 0 dropouts and 1 colluders" in sentences[0]
        assert sentences[1] == "Up to 2 failed phases may be tried again."

    def test_averaged_rounds_say_what_masking_would_take(self) -> None:
        training = replace(TRAINING, rounds=3, reason=RoundsReason.STUDY)
        last = explain(replace(CHOICE, training=training, shared_noise=SHARED))[-1]
        assert "after 20 steps under each hospital's own noise" in last
        assert "60 times 1234 gradients" in last

    def test_synchronous_rounds_say_what_is_masked(self) -> None:
        training = replace(TRAINING, rounds=60, steps=1, reason=RoundsReason.STUDY, is_synchronous=True)
        last = explain(replace(CHOICE, training=training, shared_noise=SHARED))[-1]
        assert "Rounds are synchronous, one step each: every hospital sends 1234 gradients" in last


def test_hospitals_with_an_own_epsilon_are_named() -> None:
    assert explain(replace(CHOICE, own_epsilons={"south": 0.5}))[-1].endswith("which add more noise: south 0.5.")
