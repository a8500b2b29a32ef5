"""`fedsynth export`: a synthetic table as OMOP tables or FHIR resources."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from simulations.cli.console import out_console

if TYPE_CHECKING:
    from common.export.mapping import ExportMapping
    from common.export.provenance import Provenance

app = typer.Typer(add_completion=False)


@app.command()
def export(
    run: Annotated[
        Path, typer.Argument(help="Folder of a finished run; or a synthetic table with --study.", show_default=False)
    ],
    to: Annotated[str, typer.Option(help="Target: omop or fhir.", show_default=False)],
    mapping: Annotated[
        Path | None,
        typer.Option(
            help="File (TOML) that says where columns go, or `heart-disease` or `follow-up` for the built-in studies. "
            "Default: columns of an OMOP study keep its concepts; any other column is an observation."
        ),
    ] = None,
    file_format: Annotated[
        str | None, typer.Option("--format", help="csv, parquet or duckdb for omop. Default: csv, or ndjson for fhir.")
    ] = None,
    study: Annotated[Path | None, typer.Option(help="Study of a table without its run.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write. Default: the target's name in the run.")] = None,
) -> None:
    """Write a synthetic table as OMOP CDM 5.4 tables, or as FHIR R4 resources labeled as test data.

    No cell is lost: `fedsynth import` turns an export back into the table, word for word.
    """
    from common.export.exporting import ExportTarget
    from common.export.exporting import export as write_export
    from common.export.omop_study import default_mapping

    target = ExportTarget.of(to, file_format)
    given = None if mapping is None else _mapping(mapping)
    provenance = _of_run(run) if study is None else _of_study(study)
    where = given or default_mapping(provenance.study)
    if study is not None:
        out_console.print(
            "note nothing shows that a table without its run is synthetic: never export records of patients so",
            soft_wrap=True,
            highlight=False,
        )
    folder = out or (run if run.is_dir() else run.parent) / to
    counts = write_export(run, provenance, where, target, folder)
    for name, count in counts.items():
        out_console.print(f"{count:>10,} {name}", highlight=False)
    out_console.print(f"Wrote {escape(str(folder))}.", soft_wrap=True, highlight=False)


def _mapping(path: Path) -> ExportMapping:
    """Return the mapping of a file, or that of a built-in study by its name."""
    from importlib import resources

    from common.export.mapping import parse_mapping, read_mapping

    built_in = resources.files("simulations") / "studies" / f"{path}.export.toml"
    if not path.exists() and str(path) in ("heart-disease", "follow-up"):
        return parse_mapping(built_in.read_text(encoding="utf-8"), "the built-in export mapping")
    return read_mapping(path)


def _of_run(folder: Path) -> Provenance:
    from common.dossier.card import highest_epsilon
    from common.dossier.facts import check_tables, read_run
    from common.export.provenance import Provenance

    facts = read_run(folder)
    check_tables(facts)
    epsilon = highest_epsilon(facts) if facts.study.privacy.noise != "none" else 0.0
    return Provenance(facts.study, epsilon, str(facts.record["run_id"]), facts.is_simulation)


def _of_study(path: Path) -> Provenance:
    from common.export.provenance import Provenance
    from simulations.federation.hospitals import study_named

    study = study_named(path)
    return Provenance(study, study.privacy.epsilon)
