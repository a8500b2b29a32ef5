"""How the command line ends: an exit code, and one line with the cause and the remedy."""

from __future__ import annotations

import errno
import os
import sqlite3

import pytest
import typer
from click.testing import Result
from pydantic import ValidationError
from typer.testing import CliRunner

from common.errors import DataError, FederationError, FedSynthError, PolicyRefusal, Reason, StudyError
from common.study.sections import HospitalFacts
from simulations.cli.guard import INTERRUPTED, GuardedGroup
from simulations.cli.main import app as fedsynth


def run_raising(problem: BaseException) -> Result:
    app = typer.Typer(cls=GuardedGroup)

    @app.callback()
    def group() -> None: ...

    @app.command()
    def fail() -> None:
        raise problem

    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["fail"])


class TestExpectedErrors:
    @pytest.mark.parametrize(
        ("problem", "code"),
        [
            (FedSynthError("words"), 1),
            (StudyError("words"), 2),
            (PolicyRefusal(Reason.UNAVAILABLE, "words"), 3),
            (FederationError("words"), 4),
            (DataError("words"), 5),
        ],
    )
    def test_an_error_ends_with_its_own_code_and_words(self, problem: FedSynthError, code: int) -> None:
        result = run_raising(problem)
        assert (result.exit_code, result.stderr) == (code, "error words\n")

    def test_a_full_disk_is_named_in_the_systems_words(self) -> None:
        result = run_raising(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out/table.csv"))
        assert result.exit_code == 2
        assert result.stderr.startswith("error 'out/table.csv': No space left on device; ")
        assert result.stderr.count("\n") == 1

    def test_ctrl_c_ends_in_one_line(self) -> None:
        result = run_raising(KeyboardInterrupt())
        assert (result.exit_code, result.stderr) == (INTERRUPTED, "error interrupted\n")

    def test_a_closed_pipe_is_no_error_message(self) -> None:
        assert "error" not in run_raising(BrokenPipeError(errno.EPIPE, "Broken pipe")).stderr

    def test_a_bug_keeps_its_traceback(self) -> None:
        bug = ZeroDivisionError()
        assert run_raising(bug).exception is bug


class TestUsage:
    @pytest.mark.parametrize(
        ("arguments", "command"),
        [
            (["nothing"], "fedsynth"),
            (["--nothing"], "fedsynth"),
            (["sample", "--rows", "5"], "fedsynth sample"),
            (["site", "ledger", "close"], "fedsynth site ledger close"),
        ],
    )
    def test_a_mistake_names_the_help_page(self, arguments: list[str], command: str) -> None:
        result = CliRunner(env={"COLUMNS": "200"}).invoke(fedsynth, arguments, prog_name="fedsynth")
        assert result.exit_code == 2
        assert result.stderr.endswith(f"; see `{command} --help`\n")
        assert result.stderr.count("\n") == 1

    def test_no_command_prints_the_help_page(self) -> None:
        result = CliRunner().invoke(fedsynth, [])
        assert result.exit_code == 2
        assert "simulate" in result.output + result.stderr

    def test_an_unanswered_question_ends_with_code_one(self) -> None:
        app = typer.Typer(cls=GuardedGroup)

        @app.callback()
        def group() -> None: ...

        @app.command()
        def ask() -> None:
            typer.confirm("Sure?", abort=True)

        result = CliRunner().invoke(app, ["ask"], input="")
        assert result.exit_code == 1
        assert "aborted" in result.stderr


class TestErrorsOfLibraries:
    def test_sqlite_and_pydantic_end_in_one_line(self) -> None:
        for problem in (sqlite3.OperationalError("database or disk is full"), too_long()):
            result = run_raising(problem)
            assert result.exit_code == 2
            assert "Traceback" not in result.output
        assert "canary" not in result.output

    def test_an_interruption_with_words_keeps_them(self) -> None:
        result = run_raising(KeyboardInterrupt("interrupted during fit"))
        assert result.exit_code == 130
        assert "interrupted during fit" in result.output


def too_long() -> ValidationError:
    try:
        HospitalFacts(name="canary" * 20, declared_rows=100)
    except ValidationError as problem:
        return problem
    raise AssertionError
