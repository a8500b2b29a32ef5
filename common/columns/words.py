"""Words that files use for true and false, in lower case. A pair is drafted as boolean where both occur."""

from __future__ import annotations

WORD_PAIRS = (("true", "false"), ("yes", "no"), ("t", "f"), ("y", "n"), ("ja", "nein"), ("j", "n"), ("oui", "non"),
              ("si", "no"), ("sí", "no"), ("ja", "nei"), ("ja", "nej"))  # fmt: skip
"""Pairs of words for true and false: English, German, French, Spanish, the Nordic languages."""

DIGIT_PAIR = ("1", "0")
"""Also read as true and false; drafted as boolean only on request, because it may number two categories."""

TRUE_WORDS = frozenset({true for true, _ in WORD_PAIRS} | {"1", "1.0"})
FALSE_WORDS = frozenset({false for _, false in WORD_PAIRS} | {"0", "0.0"})
