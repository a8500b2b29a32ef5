"""`fedsynth simulate`: run a whole study on this machine."""

from __future__ import annotations

import math
import shlex
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from simulations.cli.console import (
    announce,
    err_console,
    follow,
    live_page,
    note,
    out_console,
    progress_bars,
    quiet,
    summarize,
)
from simulations.cli.options import (
    Database,
    Hospitals,
    OneRowPerPatient,
    PatientColumn,
    ReadOptions,
    SiteColumn,
    Skew,
    Small,
    StudyOrBuiltIn,
    Tables,
    reading_options,
)

if TYPE_CHECKING:
    from simulations.federation.tables import TableSplit

app = typer.Typer(add_completion=False)


@app.command()
def simulate(
    study: StudyOrBuiltIn = None,
    data: Tables = None,
    site_column: SiteColumn = None,
    hospitals: Hospitals = None,
    skew: Skew = None,
    epsilon: Annotated[float | None, typer.Option(help="Epsilon of every hospital. Default: the study's.")] = None,
    noise: Annotated[
        str | None, typer.Option(help="Noise mode: local, distributed or none. Default: the study's.")
    ] = None,
    synthesizer: Annotated[
        str | None,
        typer.Option(
            help="Kind of synthesizer: maximum-entropy, marginal-gan, marginal-vae, or of visits history-gan. Default: "
            "the study's."
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(min=0, help="Rounds of a GAN or a VAE. Default: the study's, or what the planner chooses."),
    ] = None,
    patient_column: PatientColumn = None,
    one_row_per_patient: OneRowPerPatient = False,
    read: ReadOptions = None,
    database: Database = None,
    small_hospitals: Small = None,
    holdout_fraction: Annotated[
        float | None,
        typer.Option(help="Fraction of patients held out for evaluation; 0 trains on all. Default: the study's."),
    ] = None,
    rows: Annotated[
        int | None, typer.Option(min=1, help="Number of synthetic rows. Default: the declared training rows.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Random seed. Default: the study's.")] = None,
    sites: Annotated[
        Path | None,
        typer.Option(help="Folder of ledgers that outlast the simulation. Default: new ledgers in the output folder."),
    ] = None,
    max_epsilon: Annotated[
        float | None,
        typer.Option(help="Lifetime epsilon of each hospital's ledger; a run beyond it is refused. Default: no limit."),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="Engine: one local process, or Ray for many hospitals (extra `simulation`)."),
    ] = "local",
    report: Annotated[
        bool,
        typer.Option(
            "--report/--no-report",
            help="Evaluate the synthetic table and write the report. Without it, the command prints how to make "
            "the report later.",
        ),
    ] = True,
    live: Annotated[
        bool,
        typer.Option("--live", help="Show the run in a browser; Ctrl-C closes the page at the end."),
    ] = False,
    out: Annotated[Path, typer.Option(help="Output folder.")] = Path("out/simulation"),
    force: Annotated[bool, typer.Option("--force", help="Empty the output folder first.")] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue the simulation that was interrupted in the output folder."),
    ] = False,
) -> None:
    """Simulate several hospitals on this machine; by default, four hospitals with real heart patients.

    Writes synthetic.csv, model/, report.html, report.json, run.json and the hospitals' ledgers; of a study of visits,
    visits.csv and patients.csv instead of synthetic.csv. The noise of a simulation is seeded and therefore predictable.
    It shows what a deployment would give, and protects no patient. After an interruption, the same command with
    --resume continues from the last finished step and charges nothing twice.
    """
    _check_numbers(epsilon, max_epsilon, holdout_fraction)
    declared = reading_options(read, database)
    with err_console.status("Loading..."):
        from common.errors import StudyError
        from simulations.federation.output import check_output

        check_output(out, force=force, resume=resume)  # before seconds of imports and reading
        from common.planning.planner import make_plan
        from common.tables.reading import parse_reading
        from simulations.federation.hospitals import study_named
        from simulations.federation.prepare import prepare
        from simulations.federation.run import Options
        from simulations.federation.run import simulate as run
        from simulations.federation.tables import TableSplit

        quiet()
        agreed = study_named(study).amended(
            study={"seed": seed},
            synthesizer={"kind": synthesizer},
            training={"rounds": rounds},
            privacy={"epsilon": epsilon, "noise": noise},
            evaluation={"holdout_fraction": holdout_fraction},
        )
        if data is not None and study is None:
            raise StudyError("--data needs --study; `fedsynth study draft` drafts one for a public or simulated table")
        reading = parse_reading(declared)
        split = TableSplit(site_column, hospitals, skew, patient_column, reading, small_hospitals, one_row_per_patient)
        note(split.notices(data))
        unread: list[str] = []
        tables, redeclare = split.open(agreed, data, notices=unread)
        note(unread)
        prepared = prepare(
            agreed, tables, patient_column=patient_column, redeclare=redeclare, small_hospitals=small_hospitals
        )
    announce(prepared)
    with err_console.status("Planning the noise..."):
        make_plan(prepared.study)  # remembered where the run plans again
    cap = math.inf if max_epsilon is None else max_epsilon
    options = Options(sites, cap, rows or 0, force, resume, engine, with_report=report)
    with live_page(prepared.study, out) if live else nullcontext(lambda: None) as stay_open:
        with progress_bars() as bars:
            result = run(prepared, out, options, observers=[follow(bars)])
        summarize(result)
        stay_open()
    if not report:
        later = _report_command(out, data, split, declared)
        out_console.print(f"No report was made. To make it: {escape(later)}", soft_wrap=True, highlight=False)


def _report_command(out: Path, data: Path | None, split: TableSplit, read: list[str]) -> str:
    """Return the command that makes the report of this run later.

    Args:
        out: the run's folder.
        data: the tables that were simulated; None for the built-in ones.
        split: how they were split into hospitals.
        read: what was declared about their files, as it was written.
    """
    options = {
        "--run": out,
        "--data": data,
        "--site-column": split.site_column,
        "--hospitals": split.hospitals,
        "--skew": split.skew,
        "--patient-column": split.patient_column,
        "--small-hospitals": split.small_hospitals,
    }
    given = [word for name, value in options.items() if value is not None for word in (name, str(value))]
    given += ["--one-row-per-patient"] if split.one_row_per_patient else []
    declared = [word for text in read for word in ("--read", text)]
    return shlex.join(["fedsynth", "evaluate", *given, *declared])


def _check_numbers(epsilon: float | None, max_epsilon: float | None, holdout_fraction: float | None) -> None:
    """Raise `StudyError` for an option whose number is out of range; None is an option that was not given."""
    from common.errors import StudyError

    if epsilon is not None and not 0 < epsilon < math.inf:
        raise StudyError(f"--epsilon {epsilon:g} is not a number above 0; give each hospital's epsilon, such as 3")
    if max_epsilon is not None and not max_epsilon > 0:
        raise StudyError(f"--max-epsilon {max_epsilon:g} is not above 0; give the hospitals' lifetime epsilon")
    if holdout_fraction is not None and not 0 <= holdout_fraction < 1:
        raise StudyError(
            f"--holdout-fraction {holdout_fraction:g} is not from 0 to below 1; give the fraction held out, such as 0.2"
        )
