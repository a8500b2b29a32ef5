"""The private evaluation for people: its figures in order, and a page of Markdown for a run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.evaluation.statistics.intervals import LEVEL

EVALUATION_PAGE = "evaluation.md"
"""Name of the page in a run's folder."""

TITLE = "Measured at the hospitals under differential privacy"

NOTHING_KNOWN = (
    "The noise hides how many patients there were, so nothing can be said. Give the evaluation a larger part of the "
    "budget ([budget] evaluation), or hold out more patients."
)


WIDE = 0.5
"""Width of an interval from which a figure says nothing: the page then shows the interval alone."""


def figures_of(document: Mapping[str, Any]) -> list[tuple[str, Mapping[str, float]]]:
    """Return every figure with its title: `value`, `low` and `high`.

    Args:
        document: the private evaluation, as run.json has it.
    """
    figures: list[tuple[str, Mapping[str, float] | None]] = [
        (f"distance of single columns, mean of {document['tables1']}", document["tvd1"]),
        (f"distance of pairs of columns, mean of {document['tables2']}", document["tvd2"]),
    ]
    prediction = document["prediction"]
    if prediction is not None:
        target = prediction["target"]
        figures += [
            (f"accuracy of a logistic regression trained on synthetic rows, for '{target}'", prediction["accuracy"]),
            ("accuracy of always guessing the most frequent synthetic class", prediction["guess"]),
        ]
        classes = prediction["classes"]
        kinds = ["specificity", "sensitivity"] if len(classes) == 2 else ["recall"] * len(classes)
        for kind, label, recall in zip(kinds, classes, prediction["recalls"], strict=True):
            figures.append((f"{kind}: patients of class '{label}' who are predicted to be in it", recall))
    figures += [(f"distance of column '{name}'", estimate) for name, estimate in document["columns"].items()]
    return [(title, estimate) for title, estimate in figures if estimate is not None]


def introduction(document: Mapping[str, Any]) -> str:
    """Return what was counted, how noisy it is, and what distances and intervals mean.

    Args:
        document: the private evaluation, as run.json has it.
    """
    noise = document["noise"]
    of_tables = "" if noise is None else f" Every count by columns has noise of {noise:.1f} patients."
    sentences = [
        f"About {document['patients']:,} held-out patients were counted, who trained nothing.{of_tables} Every count "
        f"of predictions has noise of {document['noise_of_predictions']:.1f} patients. Intervals ({LEVEL:.0%}) hold "
        "this noise and chance among patients."
    ]
    if noise is None:
        sentences.append("Distances were not counted: noise would have hidden them.")
    else:
        sentences.append(
            "Distances are from the population that the patients come from, so chance among patients does not enlarge "
            "them."
        )
    return " ".join(sentences)


def text_of(estimate: Mapping[str, float]) -> str:
    """Return an estimate as people read it."""
    return f"{estimate['value']:.3f}" if estimate["high"] - estimate["low"] < WIDE else "hidden by noise"


def to_markdown(document: Mapping[str, Any], study: str) -> str:
    """Return the page as Markdown. It is made from noisy counts and may be published with the table.

    Args:
        document: the private evaluation, as run.json has it.
        study: name of the study.
    """
    lines = [f"# {TITLE}: study {study}", "", introduction(document), ""]
    figures = figures_of(document)
    if not figures:
        return "\n".join([*lines, NOTHING_KNOWN, ""])
    lines += ["| measure | estimate | interval |", "|---|---|---|"]
    for title, estimate in figures:
        cells = [title.replace("|", "\\|"), text_of(estimate)]
        lines.append(f"| {' | '.join(cells)} | {estimate['low']:.3f} to {estimate['high']:.3f} |")
    return "\n".join([*lines, ""])
