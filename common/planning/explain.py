"""Why a plan is as it is, in sentences for people. Everything that a program needs is a field of `Choice`."""

from __future__ import annotations

import math

from common.planning.choice import ADVERSARY_FROM, Choice, RoundsReason, SharedNoise, TrainingChoice
from common.planning.class_rounds import CLASSES_FROM, ClassRoundsReason
from common.planning.phases import COARSE
from common.planning.plan import CLASSES, EVALUATION, IMAGE_MEANS, IMAGE_MOMENTS, ROUNDS, VOTES, PlannedVector
from common.planning.sizing import VotesReason

_FROM = f"{CLASSES_FROM:.0f}"


def explain(choice: Choice) -> tuple[str, ...]:
    """Return what the run does and why, one subject a sentence."""
    sentences = [
        _signal(choice),
        _counts(choice),
        _votes(choice),
        _classes(choice),
        _rounds(choice.training),
        _budget(choice),
    ]
    if choice.shared_noise:
        sentences += _sharing(choice.shared_noise)
        if choice.training.rounds:
            sentences.append(_masking(choice.training))
    if choice.own_epsilons:
        listed = ", ".join(f"{name} {epsilon:g}" for name, epsilon in choice.own_epsilons.items())
        sentences.append(f"Hospitals with an epsilon of their own, which add more noise: {listed}.")
    return tuple(sentence for sentence in sentences if sentence)


def _signal(choice: Choice) -> str:
    patients = f"{choice.rows} declared training patients in {choice.hospitals} hospitals"
    if math.isinf(choice.signal_to_noise):
        return f"{patients}, without noise."
    return (
        f"{patients} give a signal-to-noise ratio of {_ratio(choice.signal_to_noise)} (patients over the noise of one "
        "count that spends the whole budget)."
    )


def _counts(choice: Choice) -> str:
    """What is counted, and how finely."""
    if not choice.vectors:
        return "Nothing is counted."
    vectors = ", ".join(map(_vector, choice.vectors))
    chosen = "".join(f" {count.counted} of {count.possible} {name}." for name, count in choice.tables.items())
    if COARSE in choice.tables:
        chosen += (
            " Only pairs with the target are counted: for this many patients, the noise of all pairs would be too "
            "large."
        )
    return (
        f"At most {choice.cells} histogram cells and {choice.bins} bins per numeric column. Counted, each patient once "
        f"in every table: {vectors}.{chosen}"
    )


def _vector(planned: PlannedVector) -> str:
    """How many tables a vector holds, how finely cut, and whether they have weights."""
    if planned.name == VOTES:
        return "votes"
    if planned.name == EVALUATION:
        return f"{planned.tables} tables of held-out patients"
    if planned.name == CLASSES:
        return f"{planned.tables} tables by latent class in each of {planned.rounds} rounds"
    if planned.name in (IMAGE_MEANS, IMAGE_MOMENTS):
        return f"{planned.name} of {planned.tables} classes"
    groups = f" in {planned.groups} groups" if planned.groups else ""
    weights = f", weighted up to {planned.largest_weight}" if planned.has_weights else ""
    return f"{planned.name} {planned.tables} tables{groups}{weights}"


def _votes(choice: Choice) -> str:
    """Whether patients vote, and the figure that decided it."""
    votes, ratio = choice.votes, choice.signal_to_noise
    if votes.reason is VotesReason.NO_SETS:
        return ""
    if votes.reason is VotesReason.STUDY:
        return f"{'Patients vote for rows of the model' if votes.is_taken else 'No votes'}, as the study says."
    if votes.is_taken and math.isinf(ratio):
        return "Patients vote for rows of the model: without noise that shows dependence of three and four columns."
    shows = f"the {_ratio(votes.needed)} at which votes show dependence of four of so many columns"
    if votes.is_taken:
        return f"Patients vote for rows of the model: a signal-to-noise ratio of {_ratio(ratio)} reaches {shows}."
    return f"No votes: a signal-to-noise ratio of {_ratio(ratio)} is below {shows}."


def _classes(choice: Choice) -> str:
    """How many rounds of latent classes, and the figure that decided it."""
    classes, ratio = choice.classes, choice.signal_to_noise
    shown = "" if math.isinf(ratio) else f"a signal-to-noise ratio of {_ratio(ratio)}"
    if classes.reason is ClassRoundsReason.NO_CLASSES:
        return ""
    if classes.reason is ClassRoundsReason.STUDY:
        return f"{classes.rounds} encoder rounds, as the study says."
    if classes.reason is ClassRoundsReason.NOISE:
        return f"No encoder rounds: {shown} is below the {_FROM} at which they find something."
    if math.isinf(ratio):
        return f"{classes.rounds} encoder rounds: without noise they find dependence of four columns."
    return (
        f"{classes.rounds} encoder rounds: {shown} reaches the {_FROM} at which they find dependence of four columns."
    )


