"""What a dossier consists of: sections of facts, each with the file or module it comes from, and boxes for people."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a dossier.

    Attributes:
        question: what a reviewer asks, or the name of a fact.
        answer: what the run's files say; "" where people must answer: the page has a box there.
        source: file of the run, page of the documentation or module that the answer comes from; "" with a box.
    """

    question: str
    answer: str = ""
    source: str = ""

    @property
    def is_for_people(self) -> bool:
        return not self.answer


@dataclass(frozen=True, slots=True)
class Grid:
    """A table.

    Attributes:
        title: its caption.
        head: names of its columns.
        rows: cells as text.
        source: where the facts come from.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    source: str


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a dossier that one reader looks for.

    Attributes:
        key: short name, in links and JSON.
        title, intro: heading, and what the part is and is not.
        items: facts and boxes.
        grids: tables.
    """

    key: str
    title: str
    intro: str
    items: tuple[Item, ...] = ()
    grids: tuple[Grid, ...] = ()
