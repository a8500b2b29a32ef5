"""Every pattern that reads a header, a label or a cell takes time in proportion to the text's length."""

from __future__ import annotations

import importlib
import pkgutil
import re
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import common.columns
import common.dictionary
import common.harmonization
import common.tables
import simulations
from common.columns.cells import censored, flagged, number_of
from common.harmonization.derived_proposals import _choice
from common.harmonization.evidence import LocalColumn
from common.harmonization.headers import header_of

PACKAGES: tuple[ModuleType, ...] = (common.columns, common.dictionary, common.harmonization, common.tables)
ALONE = ("simulations.drafting_notices",)

UNITS = (" ", "a", "1", "(", ",", "-", ".", ":", "/", "1 ", "a ", "1,", "1.", "a1", "(a", "[a] ", "a, ", "1-", "a.",
         "+", "1e", "\u00a0", "<", "a@", "choice=", "_", "%", "1:", "Aa", "aA", "1 a ", "http://a", "9")  # fmt: skip
"""Texts that are repeated, so that a pattern which can read them in two ways tries all of them."""

ENDS = ("", "!")
SHORT, LONGER, LONG = 2_000, 16_000, 80_000
SUSPECT = 0.003
"""Processor seconds for a text of `SHORT` characters above which a pattern is tried on a longer one."""

MOST = 3 * LONGER / SHORT
"""Most times as long for a text of 8 times the length: what is linear takes 8 times as long, what is quadratic 64."""


def modules() -> Iterator[ModuleType]:
    for package in PACKAGES:
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            yield importlib.import_module(found.name)
    yield from map(importlib.import_module, ALONE)


def patterns() -> list[tuple[str, re.Pattern[str], list[str]]]:
    """Return every compiled pattern of a module by its name, with the methods that are called on it."""
    roots = [Path(next(iter(package.__path__))) for package in (*PACKAGES, simulations)]
    source = "\n".join(path.read_text(encoding="utf-8") for root in roots for path in root.rglob("*.py"))
    listed = {}
    for module in modules():
        for name, value in vars(module).items():
            if isinstance(value, re.Pattern) and isinstance(value.pattern, str):
                used = set(re.findall(rf"\b{name}\.(fullmatch|match|search|sub|finditer|findall)\b", source))
                listed[name, value.pattern] = (f"{module.__name__}.{name}", value, sorted(used or {"fullmatch"}))
    return list(listed.values())


def seconds(pattern: re.Pattern[str], method: str, text: str) -> float:
    started = time.process_time()
    if method == "sub":
        pattern.sub("", text)
    elif method == "finditer":
        list(pattern.finditer(text))
    else:
        getattr(pattern, method)(text)
    return time.process_time() - started


def texts(length: int) -> Iterator[str]:
    for unit in UNITS:
        for end in ENDS:
            yield unit * (length // len(unit)) + end


def is_quadratic(pattern: re.Pattern[str], method: str, short: str, longer: str) -> bool:
    before = min(seconds(pattern, method, short) for _ in range(2))
    return before > SUSPECT and min(seconds(pattern, method, longer) for _ in range(2)) > MOST * before


def test_patterns_take_linear_time() -> None:
    slow = {
        (name, method, short[:8])
        for name, pattern, methods in patterns()
        for method in methods
        for short, longer in zip(texts(SHORT), texts(LONGER), strict=True)
        if seconds(pattern, method, short) > SUSPECT and is_quadratic(pattern, method, short, longer)
    }
    assert not slow


@pytest.mark.no_cover  # tracing takes longer than reading
@pytest.mark.parametrize("unit", [" ", "a", "(a", "90 "])
def test_long_headers_and_cells_take_linear_time(unit: str) -> None:
    texts = [unit * (length // len(unit)) for length in (LONG // 8, LONG)]
    short, longer = (min(seconds_to_read(text) for _ in range(2)) for text in texts)
    assert longer < SUSPECT or longer < MOST * short


def seconds_to_read(text: str) -> float:
    started = time.process_time()
    _choice(LocalColumn.of(f"{text}(choice={text})", {}))  # type: ignore[arg-type]
    header_of.__wrapped__(f"a {text}")
    for read in (censored, flagged, number_of):
        read(text)
    return time.process_time() - started
