"""Find guards that no test notices: remove one at a time and run the tests that pass through it.

    python -m tests.mutations.guards client common/ledger        # folders or files; the whole project if none is named

A guard is one of three things, and is removed thus:

- an `if` that only raises, or that only returns a refusal (False, None or a text): its condition becomes False
- a call of a function named `check`, `require`, `refuse` or `verify`: it becomes `pass`
- a condition that such an `if`, a `return` or a variable `is_...` joins to others by `and` or `or`: it becomes True or
  False, so that the others decide

First the quick tests run once with coverage, which notes the tests that pass through every line. Then each guard is
removed in a copy of the checkout, and the tests that pass through it run until one fails. A guard whose tests all pass
is printed: it has no test that depends on it.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import multiprocessing
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("common", "client", "server", "simulations")
CALLS = re.compile(r"^_?(check|require|refuse|verify|ensure)(_|$)")
MOST_TESTS = 40
"""Tests that run for one guard: the quickest that pass through it, as coverage found them."""

PATIENCE_S = 300

LIBRARIES = ("numpy", "pandas", "scipy.stats", "torch", "pydantic", "cryptography.hazmat.primitives.ciphers.aead")
"""Loaded once, before the tests of each guard run in a fork."""


@dataclass(frozen=True, order=True)
class Guard:
    """Bytes `start` to `end` of a file, and what replaces them to remove the guard.

    Attributes:
        first: first line of the statement, counted from 1.
        last: last line of it.
    """

    path: str
    first: int
    last: int
    start: int
    end: int
    replacement: str
    text: str


def guards_of(path: Path) -> Iterator[Guard]:
    """Yield the guards of one file."""
    source = path.read_bytes()
    starts = [0, *(match.end() for match in re.finditer(rb"\n", source))]

    def guard(statement: ast.stmt, node: ast.AST, replacement: str) -> Guard:
        assert isinstance(node, ast.expr | ast.stmt)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        whole = statement.test if isinstance(statement, ast.If) else statement
        text = " ".join(source[start:end].decode().split())
        name = str(path.relative_to(ROOT))
        return Guard(name, statement.lineno, whole.end_lineno or whole.lineno, start, end, replacement, text)

    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.If) and all(_refuses(item) for item in node.body):
            yield guard(node, node.test, "False")
            yield from (guard(node, part, value) for part, value in _parts(node.test))
        elif (isinstance(node, ast.Return) and node.value is not None) or _is_condition(node):
            assert isinstance(node, ast.Return | ast.Assign)
            assert node.value is not None
            yield from (guard(node, part, value) for part, value in _parts(node.value))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and CALLS.match(_called(node.value)):
            yield guard(node, node, "pass")


def _refuses(statement: ast.stmt) -> bool:
    """Return whether a statement raises, or returns False, None or a text."""
    if isinstance(statement, ast.Raise):
        return True
    if not isinstance(statement, ast.Return):
        return False
    match statement.value:
        case None | ast.JoinedStr():
            return True
        case ast.Constant(value):
            return value is None or value is False or isinstance(value, str)
    return False


def _is_condition(node: ast.AST) -> bool:
    """Return whether a variable whose name says that something is so gets a value."""
    return isinstance(node, ast.Assign) and any(
        isinstance(target, ast.Name) and target.id.startswith(("is_", "has_")) for target in node.targets
    )


def _parts(expression: ast.expr) -> Iterator[tuple[ast.expr, str]]:
    """Yield the conditions that an expression joins, each with the value that leaves the decision to the others."""
    for node in ast.walk(expression):
        if isinstance(node, ast.BoolOp):
            yield from ((part, str(isinstance(node.op, ast.And))) for part in node.values)


def _called(call: ast.Call) -> str:
    function = call.func
    return (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )


def without(source: bytes, guard: Guard) -> bytes:
    """Return the source with the guard removed."""
    return source[: guard.start] + guard.replacement.encode() + source[guard.end :]


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
    """Return the tests that pass through a guard's statement, by the lines they cover in all, fewest first."""
    with sqlite3.connect(data) as database:
        rows = database.execute(
            "select context.context, line_bits.numbits from line_bits join file on file.id = line_bits.file_id "
            "join context on context.id = line_bits.context_id where file.path = ?",
            [str(ROOT / guard.path)],
        ).fetchall()
        if not rows:  # branch coverage keeps arcs
            rows_of_arcs = database.execute(
                "select distinct context.context from arc join file on file.id = arc.file_id "
                "join context on context.id = arc.context_id where file.path = ? and tono between ? and ?",
                [str(ROOT / guard.path), guard.first, guard.last],
            ).fetchall()
            names = {name for (name,) in rows_of_arcs}
        else:
            lines = [divmod(line, 8) for line in range(guard.first, guard.last + 1)]
            names = {name for name, bits in rows for byte, bit in lines if byte < len(bits) and bits[byte] & (1 << bit)}
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
    original = path.read_bytes()
    path.write_bytes(without(original, guard))
    run = multiprocessing.get_context("fork").Process(target=_run_tests, args=(copy, tests))
    try:
        run.start()
        run.join(PATIENCE_S)
        if run.exitcode is None:
            run.kill()
            run.join()
        return run.exitcode != 0
    finally:
        path.write_bytes(original)


def _run_tests(copy: Path, tests: Sequence[str]) -> None:
    """Run tests of the copy in this process, a fork that has loaded the libraries but none of the project."""
    for name in [name for name in sys.modules if name.partition(".")[0] in (*PACKAGES, "tests")]:
        del sys.modules[name]
    sys.path[:] = [str(copy), *(entry for entry in sys.path if entry and Path(entry).resolve() != ROOT)]
    os.environ["PYTHONPATH"] = str(copy)
    sys.dont_write_bytecode = True  # of a changed file; the bytecode of the others came with the copy
    os.chdir(copy)
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    sys.exit(int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "--no-cov", *tests])))


def main() -> None:
    """Print every guard that no test notices, and how many there were."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="*", default=list(PACKAGES), help="files or folders whose guards are removed")
    parser.add_argument("--tests", nargs="*", default=["tests"], help="test files or folders to choose from")
    parser.add_argument("--coverage", type=Path, help="database of an earlier run with --cov-context=test")
    parser.add_argument("--out", type=Path, help="JSON file for the unnoticed guards")
    options = parser.parse_args()
    files = [path for place in options.places for path in _sources(ROOT / place)]
    found = sorted({guard for path in files for guard in guards_of(path)})
    for library in LIBRARIES:
        importlib.import_module(library)
    unnoticed = []
    with tempfile.TemporaryDirectory() as scratch:
        data = options.coverage or contexts(Path(scratch), options.tests)
        copy = Path(scratch) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "out", ".*_cache"))
        for number, guard in enumerate(found, 1):
            tests = tests_through(data, guard)
            is_seen = bool(tests) and is_noticed(copy, guard, tests)
            if not is_seen:
                unnoticed.append(guard)
                print(f"{guard.path}:{guard.first}: {guard.text}   ({len(tests)} tests pass through it)", flush=True)  # noqa: T201
            print(f"{number} of {len(found)}", end="\r", file=sys.stderr, flush=True)  # noqa: T201
    print(f"{len(unnoticed)} of {len(found)} guards are noticed by no test")  # noqa: T201
    if options.out:
        options.out.write_text(json.dumps([asdict(guard) for guard in unnoticed], indent=1) + "\n", encoding="utf-8")


def _sources(place: Path) -> list[Path]:
    return [place] if place.is_file() else sorted(place.rglob("*.py"))


if __name__ == "__main__":
    main()
