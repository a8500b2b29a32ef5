"""`fedsynth benchmark augmentation`: what a hospital with few patients gains from the federation's synthetic rows."""

from __future__ import annotations

from functools import partial

from simulations.cli.benchmark import (
    OUT,
    Arms,
    Data,
    Epsilons,
    Out,
    PatientColumn,
    Processes,
    Seeds,
    SiteColumn,
    StudyFile,
    Tables,
    Target,
    app,
    parse_epsilons,
    parse_names,
    parse_seeds,
    run_and_show,
)
from simulations.cli.benchmark_visits import visits
from simulations.cli.console import err_console, quiet
from simulations.cli.options import OneRowPerPatient

__all__ = ["app", "augmentation", "visits"]


@app.command()
def augmentation(
    data: Data = None,
    tables: Tables = None,
    study: StudyFile = None,
    target: Target = None,
    patient_column: PatientColumn = None,
    one_row_per_patient: OneRowPerPatient = False,
    site_column: SiteColumn = None,
    arms: Arms = None,
    epsilons: Epsilons = "3",
    seeds: Seeds = "0,1,2",
    processes: Processes = None,
    out: Out = OUT,
) -> None:
    """Train classifiers of hospitals with 20, 50 and 100 patients; write augmentation.csv and augmentation.md.

    Each is trained on the hospital's own rows, on these and synthetic rows of the federation, and on synthetic rows
    alone, and tested on held-out real rows. Tables may also be digits and chest-films, the studies of images.
    """
    with err_console.status("Loading..."):
        from simulations.benchmark.augmentation.images import sources_of
        from simulations.benchmark.augmentation.page import augmentation_markdown
        from simulations.benchmark.augmentation.question import AUGMENTATION, USUAL_ARMS
        from simulations.benchmark.pages import write_summary
        from simulations.benchmark.questions import CaseOptions
        from simulations.benchmark.runner import CaseWork, cases_of, default_processes
        from simulations.benchmark.selection import TableSelection

        quiet()
    own = (study, target, patient_column, site_column, one_row_per_patient)
    sources = sources_of(TableSelection(data, parse_names(tables), *own))
    cases = cases_of(sources, parse_names(arms) or USUAL_ARMS, parse_epsilons(epsilons), parse_seeds(seeds))
    work = CaseWork(AUGMENTATION, CaseOptions(processes or default_processes()), quiet)
    write = partial(write_summary, out, AUGMENTATION, cases, render=augmentation_markdown)
    run_and_show(sources, cases, out, work, write)
