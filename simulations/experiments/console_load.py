"""Measure what a console costs: processor seconds beside a run with many open pages, and pages of large studies.

    python -m simulations.experiments.console_load [--pages 50]

The built-in study is simulated once without a console. Then its events are written again, while one process serves the
console and another keeps the pages open. They come at the pace of a machine that does nothing else: the run's seconds
are shortened to its processor seconds. The console's processor seconds over those of the run are what its pages cost
the run; evaluation and report, which take longer, are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import httpx
import numpy as np
import pandas as pd

from common.planning.planner import make_plan
from common.run_events.events import RunStarted, to_json
from common.run_events.file import EVENTS
from common.study.sections import HospitalFacts
from common.study.study import Study
from common.web.serve import Console, Listen
from server.console.app import CoordinatorPages
from server.console.runs import SimulatedRun
from simulations.console.launching import LaunchedRuns
from simulations.console.pages import coordinator_pages
from simulations.console.workspace import Workspace
from simulations.drafting import NamedColumns, draft_study
from simulations.federation.hospitals import built_in_hospitals, built_in_study
from simulations.federation.prepare import prepare
from simulations.federation.run import Options, simulate
from simulations.usage import cpu_seconds

COLUMNS, HOSPITALS = 1_000, 200
"""Sizes of the large studies."""

WATCH_S = 600.0
"""Seconds after which pages that watch give up."""


def wide_table(columns: int, rows: int = 200) -> pd.DataFrame:
    """Return a raw table of numbers and a target."""
    rng = np.random.default_rng(0)
    table = {f"c{column}": rng.integers(0, 100, rows).astype(str) for column in range(columns - 1)}
    return pd.DataFrame({**table, "died": rng.choice(["no", "yes"], rows)})


def run_once(out: Path) -> tuple[float, float]:
    """Simulate the built-in study without a report; return the processor seconds and the seconds that it took."""
    study = built_in_study()
    prepared = prepare(study, built_in_hospitals())
    make_plan(prepared.study)
    before, started = cpu_seconds(), time.monotonic()
    simulate(prepared, out, Options(with_report=False))
    return cpu_seconds() - before, time.monotonic() - started


@contextmanager
def served(study: Study, folder: Path) -> Iterator[Console]:
    """Serve the console of one run in this process."""
    runs = SimulatedRun(study, make_plan(study), folder)
    console = Console(
        lambda serving: CoordinatorPages(runs, "Simulation", serving).application(), Listen(is_read_only=True)
    )
    with console.beside():
        yield console


def replay(events: Path, to: Path, pace: float) -> None:
    """Write the lines of a file of events again, each as long after the first as it was, times `pace`."""
    lines = events.read_text().splitlines()
    times = [datetime.fromisoformat(json.loads(line)["time"]) for line in lines]
    started = time.monotonic()
    for line, when in zip(lines, times, strict=True):
        time.sleep(max(0.0, (when - times[0]).total_seconds() * pace - (time.monotonic() - started)))
        with to.open("a") as file:
            file.write(line + "\n")


def cost_of_pages(study: Study, events: Path, pages: int, pace: float) -> float:
    """Return the processor seconds of a console while a run's events come in and pages are open."""
    with tempfile.TemporaryDirectory() as folder, served(study, Path(folder)) as console:
        watching = subprocess.Popen(  # noqa: S603  # this program
            [sys.executable, "-m", __spec__.name, "--watch", console.opening, "--pages", str(pages)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert watching.stdout is not None
        watching.stdout.readline()  # all pages are open
        before = cpu_seconds()
        replay(events, Path(folder) / EVENTS, pace)
        used = cpu_seconds() - before
        watching.terminate()
        watching.communicate()
    return used


async def watch(opening: str, pages: int) -> None:
    """Open pages of one session and keep them open; say so once all are."""
    async with httpx.AsyncClient(timeout=WATCH_S, limits=httpx.Limits(max_connections=None), trust_env=False) as web:
        opened = await web.get(opening)
        origin = opening.partition("/open")[0]
        page = await web.get(f"{origin}{opened.headers['location']}", follow_redirects=True)
        is_open = asyncio.Semaphore(0)

        async def one() -> None:
            async with web.stream("GET", f"{page.url}/events") as stream:
                is_open.release()
                async for _ in stream.aiter_bytes():
                    pass

        async with asyncio.TaskGroup() as tasks:
            for _ in range(pages):
                tasks.create_task(one())
            for _ in range(pages):
                await is_open.acquire()
            print("open", flush=True)  # noqa: T201  # the other process waits for it


def page_figures(opening: str, path: str) -> tuple[float, float, int]:
    """Return the seconds of the first and of the second load of a page at the console, and its bytes."""
    with httpx.Client(timeout=WATCH_S, trust_env=False) as web:
        base = opening.partition("/open")[0] + web.get(opening).headers["location"].rstrip("/")
        loads = []
        for _ in range(2):
            before = cpu_seconds()
            answer = web.get(f"{base}{path}", follow_redirects=True)
            loads.append(cpu_seconds() - before)
            answer.raise_for_status()
    return loads[0], loads[1], len(answer.content)


def large_pages() -> Iterator[tuple[str, Console, str]]:
    """Yield name, console and path of each page of a large study; its console answers until the next one."""
    raw = wide_table(COLUMNS)
    drafted = draft_study(raw, "wide", NamedColumns("died")).study
    wide = drafted.amended(synthesizer={"independent": True})  # all pairs of so many columns are too many to count
    few = tuple(HospitalFacts(name=f"h{index}", declared_rows=1000) for index in range(4))
    many = tuple(HospitalFacts(name=f"h{index}", declared_rows=1000) for index in range(HOSPITALS))
    studies = {f"run of {COLUMNS} columns": wide.with_hospitals(few)}
    studies[f"run of {HOSPITALS} hospitals"] = built_in_study().with_hospitals(many)
    for name, study in studies.items():
        with tempfile.TemporaryDirectory() as folder, served(study, Path(folder)) as console:
            names = tuple(hospital.name for hospital in study.hospitals)
            begun = RunStarted(
                run_id="run", study=study.name, fingerprint=study.fingerprint, hospitals=names,
                phases=make_plan(study).phases, rounds=0, is_simulation=True,
            )  # fmt: skip
            (Path(folder) / EVENTS).write_text(to_json(begun) + "\n")
            yield name, console, "/"
    with tempfile.TemporaryDirectory() as folder:
        raw.to_csv(Path(folder) / "wide.csv", index=False)
        workspace = Workspace(Path(folder) / "studies")
        workspace.add("wide", Path(folder) / "wide.csv", None, ())
        workspace.make_draft("wide", NamedColumns("died"))
        runs = LaunchedRuns(workspace)
        console = Console(lambda serving: coordinator_pages(runs, workspace, runs, serving), Listen())
        with console.beside():
            yield f"form of {COLUMNS} columns", console, "/studies/wide"


def main() -> None:
    """Print what pages cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=50)
    parser.add_argument("--large", action=argparse.BooleanOptionalAction, default=True, help="pages of large studies")
    parser.add_argument("--watch", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.watch is not None:
        asyncio.run(watch(given.watch, given.pages))
        return
    for name, console, path in large_pages() if given.large else ():
        first, second, size = page_figures(console.opening, path)
        print(f"{name}: {first * 1000:.0f} ms at first, then {second * 1000:.0f} ms, {size / 1000:.0f} kB")  # noqa: T201
    with tempfile.TemporaryDirectory() as folder:
        used, lasted = run_once(Path(folder) / "out")
        events = Path(folder) / "out" / EVENTS
        study = prepare(built_in_study(), built_in_hospitals()).study
        for pages in (1, given.pages):
            cost = cost_of_pages(study, events, pages, min(1.0, used / lasted))
            print(f"{pages} pages: {cost:.2f} s of processor beside a run of {used:.1f} s, {cost / used:.2%}")  # noqa: T201


if __name__ == "__main__":
    main()
