"""Fill the tables of docs/results-tables.md from the cases in docs/evidence/.

`make evidence` first runs the benchmark in that folder, which measures missing cases of results.csv. The text of the
page is written by hand and stays; everything between `<!-- name -->` and `<!-- /name -->` is generated, so that no
figure is copied by hand.

    python -m simulations.benchmark.evidence_tables docs
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from common.errors import StudyError
from common.evaluation.measures.registry import CORE_MEASURES
from common.system.files import write_synced
from simulations.benchmark.gaps import CENTRAL, gaps
from simulations.benchmark.markdown import HEADINGS, cost_table, gap_table, not_run, quality_table, table_of
from simulations.benchmark.questions import QUALITY
from simulations.benchmark.results import COMPARED, ResultsFile, absent
from simulations.benchmark.runner import cases_of
from simulations.benchmark.tables import EVIDENCE, ClinicalTable

PAGE = "results-tables.md"
"""The file in the folder of documents whose tables are generated."""

LINE_LENGTH = 119
"""Most characters in a line of the page, tables excepted."""

EPSILONS, SEEDS = (1.0, 3.0, 10.0), (0, 1, 2)

TABLE_LABELS = {
    "flchain": "flchain",
    "heart-disease": "heart-disease",
    "eicu": "eICU",
    "support2": "SUPPORT2",
    "diabetes130": "diabetes130, 20,000 patients",
}

ARM_LABELS = {
    "bootstrap": "real rows, resampled",
    "central": "**one hospital with all rows**",
    "distributed-4": "**four hospitals, shared noise**",
    "distributed-by-site": "**by hospital, shared noise**",
    "local-4": "four hospitals, local noise",
    "by-site": "by hospital, local noise",
    "alone-4": "each of four hospitals alone",
    "alone-by-site": "each hospital alone",
    "plain-dp-gan": "plain DP-GAN",
    "independent": "independent columns",
    "aim": "AIM, pooled rows",
    "mst": "MST, pooled rows",
    "ctgan": "CTGAN, pooled rows, not private",
}

SHARED_NOISE = {
    "central": "one hospital with all rows",
    "distributed-4": "4 hospitals, shared noise",
    "distributed-25": "25 hospitals, shared noise",
    "local-4": "4 hospitals, local noise",
    "local-25": "25 hospitals, local noise",
}

RIVALS = {
    "plain-dp-gan": "than the plain DP-GAN",
    "independent": "than independent columns",
    "aim": "than AIM",
    "mst": "than MST",
    "ctgan": "than CTGAN (not private)",
}

WANTED = (
    "bootstrap",
    "centralized",
    "federated-shared",
    "federated",
    "plain-dp-gan",
    "independent",
    "aim",
    "mst",
    "ctgan",
)
"""Arms that every published table needs, at every epsilon and seed."""


def quality(results: pd.DataFrame, table: str) -> str:
    """Render the quality of one table under every arm of the page."""
    return quality_table(results[(results.table == table) & results.arm.isin(ARM_LABELS)], ARM_LABELS)


def shared_noise(results: pd.DataFrame) -> str:
    """Render what sharing noise saves, on flchain at epsilon 3."""
    chosen = (results.table == "flchain") & results.arm.isin(SHARED_NOISE) & (results.epsilon == 3.0)
    return quality_table(results[chosen], SHARED_NOISE)


def federated_gap(results: pd.DataFrame) -> str:
    """Render federated minus centralized on the published tables."""
    published = results[results.table.isin(EVIDENCE) & results.arm.isin(ARM_LABELS)]
    return gap_table(gaps(published), _plain(ARM_LABELS) | TABLE_LABELS)


def cost(results: pd.DataFrame) -> str:
    """Render seconds and bytes of the arms on the published tables."""
    costly = set(ARM_LABELS) - {"bootstrap"}
    return cost_table(
        results[results.table.isin(EVIDENCE) & results.arm.isin(costly)], _plain(ARM_LABELS) | TABLE_LABELS
    )


def wins(results: pd.DataFrame) -> str:
    """Render on how many measures one hospital with all rows beats each rival, and on which it does not."""
    counts = [["number of six measures that are better", *TABLE_LABELS.values()]]
    lost = [["not better on", *TABLE_LABELS.values()]]
    for rival, words in RIVALS.items():
        results_by_table = [[lost_to(results, table, rival, epsilon) for epsilon in EPSILONS] for table in TABLE_LABELS]
        counts.append([words, *map(_counted, results_by_table)])
        lost.append([words, *map(_named, results_by_table)])
    return f"{table_of(counts)}\n\n{table_of(lost)}"


def lost_to(results: pd.DataFrame, table: str, rival: str, epsilon: float) -> tuple[tuple[str, ...], int] | None:
    """Return the measures on which the centralized mean is not strictly better than the rival's.

    Returns:
        these measures and the number of seeds that both arms have; None if there is no such seed. A rival without a
        budget is compared at every epsilon.
    """
    central = results[(results.table == table) & (results.arm == CENTRAL) & (results.epsilon == epsilon)]
    rivals = results[(results.table == table) & (results.arm == rival) & results.epsilon.isin([epsilon, 0.0])]
    central_scores, rival_scores = (cases.set_index("seed")[list(COMPARED)] for cases in (central, rivals))
    seeds = sorted(set(central_scores.index) & set(rival_scores.index))
    if not seeds:
        return None
    best = pd.Series({name: CORE_MEASURES[name].best for name in COMPARED})
    errors, rival_errors = ((scores.loc[seeds] - best).abs().mean() for scores in (central_scores, rival_scores))
    return tuple(name for name in COMPARED if errors[name] >= rival_errors[name]), len(seeds)


Lost = Sequence[tuple[tuple[str, ...], int] | None]
"""Result of `lost_to` at each epsilon."""


def _named(lost: Lost) -> str:
    """Render the lost measures with the epsilons at which they are lost."""
    epsilons: dict[str, list[str]] = {name: [] for name in COMPARED}
    for epsilon, entry in zip(EPSILONS, lost, strict=True):
        for name in entry[0] if entry is not None else ():
            epsilons[name].append(f"{epsilon:g}")
    named = [f"{HEADINGS[name]} ({', '.join(where)})" for name, where in epsilons.items() if where]
    return "; ".join(named) or "-"


def _counted(lost: Lost) -> str:
    """Render the count at each epsilon, and in brackets the number of seeds: once if it is the same for all."""
    counts = ", ".join("-" if entry is None else str(len(COMPARED) - len(entry[0])) for entry in lost)
    seeds = [str(entry[1]) for entry in lost if entry is not None]
    if not seeds:
        return "-"
    return f"{counts} ({seeds[0] if len(set(seeds)) == 1 else ', '.join(seeds)})"


def lacking(results: ResultsFile) -> str:
    """Render which published cases have no result."""
    sources = [ClinicalTable(name, Path()) for name in EVIDENCE]
    return not_run(absent(cases_of(sources, WANTED, EPSILONS, SEEDS), results))


def filled(page: str, results: ResultsFile) -> str:
    """Return the page with every marked table generated again from the cases.

    Raises:
        StudyError: the page marks an unknown table, or lacks one.
    """
    frame = results.frame()
    makers: dict[str, Callable[[], str]] = {
        "wins": partial(wins, frame),
        "gap": partial(federated_gap, frame),
        "cost": partial(cost, frame),
        "shared-noise": partial(shared_noise, frame),
        "not-run": partial(lacking, results),
        **{name: partial(quality, frame, name) for name in TABLE_LABELS},
    }
    marked = re.findall(r"<!-- ([a-z0-9-]+) -->", page)
    if sorted(marked) != sorted(makers):
        odd = sorted(set(marked) ^ set(makers)) or sorted(marked)
        raise StudyError(f"the page marks unknown tables or lacks some: {', '.join(odd)}; correct its marks")
    for name, maker in makers.items():
        opening, closing = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, _, rest = page.partition(opening)
        _, found, after = rest.partition(closing)
        if not found:
            raise StudyError(f"the page has no '{closing}'; add it after the table")
        page = f"{before}{opening}\n\n{_wrap(maker())}\n\n{closing}{after}"
    return page


def _wrap(text: str) -> str:
    """Return the text with its sentences broken to the line length of the documentation; tables keep their lines."""
    return "\n".join(
        line if line.startswith("|") else textwrap.fill(line, LINE_LENGTH, break_on_hyphens=False)
        for line in text.split("\n")
    )


def _plain(labels: dict[str, str]) -> dict[str, str]:
    return {name: label.strip("*") for name, label in labels.items()}


def main(folder: Path) -> None:
    """Fill `results-tables.md` in the folder from the cases in its `evidence/`."""
    page = folder / PAGE
    results = ResultsFile(folder / "evidence" / QUALITY.file)
    write_synced(page, filled(page.read_text(encoding="utf-8"), results).encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
