"""Drafts of columns of lists, and of the pattern of identifiers."""

from __future__ import annotations

from collections import Counter

from common.columns.cells import count_rows
from common.columns.drafting import ColumnEvidence, Draft
from common.columns.drafting_forms import BRACKETS, unread_form

SEPARATORS = (", ", "; ", " | ", "|", ";", ",", " + ", "+")
"""What stands between items, in the order in which a draft tries it."""

MOST_ITEMS = 40
"""Items of a drafted set; rarer ones are left out."""

LONGEST_ITEM = 60
"""Characters of an item; a longer one is free text."""

LEAST_LISTS = 0.2
"""Smallest fraction of the cells of a column of lists that hold several items."""

PROSE_WORDS, PROSE = 6, 0.25
"""Mean words of an item, and fraction of items with a word of `SENTENCE_WORDS`, from which a text is not a list."""

ENGLISH = frozenset({"the", "a", "is", "are", "was", "has", "had", "with", "and", "for", "no", "not", "of", "to", "on"})
GERMAN = frozenset(
    {"und", "der", "die", "das", "den", "ist", "war", "hat", "mit", "keine", "kein", "nicht", "bei", "im"}
)
FRENCH = frozenset({"le", "la", "les", "est", "et", "avec", "sans", "pas", "de", "du"})
SPANISH = frozenset({"el", "los", "es", "con", "sin", "y", "se", "en"})
SENTENCE_WORDS = ENGLISH | GERMAN | FRENCH | SPANISH
"""Words of sentences in English, German, French and Spanish."""

LEAST_REUSE = 5
"""Fewest cells in which an item of a column of lists occurs, on average."""


def draft_set(evidence: ColumnEvidence, *, is_forced: bool = False) -> Draft | None:
    """Return the separator and the items of a column of lists; None for any other column.

    Args:
        evidence: the column.
        is_forced: whether a person says that the column holds lists.
    """
    if evidence.is_target or evidence.is_mostly_numeric or any(map(BRACKETS.fullmatch, evidence.texts)):
        return None
    if not is_forced and unread_form(evidence) is not None:
        return None
    for separator in SEPARATORS:
        several = sum(count for text, count in evidence.texts.items() if separator in text)
        if several < max(2, LEAST_LISTS * evidence.present):
            continue
        if not is_forced and _is_prose([item for text in evidence.texts for item in text.split(separator)]):
            continue
        lists = {text: [item.strip() for item in text.split(separator)] for text in evidence.texts}
        if any(len(item) > LONGEST_ITEM or not item.isprintable() for items in lists.values() for item in items):
            continue
        counts: Counter[str] = Counter()
        for text, items in lists.items():
            for item in filter(None, set(items)):
                counts[item] += evidence.texts[text]
        holders = Counter(item for items in lists.values() for item in set(items))
        is_reused = counts.total() >= LEAST_REUSE * len(counts) and max(holders.values()) > 1
        is_reused &= len(set(map(len, lists.values()))) > 1  # "yes, often" and "no, never" are labels
        if is_forced or is_reused:
            kept = _in_order([item for item, _ in counts.most_common(MOST_ITEMS)], list(lists.values()))
            notices = [f"holds lists of {len(counts)} items"]
            if len(counts) > len(kept):
                notices.append(f"has more than {MOST_ITEMS} items: rare ones are left out")
            blank = len(evidence.cells) - evidence.present
            if blank:
                notices.append(f"is empty in {count_rows(blank)}, read as a list without items")
            return Draft({"kind": "set", "separator": separator, "items": kept}, tuple(notices), missing=False)
    return None


def _is_prose(items: list[str]) -> bool:
    """Return whether items read as parts of sentences: long ones, or many with words that only sentences have."""
    words = [item.casefold().split() for item in items if item.strip()]
    joining = sum(not SENTENCE_WORDS.isdisjoint(item) for item in words)
    return sum(map(len, words)) >= PROSE_WORDS * len(words) or joining >= PROSE * len(words)


def _in_order(kept: list[str], lists: list[list[str]]) -> list[str]:
    """Return items by their mean index in the lists, so that lists come back in the usual order."""
    indices: dict[str, list[int]] = {item: [] for item in kept}
    for items in lists:
        for index, item in enumerate(items):
            indices.get(item, []).append(index)
    return sorted(kept, key=lambda item: (sum(indices[item]) / len(indices[item]), item))


def draft_identifier(evidence: ColumnEvidence) -> Draft | None:
    """Return the pattern of most cells: digits become #, capital letters ?, where not all cells have the same."""
    if not evidence.texts:
        return None
    length = Counter(map(len, evidence.texts)).most_common(1)[0][0]
    texts = [text for text in evidence.texts if len(text) == length]
    marks = []
    for letters in zip(*texts, strict=True):
        distinct = set(letters)
        is_fixed = len(distinct) == 1
        marks.append(letters[0] if is_fixed else "#" if all(letter.isdigit() for letter in distinct) else "?")
    pattern = "".join(marks)
    missing = 3 - sum(mark in "#?" for mark in marks)
    return Draft(
        {"kind": "identifier", "pattern": pattern + "#" * max(0, missing)},
        ("is never read; fresh identifiers are written by its pattern",),
    )
