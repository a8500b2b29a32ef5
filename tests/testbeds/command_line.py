"""The `fedsynth` command, called in this process."""

from __future__ import annotations

from click.testing import Result
from typer.testing import CliRunner

from simulations.cli.main import app


def fedsynth(*arguments: object, answer: str | None = None) -> Result:
    """Run a command; `answer` is what a person types when it asks."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=answer)


def output_of(result: Result) -> str:
    """Return all that the command printed, with every run of white space as one space."""
    return " ".join((result.output + result.stderr).split())
