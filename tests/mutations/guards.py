"""Find guards that no test notices: remove one at a time and run the tests that pass through it.

    python -m tests.mutations.guards client common/ledger        # folders or files; the whole project if none is named

What a guard is says `tests.mutations.guard_sites`.

First tests run once with coverage, which notes those that pass through every line. Of the test files, only those take
part that reach a guard's module: that import it, themselves or through a module of `tests` (a testbed). Then each guard
is removed in a copy of the checkout, and up to 40 tests that pass through it run until one fails. A guard whose tests
all pass is printed, in the order of the places that were named. That says that none of these tests depends on it.
Another might: a slow one, one of a file that imports the module only through other modules of the project, or the
forty-first. Tests that start processes of their own are not seen to pass through what these run.

A fork of this process runs the tests of a guard. It has imported the test files already and gets the changed function
alone, so that a guard takes seconds. Processes that tests start read the changed file. Where the guard is not within a
function, the fork imports everything again.
"""

from __future__ import annotations

import argparse
import ast
import json
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType

import pytest

from tests.mutations.guard_sites import ROOT, Guard, guards_of, without

PACKAGES = ("common", "client", "server", "simulations")
MOST_TESTS = 40
"""Tests that run for one guard: of those that pass through it, those of the module's own file, then the quickest."""

PATIENCE_S = 300


def reaching(modules: Set[str], tests: Sequence[str]) -> list[str]:
    """Return the test files that import one of these modules, themselves or through modules of `tests`.

    Args:
        modules: names of modules of the project.
        tests: test files, or folders of them.
    """
    sources = {_module(path): path for path in _sources(ROOT / "tests")}
    imported = {name: _imported(path) for name, path in sources.items()}

    def reached(name: str) -> set[str]:
        seen, waiting = set[str](), [name]
        while waiting:
            for other in imported.get(waiting.pop(), set()) - seen:
                seen.add(other)
                waiting.append(other)
        return seen

    wanted = [path for place in tests for path in _sources(ROOT / place) if path.name.startswith("test_")]
    return [str(path.relative_to(ROOT)) for path in wanted if reached(_module(path)) & modules]


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def _imported(path: Path) -> set[str]:
    """Return the names of the modules that a file may import; `from a import b` counts as `a` and `a.b`."""
    names = set[str]()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def contexts(folder: Path, tests: Sequence[str]) -> Path:
    """Run quick tests once and return coverage's database of which test passes through which line."""
    data = folder / "coverage"
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", *tests]
    command += [*(f"--cov={package}" for package in PACKAGES), "--cov-context=test", "--cov-report="]
    subprocess.run(
        [*command, "--cov-fail-under=0"], cwd=ROOT, env=os.environ | {"COVERAGE_FILE": str(data)}, check=False
    )
    return data


def tests_through(data: Path, guard: Guard) -> list[str]:
    """Return tests that pass through `guard.lines`: of its module's own file first, then by the lines they cover."""
    with sqlite3.connect(data) as database:
        rows = database.execute(
            "select distinct context.context from arc join file on file.id = arc.file_id "
            "join context on context.id = arc.context_id where file.path = ? and tono between ? and ?",
            [str(ROOT / guard.path), *guard.lines],
        ).fetchall()
    sizes = _sizes(data)
    tests = {name.partition("|")[0] for (name,) in rows if name}
    own = str(Path("tests", guard.path).with_name(f"test_{Path(guard.path).name}"))
    return sorted(tests, key=lambda name: (not name.startswith(own), sizes.get(f"{name}|run", 0), name))[:MOST_TESTS]


@cache
def _sizes(data: Path) -> dict[str, int]:
    """Return how many lines each test passes through, by coverage's name of it."""
    query = "select context.context, count(*) from arc join context on context.id = arc.context_id group by 1"
    with sqlite3.connect(data) as database:
        return dict(database.execute(query))


def is_noticed(copy: Path, guard: Guard, tests: Sequence[str]) -> bool:
    """Return whether one of the tests fails without the guard."""
    path = copy / guard.path
    original = path.read_bytes()
    path.write_bytes(without(original, guard))
    run = multiprocessing.get_context("fork").Process(target=_run_tests, args=(copy, guard, tests))
    try:
        run.start()
        run.join(PATIENCE_S)
        if run.exitcode is None:
            run.kill()
            run.join()
        return run.exitcode != 0
    finally:
        path.write_bytes(original)


