"""The documentation says what is there: links, paths, commands, targets and the tutorial, checked against the tree."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import get_args

import click
import pytest
import typer

from common.run_events.events import RunEvent
from simulations.cli.main import app
from tests.testbeds.notebooks import code_cells, read_notebook

ROOT = Path(__file__).parents[1]
TUTORIAL = ROOT / "docs" / "tutorial.ipynb"
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(ROOT.glob("docs/**/*.md"))

FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^ {4,}\S.*\n?)+", re.MULTILINE)
SPAN = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
FILE = re.compile(r"(?<![\w/.-])(?:common|client|server|simulations|tests|docs|docker)(?:/[\w.-]+)*/[\w-]+(?:\.\w+)+")
FOLDER = re.compile(r"`((?:common|client|server|simulations|tests|docs|docker)(?:/[\w-]+)*)/?`")
MODULE = re.compile(r"(?<![\w./-])(?:common|client|server|simulations|tests)(?:\.\w+)+")
COMMAND = re.compile(r"^(?:.*\s--\s+|(?:[A-Z_]+=\S+\s+)*)fedsynth\s+(.*)$")
TARGETS = re.compile(r"^(?:[A-Z_]+=\S+\s+)*make((?: [a-z-]+)+)")

OLD_WORDS = re.compile(
    r"\b(anchors?|lattice|lockstep|polish\w*|jury|anew|resolution|centralised|neighbours?)\b",
    re.IGNORECASE,
)
"""Words that the glossary replaces. `centralised` stays where it names an arm, in backticks or commands."""


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def markdown_of(page: Path) -> str:
    if page.suffix != ".ipynb":
        return page.read_text(encoding="utf-8")
    cells = read_notebook(page)["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def code_of(text: str) -> list[str]:
    """Return every piece of code in a page: blocks with their continued lines joined, and spans."""
    blocks = [match.group() for match in FENCE.finditer(text)]
    rest = FENCE.sub("", text)
    blocks += [match.group() for match in INDENTED.finditer(rest)]
    lines = [line for block in blocks for line in re.sub(r"\\\n\s*", " ", block).split("\n")]
    return [*lines, *(" ".join(span.split()) for span in SPAN.findall(INDENTED.sub("", rest)))]


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading.replace("`", ""))
    return re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")


def anchors_of(page: Path) -> set[str]:
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", FENCE.sub("", markdown_of(page)), re.MULTILINE)}


def commands_of(text: str) -> Iterator[list[str]]:
    """Return the words after each `fedsynth` in the code of a page."""
    for line in code_of(text):
        for part in re.split(r"&&|;|\|", line.split("#")[0]):
            match = COMMAND.match(part.strip())
            if match:
                yield shlex.split(re.sub(r"\.\.\.|[][]", "", match.group(1)))


def problem_of(words: list[str]) -> str | None:
    """Return what is wrong with the words of a command: an unknown subcommand or option, or None."""
    command: click.Command = typer.main.get_command(app)
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        word = rest.pop(0)
        found = command.get_command(click.Context(command), word)
        if found is None:
            return f"no command '{word}' in '{command.name}'"
        command = found
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    unknown = [word for word in rest if word.startswith("--") and word.split("=")[0] not in {*known, "--help"}]
    return f"'{command.name}' has no option {', '.join(unknown)}" if unknown else None


every_page = pytest.mark.parametrize("page", [*PAGES, TUTORIAL], ids=name_of)


class TestPages:
    """Every page of the documentation."""

    @every_page
    def test_relative_links_resolve(self, page: Path) -> None:
        broken = []
        for link in LINK.findall(markdown_of(page)):
            if "://" in link:
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or (anchor and anchor not in anchors_of(target)):
                broken.append(link)
        assert broken == []

    @every_page
    def test_named_paths_exist(self, page: Path) -> None:
        text = markdown_of(page)
        named = {*FILE.findall(text), *FOLDER.findall(text)}
        assert sorted(path for path in named if not (ROOT / path).exists()) == []

    @every_page
    def test_named_modules_exist(self, page: Path) -> None:
        missing = []
        for dotted in set(MODULE.findall(" ".join(code_of(markdown_of(page))))):
            parts = dotted.split(".")
            for length in range(len(parts), 0, -1):
                path = ROOT.joinpath(*parts[:length])
                file = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
                if file.exists():
                    rest = parts[length : length + 1]
                    if rest and not re.search(rf"\b{rest[0]}\b", file.read_text(encoding="utf-8")):
                        missing.append(dotted)
                    break
            else:
                missing.append(dotted)
        assert missing == []

    @every_page
    def test_named_tests_exist(self, page: Path) -> None:
        tests = " ".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
        named = set(re.findall(r"`(test_\w+)`", markdown_of(page)))
        assert sorted(name for name in named if f"def {name}(" not in tests) == []

    @every_page
    def test_commands_parse(self, page: Path) -> None:
        problems = {" ".join(words): problem_of(words) for words in commands_of(markdown_of(page))}
        assert {words: problem for words, problem in problems.items() if problem} == {}

    @every_page
    def test_make_targets_exist(self, page: Path) -> None:
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
        named: set[str] = set()
        for line in code_of(markdown_of(page)):
            for part in line.split("#")[0].split("&&"):
                match = TARGETS.match(part.strip())
                named.update(match.group(1).split() if match else ())
        assert named - targets == set()

    @every_page
    def test_lines_are_short(self, page: Path) -> None:
        lines = markdown_of(page).split("\n")
        assert [line for line in lines if len(line) >= 120 and not line.lstrip().startswith("|")] == []

    @every_page
    def test_words_are_those_of_the_glossary(self, page: Path) -> None:
        text = SPAN.sub("", INDENTED.sub("", FENCE.sub("", markdown_of(page))))
        text = re.sub(r"\]\([^)]*\)", "]", text)
        assert sorted({match.group().lower() for match in OLD_WORDS.finditer(text)}) == []


class TestReadme:
    """The entrance page."""

    def test_it_is_short(self) -> None:
        assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120

    def test_it_names_everything_that_leaves(self) -> None:
        text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
        leaves = text.partition("This is all that leaves a hospital")[2].partition("The ledger records")[0]
        for word in (
            "reasons",
            "counts",
            "weights",
            "gradients",
            "masking keys",
            "secret shares encrypted",
            "signature",
            "opened shares",
            "votes",
            "latent classes",
            "sums of images",
            "public keys",
            "When it answers",
            "version",
        ):
            assert word in leaves
        assert "ledger entries" in leaves
        assert "hash" in leaves
        assert "unavailable" in leaves


class TestIndex:
    """The list of pages by task."""

    def test_every_page_is_listed(self) -> None:
        index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
        linked = {(ROOT / "docs" / link.partition("#")[0]).resolve() for link in LINK.findall(index)}
        pages = {page for page in PAGES if page.parent != ROOT and page.name != "README.md"}
        assert sorted(name_of(page) for page in {*pages, TUTORIAL} - linked) == []


class TestTutorial:
    """The notebook."""

    def test_it_holds_no_path_of_a_machine(self) -> None:
        text = TUTORIAL.read_text(encoding="utf-8")
        assert len(text) < 50_000
        assert re.findall(r"/(?:home|root|tmp|work|Users|var)/\w+", text) == []

    @pytest.mark.slow
    def test_it_runs_and_prints_what_it_shows(self, tmp_path: Path) -> None:
        """Digits may differ: another processor gives other low-order bits."""
        copy = tmp_path / TUTORIAL.name
        copy.write_bytes(TUTORIAL.read_bytes())
        command = [sys.executable, "-m", "tests.testbeds.notebooks", str(copy)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        stored, now = (
            [re.sub(r"[\d.]+| +", " ", json.dumps(cell["outputs"])) for cell in code_cells(read_notebook(path))]
            for path in (TUTORIAL, copy)
        )
        assert now == stored, "run python -m tests.testbeds.notebooks docs/tutorial.ipynb"
        assert sorted(path.name for path in tmp_path.iterdir()) == [TUTORIAL.name]


def test_run_folder_page_lists_every_event_and_field() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (ROOT / "docs" / "run-folder.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    ]
    listed = {row[0].strip("`"): SPAN.findall(row[2]) for row in rows if len(row) == 3}
    declared = {
        kind.kind: [field.name for field in fields(kind) if field.name not in ("kind", "time")]
        for kind in get_args(RunEvent)
    }
    assert listed == declared
