"""Cells of invented tables: each function returns one that draws a cell."""

from __future__ import annotations

import random
import string
from collections.abc import Callable

Cell = Callable[[random.Random], str]


def choice(*texts: str) -> Cell:
    return lambda rng: rng.choice(texts)


def form(pattern: str) -> Cell:
    """Return cells by a pattern: # a digit, ? a capital letter."""

    def cell(rng: random.Random) -> str:
        marks = {"#": string.digits, "?": string.ascii_uppercase}
        return "".join(rng.choice(marks.get(mark, mark)) for mark in pattern)

    return cell


def whole(low: int, high: int) -> Cell:
    return lambda rng: str(rng.randint(low, high))


def decimal(low: float, high: float, places: int, *, mark: str = ".") -> Cell:
    return lambda rng: f"{rng.uniform(low, high):.{places}f}".replace(".", mark)


def day(pattern: str, first: int = 1930, last: int = 2024) -> Cell:
    def cell(rng: random.Random) -> str:
        year, month, number = rng.randint(first, last), rng.randint(1, 12), rng.randint(1, 28)
        return pattern.replace("Y", str(year)).replace("M", f"{month:02}").replace("D", f"{number:02}")

    return cell


def joined(*parts: Cell | str) -> Cell:
    return lambda rng: "".join(part if isinstance(part, str) else part(rng) for part in parts)


def sometimes(cell: Cell, blank: float = 0.5) -> Cell:
    return lambda rng: "" if rng.random() < blank else cell(rng)


def insured(rng: random.Random) -> str:
    """A German health insurance number."""
    letter, digits = rng.choice(string.ascii_uppercase), f"{rng.randrange(10**8):08}"
    products = [int(d) * (1 + i % 2) for i, d in enumerate(f"{ord(letter) - 64:02}{digits}")]
    return f"{letter}{digits}{sum(p // 10 + p % 10 for p in products) % 10}"


def french_number(rng: random.Random) -> str:
    born = f"{rng.choice('12')}{rng.randrange(30, 99)}{rng.randint(1, 12):02}{rng.randint(1, 95):02}"
    body = f"{born}{rng.randrange(10**6):06}"
    return f"{body}{97 - int(body) % 97:02}"


def spanish_number(rng: random.Random) -> str:
    number = rng.randrange(10**7, 10**8)
    return f"{number}{'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]}"


def nhs_number(rng: random.Random) -> str:
    while True:
        body = f"{rng.randrange(10**8, 10**9)}"
        check = (11 - sum(int(d) * w for d, w in zip(body, range(10, 1, -1), strict=True)) % 11) % 11
        if check < 10:
            return f"{body[:3]} {body[3:6]} {body[6:]}{check}"


def german_iban(rng: random.Random) -> str:
    body = f"{rng.randrange(10**18):018}"
    return f"DE{98 - int(body + '131400') % 97:02}{body}"
