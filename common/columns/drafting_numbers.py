"""Drafts of columns of numbers: bounds, decimals, multiples, missing codes and censored values."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from common.arrays import Floats
from common.columns.cells import censored, count_rows, number_of
from common.columns.drafting import FEW_NUMBERS, MOSTLY, ColumnEvidence, Draft, LeftOut
from common.columns.drafting_commas import has_decimal_comma, with_decimal_comma, with_points
from common.columns.drafting_labels import MOST_LABELS, draft_categorical
from common.columns.drafting_rounding import draft_multiples, draft_recorded_step
from common.columns.drafting_sentinels import find_sentinels
from common.columns.storage import find_storage
from common.columns.value_grid import MAX_GRID_SIZE

USUAL_DECIMALS, MOST_DECIMALS = 4, 9
"""Decimals of a drafted column; more where numbers are small, so that they keep `SIGNIFICANT` digits."""

SIGNIFICANT = 3
"""Digits that the middle number of a drafted column keeps."""

MOST_CODES = 12
"""Missing codes of a drafted column; rarer words become missing."""

FEW_ROWS, LEAST_DISTINCT, RARE = 50, 4, 3
"""With fewer rows, four distinct numbers are measurements where they have decimals or repeat three times at most."""

LEAST_CODE = 1000
"""Numbers below this are not taken for codes because of gaps between them."""

GAPS = 0.02
"""A column of whole numbers is one of codes where it has fewer than this part of the values between its bounds."""

REPEATS = 4
"""Fewest cells per distinct number of such a column."""

MOST_EXACT = 2.0**53
"""Largest whole number up to which floating point holds every one."""

IDENTIFIER_DIGITS = 7
"""Whole numbers of this many digits each, nearly all different, identify people, even where some cells are blank."""

CODE_NAME = re.compile(
    r"(^|[^a-z])(zip|plz|postal|postcode|icd\d*|cpt|atc|loinc|snomed|concept|codes?)([^a-z]|$)", re.I
)
"""Names of columns of codes."""

WITH_UNIT = re.compile(r"(?>[+-]?\d(?:[\d.eE+-]*\d)?)(?=\D*\Z)[.eE+-]*\s*([^\d\s.,+-]\D*)")
"""A number with a unit behind it. The last digit is fixed first, so that long cells take no time."""


def draft_numeric(evidence: ColumnEvidence, *, is_forced: bool = False) -> Draft | LeftOut | None:
    """Return the settings of a column of many distinct numbers; None for any other column.

    Args:
        evidence: the column.
        is_forced: whether a person says that it is one of numbers.
    """
    if has_decimal_comma(evidence):
        return with_decimal_comma(draft_numeric(with_points(evidence), is_forced=is_forced), evidence)
    numbers, words, unit = _without_unit(evidence)
    if not numbers or (not is_forced and sum(words.values()) > (1 - MOSTLY) * evidence.present):
        return None
    sentinels, odd = find_sentinels(numbers, evidence)
    plain = {text: number for text, number in numbers.items() if text not in sentinels}
    is_small = not is_forced and not evidence.is_target and _measures_few(plain, evidence)
    if len(set(plain.values())) <= (1 if is_forced or is_small else FEW_NUMBERS):
        return None
    values = np.repeat(list(plain.values()), [evidence.texts[text] for text in plain]).astype(np.float64)
    if not is_forced and not words:
        if not evidence.is_target and _is_identifier(plain, values):
            return LeftOut("its whole numbers are long and mostly different, like an identifier")
        if _is_code(set(plain.values()), values, evidence.name):
            if len(set(plain.values())) <= MOST_LABELS:
                labels = draft_categorical(evidence, is_forced=True)
                hint = "is taken for codes, not for a measurement; --kind COLUMN=numeric says otherwise"
                return replace(labels, notices=(*labels.notices, hint)) if isinstance(labels, Draft) else labels
            return LeftOut("it holds codes, not measurements; --kind COLUMN=categorical keeps the most frequent ones")
    settings = _settings(evidence, values, words, {text: evidence.texts[text] for text in sentinels}, unit)
    if not isinstance(settings, Draft):
        return settings
    notices = [
        f"holds the number '{text}' in 1 row, far outside the rest: it stays a number and moves a bound; "
        "if it means missing, declare it under missing_codes"
        for text in odd
    ]
    if is_small:
        notices.append(
            f"is taken for numbers though only {count_rows(evidence.present)} hold some; "
            "--kind COLUMN=categorical says otherwise"
        )
    return replace(settings, notices=(*settings.notices, *notices))


def _measures_few(plain: Mapping[str, float], evidence: ColumnEvidence) -> bool:
    """Return whether a table of few rows measures something: decimals, or whole numbers that seldom repeat."""
    distinct = set(plain.values())
    if evidence.present >= FEW_ROWS or len(distinct) < LEAST_DISTINCT or evidence.has_codes:
        return False
    return any(number != round(number) for number in distinct) or RARE * len(distinct) >= evidence.present


def _settings(
    evidence: ColumnEvidence, values: Floats, words: Mapping[str, int], sentinels: Mapping[str, int], unit: str | None
) -> Draft | LeftOut:
    """Return the settings of a column of numbers.

    Args:
        evidence: the column.
        values: its numbers, sentinels left out, each as often as it occurs.
        words: how often each text occurs that is no number.
        sentinels: how often each number occurs that stands for missing.
        unit: the unit that stands in the cells; None for none.
    """
    limits = {text: side for text in words if (side := censored(text)) is not None}
    ends = {
        key: max(candidates, key=lambda text: words[text], default=None)
        for key, candidates in (
            ("below", [text for text, (sign, limit) in limits.items() if sign < 0 and limit <= values.min()]),
            ("above", [text for text, (sign, limit) in limits.items() if sign > 0 and limit >= values.max()]),
        )
    }
    edges = [limits[text][1] for text in ends.values() if text is not None]
    entry = _draft_bounds(np.concatenate([values, edges]), with_multiples=evidence.with_multiples)
    if entry is None:
        return LeftOut("its range and decimals need more than 2^50 values; use a larger unit or a logarithm")
    for key, text in ends.items():
        if text is not None:
            entry |= {key: text, "lower" if key == "below" else "upper": limits[text][1]}
    if not entry["lower"] < entry["upper"]:
        return LeftOut("nearly all of its values are beyond the limits of what is measured")
    rest = {text: count for text, count in words.items() if text not in ends.values()}
    coded = sorted([*rest, *sentinels], key=lambda text: (-{**rest, **sentinels}[text], text))[:MOST_CODES]
    notices = [f"holds '{text}' in {count_rows(words[text])}, declared as {key}" for key, text in ends.items() if text]
    notices += [
        f"holds {'the number ' if text in sentinels else ''}'{text}' in {count_rows({**rest, **sentinels}[text])}, "
        "declared as a missing code"
        for text in coded
    ]
    if lost := sum(count for text, count in rest.items() if text not in coded):
        notices.append(f"holds other text in {count_rows(lost)}, which becomes missing")
    if unit is not None:
        notices.append(f"holds the unit '{unit}' in its cells, which is left off in the synthetic table")
    entry |= {"missing_codes": coded} if coded else {}
    return Draft(entry | ({"unit": unit} if unit else {}), tuple(notices), missing=bool(coded or lost))


def _without_unit(evidence: ColumnEvidence) -> tuple[dict[str, float], dict[str, int], str | None]:
    """Return the number of each text that is one, with or without a unit behind it, the other texts, and the unit."""
    numbers, words = dict(evidence.numbers), dict(evidence.words)
    if evidence.has_codes:
        return numbers, words, None
    suffixes: dict[str, int] = {}
    for text, count in words.items():
        match = WITH_UNIT.fullmatch(text)
        if match is not None:
            suffixes[match[1]] = suffixes.get(match[1], 0) + count
    unit = max(suffixes, key=lambda suffix: suffixes[suffix], default=None)
    if unit is None or len(suffixes) > 2:
        return numbers, words, None
    for text in list(words):
        number = number_of(text.removesuffix(unit)) if text.endswith(unit) else math.nan
        if not math.isnan(number):
            numbers[text] = number
            del words[text]
    return numbers, words, unit


def _is_identifier(plain: Mapping[str, float], values: Floats) -> bool:
    """Return whether whole numbers are long and mostly different."""
    if not bool((values == np.round(values)).all()):
        return False
    distinct = len(set(plain.values()))
    lengths = {len(text) for text in plain}
    is_long = len(lengths) <= 2 and min(lengths) >= IDENTIFIER_DIGITS
    return is_long and distinct >= 0.6 * len(values) and _common_step(values) == 1


def _is_code(distinct: set[float], values: Floats, name: str) -> bool:
    """Return whether whole numbers name things: few of the possible ones occur, each often, or the name says so."""
    if not bool((values == np.round(values)).all()) or min(distinct) < 0:
        return False
    if CODE_NAME.search(name) is not None:
        return True
    if min(distinct) < LEAST_CODE or len(values) < REPEATS * len(distinct):
        return False
    possible = (max(distinct) - min(distinct)) / _common_step(values) + 1
    return len(distinct) < GAPS * possible


def _common_step(values: Floats) -> int:
    return int(np.gcd.reduce(np.unique(values.astype(np.int64)))) or 1


def _draft_bounds(numbers: Floats, *, with_multiples: bool) -> dict[str, Any] | None:
    """Return bounds, decimals and multiples; None where no grid holds them.

    Bounds are rounded outwards to multiples of the power of ten just below the range: 28 to 77 becomes 20 to 80.
    """
    written = _written_decimals(numbers)
    stored = find_storage(numbers, written)
    if stored is not None:
        numbers = np.round(numbers, stored[1])
    low, high = float(numbers.min()), float(numbers.max())
    decimals = _decimals(numbers)
    while decimals and (high - low) * 10.0**decimals > MAX_GRID_SIZE / 16:
        decimals -= 1
    if (high - low) > MAX_GRID_SIZE / 16 or max(abs(low), abs(high)) > MOST_EXACT:
        return None
    step = 10.0 ** max(math.floor(math.log10(high - low)), -decimals)
    lower, upper = (round(edge * step, decimals) for edge in (math.floor(low / step), math.ceil(high / step)))
    entry = {"kind": "numeric", "lower": lower, "upper": upper, "decimals": decimals}
    can_count = max(abs(lower), abs(upper)) <= MAX_GRID_SIZE * 10.0**-decimals
    multiples = draft_multiples(numbers, decimals, upper - lower) if can_count and with_multiples else []
    entry |= {"multiples": multiples} if multiples else {}
    recorded = draft_recorded_step(numbers, decimals) if can_count and with_multiples else None
    entry |= recorded or {}
    return entry if stored is None else entry | {"stored": stored[0], "written_decimals": written}


def _written_decimals(numbers: Floats) -> int:
    """Return the decimals that write every number as its shortest text does."""
    texts = (np.format_float_positional(number, trim="-") for number in np.unique(numbers))
    return max((len(text.partition(".")[2]) for text in texts), default=0)


def _decimals(numbers: Floats) -> int:
    """Return the decimals that write every number, or as many as keep `SIGNIFICANT` digits of the middle one."""
    sizes = np.abs(numbers[numbers != 0])
    needed = SIGNIFICANT - 1 - math.floor(math.log10(float(np.median(sizes))))
    most = min(MOST_DECIMALS, max(USUAL_DECIMALS, needed))
    tolerance = 1e-9 * np.maximum(min(1.0, float(np.median(sizes))), np.abs(numbers))
    decimals = 0
    while decimals < most and bool((np.abs(np.round(numbers, decimals) - numbers) > tolerance).any()):
        decimals += 1
    return decimals
