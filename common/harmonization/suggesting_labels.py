"""Suggest which of a study's labels each local label is: by its text, its meaning in four languages, or its letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rapidfuzz import fuzz, process

from common.columns.base import TableColumn
from common.columns.labels import UNLISTED, finder
from common.harmonization.conventions import Conventions
from common.harmonization.evidence import LocalColumn
from common.harmonization.headers import folded, header_of, meanings_of
from common.harmonization.suggestion import Suggestion
from common.harmonization.words import WORDS_FOR_MISSING

MOST_LABELS = 60
"""Most different labels of a local column for which a mapping of labels is suggested."""

ALIKE = 82
"""Similarity in percent from which a label is suggested for its letters."""

SHORTEST = 3
"""Fewest letters of a label for which another is suggested for its letters."""

DIGITS = {"1": "yes", "0": "no"}
"""Usual numbers for yes and no."""

OPPOSITES = {"yes": "no", "no": "yes"}

HOMBRE_MUJER = {"h": "male", "m": "female"}
"""Spanish letters, which mean another thing than the English ones."""


def suggest_labels(
    column: TableColumn, local: LocalColumn, labels: Sequence[str], conventions: Conventions
) -> Suggestion:
    """Return how a local column becomes a column of labels.

    Args:
        column: the study's column.
        local: the local one.
        labels: the study's labels.
        conventions: how the hospital writes cells.
    """
    texts = [text for text in local.texts if not conventions.is_missing(text)]
    find = finder(labels)
    if local.date_forms and (dated := _dated(local, labels)) is not None:
        return dated
    is_decoded = any(local.meaning(text) != text for text in texts)
    if is_decoded and (decoded := _mapped(column, local, labels, texts)).fit > 0:
        return decoded
    if all(find(text) not in (UNLISTED, len(labels)) for text in texts):
        return Suggestion({"from": local.name}, 1.0, ("the labels are the study's",))
    if max(len(texts), len(labels)) > MOST_LABELS:
        share = local.share({text: not column.check([text]) for text in texts})
        check = "too many different labels for a proposal: write labels, or a `lookup` with a file"
        return Suggestion({"from": local.name}, share, (), () if share > 0.95 else (check,))
    return _mapped(column, local, labels, texts)


def _mapped(column: TableColumn, local: LocalColumn, labels: Sequence[str], texts: Sequence[str]) -> Suggestion:
    """Return a recipe that maps labels one by one, as far as they mean one of the study's."""
    means = _meanings(column, local, texts)
    mapped: dict[str, str] = {}
    checks: list[str] = []
    unmapped: dict[str, str] = {}
    lost: list[str] = []
    for text in texts:
        label, is_sure = _label(local.meaning(text), labels, means[text])
        if label is None:
            if text in local.missing_texts or local.meaning(text) in WORDS_FOR_MISSING:
                lost.append(text)
            else:
                shown = local.meaning(text)
                unmapped[text] = (f"{shown}; " if shown != text else "") + _remark(shown, labels)
            continue
        mapped[text] = label
        if not is_sure:
            checks.append(f"'{local.meaning(text)}' is taken for '{label}'")
    if any(local.meaning(text).strip() in DIGITS for text in mapped):
        checks.append("1 is taken for yes and 0 for no")
    if _is_opposite(column, local):
        checks.append(f"'{local.name}' says the opposite of '{column.name}', so yes and no are exchanged")
    if lost:
        checks.append(f"taken for missing: {', '.join(lost)}")
    if unmapped:
        fallback = column.model_dump().get("fallback")
        remedy = "map them below" + (f', or write other = "{fallback}" above labels' if fallback else "")
        checks.append(f"labels that are not mapped: {len(unmapped)}; {remedy}")
    if not mapped:
        return Suggestion({"from": local.name}, 0.0, (), tuple(checks), unmapped)
    settings: dict[str, Any] = {"operation": "labels", "from": local.name} | ({"missing": lost} if lost else {})
    share = local.share({text: text in mapped for text in texts if text not in lost})
    decoded = ", ".join(f"{text} = {local.meaning(text)}" for text in mapped if local.meaning(text) != text)
    reasons = (f"your data dictionary says: {decoded}",) if decoded else ()
    return Suggestion(settings | {"labels": mapped}, share, reasons, tuple(checks), unmapped)


