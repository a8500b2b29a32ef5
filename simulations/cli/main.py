"""The `fedsynth` command. Each command parses, calls and prints; heavy imports wait until a command needs them.

Exit codes: 0 ok, 2 usage or study error, 3 refused by policy, 4 federation failed, 5 data or schema.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import click
import typer
from rich.markup import escape
from typer.core import TyperGroup

from client.cli.site import app as site_app
from common.errors import FedSynthError, StudyError
from server.cli.coordinator import coordinator_app
from simulations.cli.benchmark import benchmark
from simulations.cli.console import (
    announce,
    complain,
    err_console,
    findings_table,
    follow,
    note,
    out_console,
    progress_bars,
    quiet,
    scores_table,
    show_plan,
    summarise,
)

if TYPE_CHECKING:
    from common.study.study import Study
    from simulations.federation.hospitals import Tables

EXIT_CODES = "Exit codes: 0 ok, 2 usage or study, 3 refused by policy, 4 federation failed, 5 data or schema."


class _Guarded(TyperGroup):
    """Turns a deliberate error into one message and its exit code; anything else is a bug and keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except FedSynthError as problem:
            complain(str(problem))
            raise typer.Exit(problem.exit_code) from None


app = typer.Typer(
    name="fedsynth",
    cls=_Guarded,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals may hold records
    help=f"Hospitals train one synthetic-data generator together, without pooling a record.\n\n{EXIT_CODES}",
)
study_app = typer.Typer(no_args_is_help=True, help="Write and check study files.")
app.add_typer(study_app, name="study")
app.add_typer(site_app, name="site")
app.add_typer(coordinator_app, name="coordinator")
app.command()(benchmark)

StudyFile = Annotated[Path, typer.Option("--study", help="Study file (TOML).", show_default=False)]
PatientColumn = Annotated[
    str | None, typer.Option(help="Column that tells patients apart; only the first row of each is used.")
]


@app.command()
def simulate(
    study: Annotated[
        Path | None, typer.Option(help="Study file; the built-in heart disease study if not given.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="One table (CSV, Parquet), or a folder with one table per hospital.")
    ] = None,
    site_column: Annotated[
        str | None, typer.Option(help="Split the table by this column; it is not synthesised.")
    ] = None,
    hospitals: Annotated[
        int | None, typer.Option(min=1, help="Split the table into so many hospitals; 1 is the centralised case.")
    ] = None,
    skew: Annotated[
        float | None,
        typer.Option(help="With --hospitals: Dirichlet concentration by target class; smaller is more uneven."),
    ] = None,
    epsilon: Annotated[float | None, typer.Option(help="Overrides the study's epsilon.")] = None,
    noise: Annotated[
        str | None, typer.Option(help="Overrides the study's noise mode: local, distributed or none.")
    ] = None,
    patient_column: PatientColumn = None,
    holdout_fraction: Annotated[
        float | None, typer.Option(help="Overrides the part of the patients kept for evaluation; 0 trains on all.")
    ] = None,
    rows: Annotated[
        int | None, typer.Option(min=1, help="Synthetic rows; as many as were declared for training if not given.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Overrides the study's seed.")] = None,
    sites: Annotated[Path | None, typer.Option(help="Keep the hospitals' ledgers here, across simulations.")] = None,
    max_epsilon: Annotated[
        float | None, typer.Option(help="Cap on what each hospital's ledger may ever hold; a run beyond it is refused.")
    ] = None,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="What runs the hospitals: one process, or Ray for many of them (extra `simulation`)."),
    ] = "local",
    out: Annotated[Path, typer.Option(help="Output folder.")] = Path("out/simulation"),
    force: Annotated[bool, typer.Option("--force", help="Empty the output folder first.")] = False,
) -> None:
    """Simulate several hospitals on this machine; without arguments, four real ones with heart patients.

    Writes synthetic.csv, model/, report.html, report.json, run.json and the hospitals' ledgers. A simulation's noise
    is seeded and therefore predictable: it shows what a deployment would give, and protects nobody.
    """
    with err_console.status("Loading..."):
        from common.study.study import read_study
        from simulations.federation.hospitals import built_in_study
        from simulations.federation.prepare import prepare
        from simulations.federation.run import simulate as run

        quiet()
        agreed = (read_study(study) if study else built_in_study()).amended(
            study={"seed": seed},
            privacy={"epsilon": epsilon, "noise": noise},
            evaluation={"holdout_fraction": holdout_fraction},
        )
        if max_epsilon is not None and not max_epsilon > 0:
            raise StudyError(f"--max-epsilon {max_epsilon:g} is not above 0; give the hospitals' lifetime cap")
        if data is not None and study is None:
            raise StudyError(
                "--data needs --study; `fedsynth study draft` proposes one for a public or simulated table"
            )
        tables, redeclare = _tables(agreed, data, site_column, hospitals, skew, patient_column)
        if agreed.privacy.noise == "distributed" and len(tables) == 1:
            raise StudyError("one hospital has nobody to share its noise with; add --noise local")
        prepared = prepare(agreed, tables, patient_column=patient_column, redeclare=redeclare)
    announce(prepared)
    with progress_bars() as bars:
        cap = math.inf if max_epsilon is None else max_epsilon
        result = run(
            prepared, out, sites=sites, max_epsilon=cap, rows=rows, force=force, progress=follow(bars), engine=engine
        )
    summarise(result)


