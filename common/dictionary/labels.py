"""Merging lists of labels: which are the same under another spelling or code, and which contradict each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from common.dictionary.entry import MEANINGS
from common.dictionary.resolution import ColumnProposal, Talk, Voice, spelled

SHOWN = 5
"""Labels that a sentence names before it says how many more there are."""


UNDECIDED = ""
"""Agreed label of one that means something else elsewhere, until people decide: missing."""


@dataclass(slots=True)
class Merged:
    """Labels agreed so far.

    Attributes:
        labels: what they mean, by label; the label itself where nobody declares a meaning.
        whose: which hospital brought each label.
        by_sense: the label of each sense (`spelled`).
        renames: by hospital, the agreed label of each of its own labels that changes.
    """

    labels: dict[str, str] = field(default_factory=dict)
    whose: dict[str, str] = field(default_factory=dict)
    by_sense: dict[str, str] = field(default_factory=dict)
    renames: dict[str, dict[str, str]] = field(default_factory=dict)

    def lacking(self, voice: Voice, own: Sequence[str]) -> list[str]:
        """Return the labels that a hospital has under no name."""
        held = {*own, *self.renames.get(voice.hospital, {}).values()}
        return [label for label in self.labels if label not in held]

    def text(self, label: str) -> str:
        """Return a label with its meaning, for a sentence."""
        meaning = self.labels[label]
        return f"'{label}'" if meaning == label else f"'{label}' ({meaning})"

    def add(self, label: str, meaning: str | None, hospital: str) -> None:
        """Add a label that is new."""
        self.labels[label], self.whose[label] = meaning or label, hospital
        for text in (meaning or label, label):
            self.by_sense.setdefault(spelled(text), label)


def merge_labels(talk: Talk) -> ColumnProposal:
    """Propose the union of the hospitals' labels, those of the hospital with the longest list first.

    Labels that differ in spelling, or have one meaning, become one. It is open where a label means two things, where a
    hospital has to write another label, where it lists none, or where two hospitals have labels of their own: one may
    be the other's under another name.
    """
    key = talk.keys[0]
    listed = {voice.hospital: list(voice.entry.value(key) or ()) for voice in talk.voices}
    voices = sorted(talk.voices, key=lambda voice: -len(listed[voice.hospital]))
    merged, meanings = Merged(), meanings_of(voices)
    tasks: dict[str, list[str]] = {}
    for voice in voices:
        changes = _take(merged, voice, listed[voice.hospital])
        unsure = [label for label in listed[voice.hospital] if label not in voice.entry.meanings and label in meanings]
        if unsure:
            changes.append("confirm that " + shortened([f"'{label}' means {meanings[label]}" for label in unsure]))
        tasks[voice.hospital] = changes if listed[voice.hospital] else ["list the labels"]
    lacking = {voice.hospital: merged.lacking(voice, listed[voice.hospital]) for voice in talk.voices}
    if all(lacking.values()):  # otherwise one hospital's labels hold all others
        for hospital in (hospital for hospital in lacking if listed[hospital]):
            texts = [merged.text(label) for label in lacking[hospital]]
            tasks[hospital].append(f"say whether {shortened(texts)} is one of its labels under another name")
    sentences = {hospital: "; ".join(changes) for hospital, changes in tasks.items() if changes}
    if not merged.labels:
        return ColumnProposal({}, "no hospital lists labels; decide on them", sentences, is_open=True)
    meant = {label: meaning for label, meaning in merged.labels.items() if meaning != label}
    values = {key: list(merged.labels)} | ({MEANINGS: meant} if meant else {})
    proposal = f"take all {len(merged.labels)}: {shortened([merged.text(label) for label in merged.labels])}"
    return ColumnProposal(values, proposal, sentences, is_open=bool(sentences), renames=merged.renames)


def _take(merged: Merged, voice: Voice, labels: Sequence[str]) -> list[str]:
    """Take a hospital's labels into the list; return what the hospital has to do about them."""
    changes = []
    for label in labels:
        meaning = voice.entry.meanings.get(label)
        same_sense = merged.by_sense.get(spelled(meaning or label))
        if label in merged.labels:
            first = merged.labels[label]
            if first == label and meaning is not None:
                merged.labels[label] = meaning
            elif meaning is not None and spelled(meaning) != spelled(first):
                remedy = "another label" if same_sense is None else f"'{same_sense}'"
                merged.renames.setdefault(voice.hospital, {})[label] = same_sense or UNDECIDED
                changes.append(
                    f"'{label}' means {meaning} here and {first} at {merged.whose[label]}: write {remedy} for it in "
                    "the mapping file, or correct the dictionary"
                )
        elif same_sense is not None and merged.whose[same_sense] != voice.hospital:
            merged.renames.setdefault(voice.hospital, {})[label] = same_sense
            changes.append(f"write '{same_sense}' for '{label}' in the mapping file")
        else:
            merged.add(label, meaning, voice.hospital)
    return changes


def shortened(texts: Sequence[str]) -> str:
    """Return texts for a sentence: the first few, and how many more."""
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more


def meanings_of(voices: Sequence[Voice]) -> Mapping[str, str]:
    """Return what labels mean, as the first hospital that says so has it."""
    meanings: dict[str, str] = {}
    for voice in voices:
        for label, meaning in voice.entry.meanings.items():
            meanings.setdefault(label, meaning)
    return meanings
