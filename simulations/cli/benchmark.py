"""`fedsynth benchmark`: parses, calls, prints; heavy imports wait until the command needs them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from common.errors import StudyError
from simulations.cli.console import complain, err_console, estimated_bar, note, out_console, quiet

if TYPE_CHECKING:
    from simulations.benchmark.tables import Source

SMOKE_OUT = Path("out/benchmark-smoke")


def benchmark(
    data: Annotated[
        Path | None,
        typer.Option(
            envvar="FEDSYNTH_DATA",
            help="Your table, a folder with one per hospital (then with --study or --target), or the folder of the "
            "clinical tables that --tables names. The built-in heart table if not given.",
        ),
    ] = None,
    tables: Annotated[
        str | None, typer.Option(help="Clinical tables in the folder --data, comma-separated; or built-in.")
    ] = None,
    study: Annotated[Path | None, typer.Option(help="Your table's study file.")] = None,
    target: Annotated[
        str | None, typer.Option(help="Column to predict, to draft a study from your table (public or simulated only).")
    ] = None,
    patient_column: Annotated[
        str | None, typer.Option(help="Column of your table that tells patients apart; the first row of each counts.")
    ] = None,
    site_column: Annotated[str | None, typer.Option(help="Column of your table that names the hospital.")] = None,
    arms: Annotated[str | None, typer.Option(help="Arms, comma-separated; --list names them.")] = None,
    epsilons: Annotated[str, typer.Option(help="Budgets, comma-separated.")] = "1,3,10",
    seeds: Annotated[str, typer.Option(help="Split seeds, comma-separated.")] = "0,1,2",
    peers: Annotated[
        Path | None,
        typer.Option(envvar="FEDSYNTH_PEERS", help="Virtual environment with other projects' programs (`make peers`)."),
    ] = None,
    limit: Annotated[float, typer.Option(min=1, help="Longest time for one table of a peer, in seconds.")] = 3600.0,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Cells at once, one thread each; one per processor if not given.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of results.csv, results.md and curves.html.")] = Path(
        "out/benchmark"
    ),
    run: Annotated[bool, typer.Option(help="With --no-run: only write the summary of the results there are.")] = True,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="A small subset that shows in a minute whether everything works.")
    ] = False,
    shadows: Annotated[
        int,
        typer.Option(
            help="Attack instead of measuring: train so many synthesizers of each arm, 16 say, with and without each "
            "patient, and ask what they betray."
        ),
    ] = 0,
    leave_one_out: Annotated[
        bool,
        typer.Option("--leave-one-out", help="Only say which of the planner's constants other tables would choose."),
    ] = False,
    list_arms: Annotated[bool, typer.Option("--list", help="Only list the arms.")] = False,
) -> None:
    """Compare federated with centralised and local-only synthesis, with baselines and with other projects' programs.

    Every arm trains on the same 80 % of a table and is measured on the rest. Finished cells are kept in results.csv, so
    that an interrupted benchmark goes on where it stopped.
    """
    with err_console.status("Loading..."):
        from common.evaluation.attacks.shadow import FEWEST_SHADOWS
        from common.system.folder import RunFolder
        from simulations.benchmark.baselines import ARMS, DEFAULT_ARMS, GROUPS, SHADOWED_ARMS
        from simulations.benchmark.questions import MEMBERSHIP, QUALITY, Options
        from simulations.benchmark.results import Results, absent
        from simulations.benchmark.run import cells_of, default_processes
        from simulations.benchmark.run import run as run_cells
        from simulations.benchmark.summary import curves, markdown, shadow_markdown
        from simulations.benchmark.summary import leave_one_out as compare_constants

        quiet()
    if list_arms:
        for word, names in GROUPS.items():
            out_console.print(f"{word:<17} {escape(' or '.join(dict.fromkeys(names)))}")
        for name, arm in ARMS.items():
            out_console.print(f"{name:<17} {escape(arm.label)} (who adds noise: {arm.promise})", highlight=False)
        return
    if 0 != shadows < FEWEST_SHADOWS:
        raise StudyError(f"--shadows {shadows} is below {FEWEST_SHADOWS}, with which nothing is learnt")
    question, usual = (MEMBERSHIP, SHADOWED_ARMS) if shadows else (QUALITY, DEFAULT_ARMS)
    if smoke:
        sources: list[Source] = _sources(None, "built-in", None, None, None, None)
        out = SMOKE_OUT if out == Path("out/benchmark") else out
        words, budgets, splits = ["bootstrap", "centralised", "federated", "local-only"], [3.0], [0]
    else:
        sources = _sources(data, tables, study, target, patient_column, site_column)
        words = _listed(arms) if arms else list(usual)
        budgets, splits = _numbers(epsilons, "--epsilons"), [int(seed) for seed in _numbers(seeds, "--seeds")]
    wanted = cells_of(sources, words, budgets, splits)
    failures = []
    if leave_one_out:
        out_console.print(compare_constants(Results(out / QUALITY.file).frame()), highlight=False, soft_wrap=True)
        return
    if run:
        options = Options(processes or default_processes(), peers, limit, is_smoke=smoke, shadows=shadows)
        with estimated_bar("Cells") as show:
            failures = run_cells(sources, wanted, out, options, question=question, progress=show)
    results = Results(out / question.file, question.columns)
    heading = "SMOKE TEST: one seed and too few steps. These figures say nothing about quality.\n\n" if smoke else ""
    render = shadow_markdown if shadows else markdown
    text = heading + render(results.frame(), absent(wanted, results), failures)
    folder, page = RunFolder(out), Path(question.file).with_suffix(".md").name
    folder.write(page, text)
    out_console.print(text, markup=False, highlight=False, soft_wrap=True)
    written = [question.file, page]
    if not shadows:
        folder.write("curves.html", curves(results.frame()))
        written.append("curves.html")
    out_console.print(f"Results: {escape(str(out))} ({', '.join(written)})")
    note(f"{failure.cell}: {failure.reason}" for failure in failures if failure.is_excused)
    broken = [failure for failure in failures if not failure.is_excused]
    for failure in broken:
        complain(f"{failure.cell}: {failure.reason}")
    if broken:
        raise typer.Exit(1)


def _sources(
    data: Path | None,
    tables: str | None,
    study: Path | None,
    target: str | None,
    patient_column: str | None,
    site_column: str | None,
) -> list[Source]:
    """The tables asked for: with a study or a target --data is the reader's own, else the clinical tables' folder."""
    from simulations.benchmark.tables import BUILT_IN, EVIDENCE, TABLES, BuiltInTable, ClinicalTable, OwnTable

    if study is not None or target is not None:
        if data is None or tables is not None:
            raise StudyError("--study and --target describe your own table; give it as --data, without --tables")
        return [OwnTable(data, study, target, patient_column, site_column)]
    if patient_column is not None or site_column is not None or (data is not None and data.is_file()):
        raise StudyError("your own table needs --study, or --target to draft one from it")
    names = _listed(tables) if tables else list(EVIDENCE) if data else [BUILT_IN]
    found: list[Source] = []
    for name in names:
        if name == BUILT_IN:
            found.append(BuiltInTable())
        elif name not in TABLES:
            raise StudyError(f"table '{name}' is not known; choose from {', '.join([BUILT_IN, *TABLES])}")
        elif data is None:
            raise StudyError(f"table '{name}' is not part of fedsynth; name its folder with --data or FEDSYNTH_DATA")
        else:
            found.append(ClinicalTable(name, data))
    return found


def _listed(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str, option: str) -> list[float]:
    try:
        numbers = [float(word) for word in _listed(text)]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 0 or (option == "--seeds" and any(number % 1 for number in numbers)):
        raise StudyError(f"{option} takes numbers separated by commas, such as 1,3")
    if option == "--epsilons" and min(numbers) == 0:
        raise StudyError("--epsilons are above 0; arms without a budget need none")
    return numbers
