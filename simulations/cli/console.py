"""What the commands show on a terminal: progress, tables and notices. It prints figures and computes none."""

from __future__ import annotations

import logging
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from simulations.cli.scores import scores_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from common.evaluation.assessment import Assessment
    from common.evaluation.visits.evidence import VisitEvidence
    from common.run_events.events import Emit
    from common.study.study import Study
    from common.tables.preparing import PreparedColumn
    from simulations.audit.run import Report
    from simulations.federation.prepare import Prepared
    from simulations.federation.report import Result

NOISE_WORDS = {"local": "each hospital's own noise", "distributed": "shared noise", "none": "no noise"}
"""The noise modes of a study as a reader sees them."""

out_console = Console()
err_console = Console(stderr=True)


def note(texts: Iterable[str]) -> None:
    """Print notices on standard error, one per line."""
    for text in texts:
        err_console.print(f"[yellow]note[/] {escape(text)}", soft_wrap=True, highlight=False)


def warn(texts: Iterable[str]) -> None:
    """Print warnings on standard error, one per line."""
    for text in texts:
        err_console.print(f"[yellow]warning[/] {escape(text)}", soft_wrap=True, highlight=False)


def complain(message: str) -> None:
    """Print an error message on standard error; each of its lines starts with "error"."""
    for line in message.splitlines():
        err_console.print(f"[bold red]error[/] {escape(line)}", soft_wrap=True, highlight=False)


def announce(prepared: Prepared) -> None:
    """Print the study that is about to run."""
    study = prepared.study
    note(prepared.notices)
    warn(study.warnings)
    promise = "no privacy at all" if study.privacy.noise == "none" else f"epsilon {_epsilons(study)}"
    noise = NOISE_WORDS[study.privacy.noise]
    out_console.print(f"Study [bold]{study.name}[/]: {len(study.hospitals)} hospitals, {promise}, {noise}")


def _epsilons(study: Study) -> str:
    """Return the study's epsilon, and the epsilon of every hospital that has its own."""
    own = [f"{facts.name} {facts.epsilon:g}" for facts in study.hospitals if facts.epsilon is not None]
    return f"{study.privacy.epsilon:g} each" + (f", but {', '.join(own)}" if own else "")


def show_steps(steps: Iterable[PreparedColumn]) -> None:
    """Print what was done to every column of a table, with its role and the item of HIPAA Safe Harbor."""
    table = Table("column", "role", "Safe Harbor", "done", title="Preparation")
    for step in steps:
        category = step.role.category
        item = "" if category is None else f"{category.letter} {category.words}"
        table.add_row(escape(step.column), str(step.role.role), item, step.action)
    out_console.print(table)


