"""Measure the structure of the code: `python -m tests.house [folder]` prints the figures of a checkout.

Upward imports and cycles are counted between the packages of `common`, in the order of the import contract in
pyproject.toml. Imports for type checking are left out; imports inside functions count.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("common", "client", "server", "simulations")
MOST_LINES, MOST_FUNCTION_LINES, MOST_PARAMETERS = 300, 50, 5
VAGUE = frozenset(
    (
        "one",
        "ones",
        "other",
        "others",
        "thing",
        "things",
        "place",
        "places",
        "part",
        "parts",
        "piece",
        "pieces",
        "found",
        "made",
        "said",
        "told",
        "given",
        "wanted",
        "known",
        "seen",
        "left",
        "whole",
        "rest",
        "here",
        "there",
        "kept",
        "asked",
        "drawn",
        "again",
        "once",
        "both",
        "several",
        "most",
        "least",
        "much",
        "many",
        "few",
        "something",
        "what",
        "who",
    )
)
"""Names of one word that say nothing about what they hold."""

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One source file: its dotted name and its syntax tree."""

    name: str
    lines: int
    tree: ast.Module

    @property
    def functions(self) -> list[FunctionNode]:
        return [node for node in ast.walk(self.tree) if isinstance(node, FunctionNode)]


def modules_of(root: Path) -> dict[str, Module]:
    """Return every module of the four packages by dotted name."""
    modules = {}
    for path in sorted(path for package in PACKAGES for path in (root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text(encoding="utf-8")
        modules[name] = Module(name, text.count("\n"), ast.parse(text))
    return modules


def imports_of(module: Module, known: dict[str, Module]) -> set[str]:
    """Return the modules of the project that a module imports, those for type checking only left out."""
    typing_only = {
        child
        for node in ast.walk(module.tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    imported = set()
    for node in ast.walk(module.tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            imported |= {name if name in known else node.module for name in names}
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
    return {name for name in imported if name in known} - {module.name}


def room_of(name: str) -> str:
    """Return the package below `common` (or another top folder) that holds a module; a loose module is its own room."""
    return ".".join(name.split(".")[:2])


def edges_between(root: Path, package: str = "common") -> dict[str, set[str]]:
    """Return which rooms of a package import which others."""
    modules = modules_of(root)
    edges: dict[str, set[str]] = defaultdict(set)
    for module in modules.values():
        if module.name.split(".")[0] != package or module.name == package:
            continue
        edges[room_of(module.name)] |= {
            room_of(name)
            for name in imports_of(module, modules)
            if name.startswith(f"{package}.") and room_of(name) != room_of(module.name)
        }
    return edges


def cycles_in(edges: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of rooms that import each other, directly or through others (Tarjan's algorithm)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(room: str) -> None:
        index[room] = low[room] = len(index)
        stack.append(room)
        for neighbor in sorted(edges.get(room, ())):
            if neighbor not in index:
                visit(neighbor)
                low[room] = min(low[room], low[neighbor])
            elif neighbor in stack:
                low[room] = min(low[room], index[neighbor])
        if low[room] == index[room]:
            group: list[str] = []
            while not group or group[-1] != room:
                group.append(stack.pop())
            if len(group) > 1:
                groups.append(sorted(group))

    for room in sorted(edges):
        if room not in index:
            visit(room)
    return groups


def floors(root: Path) -> list[list[str]]:
    """Return the floors of `common` from the import contract in pyproject.toml, top first."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    for contract in settings["tool"]["importlinter"]["contracts"]:
        if contract.get("containers") == ["common"]:
            layers = [re.split(r"[|:]", layer) for layer in contract["layers"]]
            return [[f"common.{room.strip(' ()')}" for room in rooms] for rooms in layers]
    raise ValueError("no contract for the floors of common")


def upward_imports(edges: dict[str, set[str]], order: list[list[str]]) -> list[tuple[str, str]]:
    """Return the imports that point to a higher floor."""
    height = {room: -level for level, rooms in enumerate(order) for room in rooms}
    return sorted(
        (room, other)
        for room, others in edges.items()
        for other in others
        if room in height and other in height and height[other] > height[room]
    )


def levels_of(edges: dict[str, set[str]]) -> int:
    """Return how many levels the rooms need when every import points down (cycles count as one room)."""
    groups = {room: tuple(group) for group in cycles_in(edges) for room in group}
    depth: dict[str, int] = {}

    def visit(room: str, path: frozenset[str]) -> int:
        if room not in depth:
            below = [
                other
                for member in groups.get(room, (room,))
                for other in edges.get(member, ())
                if other not in path and other not in groups.get(room, (room,))
            ]
            depth[room] = 1 + max((visit(other, path | {room}) for other in below), default=0)
        return depth[room]

    return max((visit(room, frozenset()) for room in edges), default=0)


def local_names(module: Module) -> Iterator[str]:
    """Yield every name that a module binds: parameters, variables, functions and classes."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, FunctionNode | ast.ClassDef):
            yield node.name


def parameters_of(function: FunctionNode) -> int:
    """Return how many parameters a function takes, `self` and `cls` left out."""
    arguments = function.args
    names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def is_command(module: Module) -> bool:
    """Return whether a module holds commands, whose functions declare the options that a person may give."""
    return ".cli." in module.name


def figures(root: Path) -> dict[str, object]:
    """Return all figures of a checkout by name."""
    modules = list(modules_of(root).values())
    functions = [(module, function) for module in modules for function in module.functions]
    edges, inside = edges_between(root), {}
    for package in ("common.evaluation",):
        names = modules_of(root)
        rooms: dict[str, set[str]] = defaultdict(set)
        for module in names.values():
            if module.name.startswith(f"{package}."):
                room = ".".join(module.name.split(".")[:3])
                rooms[room] |= {
                    ".".join(name.split(".")[:3])
                    for name in imports_of(module, names)
                    if name.startswith(f"{package}.")
                } - {room}
        inside[package] = rooms
    bound = [name.strip("_") for module in modules for name in local_names(module)]
    lengths = sorted((function.end_lineno or 0) - function.lineno + 1 for _, function in functions)
    return {
        "rooms of common": len(edges),
        "levels of common": levels_of(edges),
        "package cycles in common": cycles_in(edges),
        "upward imports in common": [" -> ".join(pair) for pair in upward_imports(edges, floors(ROOT))],
        "rooms of common.evaluation": len(inside["common.evaluation"]),
        "levels of common.evaluation": levels_of(inside["common.evaluation"]),
        "modules": len(modules),
        "modules over 300 lines": sorted(module.name for module in modules if module.lines > MOST_LINES),
        "functions": len(functions),
        "functions over 50 lines": sorted(
            f"{module.name}.{function.name}"
            for module, function in functions
            if (function.end_lineno or 0) - function.lineno + 1 > MOST_FUNCTION_LINES and not is_command(module)
        ),
        "lines of a function, 90th percentile": lengths[int(len(lengths) * 0.9)],
        "functions with more than 5 parameters": sorted(
            f"{module.name}.{function.name}"
            for module, function in functions
            if parameters_of(function) > MOST_PARAMETERS and not is_command(module)
        ),
        "share of vague names": round(sum(name in VAGUE for name in bound) / len(bound), 4),
    }


if __name__ == "__main__":
    for title, value in figures(Path(sys.argv[1] if len(sys.argv) > 1 else ".")).items():
        print(f"{title}: {len(value) if isinstance(value, list) else value}")  # noqa: T201
        for entry in value if isinstance(value, list) else ():
            print(f"    {entry}")  # noqa: T201