def _dated(local: LocalColumn, labels: Sequence[str]) -> Suggestion | None:
    """Return a recipe that says whether there is a date, such as one of death; None where labels are not yes and no.

    Args:
        local: a column of dates.
        labels: the study's labels.
    """
    yes, no = ([label for label in labels if word in meanings_of(label)] for word in ("yes", "no"))
    if len(yes) != 1 or len(no) != 1:
        return None
    settings = {"operation": "is_present", "from": local.name, "present": yes[0], "absent": no[0]}
    return Suggestion(settings, 1.0, (), ("it holds dates: is a date yes, and an empty cell no?",))


def _meanings(column: TableColumn, local: LocalColumn, texts: Sequence[str]) -> dict[str, frozenset[str]]:
    """Return what every local label may mean, with what the column's name adds to it."""
    shown = {text: local.meaning(text).strip() for text in texts}
    letters = {word.casefold() for word in shown.values()}
    is_spanish = {"h", "m"} <= letters and not letters & {"f", "w"}
    about = header_of(column.name).words
    means = {}
    for text, word in shown.items():
        meaning = meanings_of(word) | ({DIGITS[word]} if word in DIGITS else set())
        if is_spanish or word.casefold() == "h":
            meaning = frozenset({HOMBRE_MUJER.get(word.casefold(), "")}) if len(word) == 1 else meaning
        if "died" in about:
            meaning |= {"yes"} if "dead" in meaning else {"no"} if "alive" in meaning else set()
        if _is_opposite(column, local):
            meaning = frozenset(OPPOSITES.get(word, word) for word in meaning)
        means[text] = frozenset(meaning)
    return means


def _is_opposite(column: TableColumn, local: LocalColumn) -> bool:
    """Return whether one name is about death and the other about life."""
    names = header_of(column.name).words, local.header.words
    return any("alive" in one and "died" in other for one, other in (names, names[::-1]))


def _label(text: str, labels: Sequence[str], meaning: frozenset[str]) -> tuple[str | None, bool]:
    """Return the study's label for a local one, None for none; and whether that is sure.

    Args:
        text: the local label.
        labels: the study's.
        meaning: what the local one may mean.
    """
    exact = finder(labels)(text)
    by_letters: Mapping[str, str] = {folded(label): label for label in reversed(labels)}
    alike = [label for label in labels if meaning & (meanings_of(label) | {folded(label)})]
    if meaning and len(alike) == 1:
        return alike[0], True
    if exact not in (UNLISTED, len(labels)):
        return labels[exact], True
    if folded(text) in by_letters and folded(text):
        return by_letters[folded(text)], True
    if len(folded(text)) < SHORTEST or any(mark.isdigit() for mark in text):
        return None, False  # two codes are never the same for their letters
    by_sound = {_sound(label): label for label in reversed(labels)}
    match = process.extractOne(_sound(text), list(by_sound), scorer=fuzz.ratio, score_cutoff=ALIKE)
    return (None, False) if match is None else (by_sound[match[0]], False)


def _sound(text: str) -> str:
    """Return a text in which words of Greek and Latin are written alike in all languages."""
    sound = folded(text)
    for letters, sign in (("k", "c"), ("ph", "f"), ("th", "t"), ("y", "i"), ("z", "c")):
        sound = sound.replace(letters, sign)
    return sound


def _remark(text: str, labels: Sequence[str]) -> str:
    """Return the study's nearest label, for a person who maps it."""
    if len(labels) > MOST_LABELS:
        return "not mapped"
    nearest, score, _ = process.extractOne(folded(text), [folded(label) for label in labels], scorer=fuzz.ratio)
    return f"the study has {', '.join(labels[:12])}" if score < 50 else f"nearest: {nearest} ({score:.0f} %)"