def _tables(
    study: Study,
    data: Path | None,
    site_column: str | None,
    hospitals: int | None,
    skew: float | None,
    patient_column: str | None,
) -> tuple[Tables, bool]:
    """The hospitals' raw tables, and whether they take the place of the hospitals that the study lists."""
    import pandas as pd

    from common.tables.checking import check_table
    from common.tables.reading import read_table
    from simulations.federation.hospitals import built_in_hospitals, hospitals_from_column, hospitals_from_directory
    from simulations.federation.partition import hospitals_by_hash

    if skew is not None and hospitals is None:
        raise StudyError("--skew shapes a split into --hospitals; give that too")
    if site_column is not None and hospitals is not None:
        raise StudyError("--site-column and --hospitals are two ways to split a table; give one of them")
    if data is None:
        tables = built_in_hospitals()
    elif data.is_dir():
        tables = hospitals_from_directory(data)
    else:
        raw = read_table(data)
        target = study.evaluation.target
        check_table(raw, study.table, name=data.name, patient_column=patient_column, target=target)
        if site_column is not None:
            return hospitals_from_column(raw, site_column), False
        tables, hospitals = {data.stem: raw}, hospitals or 4
    if site_column is not None:
        raise StudyError("--site-column splits one table; give that table as --data")
    if hospitals is None:
        return tables, False
    whole = pd.concat(tables.values(), ignore_index=True).fillna("")
    split = hospitals_by_hash(
        whole,
        hospitals,
        schema=study.table,
        target=study.evaluation.target,
        seed=study.seed,
        skew=skew,
        patient_column=patient_column,
    )
    return split, True


@study_app.command()
def draft(
    table: Annotated[Path, typer.Argument(help="Table to read (CSV, Parquet).", show_default=False)],
    target: Annotated[str, typer.Option(help="Column to predict.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Study file to write.", show_default=False)],
    name: Annotated[str | None, typer.Option(help="Name of the study; the file's name if not given.")] = None,
    patient_column: PatientColumn = None,
    site_column: Annotated[str | None, typer.Option(help="Column that names the hospital; left out.")] = None,
) -> None:
    """Propose a study by READING a table: for public or simulated tables only.

    A real study's schema is written by people from the data dictionary. Hospitals refuse drafted studies.
    """
    from common.tables.reading import read_table
    from simulations.drafting import draft_study, draft_text
    from simulations.federation.hospitals import slugify

    if out.exists():
        raise StudyError(f"'{out}' exists; choose another --out or remove it")
    raw = read_table(table)
    proposal, notices = draft_study(
        raw,
        target=target,
        name=name or slugify(table.name.split(".")[0]),
        patient_column=patient_column,
        site_column=site_column,
    )
    try:
        out.write_text(draft_text(proposal, notices), encoding="utf-8")
    except OSError as problem:
        raise StudyError(f"cannot write '{out}' ({type(problem).__name__}); choose another --out") from None
    note(notices)
    out_console.print(f"Wrote {escape(str(out))}: {len(proposal.table.columns)} columns. Read it before you use it.")


@study_app.command()
def check(
    study: Annotated[Path, typer.Argument(help="Study file (TOML).", show_default=False)],
    data: Annotated[Path | None, typer.Option(help="A hospital's table to check against the schema.")] = None,
    patient_column: PatientColumn = None,
) -> None:
    """Check a study file, and a table against it; show what each hospital would release at which epsilon.

    Messages about the table count rows exactly: they are for the eyes of its owner.
    """
    from common.study.study import read_study
    from common.tables.checking import check_table
    from common.tables.reading import read_table

    agreed = read_study(study)
    out_console.print(f"Study [bold]{agreed.name}[/], fingerprint {agreed.fingerprint}")
    if data is not None:
        target = agreed.evaluation.target
        raw = read_table(data)
        note(check_table(raw, agreed.table, name=data.name, patient_column=patient_column, target=target))
        out_console.print(f"{escape(data.name)} fits the schema.")
    if agreed.hospitals:
        show_plan(agreed)