def _rounds(training: TrainingChoice) -> str:
    """How many rounds, and the figure that decided it."""
    if training.reason is RoundsReason.ENCODER:
        return ""
    if training.reason is RoundsReason.FIT_ONLY:
        return "No training rounds: the synthesizer is fitted to the marginals alone."
    if training.reason is RoundsReason.STUDY:
        return f"{training.rounds} training rounds, as the study says."
    if training.reason is RoundsReason.PLACEBO:
        return "No training rounds: a discriminator of whole histories did no better than a placebo in trials."
    if training.reason is RoundsReason.ONLY_TRAINING:
        return f"{training.rounds} training rounds: without marginals the generator learns from them alone."
    under = " under each hospital's own noise" if training.is_own_noise else ""
    if math.isinf(training.signal_to_noise):
        return f"{training.rounds} training rounds: without noise an adversary pays."
    ratio = f"signal-to-noise ratio{under} of {_ratio(training.signal_to_noise)}"
    if training.reason is RoundsReason.SIGNAL:
        return f"{training.rounds} training rounds: a {ratio} reaches the {ADVERSARY_FROM:.0f} at which they pay."
    return f"No training rounds: a {ratio} is below the {ADVERSARY_FROM:.0f} at which they pay."


def about_rounds(choice: Choice) -> str | None:
    """Return what rounds took of the budget and what trials lead one to expect of them; None for a run without."""
    training = choice.training
    if choice.classes.rounds:
        return _about_classes(choice)
    if not training.rounds:
        return None
    if math.isinf(training.signal_to_noise):
        return f"{training.rounds} rounds were trained without noise."
    spent = f"{training.rounds} rounds took {choice.proportions[ROUNDS]:.0%} of the budget"
    if training.reads_histories:
        return f"{spent}. In trials, a discriminator of whole histories that saw no patient did as well or better."
    ratio, threshold = _ratio(training.signal_to_noise), f"{ADVERSARY_FROM:.0f}"
    if training.signal_to_noise >= ADVERSARY_FROM:
        return (
            f"{spent}, at a signal-to-noise ratio of {ratio}. From {threshold} on, rounds found dependence of four "
            "columns in trials that no count showed."
        )
    return (
        f"{spent}, at a signal-to-noise ratio of {ratio}. Below {threshold}, a discriminator that saw no patient did "
        "as well in trials."
    )


def _about_classes(choice: Choice) -> str:
    """Return the same for encoder rounds."""
    rounds, ratio = choice.classes.rounds, choice.signal_to_noise
    if math.isinf(ratio):
        return f"{rounds} encoder rounds were counted without noise."
    spent = f"{rounds} encoder rounds took {choice.proportions[CLASSES]:.0%} of the budget"
    finding = (
        f"From {_FROM} on, they found dependence of four columns in trials that no count showed"
        if ratio >= CLASSES_FROM
        else f"Below {_FROM}, they found little in trials"
    )
    return (
        f"{spent}, at a signal-to-noise ratio of {_ratio(ratio)}. {finding}; on real tables the counts alone did as "
        "well or better."
    )


def _ratio(value: float) -> str:
    """Return a ratio without decimals, cut off: rounded up, one below a threshold would look as if it reached it."""
    return f"{math.floor(value)}"


def _budget(choice: Choice) -> str:
    if not any(choice.proportions.values()):
        return ""
    parts = ", ".join(f"{phase} {proportion:.0%}" for phase, proportion in choice.proportions.items())
    return f"Budget: {parts}."


def _sharing(noise: SharedNoise) -> list[str]:
    """What shared noise costs, against a trusted curator's."""
    sentences = [
        f"Noise is shared: any {noise.honest} honest hospitals supply all of it, so with all {noise.hospitals} the sum "
        f"carries {noise.hospitals}/{noise.honest} = {noise.price:.3g} times the central variance, the price of "
        f"{noise.dropouts} dropouts and {noise.colluders} colluders (each hospital's own noise would cost "
        f"{noise.hospitals} times)."
    ]
    if noise.retries:
        sentences.append(f"Up to {noise.retries} failed phases may be tried again.")
    return sentences


def _masking(training: TrainingChoice) -> str:
    """Whether rounds are synchronous, where the noise of counts is shared."""
    if training.is_synchronous:
        return (
            f"Rounds are synchronous, one step each: every hospital sends {training.parameters} gradients under masks, "
            "and their noise is shared."
        )
    return (
        f"Rounds average weights after {training.steps} steps under each hospital's own noise: shared noise would need "
        f"every step under masks, {training.rounds * training.steps} times {training.parameters} gradients "
        "(steps = 1 asks for that)."
    )
