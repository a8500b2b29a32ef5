"""A dossier as HTML, JSON and HealthDCAT-AP: byte-identical whenever it is made from the same files."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from jinja2 import FileSystemLoader

from common.dossier.card import data_card, summary
from common.dossier.facts import RunFacts, address, check_tables
from common.dossier.guidance import nist
from common.dossier.law import european, gdpr, hipaa
from common.dossier.parts import Section
from common.dossier.turtle import turtle
from common.errors import StudyError
from common.system.files import writing
from common.system.folder import RunFolder
from common.web.templates import environment

HERE = Path(__file__).parent / "page"

NAMES = ("dossier.html", "dossier.json", "dossier.ttl")
"""Files of a dossier."""


def sections_of(facts: RunFacts) -> tuple[Section, ...]:
    """Return all parts, in the order of the page."""
    return tuple(make(facts) for make in (summary, data_card, hipaa, gdpr, nist, european))


def write_dossier(facts: RunFacts, out: Path, *, force: bool = False) -> tuple[Path, ...]:
    """Write the three files of a dossier, and return them.

    Args:
        facts: of a finished run.
        out: folder, created if it does not exist.
        force: replace an earlier dossier.

    Raises:
        StudyError: a dossier is there already, a table was changed after the run, or the folder cannot be written.
    """
    taken = [name for name in NAMES if (out / name).exists()]
    if taken and not force:
        raise StudyError(f"'{out / taken[0]}' exists; people may have written into it; choose another --out or --force")
    check_tables(facts)
    sections = sections_of(facts)
    base = os.path.relpath(facts.folder.resolve(), out.resolve())
    texts = (to_html(facts, sections, base), to_json(facts, sections), turtle(facts, base))
    with writing(out, remedy="choose another --out"):
        folder = RunFolder(out)
        return tuple(folder.write(name, text) for name, text in zip(NAMES, texts, strict=True))


def to_html(facts: RunFacts, sections: tuple[Section, ...], base: str = ".") -> str:
    """Return the page, which needs nothing but itself and prints on A4.

    Args:
        facts: of a finished run.
        sections: its parts.
        base: the run's folder, as seen from the page, to whose files it links.
    """

    def link(name: str) -> str:
        return address(base, name) if (facts.folder / name).is_file() else ""

    return (
        environment(FileSystemLoader(HERE))
        .get_template("dossier.html.jinja")
        .render(facts=facts, sections=sections, open_boxes=_boxes(sections), link=link)
    )


def to_json(facts: RunFacts, sections: tuple[Section, ...]) -> str:
    """Return the same content as indented JSON with sorted keys."""
    document = {
        "study": facts.study.name,
        "run": facts.record["run_id"],
        "simulation": facts.is_simulation,
        "open_questions": _boxes(sections),
        "sections": [asdict(section) for section in sections],
    }
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _boxes(sections: tuple[Section, ...]) -> int:
    return sum(item.is_for_people for section in sections for item in section.items)