@app.command()
def sample(
    model: Annotated[Path, typer.Argument(help="The model/ folder of a run.", show_default=False)],
    rows: Annotated[int, typer.Option(min=1, help="How many rows to draw.", show_default=False)],
    out: Annotated[Path, typer.Option(help="CSV file to write.", show_default=False)],
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same rows.")] = 0,
    given: Annotated[
        list[str] | None, typer.Option(help="COLUMN=CATEGORY that every row shall have; may be repeated.")
    ] = None,
    balance: Annotated[str | None, typer.Option(help="Draw as many rows of each category of this column.")] = None,
) -> None:
    """Draw rows from a trained model. Costs no epsilon: the model is released already."""
    from common.model import load_model
    from common.system.folder import RunFolder
    from common.tables.conforming import format_table

    if out.exists():
        raise StudyError(f"'{out}' exists; choose another --out or remove it")
    conditions: dict[str, str] = {}
    for condition in given or []:
        column, equals, category = condition.partition("=")
        if not equals:
            raise StudyError("--given takes COLUMN=CATEGORY, such as --given sex=female")
        if column in conditions:
            raise StudyError(f"column '{column}' is given twice; keep one --given")
        conditions[column] = category
    loaded = load_model(model)
    if balance is None:
        drawn = loaded.sample(rows, seed, given=conditions)
    else:
        drawn = loaded.sample_balanced(rows, seed, balance, given=conditions)
    table = format_table(drawn, loaded.study.table)
    try:
        RunFolder(out.parent).write(out.name, table.to_csv(index=False, lineterminator="\n"))
    except OSError as problem:
        raise StudyError(f"cannot write '{out}' ({type(problem).__name__}); choose another --out") from None
    out_console.print(f"Wrote {rows} rows to {escape(str(out))}.")


@app.command()
def evaluate(
    study: StudyFile,
    train: Annotated[Path, typer.Option(help="The real rows that the synthesizer learnt from.", show_default=False)],
    holdout: Annotated[Path, typer.Option(help="Real rows that it never saw.", show_default=False)],
    synthetic: Annotated[Path, typer.Option(help="The synthetic table.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for report.html and report.json.", show_default=False)],
) -> None:
    """Measure a synthetic table against real rows. The report shows aggregates of real rows: keep it where they are."""
    from common.evaluation.assessment import assess
    from common.evaluation.report.html import render
    from common.study.study import read_study
    from common.system.folder import RunFolder
    from common.tables.checking import check_table
    from common.tables.conforming import conform
    from common.tables.reading import read_table

    agreed = read_study(study)
    raw = {path: read_table(path) for path in (train, holdout, synthetic)}
    for path, table in raw.items():
        note(check_table(table, agreed.table, name=path.name))
    frames = [conform(raw[path], agreed.table) for path in (train, holdout, synthetic)]
    with progress_bars() as bars:
        evidence = assess(
            frames[0],
            frames[1],
            frames[2],
            agreed.table,
            target=agreed.evaluation.target,
            time=agreed.evaluation.time,
            rules=agreed.rules,
            sensitive=agreed.evaluation.sensitive,
            progress=follow(bars),
        )
    try:
        run_folder = RunFolder(out)
        run_folder.write("report.json", evidence.to_json())
        run_folder.write("report.html", render(evidence, None, title=agreed.name))
    except OSError as problem:
        raise StudyError(f"cannot write to '{out}' ({type(problem).__name__}); choose another --out") from None
    out_console.print(scores_table(evidence))
    out_console.print(evidence.verdict.headline)
    out_console.print(f"Report: {escape(str(out / 'report.html'))}")


@app.command()
def audit(
    study: Annotated[
        Path | None, typer.Option(help="Study file; the built-in heart disease study if not given.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for audit.json.")] = Path("out/audit"),
    seed: Annotated[int, typer.Option(min=0, help="Of the attacks on seeded noise; others differ every time.")] = 0,
) -> None:
    """Attack the mechanisms of a study and compare what that proves with the epsilon that is claimed.

    Public or invented records, throwaway ledgers; nothing of a site is touched. Exit code 1 if a claim is refuted at
    99.9 % confidence over all attacks together.
    """
    with err_console.status("Loading..."):
        from common.study.study import read_study
        from common.system.folder import RunFolder
        from simulations.audit.run import audit as run
        from simulations.federation.hospitals import built_in_study

        quiet()
        # What is attacked is what one hospital releases by itself.
        agreed = read_study(study) if study else built_in_study().amended(privacy={"noise": "local"})
        if agreed.privacy.noise == "distributed":
            raise StudyError(
                "the attacks need one hospital's own replies, which distributed noise keeps under masks; give a study "
                "with [privacy] noise = 'local'"
            )
        try:
            run_folder = RunFolder(out)
        except OSError as problem:
            raise StudyError(f"cannot write to '{out}' ({type(problem).__name__}); choose another --out") from None
    with progress_bars() as bars:
        report = run(agreed, seed=seed, progress=follow(bars))
    run_folder.write_json("audit.json", report.as_document())
    out_console.print(findings_table(report))
    out_console.print(f"[bold {'red' if report.is_refuted else 'green'}]{report.verdict}[/] ({report.seconds:.0f} s)")
    out_console.print(f"Figures: {escape(str(out / 'audit.json'))}")
    if report.is_refuted:
        raise typer.Exit(1)


def main() -> None:
    """Entry point of the console script."""
    app()
