"""The pages of a benchmark's folder: the summary of its results in Markdown, and their curves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from common.system.files import writing
from common.system.folder import RunFolder
from simulations.benchmark.curves import curves
from simulations.benchmark.markdown import markdown, shadow_markdown
from simulations.benchmark.questions import MEMBERSHIP, QUALITY, Question
from simulations.benchmark.results import Case, CaseFailure, ResultsFile, absent

SMOKE_HEADING = "SMOKE TEST: one seed and too few steps. These figures say nothing about quality.\n\n"

CURVES = "curves.html"
"""Page of every measure over epsilon."""

Render = Callable[[pd.DataFrame, Iterable[Case], Iterable[CaseFailure]], str]
"""Returns the summary of finished cases, of those without a result, and of why some have none."""


@dataclass(frozen=True, slots=True)
class WrittenPages:
    """The summary as it was written, and the names of all files that belong to it."""

    summary: str
    files: tuple[str, ...]


def write_pages(
    out: Path,
    question: Question,
    cases: Sequence[Case],
    failures: Sequence[CaseFailure] = (),
    *,
    is_smoke: bool = False,
) -> WrittenPages:
    """Summarize the results of a benchmark's folder in that folder.

    Args:
        out: the folder.
        question: whose results to summarize.
        cases: what was asked for; the summary lists those without a result.
        failures: why cases of the last run have no result.
        is_smoke: put a warning above the figures.

    Raises:
        StudyError: the folder holds something else, or cannot be written.
    """
    render = shadow_markdown if question is MEMBERSHIP else markdown
    heading = SMOKE_HEADING if is_smoke else ""
    written = write_summary(
        out, question, cases, failures, lambda frame, missing, failed: heading + render(frame, missing, failed)
    )
    if question is not QUALITY:
        return written
    with writing(out):
        RunFolder(out).write(CURVES, curves(ResultsFile(out / question.file, question.columns).frame()))
    return replace(written, files=(*written.files, CURVES))


def write_summary(
    out: Path, question: Question, cases: Iterable[Case], failures: Iterable[CaseFailure], render: Render
) -> WrittenPages:
    """Write the summary of a question's results beside them, as a Markdown page of the same name.

    Args:
        out: the folder.
        question: whose results to summarize.
        cases: what was asked for; the summary lists those without a result.
        failures: why cases of the last run have no result.
        render: makes the text of the page.

    Raises:
        StudyError: the folder holds something else, or cannot be written.
    """
    results = ResultsFile(out / question.file, question.columns)
    summary = render(results.frame(), absent(cases, results), failures)
    page = Path(question.file).with_suffix(".md").name
    with writing(out):
        RunFolder(out).write(page, summary)
    return WrittenPages(summary, (question.file, page))
