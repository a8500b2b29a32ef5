"""The pages of a benchmark's folder: the summary of its results in Markdown, and their curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.system.files import writing
from common.system.folder import RunFolder
from simulations.benchmark.curves import curves
from simulations.benchmark.markdown import markdown, shadow_markdown
from simulations.benchmark.questions import MEMBERSHIP, QUALITY, Question
from simulations.benchmark.results import Case, CaseFailure, ResultsFile, absent

SMOKE_HEADING = "SMOKE TEST: one seed and too few steps. These figures say nothing about quality.\n\n"

CURVES = "curves.html"
"""Page of every measure over epsilon."""


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
    results = ResultsFile(out / question.file, question.columns)
    render = shadow_markdown if question is MEMBERSHIP else markdown
    summary = (SMOKE_HEADING if is_smoke else "") + render(results.frame(), absent(cases, results), failures)
    page = Path(question.file).with_suffix(".md").name
    files = [question.file, page]
    with writing(out):
        folder = RunFolder(out)
        folder.write(page, summary)
        if question is QUALITY:
            folder.write(CURVES, curves(results.frame()))
            files.append(CURVES)
    return WrittenPages(summary, tuple(files))
