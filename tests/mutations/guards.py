"""Find guards that no test notices: remove one at a time and run the tests that pass through it.

    python -m tests.mutations.guards client common/ledger        # folders or files; the whole project if none is named

A guard is an `if` that only raises or returns a refusal, or a call of a function named `check`, `require`, `refuse` or
`verify`. First the quick tests run once with coverage, which notes the tests that pass through every line. Then each
guard is replaced by `pass` in a copy of the checkout, and the tests that pass through it run until one fails. A guard
whose tests all pass is printed: it has no test that depends on it.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("common", "client", "server", "simulations")
CALLS = re.compile(r"^_?(check|require|refuse|verify|ensure)(_|$)")
MOST_TESTS = 40
"""Tests that run for one guard: the quickest that pass through it, as coverage found them."""

PATIENCE_S = 300


@dataclass(frozen=True)
class Guard:
    """Lines `first` to `last` of a file, counted from 1, that can be replaced by `pass`."""

    path: str
    first: int
    last: int
    text: str


def guards_of(path: Path) -> Iterator[Guard]:
    """Yield the guards of one file."""
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.If | ast.Expr) or lines[node.lineno - 1].lstrip().startswith("elif"):
            continue  # an `elif` is an `if` whose line cannot become `pass`
        if isinstance(node, ast.If):
            is_guard = not node.orelse and all(isinstance(item, ast.Raise) for item in node.body)
        else:
            is_guard = isinstance(node.value, ast.Call) and CALLS.match(_called(node.value)) is not None
        if is_guard:
            text = lines[node.lineno - 1].strip()
            yield Guard(str(path.relative_to(ROOT)), node.lineno, node.end_lineno or node.lineno, text)


def _called(call: ast.Call) -> str:
    function = call.func
    return (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )


def without(source: str, guard: Guard) -> str:
    """Return the source with the guard replaced by `pass`."""
    lines = source.splitlines(keepends=True)
    indent = re.match(r"\s*", lines[guard.first - 1])
    assert indent is not None
    return "".join([*lines[: guard.first - 1], f"{indent.group()}pass\n", *lines[guard.last :]])


def contexts(folder: Path, tests: Sequence[str]) -> Path:
    """Run the quick tests once and return coverage's database of which test passes through which line."""
    data = folder / "coverage"
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", *tests]
    command += [
        *(f"--cov={package}" for package in PACKAGES),
        "--cov-context=test",
        "--cov-report=",
        "--cov-fail-under=0",
    ]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"COVERAGE_FILE": str(data)}, check=False)
    return data


def tests_through(data: Path, guard: Guard) -> list[str]:
    """Return the tests that pass through the first line of a guard, by the lines they cover in all, fewest first."""
    with sqlite3.connect(data) as database:
        rows = database.execute(
            "select context.context, line_bits.numbits from line_bits join file on file.id = line_bits.file_id "
            "join context on context.id = line_bits.context_id where file.path = ?",
            [str(ROOT / guard.path)],
        ).fetchall()
        if not rows:  # branch coverage keeps arcs
            rows_of_arcs = database.execute(
                "select distinct context.context from arc join file on file.id = arc.file_id "
                "join context on context.id = arc.context_id where file.path = ? and (fromno = ? or tono = ?)",
                [str(ROOT / guard.path), guard.first, guard.first],
            ).fetchall()
            names = {name for (name,) in rows_of_arcs}
        else:
            byte, bit = divmod(guard.first, 8)
            names = {name for name, bits in rows if byte < len(bits) and bits[byte] & (1 << bit)}
        sizes = dict(
            database.execute(
                "select context.context, count(*) from arc join context on context.id = arc.context_id group by 1"
            )
        )
    tests = {name.partition("|")[0] for name in names if name}
    return sorted(tests, key=lambda name: (sizes.get(f"{name}|run", 0), name))[:MOST_TESTS]


def is_noticed(copy: Path, guard: Guard, tests: Sequence[str]) -> bool:
    """Return whether one of the tests fails without the guard."""
    path = copy / guard.path
    original = path.read_text(encoding="utf-8")
    path.write_text(without(original, guard), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--no-cov", *tests]
    try:
        done = subprocess.run(
            command,
            cwd=copy,
            env=os.environ | {"PYTHONPATH": str(copy)},
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return done.returncode != 0
    except subprocess.TimeoutExpired:
        return True
    finally:
        path.write_text(original, encoding="utf-8")


def main() -> None:
    """Print every guard that no test notices, and how many there were."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="*", default=list(PACKAGES), help="files or folders whose guards are removed")
    parser.add_argument("--tests", nargs="*", default=["tests"], help="test files or folders to choose from")
    parser.add_argument("--coverage", type=Path, help="database of an earlier run with --cov-context=test")
    parser.add_argument("--out", type=Path, help="JSON file for the unnoticed guards")
    options = parser.parse_args()
    files = [path for place in options.places for path in _sources(ROOT / place)]
    found = sorted({guard for path in files for guard in guards_of(path)}, key=lambda guard: (guard.path, guard.first))
    unnoticed = []
    with tempfile.TemporaryDirectory() as scratch:
        data = options.coverage or contexts(Path(scratch), options.tests)
        copy = Path(scratch) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__", "out", ".*_cache"))
        for number, guard in enumerate(found, 1):
            tests = tests_through(data, guard)
            is_seen = bool(tests) and is_noticed(copy, guard, tests)
            if not is_seen:
                unnoticed.append(guard)
                print(f"{guard.path}:{guard.first}: {guard.text}   ({len(tests)} tests pass through it)", flush=True)  # noqa: T201
            print(f"{number} of {len(found)}", end="\r", file=sys.stderr, flush=True)  # noqa: T201
    print(f"{len(unnoticed)} of {len(found)} guards are noticed by no test")  # noqa: T201
    if options.out:
        options.out.write_text(json.dumps([vars_of(guard) for guard in unnoticed], indent=1) + "\n", encoding="utf-8")


def vars_of(guard: Guard) -> dict[str, str | int]:
    """Return a guard as a dictionary."""
    return {"path": guard.path, "first": guard.first, "last": guard.last, "text": guard.text}


def _sources(place: Path) -> list[Path]:
    return [place] if place.is_file() else sorted(place.rglob("*.py"))


if __name__ == "__main__":
    main()
