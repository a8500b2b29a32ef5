"""Drafts of columns of labels: categories and booleans."""

from __future__ import annotations

import math
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from common.columns.cells import count_rows, number_of
from common.columns.drafting import ColumnEvidence, Draft, LeftOut
from common.columns.drafting_forms import unread_form
from common.columns.words import DIGIT_PAIR, WORD_PAIRS

MOST_LABELS = 50
"""Labels of a drafted column; the rarer ones of a longer list become `OTHER`."""

LONGEST_LABEL = 200
"""Characters of a drafted label; a longer text is free text."""

OTHER = "other"


def draft_boolean(evidence: ColumnEvidence, *, with_digits: bool = False) -> Draft | None:
    """Return the words for true and false where a column has these two and no other.

    Args:
        evidence: the column.
        with_digits: whether 1 and 0 count as such words.
    """
    by_word = {text.lower(): text for text in evidence.texts}
    if len(by_word) != 2 or len(evidence.texts) != 2:
        return None
    for true, false in (*WORD_PAIRS, DIGIT_PAIR) if with_digits else WORD_PAIRS:
        if by_word.keys() == {true, false}:
            return Draft({"kind": "boolean", "true": by_word[true], "false": by_word[false]})
    return None


def draft_categorical(evidence: ColumnEvidence, *, is_forced: bool = False) -> Draft | LeftOut:
    """Return all labels in order, as they are written; of more than `MOST_LABELS` the most frequent ones and `OTHER`.

    Args:
        evidence: the column.
        is_forced: whether a person says that the column holds labels, however many are distinct.
    """
    texts = evidence.texts
    is_free = len(texts) > evidence.present / 2 and len(evidence.numbers) < len(texts)
    if not evidence.is_target and not is_forced and (is_free or len(texts) > MOST_LABELS):
        if (form := unread_form(evidence)) is not None:
            return LeftOut(form)
        if is_free:
            return LeftOut("more than half of its labels are distinct, like an identifier or free text")
    if unusable := sum(count for text, count in texts.items() if not text.isprintable() or len(text) > LONGEST_LABEL):
        return LeftOut(
            f"labels in {count_rows(unusable)} have line breaks or other unprintable characters, or are very long"
        )
    notices = _spellings(texts) + [
        f"holds '{word}' in {count_rows(count)}, which is kept as a label; if it means missing, remove it from the "
        "categories and set missing = true"
        for word, count in evidence.answers.items()
    ]
    if len(texts) <= MOST_LABELS:
        return Draft({"kind": "categorical", "categories": _in_order(texts)}, tuple(notices))
    ranked = sorted((text for text in texts if text != OTHER), key=lambda text: (-texts[text], text))
    categories = [*_in_order(ranked[: MOST_LABELS - 1]), OTHER]
    notices.append(f"has more than {MOST_LABELS} labels: rare ones become '{OTHER}'")
    return Draft({"kind": "categorical", "categories": categories, "fallback": OTHER}, tuple(notices))


def _in_order(texts: Iterable[str]) -> list[str]:
    """Return labels by their number where all are numbers, else by their text."""
    listed = sorted(texts)
    return listed if any(math.isnan(number_of(text)) for text in listed) else sorted(listed, key=number_of)


def _spellings(texts: Iterable[str]) -> list[str]:
    """Return a notice about labels that differ only in capitals, blanks, and how an accent is stored."""
    same: dict[str, list[str]] = defaultdict(list)
    for text in sorted(texts):
        same["".join(unicodedata.normalize("NFC", text).casefold().split())].append(text)
    listed = ["'" + "', '".join(group) + "'" for group in same.values() if len(group) > 1]
    if not listed:
        return []
    return [f"has labels that differ only in capitals or blanks: {'; '.join(listed)}: use one spelling"]