def progress_bars() -> Progress:
    """Return progress bars, one per phase, on standard error."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description:<20}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err_console,
    )


def follow(bars: Progress) -> Emit:
    """Return an observer that shows one bar for each phase of a run and for each other task."""
    from common.run_events.events import PhaseFinished, PhaseStarted, Progressed, RoundFinished, RunEvent, RunStarted

    tasks: dict[str, TaskID] = {}
    rounds = 0

    def show(name: str, done: int, total: int) -> None:
        if name not in tasks:
            tasks[name] = bars.add_task(name.capitalize(), total=total)
        bars.update(tasks[name], completed=done)

    def observe(event: RunEvent) -> None:
        nonlocal rounds
        match event:
            case RunStarted():
                rounds = event.rounds
            case PhaseStarted(phase=phase):
                show(phase, 0, rounds if phase == "rounds" else 1)
            case RoundFinished():
                show("rounds", event.round, event.rounds)
            case PhaseFinished(phase=phase):
                show(phase, rounds if phase == "rounds" else 1, 1)
            case Progressed():
                show(event.task, event.done, event.total)

    return observe


@contextmanager
def estimated_bar(title: str) -> Iterator[Emit]:
    """Show one bar with the estimated time left on standard error; yield what observes the progress."""
    from common.run_events.events import Progressed, RunEvent

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    day = 86_400.0  # cases take minutes, so the estimate uses all of them
    bars = Progress(*columns, TimeRemainingColumn(), console=err_console, speed_estimate_period=day)
    task: list[TaskID] = []

    def show(event: RunEvent) -> None:
        if not isinstance(event, Progressed):
            return
        if not task:
            task.append(bars.add_task(title, total=event.total, completed=event.done))
            return
        bars.update(task[0], completed=event.done)
        bars.console.print(f"{event.item} ({event.done} of {event.total})", markup=False, highlight=False)

    with bars:
        yield show


def findings_table(report: Report) -> Table:
    """Return a table of the epsilon that each attack proves beside the epsilon that is claimed."""
    title = f"Lower bounds on epsilon, {report.confidence:.1%} confidence over all of them together"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    headings = ("attack", "claimed", "direct", "ratio", "family", "ratio", "one run", "of", "trials", "seconds")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "attack" else "right", no_wrap=heading != "attack")
    for finding in report.findings:
        one_run = ["-", "-"]
        if finding.one_run is not None:
            one_run = [f"{finding.one_run:.2f}", f"{finding.one_run_claimed:.2f}"]
        table.add_row(
            f"[red]{finding.name}[/]" if finding.is_refuted else finding.name,
            f"{finding.claimed:.3f}",
            f"{finding.direct:.3f}",
            f"{finding.ratio_direct:.2f}",
            f"{finding.implied:.3f}",
            f"{finding.ratio_family:.2f}",
            *one_run,
            str(finding.trials),
            f"{finding.seconds:.0f}",
        )
    return table


def summarize(result: Result) -> None:
    """Print the summary of a simulation: cost of each hospital, quality, warnings and the path of the report."""
    table = Table(title="What each hospital spent", title_justify="left")
    for heading in ("hospital", "declared rows", "epsilon", "delta", "MB sent", "MB received"):
        table.add_column(heading, justify="left" if heading == "hospital" else "right")
    traffic = result.run["traffic"]
    for name, facts in result.run["hospitals"].items():
        exchanged = [phase[name] for phase in traffic.values() if name in phase]
        spent = "[red]infinite[/]" if facts["epsilon"] is None else f"{facts['epsilon']:.3f}"
        table.add_row(
            escape(facts["called"]),
            str(facts["declared_rows"]),
            spent,
            f"{facts['delta']:g}",
            f"{sum(phase['bytes_up'] for phase in exchanged) / 1e6:.1f}",
            f"{sum(phase['bytes_down'] for phase in exchanged) / 1e6:.1f}",
        )
    out_console.print(table)
    if result.evidence is not None:
        show_scores(result.evidence)
    for warning in result.run["warnings"]:
        out_console.print(f"[bold {'red' if 'NO PRIVACY' in warning else 'yellow'}]{escape(warning)}[/]")
    kind = "Report" if result.evidence is not None else "Synthetic table"
    written = next(name for name in ("synthetic.csv", "visits.csv") if (result.out / name).exists())
    path = result.out / ("report.html" if result.evidence is not None else written)
    out_console.print(f"{kind}: {escape(str(path))} ({result.run['seconds']:.0f} s)")


def show_scores(evidence: Assessment | VisitEvidence) -> None:
    """Print the measures of a table, and the verdict."""
    for part in scores_of(evidence):
        out_console.print(part)


@contextmanager
def live_page(study: Study, out: Path) -> Iterator[Callable[[], None]]:
    """Show a simulation in a browser while the block runs; yields a function that waits for Ctrl-C at its end."""
    from threading import Event

    from common.planning.planner import make_plan
    from common.web.serve import Console as WebConsole
    from common.web.serve import Listen
    from server.console.app import CoordinatorPages
    from server.console.runs import SimulatedRun

    runs = SimulatedRun(study, make_plan(study), out)
    served = WebConsole(
        lambda serving: CoordinatorPages(runs, "Simulation", serving).application(),
        Listen(is_read_only=True),
    )
    err_console.print(f"Live: {served.opening}", soft_wrap=True, highlight=False)

    def stay_open() -> None:
        err_console.print("The page stays open. Ctrl-C closes it.")
        with suppress(KeyboardInterrupt):
            Event().wait()

    with served.beside():
        yield stay_open


def show_plan(study: Study) -> None:
    """Print what each hospital would release, at which epsilon, and why."""
    from common.planning.choice import choose
    from common.planning.explain import explain
    from common.planning.planner import make_plan
    from common.privacy import accountant

    plan = make_plan(study)
    table = Table(title="What each hospital would release", title_justify="left", box=None, padding=(0, 1, 0, 0))
    vectors = [f"{phase.name} sigma" for phase in plan.vectors]
    table.add_column("hospital", overflow="fold")
    for heading in ("declared rows", "epsilon", *vectors, "noise multiplier", "batch", "steps"):
        # Where the terminal is narrow, long names fold; no number is cut.
        table.add_column(heading.replace(" ", "\n"), justify="right", no_wrap=True)
    for hospital_plan in plan.hospitals:
        facts = study.hospital(hospital_plan.hospital)
        assert facts is not None, "the plan is made from the study's hospitals"
        cost = accountant.epsilon(plan.events(hospital_plan), plan.delta)
        table.add_row(
            hospital_plan.hospital,
            str(facts.declared_rows),
            f"{cost:.3f}",
            *(f"{sigma:.1f}" for sigma in hospital_plan.sigmas),
            f"{hospital_plan.noise_multiplier:.2f}" if plan.rounds else "-",
            str(hospital_plan.batch) if plan.rounds else "-",
            str(plan.rounds * hospital_plan.steps),
        )
    out_console.print(table)
    for sentence in explain(choose(study)):
        out_console.print(escape(sentence))


def quiet() -> None:
    """Show only warnings, in the style of the other output. Libraries set up their own logging on import."""
    handler = RichHandler(logging.WARNING, err_console, show_path=False, show_time=False)
    logging.basicConfig(handlers=[handler], force=True)
    logging.getLogger("flwr").setLevel(logging.ERROR)
