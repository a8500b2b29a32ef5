"""`fedsynth benchmark run | attack | report | constants | list`: compare federated with centralized synthesis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from simulations.cli.console import complain, err_console, estimated_bar, note, out_console, quiet
from simulations.cli.options import OneRowPerPatient

if TYPE_CHECKING:
    from simulations.benchmark.pages import WrittenPages
    from simulations.benchmark.questions import CaseOptions, Question
    from simulations.benchmark.results import Case, CaseFailure
    from simulations.benchmark.runner import CaseWork
    from simulations.benchmark.tables import TableSource

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Compare federated synthesis with centralized and local-only synthesis, baselines and other projects.",
)

OUT, SMOKE_OUT = Path("out/benchmark"), Path("out/benchmark-smoke")
SMOKE_ARMS = ("bootstrap", "centralized", "federated", "local-only")

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        envvar="FEDSYNTH_DATA",
        help="Your table or folder of tables, one per hospital (with --study or --target), or the folder of the "
        "clinical tables in --tables. Default: the built-in heart table.",
    ),
]
Tables = Annotated[
    str | None,
    typer.Option("--tables", help="Clinical tables in the folder --data, comma-separated, or built-in."),
]
StudyFile = Annotated[Path | None, typer.Option("--study", help="Study file of your table.")]
Target = Annotated[
    str | None,
    typer.Option("--target", help="Column to predict: drafts a study from your table (public or simulated only)."),
]
PatientColumn = Annotated[
    str | None,
    typer.Option(
        "--patient-column", help="Column of your table that identifies the patient; the first row of each is used."
    ),
]
SiteColumn = Annotated[str | None, typer.Option("--site-column", help="Column of your table that names the hospital.")]
Arms = Annotated[
    str | None, typer.Option("--arms", help="Arms, comma-separated; `benchmark list` shows them. Default: a selection.")
]
Epsilons = Annotated[str, typer.Option("--epsilons", help="Values of epsilon, comma-separated.")]
Seeds = Annotated[str, typer.Option("--seeds", help="Seeds of the train-test splits, comma-separated.")]
Peers = Annotated[
    Path | None,
    typer.Option(
        "--peers",
        envvar="FEDSYNTH_PEERS",
        help="Virtual environment with other projects' programs (`make peers`). Without it their cases are skipped.",
    ),
]
Limit = Annotated[
    float, typer.Option("--limit", min=1, help="Longest time that a peer may take for one table, in seconds.")
]
Processes = Annotated[
    int | None,
    typer.Option("--processes", min=1, help="Number of cases at once, one thread each. Default: one per processor."),
]
Out = Annotated[Path, typer.Option("--out", help="Folder of the results and their pages.")]


@app.command()
def run(
    data: Data = None,
    tables: Tables = None,
    study: StudyFile = None,
    target: Target = None,
    patient_column: PatientColumn = None,
    one_row_per_patient: OneRowPerPatient = False,
    site_column: SiteColumn = None,
    arms: Arms = None,
    epsilons: Epsilons = "1,3,10",
    seeds: Seeds = "0,1,2",
    peers: Peers = None,
    limit: Limit = 3600.0,
    processes: Processes = None,
    out: Out = OUT,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Run a small subset on the built-in table, to see whether everything works.")
    ] = False,
) -> None:
    """Measure tables, arms, epsilons and seeds that have no result yet; write results.csv, results.md and curves.html.

    Every arm trains on the same 80 % of a table and is measured on the rest. Each finished case is saved at once, so an
    interrupted benchmark resumes where it stopped.
    """
    with err_console.status("Loading..."):
        from simulations.benchmark.arms import DEFAULT_ARMS
        from simulations.benchmark.peers import PeerEnvironment
        from simulations.benchmark.questions import QUALITY, CaseOptions
        from simulations.benchmark.runner import cases_of, default_processes
        from simulations.benchmark.selection import TableSelection
        from simulations.benchmark.tables import BuiltInTable

        quiet()
    options = CaseOptions(processes or default_processes(), PeerEnvironment(peers, limit), is_smoke=smoke)
    if smoke:
        sources: list[TableSource] = [BuiltInTable()]
        cases = cases_of(sources, SMOKE_ARMS, [3.0], [0])
        out = SMOKE_OUT if out == OUT else out
    else:
        names = parse_names(tables)
        sources = TableSelection(data, names, study, target, patient_column, site_column, one_row_per_patient).sources()
        cases = cases_of(sources, parse_names(arms) or DEFAULT_ARMS, parse_epsilons(epsilons), parse_seeds(seeds))
    _run(sources, cases, out, options, QUALITY)


@app.command()
def attack(
    data: Data = None,
    tables: Tables = None,
    study: StudyFile = None,
    target: Target = None,
    patient_column: PatientColumn = None,
    one_row_per_patient: OneRowPerPatient = False,
    arms: Arms = None,
    epsilons: Epsilons = "1,3,10",
    seeds: Seeds = "0,1,2",
    shadows: Annotated[
        int, typer.Option(help="Number of synthesizers trained per case with and without each patient; at least 4.")
    ] = 16,
    peers: Peers = None,
    limit: Limit = 3600.0,
    processes: Processes = None,
    out: Out = OUT,
) -> None:
    """Attack membership with shadow synthesizers; write shadows.csv and shadows.md.

    A case trains the arm as often as there are shadows, and once more, and asks what the tables reveal about who was
    in the training rows.
    """
    with err_console.status("Loading..."):
        from common.errors import StudyError
        from common.evaluation.attacks.shadow import FEWEST_SHADOWS
        from simulations.benchmark.arms import SHADOWED_ARMS
        from simulations.benchmark.peers import PeerEnvironment
        from simulations.benchmark.questions import MEMBERSHIP, CaseOptions
        from simulations.benchmark.runner import cases_of, default_processes
        from simulations.benchmark.selection import TableSelection

        quiet()
    if shadows < FEWEST_SHADOWS:
        raise StudyError(f"--shadows {shadows} is below {FEWEST_SHADOWS}, with which an attack learns nothing")
    own = (study, target, patient_column, None, one_row_per_patient)
    sources = TableSelection(data, parse_names(tables), *own).sources()
    cases = cases_of(sources, parse_names(arms) or SHADOWED_ARMS, parse_epsilons(epsilons), parse_seeds(seeds))
    options = CaseOptions(processes or default_processes(), PeerEnvironment(peers, limit), shadows=shadows)
    _run(sources, cases, out, options, MEMBERSHIP)


@app.command()
def report(
    data: Data = None,
    tables: Tables = None,
    study: StudyFile = None,
    target: Target = None,
    patient_column: PatientColumn = None,
    one_row_per_patient: OneRowPerPatient = False,
    site_column: SiteColumn = None,
    arms: Arms = None,
    epsilons: Epsilons = "1,3,10",
    seeds: Seeds = "0,1,2",
    out: Out = OUT,
) -> None:
    """Write the pages again from the results in --out; list the cases that have no result. Runs no case."""
    with err_console.status("Loading..."):
        from simulations.benchmark.arms import DEFAULT_ARMS, SHADOWED_ARMS
        from simulations.benchmark.pages import write_pages
        from simulations.benchmark.questions import MEMBERSHIP, QUALITY
        from simulations.benchmark.runner import cases_of
        from simulations.benchmark.selection import TableSelection

        quiet()
    own = (study, target, patient_column, site_column, one_row_per_patient)
    sources = TableSelection(data, parse_names(tables), *own).sources()
    for question, usual in ((QUALITY, DEFAULT_ARMS), (MEMBERSHIP, SHADOWED_ARMS)):
        if question is QUALITY or (out / question.file).exists():
            cases = cases_of(sources, parse_names(arms) or usual, parse_epsilons(epsilons), parse_seeds(seeds))
            show_pages(out, write_pages(out, question, cases))


@app.command()
def constants(out: Out = OUT) -> None:
    """Show which of the planner's constants the other tables in results.csv would choose for each table."""
    from simulations.benchmark.planner_constants import leave_one_out
    from simulations.benchmark.questions import QUALITY
    from simulations.benchmark.results import ResultsFile

    path = out / QUALITY.file
    out_console.print(leave_one_out(ResultsFile(path).frame(), path), highlight=False, soft_wrap=True)


