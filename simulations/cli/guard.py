"""The one place where an error becomes an exit code and one line that names the cause and the remedy."""

from __future__ import annotations

import errno
import sqlite3
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import click
import typer
from typer.core import TyperGroup

from common.errors import FedSynthError, StudyError, cause_of
from simulations.cli.console import complain

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells expect it: 128 + SIGINT."""


def _validation_error() -> tuple[type[Exception], ...]:
    """Return pydantic's error, if the command has loaded pydantic: help must not."""
    loaded = sys.modules.get("pydantic")
    return (loaded.ValidationError,) if loaded is not None else ()


def _explained(problem: Exception) -> str:
    from pydantic import ValidationError

    from common.settings import explain

    assert isinstance(problem, ValidationError), "only that is caught"
    return explain(problem, lambda _: [])


class GuardedGroup(TyperGroup):
    """A group of commands whose expected errors end in one line; any other exception is a bug and keeps its traceback.

    A `FedSynthError` ends with its own exit code; an error of the operating system, of SQLite or of a value's checks
    with that of a `StudyError`; Ctrl-C with 130, and a mistake on the command line with 2.
    """

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except FedSynthError as problem:
            complain(str(problem))
            raise typer.Exit(problem.exit_code) from None
        except OSError as problem:
            if problem.errno == errno.EPIPE:  # whoever read the output has closed it: `fedsynth ... | head`
                raise
            subject = f"'{problem.filename}': " if problem.filename else ""
            complain(f"{subject}{cause_of(problem)}; check the path, its permissions and the free space")
            raise typer.Exit(StudyError.exit_code) from None
        except sqlite3.Error as problem:
            complain(f"a ledger cannot be used ({cause_of(problem)}); check its folder, permissions and the free space")
            raise typer.Exit(StudyError.exit_code) from None
        except _validation_error() as problem:
            complain(f"a value does not fit: {_explained(problem)}; correct the study or the command line")
            raise typer.Exit(StudyError.exit_code) from None
        except KeyboardInterrupt as interruption:
            complain(str(interruption) or "interrupted")
            raise typer.Exit(INTERRUPTED) from None

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        run = partial(super().main, args, prog_name, complete_var, False, windows_expand_args, **extra)
        if not standalone_mode:
            return run()
        try:
            result = run()
        except click.exceptions.NoArgsIsHelpError as help_page:
            click.echo(help_page.format_message(), err=True)
            sys.exit(help_page.exit_code)
        except click.ClickException as mistake:
            context = getattr(mistake, "ctx", None)
            command = context.command_path if context is not None else "fedsynth"
            complain(f"{mistake.format_message().rstrip('.')}; see `{command} --help`")
            sys.exit(mistake.exit_code)
        except click.Abort:
            complain("aborted; no answer was given")
            sys.exit(1)
        sys.exit(result if isinstance(result, int) else 0)
