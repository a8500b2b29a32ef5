"""`fedsynth benchmark visits`: compare synthetic histories with real ones."""

from __future__ import annotations

from functools import partial

from simulations.cli.benchmark import (
    OUT,
    Arms,
    Data,
    Epsilons,
    Out,
    Peers,
    Processes,
    Seeds,
    StudyFile,
    Tables,
    app,
    parse_epsilons,
    parse_names,
    parse_seeds,
    run_and_show,
)
from simulations.cli.console import err_console, quiet


@app.command()
def visits(
    data: Data = None,
    tables: Tables = None,
    study: StudyFile = None,
    arms: Arms = None,
    epsilons: Epsilons = "3,10",
    seeds: Seeds = "0,1,2",
    processes: Processes = None,
    peers: Peers = None,
    out: Out = OUT,
) -> None:
    """Measure synthetic visits; write visits.csv and visits.md.

    Tables are diabetes130 and pbcseq in the folder --data, or your own table of visits with its --study. Patients are
    split, never visits.
    """
    with err_console.status("Loading..."):
        from simulations.benchmark.pages import write_summary
        from simulations.benchmark.peers import PeerEnvironment
        from simulations.benchmark.questions import CaseOptions
        from simulations.benchmark.runner import CaseWork, cases_of, default_processes
        from simulations.benchmark.visits.arms import VISIT_ARMS
        from simulations.benchmark.visits.page import visits_markdown
        from simulations.benchmark.visits.questions import VISITS
        from simulations.benchmark.visits.tables import visit_sources

        quiet()
    sources = visit_sources(data, parse_names(tables), study)
    names = parse_names(arms) or tuple(VISIT_ARMS)
    cases = cases_of(sources, names, parse_epsilons(epsilons), parse_seeds(seeds), among=VISIT_ARMS)
    work = CaseWork(VISITS, CaseOptions(processes or default_processes(), PeerEnvironment(peers)), quiet)
    write = partial(write_summary, out, VISITS, cases, render=visits_markdown)
    run_and_show(sources, cases, out, work, write)