def _run_tests(copy: Path, guard: Guard, tests: Sequence[str]) -> None:
    """Run tests of the copy in this process, a fork that has imported them."""
    if not _is_exchanged(copy, guard):
        _forget()
    sys.exit(_pytest("-x", *tests))


def _pytest(*arguments: str) -> int:
    """Run pytest in this process, without a word, and return its exit code."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        return int(pytest.main(["-q", "-p", "no:cacheprovider", "--no-cov", *arguments]))


def _forget() -> None:
    """Forget every module of the project, so that it is imported again."""
    for name in [name for name in sys.modules if name.partition(".")[0] in (*PACKAGES, "tests")]:
        del sys.modules[name]


def _enter(copy: Path) -> None:
    """Make the copy the checkout of this process and of those that it starts."""
    _forget()
    sys.path[:] = [str(copy), *(entry for entry in sys.path if entry and Path(entry).resolve() != ROOT)]
    os.environ |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True
    os.chdir(copy)


def _is_exchanged(copy: Path, guard: Guard) -> bool:
    """Give the function that holds the guard the code of the changed file, and return whether that was possible."""
    module = sys.modules.get(guard.path.removesuffix(".py").replace("/", "."))
    if module is None:
        return False
    changed = compile((copy / guard.path).read_bytes(), str(copy / guard.path), "exec", dont_inherit=True)
    codes = {(code.co_qualname, code.co_firstlineno): code for code in _codes(changed)}
    functions = {id(function): function for function in _functions(vars(module), module.__name__)}
    holders = [
        function
        for function in functions.values()
        if function.__code__.co_firstlineno <= guard.first <= _last_line(function.__code__)
    ]
    try:
        for function in holders:
            code = function.__code__
            function.__code__ = codes[code.co_qualname, code.co_firstlineno]
    except (KeyError, ValueError):  # it closes over other variables without the guard
        return False
    return bool(holders)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _last_line(code: CodeType) -> int:
    return max(line for part in _codes(code) for _, _, line in part.co_lines() if line is not None)


def _functions(names: Mapping[str, object], module: str) -> Iterator[FunctionType]:
    """Yield the functions that a module defines, also those in its classes and behind their decorators."""
    for value in list(names.values()):
        if isinstance(value, type) and value.__module__ == module:
            yield from _functions(vars(value), module)
        waiting = [value]
        while waiting:
            inner = waiting.pop()
            if isinstance(inner, FunctionType) and inner.__module__ == module:
                yield inner
            parts = (getattr(inner, name, None) for name in ("__func__", "__wrapped__", "fget", "func", "wrapped"))
            waiting += [part for part in parts if callable(part) and not isinstance(part, type)]


def main() -> None:
    """Print every guard that no test notices, and how many there were."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="*", default=list(PACKAGES), help="files or folders whose guards are removed")
    parser.add_argument("--tests", nargs="*", default=["tests"], help="test files or folders to choose from")
    parser.add_argument("--whole", action="store_true", help="leave out single conditions, a third of all guards")
    parser.add_argument("--coverage", type=Path, help="database of an earlier run with --cov-context=test")
    parser.add_argument("--out", type=Path, help="JSON file for the unnoticed guards")
    options = parser.parse_args()
    files = [path for place in options.places for path in _sources(ROOT / place)]
    found = [guard for path in files for guard in sorted(set(guards_of(path))) if not (options.whole and guard.is_part)]
    tests = reaching({_module(ROOT / guard.path) for guard in found}, options.tests)
    unnoticed = []
    with tempfile.TemporaryDirectory() as scratch:
        data = options.coverage or contexts(Path(scratch), tests)
        copy = Path(scratch) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "out", ".*_cache"))
        _enter(copy)
        _pytest("--collect-only", *tests)
        for number, guard in enumerate(found, 1):
            passing = tests_through(data, guard)
            is_seen = bool(passing) and is_noticed(copy, guard, passing)
            if not is_seen:
                unnoticed.append(guard)
                print(f"{guard.path}:{guard.first}: {guard.text}   ({len(passing)} tests pass through it)", flush=True)  # noqa: T201
            print(f"{number} of {len(found)}", end="\r", file=sys.stderr, flush=True)  # noqa: T201
    print(f"{len(unnoticed)} of {len(found)} guards are noticed by no test")  # noqa: T201
    if options.out:
        options.out.write_text(json.dumps([asdict(guard) for guard in unnoticed], indent=1) + "\n", encoding="utf-8")


def _sources(place: Path) -> list[Path]:
    return [place] if place.is_file() else sorted(place.rglob("*.py"))


if __name__ == "__main__":
    main()
