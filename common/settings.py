"""Settings that people write in TOML files: frozen values that check themselves, and their errors in plain words.

Studies (`common.study`) and site.toml (`client.site`) are read with it.
"""

from __future__ import annotations

import difflib
import re
import tomllib
import unicodedata
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

Place = tuple[Any, ...]
"""Location of a key in a file: section, position in a list, key."""


class Frozen(BaseModel):
    """A value that checks itself once and never changes; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _readable(text: str) -> str:
    """Return the text, or refuse control characters, line ends and marks that reverse the direction of text."""
    bad = _unprintable(text)
    if bad is not None:
        raise ValueError(f"the character U+{ord(bad):04X} cannot be printed; remove it")
    return text


def _unprintable(text: str) -> str | None:
    return next((mark for mark in text if not mark.isprintable() and unicodedata.category(mark) != "Zs"), None)


def unusable(text: str, longest: int) -> str | None:
    """Return why a text cannot be a name in a settings file, as the rest of a sentence; None if it can.

    Args:
        text: the name.
        longest: most characters of such a name.
    """
    bad = _unprintable(text)
    if bad is not None:
        return f"holds U+{ord(bad):04X}, which cannot be printed"
    return f"has {len(text)} characters, more than {longest}" if len(text) > longest else None


def toml_problem(text: str, problem: tomllib.TOMLDecodeError) -> str:
    """Return what is wrong with a settings file, and the remedy where a number has a decimal comma.

    Args:
        text: the file.
        problem: the error of the parser, which names a line.
    """
    lines = [number for number, line in enumerate(text.splitlines(), start=1) if DECIMAL_COMMA.fullmatch(line)]
    hint = f"; line {lines[0]} has a decimal comma: write a point, as in 3.0" if lines else ""
    return f"not valid TOML: {problem}{hint}"


DECIMAL_COMMA = re.compile(r"\s*[\w.\"-]+\s*=\s*[+-]?\d+,\d+\s*(?:#.*)?")
"""A line of a settings file that gives a number with a decimal comma."""


Readable = Annotated[str, AfterValidator(_readable)]
"""Text that a person reads before giving consent."""


EXPECTED = {
    "coordinator": "the ed25519:... text that `fedsynth coordinator certs` printed",
    "identity": "the ed25519:... text that `fedsynth site init` printed at the hospital",
    "name": "lower-case letters and digits, with single hyphens between them",
    "cohort": "lower-case letters and digits, with single hyphens between them",
}
"""What the value of a key with a pattern looks like, by key: instead of the pattern."""


def is_unset(value: object) -> bool:
    """Return whether an optional key is left out of the canonical form, and so of the fingerprint."""
    return not value


def explain(problem: ValidationError, known_keys: Callable[[Place], Sequence[str]]) -> str:
    """Return every error of a settings file as one text: location, problem and remedy.

    Args:
        problem: the error that pydantic raised.
        known_keys: returns the keys that are valid at the location of an unknown key.
    """
    return "; ".join(text for _, text in explain_each(problem, known_keys))


def explain_each(problem: ValidationError, known_keys: Callable[[Place], Sequence[str]]) -> list[tuple[Place, str]]:
    """Return every error of a settings file as its location and a text, as `explain` does."""
    return [(tuple(error["loc"]), _explain(error, known_keys)) for error in _roots(problem)]


def _roots(problem: ValidationError) -> list[Any]:
    """Return the errors, without those that only say that a list lost its faulty items."""
    errors = problem.errors()

    def holds_another(place: Place) -> bool:
        return any(len(error["loc"]) > len(place) and error["loc"][: len(place)] == place for error in errors)

    return [error for error in errors if error["type"] != "too_short" or not holds_another(error["loc"])]


def _explain(error: Any, known_keys: Callable[[Place], Sequence[str]]) -> str:
    location = tuple(error["loc"])
    where = ".".join(str(key_part) for key_part in location)
    match error["type"]:
        case "extra_forbidden":
            key, section = str(location[-1]), where.rpartition(".")[0]
            near = difflib.get_close_matches(key, known_keys(location), n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else "remove it"
            return f"unknown key '{key}'" + (f" in [{section}]" if section else "") + f"; {hint}"
        case "missing":
            return f"[{where}] is not given; add it"
        case "string_pattern_mismatch" if location[-1] in EXPECTED:
            return f"[{where}] is malformed: expected {EXPECTED[location[-1]]}"
        case "value_error":
            return str(error["msg"]).removeprefix("Value error, ")
        case _:
            return f"[{where}] {error['msg'][:1].lower()}{error['msg'][1:]}"
