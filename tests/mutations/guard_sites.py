"""Where the guards of a source file are, and what replaces each to remove it.

A guard is one of three things, and is removed thus:

- an `if` that only raises, or that only returns a refusal (False, None or a text): its condition becomes False
- a call of a function named `check`, `require`, `refuse` or `verify`: it becomes `pass`
- a condition that such an `if`, a `return` or a variable `is_...` joins to others by `and` or `or`: it becomes True or
  False, so that the others decide
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CALLS = re.compile(r"^_?(check|require|refuse|verify|ensure)(_|$)")


@dataclass(frozen=True, order=True)
class Guard:
    """Bytes `start` to `end` of a file, and what replaces them to remove the guard.

    Attributes:
        first: first line of the statement, counted from 1.
        last: last line of it; of an `if`, of its condition.
        lines: first and last line that a test must pass through to notice the removal. For a whole `if` these are those
            of its refusal: where it does not refuse, nothing changes without it.
        is_part: whether it is one of several conditions that decide together.
    """

    path: str
    first: int
    last: int
    start: int
    end: int
    replacement: str
    text: str
    is_part: bool
    lines: tuple[int, int]


def guards_of(path: Path) -> Iterator[Guard]:
    """Yield the guards of one file."""
    source = path.read_bytes()
    starts = [0, *(match.end() for match in re.finditer(rb"\n", source))]

    def guard(statement: ast.stmt, node: ast.AST, replacement: str, *, is_part: bool = False) -> Guard:
        assert isinstance(node, ast.expr | ast.stmt)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        whole = statement.test if isinstance(statement, ast.If) else statement
        text = " ".join(source[start:end].decode().split())
        name = str(path.relative_to(ROOT))
        last = whole.end_lineno or whole.lineno
        lines = statement.lineno, last
        if isinstance(statement, ast.If) and not is_part:
            lines = statement.body[0].lineno, statement.body[-1].end_lineno or statement.body[-1].lineno
        return Guard(name, statement.lineno, last, start, end, replacement, text, is_part, lines)

    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.If) and all(_refuses(item) for item in node.body):
            yield guard(node, node.test, "False")
            yield from (guard(node, part, value, is_part=True) for part, value in _parts(node.test))
        elif (isinstance(node, ast.Return) and node.value is not None) or _is_condition(node):
            assert isinstance(node, ast.Return | ast.Assign)
            assert node.value is not None
            yield from (guard(node, part, value, is_part=True) for part, value in _parts(node.value))
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
