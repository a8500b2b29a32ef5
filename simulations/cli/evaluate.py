"""`fedsynth evaluate`: measure a synthetic table against real rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from simulations.cli.console import follow, note, out_console, progress_bars, quiet, show_scores
from simulations.cli.options import (
    Database,
    Hospitals,
    OneRowPerPatient,
    PatientColumn,
    ReadOptions,
    SiteColumn,
    Skew,
    Small,
    Tables,
    reading_options,
)

if TYPE_CHECKING:
    from common.evaluation.assessment import Assessment
    from common.evaluation.visits.evidence import VisitEvidence
    from common.study.study import Study
    from simulations.federation.tables import TableSplit

app = typer.Typer(add_completion=False)


@app.command()
def evaluate(
    study: Annotated[Path | None, typer.Option(help="Study file (TOML).", show_default=False)] = None,
    train: Annotated[
        Path | None, typer.Option(help="Real rows that the synthesizer was trained on.", show_default=False)
    ] = None,
    holdout: Annotated[
        Path | None, typer.Option(help="Real rows that the synthesizer was not trained on.", show_default=False)
    ] = None,
    synthetic: Annotated[Path | None, typer.Option(help="Synthetic table.", show_default=False)] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for report.html and report.json.", show_default=False)
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            help="Output folder of `fedsynth simulate --no-report`: adds the report to it, from the same tables and "
            "the same split as the simulation had. Takes the place of the options above.",
            show_default=False,
        ),
    ] = None,
    data: Tables = None,
    site_column: SiteColumn = None,
    hospitals: Hospitals = None,
    skew: Skew = None,
    patient_column: PatientColumn = None,
    one_row_per_patient: OneRowPerPatient = False,
    read: ReadOptions = None,
    database: Database = None,
    small_hospitals: Small = None,
) -> None:
    """Measure a synthetic table against real rows: with four files, or for a simulation with --run.

    The four files are --study, --train, --holdout and --synthetic; the report goes into the folder --out.
    In a study of visits, each table is one with a row per visit, or a folder with visits.csv and patients.csv.
    The report shows aggregates of the real rows: keep it where those rows are.
    """
    from common.errors import StudyError
    from common.tables.reading import parse_reading
    from simulations.federation.tables import TableSplit

    files = {"--study": study, "--train": train, "--holdout": holdout, "--synthetic": synthetic, "--out": out}
    reading = parse_reading(reading_options(read, database))
    split = TableSplit(site_column, hospitals, skew, patient_column, reading, small_hospitals, one_row_per_patient)
    if run is not None:
        if given := [name for name, path in files.items() if path is not None]:
            raise StudyError(f"--run names a simulation, which knows its {given[0]}; leave one of the two out")
        _evaluate_run(run, data, split)
        return
    if data is not None or split != TableSplit():
        raise StudyError("--data and how it is split belong to a simulation; add --run with its output folder")
    if study is None or train is None or holdout is None or synthetic is None or out is None:
        absent = next(name for name, path in files.items() if path is None)
        raise StudyError(f"{absent} is not given; give {', '.join(files)}, or --run with a simulation's folder")
    _evaluate_files(study, train, holdout, synthetic, out=out)


def _evaluate_run(run: Path, data: Path | None, split: TableSplit) -> None:
    """Add the report to the output folder of a simulation."""
    from simulations.federation.report import report_on

    quiet()
    with progress_bars() as bars:
        result = report_on(run, data, split, emit=follow(bars))
    assert result.evidence is not None, "a report has evidence"
    _show(result.evidence, run)


def _evaluate_files(study: Path, train: Path, holdout: Path, synthetic: Path, *, out: Path) -> None:
    """Write the report on the synthetic table into the folder `out`."""
    from common.evaluation.assessment import assess
    from common.evaluation.report.html import render
    from common.evaluation.statistics.data import EvaluationData
    from common.evaluation.statistics.images import ComparedImages
    from common.study.study import read_study
    from common.system.files import writing
    from common.system.folder import RunFolder
    from common.tables.checking import check_table
    from common.tables.conforming import conform
    from common.tables.formats import read_table
    from common.tables.image_files import read_images

    agreed = read_study(study)
    if agreed.has_visits:
        _evaluate_visits(agreed, (train, holdout, synthetic), out)
        return
    raw = {path: read_table(path) for path in (train, holdout, synthetic)}
    for path, table in raw.items():
        raw[path] = read_images(table, agreed.images, path.parent, path.name)
        note(check_table(raw[path], agreed.table, name=path.name))
    frames = [conform(raw[path], agreed.table) for path in (train, holdout, synthetic)]
    cells = [raw[path][image.name] for path in (train, holdout, synthetic) for image in agreed.images]
    with progress_bars() as bars:
        data = EvaluationData(
            frames[0],
            frames[1],
            frames[2],
            agreed.table,
            target=agreed.evaluation.target,
            time=agreed.evaluation.time,
            rules=tuple(agreed.rules),
            sensitive=tuple(agreed.evaluation.sensitive),
            images=ComparedImages.of(agreed, frames, cells),
        )
        evidence = assess(data, emit=follow(bars))
    with writing(out):
        run_folder = RunFolder(out)
        run_folder.write("report.json", evidence.to_json())
        run_folder.write("report.html", render(evidence, None, title=agreed.name))
    _show(evidence, out)


def _evaluate_visits(study: Study, paths: tuple[Path, Path, Path], out: Path) -> None:
    """Write the report on synthetic visits into the folder `out`.

    Args:
        study: a study of visits.
        paths: visits that were trained on, others, and synthetic ones.
        out: folder of the report.
    """
    from common.evaluation.report.visits import render_visits
    from common.evaluation.visits.analysis import VisitAnalysis
    from common.evaluation.visits.evidence import assess_visits
    from common.evaluation.visits.from_study import layout_of, measured_visits
    from common.system.files import writing
    from common.system.folder import RunFolder
    from common.tables.visit_tables import read_visits
    from common.tables.visits import check_records, visit_rows

    raw = [read_visits(path, study.declared) for path in paths]
    for path, table in zip(paths, raw, strict=True):
        note(check_records(table, study, name=path.name))
    train, holdout, synthetic = (measured_visits(visit_rows(table, study.declared), study) for table in raw)
    evidence = assess_visits(VisitAnalysis.of(train, holdout, synthetic, layout_of(study)))
    with writing(out):
        run_folder = RunFolder(out)
        run_folder.write("report.json", evidence.to_json())
        run_folder.write("report.html", render_visits(evidence, None, title=study.name))
    _show(evidence, out)


def _show(evidence: Assessment | VisitEvidence, out: Path) -> None:
    show_scores(evidence)
    out_console.print(f"Report: {escape(str(out / 'report.html'))}")
