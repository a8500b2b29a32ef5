"""What hospitals may declare differently about a column they share, and how each difference is resolved: one table.

A difference is *settled* where the proposal keeps what every hospital declared and no one has to change anything, as
with the wider of two bounds. It is *open* where a value would get another meaning, something is converted, or a
hospital has not said anything: then people decide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.dictionary.bounds import NAMES_OF_MARKS, decimal_mark, finest, unit, widest
from common.dictionary.labels import merge_labels
from common.dictionary.resolution import ColumnProposal, Talk, Voice, preferred


def _plain_text(values: Sequence[Any]) -> str:
    words = [str(value) for value in values if value is not None and value != []]
    return " and ".join(words) if words else "not declared"


@dataclass(frozen=True, slots=True)
class Aspect:
    """Settings that are discussed together.

    Attributes:
        title: what a person calls them.
        keys: the settings.
        resolve: what to propose where hospitals differ or a key is open.
        text: how one hospital's values read.
        applies: whether it is discussed, by the settings agreed before.
    """

    title: str
    keys: tuple[str, ...]
    resolve: Callable[[Talk], ColumnProposal]
    text: Callable[[Sequence[Any]], str] = _plain_text
    applies: Callable[[Mapping[str, Any]], bool] = lambda _: True


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(str(item) for value in values for item in value or ()) or "not declared"


def _range(values: Sequence[Any]) -> str:
    if all(value is None for value in values):
        return "not declared"
    lower, upper = (
        "?" if value is None else f"{value:.15g}" if isinstance(value, float) else value for value in values
    )
    return f"{lower} to {upper}"


def _yes_or_no(values: Sequence[Any]) -> str:
    return "may be missing" if values[0] else "never missing"


def majority(remedy: str) -> Callable[[Talk], ColumnProposal]:
    """Return what proposes the declaration of most hospitals, of those that declare something; the others change.

    Args:
        remedy: what these have to do; {} stands for the proposal.
    """

    def resolve(talk: Talk) -> ColumnProposal:
        keyed = {voice.hospital: _hashable(talk.declaration(voice)) for voice in talk.voices}
        silent = ((None,) * len(talk.keys), ((),) * len(talk.keys))
        declared = [own for own in keyed.values() if own not in silent]
        if not declared:
            keys = " and ".join(talk.keys)
            tasks = dict.fromkeys(keyed, f"look up {keys} in the data dictionary")
            return ColumnProposal({}, f"no hospital declares {keys}; decide on it", tasks, is_open=True)
        chosen = preferred(declared)
        values = {key: _listed_again(value) for key, value in zip(talk.keys, chosen, strict=True) if value is not None}
        text = _plain_text([_listed_again(value) for value in chosen])
        tasks = {hospital: remedy.format(text) for hospital, own in keyed.items() if own != chosen}
        return ColumnProposal(values, f"take {text}", tasks, is_open=True)

    return resolve


def unread(talk: Talk) -> ColumnProposal:
    """Propose what most hospitals declare, where no record is read: no hospital has to change anything."""
    resolution = majority("")(talk)
    if not resolution.values:
        return resolution
    return ColumnProposal(resolution.values, resolution.sentence, {}, is_open=False)


def _hashable(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(tuple(value) if isinstance(value, list) else value for value in values)


def _listed_again(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def coarsest(talk: Talk) -> ColumnProposal:
    """Propose the coarsest resolution, to which every hospital can cut its times."""
    order = ("months", "days", "hours", "minutes", "seconds")
    chosen = min((voice.entry.value("resolution") for voice in talk.voices), key=order.index)
    tasks = {voice.hospital: f"agree to dates cut to {chosen}"
             for voice in talk.voices if voice.entry.value("resolution") != chosen}  # fmt: skip
    return ColumnProposal({"resolution": chosen}, f"take {chosen}, which all can give", tasks, is_open=True)


def allowed(talk: Talk) -> ColumnProposal:
    """Propose to allow missing where one hospital has missing values."""
    return ColumnProposal({"missing": True}, "allow missing; nobody has to change anything", {}, is_open=False)


def all_codes(talk: Talk) -> ColumnProposal:
    """Propose every missing code, unless it is a plausible value at a hospital that does not declare it."""
    codes = list(dict.fromkeys(code for voice in talk.voices for code in voice.entry.value("missing_codes")))
    tasks = {}
    for voice in talk.voices:
        if strange := [
            code for code in codes if code not in voice.entry.value("missing_codes") and _in_range(code, voice)
        ]:
            tasks[voice.hospital] = f"confirm that {', '.join(strange)} is a missing code and never a value"
    return ColumnProposal({"missing_codes": codes}, f"declare {', '.join(codes)} for all", tasks, is_open=bool(tasks))


def _in_range(code: str, voice: Voice) -> bool:
    lower, upper = (voice.entry.value(key) for key in ("lower", "upper"))
    try:
        number = float(code)
    except ValueError:
        return False
    return (lower is None or lower <= number) and (upper is None or number <= upper)


def words(talk: Talk) -> ColumnProposal:
    """Propose the words for yes and no of most hospitals. Others change nothing if theirs are read as these."""
    chosen = preferred([talk.declaration(voice) for voice in talk.voices])
    values = dict(zip(talk.keys, chosen, strict=True))
    tasks = {}
    for voice in talk.voices:
        column = type(voice.entry.column).model_validate({"name": "x", **values})
        number_of = getattr(column, "number_of", None)
        own = talk.declaration(voice)
        if number_of is None or [number_of(word) for word in own] != [1, 0]:
            tasks[voice.hospital] = f"write {chosen[0]} for {own[0]} and {chosen[1]} for {own[1]} in the mapping file"
    return ColumnProposal(values, f"write {chosen[0]} and {chosen[1]}", tasks, is_open=bool(tasks))


_DECLARE, _WRITE = "declare {}", "write {} in the mapping file"

ASPECTS: tuple[Aspect, ...] = (
    Aspect("unit", ("unit",), unit),
    Aspect("date format", ("date_format",), majority("convert dates to {} in the mapping file")),
    Aspect("resolution", ("resolution",), coarsest),
    Aspect("column it counts from", ("since",), majority("count from {}")),
    Aspect("decimals", ("decimals",), finest),
    Aspect("decimal mark", ("decimal",), decimal_mark, lambda values: NAMES_OF_MARKS[values[0]]),
    Aspect("bounds", ("lower", "upper"), widest, _range, lambda agreed: "since" not in agreed),
    Aspect("bounds of the time between", ("least", "most"), widest, _range, lambda agreed: "since" in agreed),
    Aspect("texts beyond the bounds", ("below", "above"), majority(_WRITE)),
    Aspect("missing", ("missing",), allowed, _yes_or_no),
    Aspect("missing codes", ("missing_codes",), all_codes, _listed),
    Aspect("words", ("true", "false"), words),
    Aspect("where missing goes", ("otherwise",), majority(_DECLARE)),
    Aspect("labels", ("categories",), merge_labels, _listed),
    Aspect("fallback", ("fallback",), majority(_DECLARE)),
    Aspect("items", ("items",), merge_labels, _listed),
    Aspect("separator", ("separator",), majority("write {} between items, in the mapping file")),
    Aspect("text of an empty list", ("empty",), majority(_WRITE)),
    Aspect("codes", ("codes",), merge_labels, _listed),
    Aspect("prefixes", ("prefixes",), majority(_DECLARE), _listed),
    Aspect("label of other codes", ("other",), majority(_DECLARE)),
    Aspect("multiples", ("multiples",), majority(_DECLARE), _listed),
    Aspect("recorded in steps of", ("recorded_step", "recorded_decimals"), majority(_DECLARE)),
    Aspect("stored as", ("stored", "written_decimals"), majority(_DECLARE)),
    Aspect("whether it holds for the patient or the visit", ("per",), majority(_DECLARE)),
    Aspect("size of images", ("size",), majority("scale images to {} pixels"), _listed),
    Aspect("channels", ("channels",), majority(_DECLARE)),
    Aspect("images of a patient", ("most_images",), majority(_DECLARE)),
    Aspect("frequencies", ("frequencies", "scores"), majority(_DECLARE)),
    Aspect("contrast", ("contrast",), majority(_DECLARE)),
    Aspect("pattern", ("pattern",), unread),
    Aspect("template", ("template",), unread),
)
"""Every setting of every kind, in the order in which it is discussed: later aspects use what earlier ones agreed."""
