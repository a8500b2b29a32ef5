"""What several hospitals' dictionaries agree on, what they do not, and what is proposed: one value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from common.columns.kinds import KINDS
from common.dictionary.aspects import ASPECTS, Aspect
from common.dictionary.dictionary import Dictionary
from common.dictionary.entry import LEFT_OUT_OF_CHECKS, MEANINGS, DictionaryEntry, Settings, parse_entry, reason_of
from common.dictionary.matching import Match, match_columns
from common.dictionary.resolution import Talk, Voice, preferred
from common.errors import StudyError

GENERAL = {frozenset({"boolean", "categorical"}): "categorical", frozenset({"date", "datetime"}): "date"}
"""The kind that two kinds share: what the other one holds can be written as it."""

WITH_LABELS = frozenset({"categories", "items"})
"""Settings that differ, too, where hospitals give a label another meaning."""


OPTIONAL = frozenset({*LEFT_OUT_OF_CHECKS, "fallback", "below", "above", "missing_codes"})
"""Settings without which a column can stand, where the proposals for it do not fit together."""


@dataclass(frozen=True, slots=True)
class DeclaredDifference:
    """One difference between hospitals.

    Attributes:
        title: what differs, as a person calls it.
        declared: what each hospital declares, in words.
        proposal: the proposal, in words.
        tasks: who has to do what, by hospital.
        is_open: whether people have to decide; else nobody has to do anything.
        renames: agreed label of each of a hospital's own labels that changes, by hospital.
    """

    title: str
    declared: Mapping[str, str]
    proposal: str
    tasks: Mapping[str, str]
    is_open: bool
    renames: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AgreedColumn:
    """A column that at least one hospital has.

    Attributes:
        entries: how each hospital that has it describes it, by hospital.
        lacking: who does not.
        settings: the proposal, as `[[schema.columns]]` has it; without the open keys.
        open_keys: settings that a study needs and no hospital declares.
        is_kept: whether the study gets it, once nothing is open.
    """

    name: str
    entries: Mapping[str, DictionaryEntry]
    lacking: tuple[str, ...]
    settings: Settings
    open_keys: tuple[str, ...]
    findings: tuple[DeclaredDifference, ...]
    is_kept: bool

    @property
    def is_ready(self) -> bool:
        """Whether the study can hold it now."""
        return self.is_kept and not self.open_keys

    @property
    def is_open(self) -> bool:
        """Whether people have to decide something about it."""
        return any(finding.is_open for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Agreement:
    """All columns of all hospitals, compared."""

    hospitals: tuple[str, ...]
    columns: tuple[AgreedColumn, ...]

    @property
    def is_settled(self) -> bool:
        """Whether nobody has to decide anything."""
        return not any(column.is_open for column in self.columns)

    @property
    def open_findings(self) -> int:
        """How many differences people have to decide on."""
        return sum(finding.is_open for column in self.columns for finding in column.findings)

    @property
    def same(self) -> list[AgreedColumn]:
        """Columns in which no hospital differs."""
        return [column for column in self.columns if not column.findings]

    def tasks_of(self, hospital: str) -> Iterator[tuple[str, str]]:
        """Yield what a hospital has to do: column and task."""
        for column in self.columns:
            for finding in column.findings:
                if hospital in finding.tasks:
                    yield column.name, finding.tasks[hospital]


def agree(dictionaries: Sequence[Dictionary], *, keep_partial: bool = False) -> Agreement:
    """Compare what hospitals say about their columns, and propose a schema.

    Args:
        dictionaries: one per hospital, of different names; at least 2.
        keep_partial: keep columns that some hospitals lack, with missing values there; else they are left out.

    Raises:
        StudyError: there are fewer than two dictionaries, or two of one hospital.
    """
    hospitals = tuple(dictionary.hospital for dictionary in dictionaries)
    if len(hospitals) < 2:
        raise StudyError("an agreement needs the dictionaries of at least 2 hospitals; give one more file")
    if repeated := sorted({name for name in hospitals if hospitals.count(name) > 1}):
        raise StudyError(f"two dictionaries are of hospital '{repeated[0]}'; correct [dictionary] hospital in one")
    columns = [_column(match, keep_partial=keep_partial) for match in match_columns(dictionaries)]
    return Agreement(hospitals, tuple(_with_needs(columns)))


def _column(match: Match, *, keep_partial: bool) -> AgreedColumn:
    kind, findings = _kind(match)
    voices = [voice for voice in match.voices if voice.entry.kind == kind]
    agreed: dict[str, Any] = {"name": match.name, "kind": kind}
    for aspect in ASPECTS:
        if set(aspect.keys) & set(KINDS[kind].model_fields) and aspect.applies(agreed):
            findings += _discuss(aspect, voices, agreed)
    if description := _description(voices, agreed.pop(MEANINGS, {})):
        agreed["description"] = description
    is_partial, is_read = bool(match.lacking), bool(voices[0].entry.column.modeled)
    is_kept = not is_partial or keep_partial or (not is_read and has_content(agreed))
    if is_partial:
        findings.append(_presence(match, is_kept=is_kept) if is_read else _unread(match, is_kept=is_kept))
    if is_partial and is_read and keep_partial:
        agreed["missing"] = True
        if "empty" in KINDS[kind].model_fields:  # a list without items then needs a text of its own
            agreed.setdefault("empty", "none")
    entry, problem = _fitting(agreed)
    findings += problem
    return AgreedColumn(
        name=match.name,
        entries={voice.hospital: voice.entry for voice in match.voices},
        lacking=match.lacking,
        settings=agreed if entry is None else entry.settings,
        open_keys=() if entry is None else entry.open_keys,
        findings=(*_spelling(match), *findings),
        is_kept=entry is not None and is_kept,
    )


def _fitting(agreed: Settings) -> tuple[DictionaryEntry | None, list[DeclaredDifference]]:
    """Return the column of these settings, without optional ones if they do not fit together; None if it fails, too."""
    try:
        return parse_entry(agreed), []
    except ValueError as problem:
        reason = reason_of(problem)
    fewer = {key: value for key, value in agreed.items() if key not in OPTIONAL}
    try:
        entry = parse_entry(fewer)
    except ValueError:
        proposal = f"the proposals do not fit together, so the column is left out: {reason}"
        return None, [DeclaredDifference("settings together", {}, proposal, {}, is_open=True)]
    lost = ", ".join(key for key in agreed if key not in fewer)
    proposal = f"leave out {lost}, which do not fit the other proposals: {reason}"
    return entry, [DeclaredDifference("settings together", {}, proposal, {}, is_open=True)]


def _discuss(aspect: Aspect, voices: Sequence[Voice], agreed: dict[str, Any]) -> list[DeclaredDifference]:
    """Add what is agreed or proposed on an aspect to `agreed`; return the difference, if there is one."""
    talk = Talk(voices, agreed, aspect.keys)
    declarations = [talk.declaration(voice) for voice in voices]
    has_meanings = bool(WITH_LABELS & set(aspect.keys))
    meanings = [voice.entry.meanings if has_meanings else {} for voice in voices]
    is_open = any(set(aspect.keys) & set(voice.entry.open_keys) for voice in voices)
    if (
        all(values == declarations[0] for values in declarations)
        and all(meaning == meanings[0] for meaning in meanings)
        and not is_open
    ):
        own = voices[0].entry.settings
        agreed.update({key: own[key] for key in aspect.keys if key in own})
        if meanings[0]:
            agreed[MEANINGS] = dict(meanings[0])
        return []
    resolution = aspect.resolve(talk)
    agreed.update(resolution.values)
    declared = {voice.hospital: _declared(aspect, values, meaning)
                for voice, values, meaning in zip(voices, declarations, meanings, strict=True)}  # fmt: skip
    texts = (aspect.title, declared, resolution.sentence, resolution.tasks)
    return [DeclaredDifference(*texts, is_open=resolution.is_open, renames=resolution.renames)]


def _declared(aspect: Aspect, values: Sequence[Any], meanings: Mapping[str, str]) -> str:
    if not meanings:
        return aspect.text(values)
    return ", ".join(f"{label} = {meanings[label]}" if label in meanings else str(label) for label in values[0] or ())


def _kind(match: Match) -> tuple[str, list[DeclaredDifference]]:
    """Return the agreed kind, and the difference if hospitals have several."""
    kinds = {voice.hospital: voice.entry.kind for voice in match.voices}
    if len(set(kinds.values())) == 1:
        return match.voices[0].entry.kind, []
    listed = list(kinds.values())
    counts = sorted((listed.count(kind) for kind in set(listed)), reverse=True)
    shared = GENERAL.get(frozenset(listed)) if counts[0] == counts[1] else None
    chosen = shared or preferred(listed)
    tasks = {hospital: f"describe it as {chosen}, and write its values as {chosen} in the mapping file"
             for hospital, kind in kinds.items() if kind != chosen}  # fmt: skip
    return chosen, [DeclaredDifference("kind", kinds, f"take {chosen}", tasks, is_open=True)]


def has_content(agreed: Settings) -> bool:
    """Return whether a column that no hospital reads is written by a pattern or a template, and so not empty."""
    return any(agreed.get(key) for key in ("pattern", "template"))


def _holders(match: Match) -> dict[str, str]:
    return {voice.hospital: "has it" for voice in match.voices} | dict.fromkeys(match.lacking, "lacks it")


def _unread(match: Match, *, is_kept: bool) -> DeclaredDifference:
    """Return the finding on a column that some lack and that no hospital reads: nobody has to do anything."""
    proposal = "keep it" if is_kept else "leave it out, since it would be empty in the synthetic table"
    return DeclaredDifference(
        "hospitals that have it", _holders(match), f"{proposal}; no record is read for it", {}, is_open=False
    )


def _presence(match: Match, *, is_kept: bool) -> DeclaredDifference:
    hints = {hospital: f"does '{names[0]}' hold the same? Then rename it in the mapping file"
             for hospital, names in match.like.items()}  # fmt: skip
    if is_kept:
        proposal = "keep it; missing at hospitals that lack it"
        tasks = dict.fromkeys(match.lacking, "add the column without values, in the mapping file") | hints
    else:
        proposal, tasks = "leave it out (--keep-partial keeps it)", hints
    return DeclaredDifference("hospitals that have it", _holders(match), proposal, tasks, is_open=True)


def _spelling(match: Match) -> list[DeclaredDifference]:
    names = {voice.hospital: voice.entry.name for voice in match.voices}
    tasks = {hospital: f"rename '{name}' to '{match.name}' in the mapping file"
             for hospital, name in names.items() if name != match.name}  # fmt: skip
    return [DeclaredDifference("name", names, f"take '{match.name}'", tasks, is_open=True)] if tasks else []


def _description(voices: Sequence[Voice], meanings: Mapping[str, str]) -> str | None:
    """Return the first description, with what the labels mean: a study has no other place for it."""
    meant = "; ".join(f"{label} = {meaning}" for label, meaning in meanings.items())
    texts = [voice.entry.value("description") for voice in voices]
    described = next((text for text in texts if text), None)
    return ". ".join(text.rstrip(".") for text in (described, meant) if text) or None


def _with_needs(columns: Sequence[AgreedColumn]) -> Iterator[AgreedColumn]:
    """Yield the columns; one that does not fit the columns it names is not kept, and people decide."""
    ready = {column.name: parse_entry(column.settings).column for column in columns if column.is_ready}
    for column in columns:
        itself = ready.get(column.name)
        lost = next((need for need in itself.needs if need not in ready), None) if itself is not None else None
        problem = itself.problem(ready) if itself is not None and lost is None else None
        if itself is None or (lost is None and problem is None):
            yield column
            continue
        reason = problem or f"names '{lost}', which is not in the study"
        finding = DeclaredDifference("column it names", {}, f"leave it out: it {reason}", {}, is_open=True)
        yield replace(column, findings=(*column.findings, finding), is_kept=False)