@app.command("list")
def list_arms() -> None:
    """List the arms and the words that stand for them."""
    with err_console.status("Loading..."):
        from simulations.benchmark.arms import ARMS, GROUPS
    for word, names in GROUPS.items():
        out_console.print(f"{word:<24} {escape(' or '.join(dict.fromkeys(names)))}")
    for name, arm in ARMS.items():
        out_console.print(f"{name:<24} {escape(arm.label)} (whose epsilon: {arm.promise})", highlight=False)


def _run(
    sources: Sequence[TableSource], cases: Sequence[Case], out: Path, options: CaseOptions, question: Question
) -> None:
    from simulations.benchmark.pages import write_pages
    from simulations.benchmark.runner import CaseWork

    write = partial(write_pages, out, question, cases, is_smoke=options.is_smoke)
    run_and_show(sources, cases, out, CaseWork(question, options, quiet), write)


def run_and_show(
    sources: Sequence[TableSource],
    cases: Sequence[Case],
    out: Path,
    work: CaseWork,
    write: Callable[[Sequence[CaseFailure]], WrittenPages],
) -> None:
    """Run cases, write the pages, and end with exit code 1 if a case of this project failed.

    Args:
        sources, cases: the tables, and what to run on them.
        out: folder of the results.
        work: what to ask of each case, and how.
        write: writes the pages, given why cases of this run have no result.
    """
    from simulations.benchmark.runner import run_cases

    with estimated_bar("Cases") as show:
        failures = run_cases(sources, cases, out, work, emit=show)
    show_pages(out, write(failures))
    note(f"{failure.case}: {failure.reason}" for failure in failures if failure.is_excused)
    broken = [failure for failure in failures if not failure.is_excused]
    for failure in broken:
        complain(f"{failure.case}: {failure.reason}")
    if broken:
        raise typer.Exit(1)


def show_pages(out: Path, pages: WrittenPages) -> None:
    """Print a summary and where its files are."""
    out_console.print(pages.summary, markup=False, highlight=False, soft_wrap=True)
    out_console.print(f"Results: {escape(str(out))} ({', '.join(pages.files)})")


def parse_names(text: str | None) -> tuple[str, ...]:
    """Return the comma-separated words."""
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def parse_epsilons(text: str) -> list[float]:
    """Return comma-separated values of epsilon, all above 0. Raises `StudyError` for anything else."""
    from common.errors import StudyError

    epsilons = _numbers(text, "--epsilons")
    if min(epsilons) == 0:
        raise StudyError("--epsilons must be above 0; arms without a budget need none")
    return epsilons


def parse_seeds(text: str) -> list[int]:
    """Return comma-separated seeds, whole numbers from 0. Raises `StudyError` for anything else."""
    from common.errors import StudyError

    seeds = _numbers(text, "--seeds")
    if any(seed % 1 for seed in seeds):
        raise StudyError("--seeds takes whole numbers separated by commas, such as 0,1")
    return [int(seed) for seed in seeds]


def _numbers(text: str, option: str) -> list[float]:
    from common.errors import StudyError

    try:
        numbers = [float(word) for word in parse_names(text)]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 0:
        raise StudyError(f"{option} takes numbers separated by commas, such as 1,3")
    return numbers
