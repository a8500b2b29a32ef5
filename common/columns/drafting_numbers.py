"""Drafts of columns of numbers: bounds, decimals, multiples, missing codes and censored values."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from common.arrays import Floats
from common.columns.cells import censored, count_rows, without_unit
from common.columns.drafting import FEW_NUMBERS, MOSTLY, ColumnEvidence, Draft, LeftOut
from common.columns.drafting_commas import has_decimal_comma, with_decimal_comma, with_points
from common.columns.drafting_forms import doubts_about_numbers
from common.columns.drafting_labels import MOST_LABELS, draft_categorical
from common.columns.drafting_rounding import draft_multiples, draft_recorded_step
from common.columns.drafting_sentinels import far_zeros, find_sentinels, frequent_last
from common.columns.drafting_units import CellNumbers, numbers_in
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
"""A column of whole numbers holds codes where it has fewer than this fraction of the values between its bounds."""

REPEATS = 4
"""Fewest cells per distinct number of such a column."""

FEW_VALUES = 4
"""Most distinct texts with a digit that are taken for missing codes; more are values with a mark beside the number."""

MOST_EXACT = 2.0**53
"""Largest whole number up to which floating point holds every one."""

IDENTIFIER_DIGITS = 7
"""Whole numbers of this many digits each, nearly all different, identify people, even where some cells are blank."""

MOST_MARKED = 0.5
"""Largest part of the cells that few words, which missing codes can declare, may have among numbers ("ND")."""

CODE_NAME = re.compile(
    r"(^|[^a-z])(zip|plz|postal|postcode|icd\d*|cpt|atc|loinc|snomed|concept|codes?)([^a-z]|$)", re.I
)
"""Names of columns of codes."""


def draft_numeric(evidence: ColumnEvidence, *, is_forced: bool = False) -> Draft | LeftOut | None:
    """Return the settings of a column of many distinct numbers; None for any other column.

    Args:
        evidence: the column.
        is_forced: whether a person says that the column holds numbers.
    """
    if has_decimal_comma(evidence):
        return with_decimal_comma(draft_numeric(with_points(evidence), is_forced=is_forced), evidence)
    cells = numbers_in(evidence)
    numbers, words = cells.numbers, cells.words
    others = [
        count for text, count in words.items() if _limit(text, cells.unit) is None and text not in cells.elsewhere
    ]
    if sum(words[text] for text in cells.elsewhere) > MOST_MARKED * evidence.present:
        return None
    most_others = MOST_MARKED if len(others) <= MOST_CODES else 1 - MOSTLY
    if not numbers or (not is_forced and sum(others) > most_others * evidence.present):
        return None
    sentinels, odd = find_sentinels(numbers, evidence)
    plain = {text: number for text, number in numbers.items() if text not in sentinels}
    is_small = not is_forced and not evidence.is_target and _measures_few(plain, evidence)
    if len(set(plain.values())) <= (1 if is_forced or is_small else FEW_NUMBERS):
        return None
    values = np.repeat(list(plain.values()), [evidence.texts[text] for text in plain]).astype(np.float64)
    if not is_forced and not words:
        if not evidence.is_target and cells.unit is None and _is_identifier(plain, values):
            return LeftOut("its whole numbers are long and mostly different, like an identifier")
        if _is_code(set(plain.values()), values, evidence.name):
            if len(set(plain.values())) <= MOST_LABELS:
                labels = draft_categorical(evidence, is_forced=True)
                hint = "is taken for codes, not for a measurement; --kind COLUMN=numeric says otherwise"
                return replace(labels, notices=(*labels.notices, hint)) if isinstance(labels, Draft) else labels
            return LeftOut("it holds codes, not measurements; --kind COLUMN=categorical keeps the most frequent ones")
    settings = _settings(evidence, values, cells, {text: evidence.texts[text] for text in sentinels})
    if not isinstance(settings, Draft):
        return settings
    notices = [
        f"holds the number '{text}' in 1 row, far outside the rest: it stays a number and moves a bound; "
        "if it means missing, declare it under missing_codes"
        for text in odd
    ]
    notices += far_zeros(plain, evidence) + frequent_last(plain, evidence) + doubts_about_numbers(evidence)
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
    evidence: ColumnEvidence, values: Floats, cells: CellNumbers, sentinels: Mapping[str, int]
) -> Draft | LeftOut:
    """Return the settings of a column of numbers.

    Args:
        evidence: the column.
        values: its numbers, sentinels left out, each as often as it occurs.
        cells: what its cells hold.
        sentinels: how often each number occurs that stands for missing.
    """
    words = {text: count for text, count in cells.words.items() if text not in cells.elsewhere}
    ends, covered = _ends({text: side for text in words if (side := _limit(text, cells.unit)) is not None}, values)
    entry = _draft_bounds(
        np.concatenate([values, [limit for _, limit in ends.values()]]), with_multiples=evidence.with_multiples
    )
    if entry is None:
        return LeftOut("its range and decimals need more than 2^50 values; use a larger unit or a logarithm")
    for key, (text, limit) in ends.items():
        entry |= {key: text, "lower" if key == "below" else "upper": limit}
    if not entry["lower"] < entry["upper"]:
        return LeftOut("nearly all of its values are beyond the limits of what is measured")
    declared = {text: key for key, (text, _) in ends.items()}
    unread = {text: count for text, count in words.items() if text not in declared and text not in covered}
    codes = _missing_codes(unread) | dict(sentinels)
    coded = sorted(codes, key=lambda text: (-codes[text], text))[:MOST_CODES]
    notices = [f"holds '{text}' in {count_rows(words[text])}, declared as {key}" for text, key in declared.items()]
    notices += [f"holds '{text}' in {count_rows(words[text])}, written as '{end}'" for text, end in covered.items()]
    notices += [
        f"holds {'the number ' if text in sentinels else ''}'{text}' in {count_rows(codes[text])}, "
        "declared as a missing code"
        for text in coded
    ]
    if lost := sum(count for text, count in unread.items() if text not in coded):
        notices.append(f"holds other text in {count_rows(lost)}, which becomes missing")
    notices += cells.notices
    entry |= {"missing_codes": coded} if coded else {}
    is_missing = bool(coded or lost or cells.elsewhere)
    return Draft(entry | ({"unit": cells.unit} if cells.unit else {}), tuple(notices), missing=is_missing)


def _missing_codes(words: Mapping[str, int]) -> dict[str, int]:
    """Return the words that are declared as missing codes.

    Texts that cannot be printed are not among them, nor are texts with a digit where there are more than `FEW_VALUES`:
    those are values, and a study lists no values of patients.
    """
    readable = {text: count for text, count in words.items() if text.isprintable()}
    values = {text for text in readable if any(mark.isdigit() for mark in text)}
    if len(values) <= FEW_VALUES:
        return readable
    return {text: count for text, count in readable.items() if text not in values}


def _limit(text: str, unit: str | None) -> tuple[int, float] | None:
    """Return the side and the number of a censored value, which may have the column's unit behind it."""
    return censored(text if unit is None else without_unit(text, unit))


def _ends(
    limits: Mapping[str, tuple[int, float]], values: Floats
) -> tuple[dict[str, tuple[str, float]], dict[str, str]]:
    """Return the text and the limit to declare as below and as above, and texts that say less: what they become.

    Of several limits the innermost is declared, since what is below 0.5 is below 0.6, too.

    Args:
        limits: side and number of every censored text.
        values: the numbers of the column.
    """
    ends: dict[str, tuple[str, float]] = {}
    covered: dict[str, str] = {}
    for key, side, edge in (("below", -1, values.min()), ("above", 1, values.max())):
        beyond = {text: limit for text, (sign, limit) in limits.items() if sign == side and side * limit >= side * edge}
        if beyond:
            end = min(beyond, key=lambda text: (side * beyond[text], text))
            ends[key] = end, beyond[end]
            covered |= dict.fromkeys([text for text in beyond if text != end], end)
    return ends, covered


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
