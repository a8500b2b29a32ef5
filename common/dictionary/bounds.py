"""Units, decimals and bounds of columns that several hospitals share: the widest bounds of those in one unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from common.columns.cells import read_date
from common.dictionary.entry import DictionaryEntry
from common.dictionary.resolution import ColumnProposal, Talk, Voice, preferred, spelled

SUSPICIOUS_WIDTH = 5.0
"""How many times wider one hospital's bounds may be than another's before people are asked about the unit."""


Edge = tuple[float, Any] | None
"""A bound as a number that compares, and as the setting that says it in the agreed format; None where it is open."""


def unit(talk: Talk) -> ColumnProposal:
    """Propose the unit of most hospitals. Others convert; who declares no unit has to confirm it."""
    units = {voice.hospital: voice.entry.value("unit") for voice in talk.voices}
    chosen = preferred([value for value in units.values() if value is not None])
    tasks = {}
    for hospital, value in units.items():
        if value is None:
            tasks[hospital] = f"confirm that the column is in {chosen}, and declare the unit"
        elif value != chosen and spelled(value) == spelled(chosen):
            tasks[hospital] = f"write the unit as {chosen} instead of {value}; values stay"
        elif value != chosen:
            tasks[hospital] = f"convert {value} to {chosen} in the mapping file"
    return ColumnProposal({"unit": chosen}, f"take {chosen}", tasks, is_open=True)


_AFTER = " after conversion"


def is_in_agreed_unit(voice: Voice, agreed: Mapping[str, Any]) -> bool:
    """Return whether a hospital's numbers are in the agreed unit, however it is spelled, or in no unit it says."""
    own = voice.entry.value("unit")
    return own is None or spelled(own) == spelled(agreed.get("unit", own))


def widest(talk: Talk) -> ColumnProposal:
    """Propose the smallest lower and the largest upper bound of those in the agreed unit and on the agreed scale.

    It is open where a hospital declares none, where ranges do not overlap, or where one is more than `SUSPICIOUS_WIDTH`
    times as wide as another: then values may be in another unit, and those that give no unit do not count.
    """
    ranges = {voice.hospital: _numbers(voice, talk) for voice in talk.voices}
    doubt = _doubt(ranges)
    with_unit = {voice.hospital for voice in talk.voices if voice.entry.value("unit") is not None}
    certain = {hospital: pair for hospital, pair in ranges.items() if hospital in with_unit and pair is not None}
    values = _outermost(talk.keys, certain if doubt and certain else ranges)
    if len(values) < len(talk.keys):
        tasks = {voice.hospital: f"look up {' and '.join(talk.keys)} in the data dictionary"
                 for voice in talk.voices if set(talk.keys) & set(voice.entry.open_keys)}  # fmt: skip
        return ColumnProposal(values, "no hospital declares all bounds; decide on them", tasks, is_open=True)
    text = " to ".join(str(values[key]) for key in talk.keys)
    if doubt:
        tasks = dict.fromkeys(ranges, f"confirm unit and bounds: {doubt}")
        return ColumnProposal(values, f"take {text}; {doubt}", tasks, is_open=True)
    converted = {voice.hospital for voice in talk.voices if not is_in_agreed_unit(voice, talk.agreed)}
    tasks = {hospital: f"confirm that {text} is right for its values{_AFTER if hospital in converted else ''}"
             for hospital, pair in ranges.items() if pair is None or None in pair}  # fmt: skip
    return ColumnProposal(values, f"take the widest, {text}", tasks, is_open=bool(tasks))


def _outermost(keys: Sequence[str], ranges: Mapping[str, tuple[Edge, Edge] | None]) -> dict[str, Any]:
    """Return the smallest lower and the largest upper bound that hospitals declare; a key is absent where none does."""
    values = {}
    for key, index, outer in zip(keys, (0, 1), (min, max), strict=True):
        edges = [edge for pair in ranges.values() if pair is not None and (edge := pair[index]) is not None]
        if edges:
            values[key] = outer(edges)[1]
    return values


def _doubt(ranges: Mapping[str, tuple[Edge, Edge] | None]) -> str | None:
    full = [(pair[0][0], pair[1][0]) for pair in ranges.values() if pair is not None and pair[0] and pair[1]]
    widths = [upper - lower for lower, upper in full]
    if full and max(lower for lower, _ in full) > min(upper for _, upper in full):
        return "ranges do not overlap, so units may differ"
    if widths and max(widths) > SUSPICIOUS_WIDTH * min(widths):
        return f"one range is more than {SUSPICIOUS_WIDTH:g} times as wide as another, so units may differ"
    return None


def _numbers(voice: Voice, talk: Talk) -> tuple[Edge, Edge] | None:
    """Return a hospital's bounds; None where they are in another unit, or count from another column."""
    entry = voice.entry
    if not is_in_agreed_unit(voice, talk.agreed) or entry.value("since") != talk.agreed.get("since"):
        return None
    low, high = (_edge(entry, key, talk.agreed) for key in talk.keys)
    return None if low is None and high is None else (low, high)


def _edge(entry: DictionaryEntry, key: str, agreed: Mapping[str, Any]) -> Edge:
    value = entry.value(key)
    if not isinstance(value, str):
        return None if value is None else (float(value), value)
    moment = read_date(value, entry.value("date_format"))
    assert moment is not None, "an entry's bounds are dates in its format"
    form = agreed.get("date_format", entry.value("date_format"))
    return (moment - datetime.min).total_seconds(), moment.strftime(form)


NAMES_OF_MARKS = {None: "point", ",": "comma"}
"""Decimal marks for people; a column that declares none has points."""


def decimal_mark(talk: Talk) -> ColumnProposal:
    """Propose the decimal mark of most hospitals; the others say in the mapping file how they write numbers."""
    marks = {voice.hospital: voice.entry.value("decimal") for voice in talk.voices}
    chosen = preferred(list(marks.values()))
    tasks = {hospital: f'declare decimal = "{mark or "."}" in the mapping file'
             for hospital, mark in marks.items() if mark != chosen}  # fmt: skip
    values = {} if chosen is None else {"decimal": chosen}
    return ColumnProposal(values, f"write a {NAMES_OF_MARKS[chosen]}", tasks, is_open=True)


def finest(talk: Talk) -> ColumnProposal:
    """Propose the most decimals of those in the agreed unit: who has fewer loses nothing."""
    voices = [voice for voice in talk.voices if is_in_agreed_unit(voice, talk.agreed)]
    chosen = max(voice.entry.value("decimals") for voice in voices)
    return ColumnProposal({"decimals": chosen}, f"take {chosen}; whoever has fewer loses nothing", {}, is_open=False)
