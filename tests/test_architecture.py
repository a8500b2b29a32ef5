"""Who may import whom, how long things are, and that a class name means one class."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from common.columns.base import TableColumn
from common.columns.kinds import KINDS

ROOT = Path(__file__).parents[1]
PACKAGES = ("client", "common", "server", "simulations")

MOST_LINES, MOST_FUNCTION_LINES, MOST_PARAMETERS = 300, 50, 5
"""Limits of a module and of a function; of a command, of what follows its options."""

MOST_TEST_NAME = 60
"""Most characters of a test's name."""

MANY_PARAMETERS = {
    # A site, a simulation, an audit and a test each replace one of its seven parts; groups of them say less.
    "client/hospital.py __init__",
}
"""The functions that take more, each with its reason."""


COLUMN_CLASSES = {kind.__name__ for kind in KINDS.values()} | {
    base.__name__ for kind in KINDS.values() for base in kind.__mro__ if issubclass(base, TableColumn)
}

MAY_ASK_FOR_A_KIND = (
    "common/columns/",
    "common/dictionary/standards/",  # other tools' standards have types of their own, which differ by kind
    "common/dossier/turtle.py",
    "common/export/",
    "common/tables/writing.py",
    "common/tables/roles.py",  # a date is an identifier by its kind, an age by its bounds
)
"""Modules that may ask of which kind a column is; everything else takes what the column says of itself."""


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([program, "--no-cache", "--no-logo"], cwd=tree, capture_output=True, text=True)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "pyproject.toml", tree / "pyproject.toml")
    return tree


def test_every_import_keeps_the_contracts() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("client/hospital.py", "import server.run.federation", "server and client never meet"),
        ("server/run/federation.py", "from client import policy", "server and client never meet"),
        ("common/dictionary/dictionary.py", "from common.tables.formats import read_table", "Inside common each floor"),
        ("client/site/history.py", "import client.selftest.run", "Inside client each room"),
        ("server/run/counting.py", "import server.deploy.certificates", "Inside server each room"),
        ("common/study/schema.py", "import simulations", "simulations -> server, client -> common"),
        ("client/hospital.py", "from flwr.app import Message", "Flower stays at the edges"),
        ("common/ledger/ledger.py", "import flwr", "Flower stays at the edges"),
        ("common/synthesizers/gan/synthesizer.py", "from opacus import PrivacyEngine", "Opacus clips in one place"),
        ("server/run/federation.py", "import typer", "Commands alone know typer"),
    ],
)
def test_a_forbidden_import_breaks_its_contract(copy: Path, module: str, line: str, contract: str) -> None:
    original = (copy / module).read_text(encoding="utf-8")
    (copy / module).write_text(f"{original}\n{line}\n", encoding="utf-8")
    try:
        done = lint_imports(copy)
    finally:
        (copy / module).write_text(original, encoding="utf-8")
    assert done.returncode == 1
    assert [text for text in done.stdout.splitlines() if contract in text and "BROKEN" in text], done.stdout


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("common.ledger.ledger", {"torch", "pandas", "flwr"}),
        ("common.model", {"torch", "flwr", "server", "client"}),
        ("client.hospital", {"torch", "flwr"}),
        ("client.site.opening", {"torch", "flwr"}),
        ("client.flower_app", {"torch", "pandas", "scipy", "pydantic"}),
        ("client.agent.transport", {"torch", "pandas", "scipy", "pydantic", "flwr"}),
        ("client.agent.agent", {"torch", "flwr"}),
        ("client.cli.site", {"torch", "pandas", "numpy", "grpc", "flwr"}),
        ("client.supernode.supernode", {"torch", "pandas", "flwr"}),
        ("client.supernode.relay_pool", {"torch", "pandas", "flwr", "numpy", "grpc", "cryptography", "asyncio"}),
    ],
)
def test_a_light_module_loads_without_the_heavy_packages(module: str, unwanted: set[str]) -> None:
    code = f"import json, sys, {module}; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not unwanted & set(json.loads(done.stdout))


def test_nobody_imports_pickle() -> None:
    # Whoever loads a pickle runs its author's code; models travel as safetensors and JSON.
    unsafe = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
    guilty = [
        f"{name}: {module}"
        for name, tree, _ in sources()
        for module in imported_modules(tree)
        if module.partition(".")[0] in unsafe
    ]
    assert not guilty


def imported_modules(tree: ast.Module) -> list[str]:
    """The modules that the source imports by absolute name, wherever in it."""
    modules = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            modules.append(node.module or "")
    return modules


Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def sources() -> list[tuple[str, ast.Module, int]]:
    """Name, syntax tree and number of lines of every module."""
    read = []
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        read.append((str(path.relative_to(ROOT)), ast.parse(text), len(text.splitlines())))
    return read


@cache
def functions() -> list[tuple[str, Function]]:
    """All functions of the project, with the module of each."""
    return [
        (name, node)
        for name, tree, _ in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def test_modules_are_not_too_long() -> None:
    assert not {name for name, _, lines in sources() if lines > MOST_LINES}


def test_functions_are_not_too_long() -> None:
    def lines(name: str, function: Function) -> int:
        body = function.body[ast.get_docstring(function) is not None :] or function.body
        start = body[0] if "/cli/" in name else function
        return (function.end_lineno or 0) - start.lineno + 1

    assert not {f"{name} {node.name}" for name, node in functions() if lines(name, node) > MOST_FUNCTION_LINES}


def test_functions_take_few_parameters() -> None:
    def parameters(function: Function) -> int:
        arguments = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
        return sum(argument.arg not in ("self", "cls") for argument in arguments)

    own = [(name, node) for name, node in functions() if "/cli/" not in name]
    many = {f"{name} {node.name}" for name, node in own if parameters(node) > MOST_PARAMETERS}
    assert not many - MANY_PARAMETERS


def asks_for_a_kind(node: ast.AST) -> bool:
    """Whether it is `isinstance(value, Kind)` or `case Kind(...)`, of the classes of columns."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
        return any(isinstance(name, ast.Name) and name.id in COLUMN_CLASSES for name in ast.walk(node.args[1]))
    return isinstance(node, ast.MatchClass) and isinstance(node.cls, ast.Name) and node.cls.id in COLUMN_CLASSES


def test_names_of_tests_are_not_too_long() -> None:
    written = re.compile(r"^ *(?:async )?def (test_\w+)", re.MULTILINE)
    texts = (path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    names = {name for text in texts for name in written.findall(text)}
    assert not {name for name in names if len(name) > MOST_TEST_NAME}


def test_columns_alone_ask_for_a_kind() -> None:
    asking = {name for name, tree, _ in sources() if any(map(asks_for_a_kind, ast.walk(tree)))}
    assert not {name for name in asking if not name.startswith(MAY_ASK_FOR_A_KIND)}


def test_a_class_name_means_one_class() -> None:
    names = [node.name for _, tree, _ in sources() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    assert not [name for name, count in Counter(names).items() if count > 1]
