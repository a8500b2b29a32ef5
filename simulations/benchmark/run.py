"""Runs the cells of a benchmark: which there are, measuring one, and many at once."""

from __future__ import annotations

import multiprocessing
import os
import resource
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import FedSynthError, StudyError
from common.evaluation.metrics import evaluate
from common.files import HeldError, locked
from common.tables import as_text, conform
from simulations.benchmark.baselines import ARMS, GROUPS, Task, resolve
from simulations.benchmark.peers import PeerFailed
from simulations.benchmark.results import Cell, Results, absent
from simulations.benchmark.tables import SITE, Source, load

RESULTS = "results.csv"

TEST_SHARE = 0.2

SMOKE: dict[str, dict[str, object]] = {"synthesizer": {"fit_steps": 60}, "training": {"rounds": 0}}


@dataclass(frozen=True, slots=True)
class Options:
    """How cells are run. None of it changes a figure, but for `is_smoke`.

    Args:
        peers: the virtual environment with other projects' synthesizers.
        limit_s: the longest that a peer may take, in seconds.
        is_smoke: few steps and no adversary, to see whether everything works; such figures say nothing.
    """

    processes: int = 1
    peers: Path | None = None
    limit_s: float | None = None
    is_smoke: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """A cell that gave no row. `is_excused` where a peer is not there or gave up: nothing of this project broke."""

    cell: Cell
    reason: str
    is_excused: bool


def cells_of(
    sources: Sequence[Source], arms: Sequence[str], epsilons: Sequence[float], seeds: Sequence[int]
) -> list[Cell]:
    """Every cell once, the first seed of all tables first.

    Raises:
        StudyError: an arm is not known.
    """
    if unknown := [arm for arm in arms if arm not in ARMS and arm not in GROUPS]:
        raise StudyError(f"arm '{unknown[0]}' is not known; choose from {', '.join([*GROUPS, *ARMS])}")
    cells: dict[Cell, None] = {}
    for seed in seeds:
        for source in sources:
            for word in arms:
                arm = resolve(word, has_sites=source.has_sites)
                if ARMS[arm].needs_sites and not source.has_sites:
                    continue
                for epsilon in epsilons if ARMS[arm].has_budget else (0.0,):
                    cells[Cell(source.name, arm, float(epsilon), seed)] = None
    return list(cells)


def measure(source: Source, cell: Cell, options: Options) -> dict[str, Any]:
    """One cell: train an arm on one split of one table at one epsilon and measure the outcome."""
    import torch
    from sklearn.model_selection import train_test_split

    torch.set_num_threads(1)
    loaded = load(source)
    frame, names = loaded.frame, list(loaded.study.table.names)
    train, test = train_test_split(frame, test_size=TEST_SHARE, random_state=cell.seed, stratify=loaded.strata)
    train, test = train.reset_index(drop=True), test.reset_index(drop=True)
    study = loaded.study.amended(
        privacy={"epsilon": cell.epsilon or None},  # an arm without a budget says 0
        **(SMOKE if options.is_smoke else {}),
        evaluation={"holdout_fraction": 0.0},
    )
    task = Task(train, frame.drop(columns=SITE, errors="ignore"), study, cell.seed, options.peers, options.limit_s)
    started, spent = time.monotonic(), _cpu_seconds()
    made = ARMS[cell.arm].run(task)
    seconds, cpu = time.monotonic() - started, _cpu_seconds() - spent
    # As the schema sees them: rare labels are one category on both sides, and "?" is missing on both.
    tables = [conform(as_text(part[names]), study.table) for part in (train, test, made.synthetic)]
    scores = evaluate(tables[0], tables[1], tables[2], loaded.target)
    return scores | {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "hospitals": made.hospitals,
        "bytes": made.bytes,
        "spent": None if made.spent is None else round(made.spent, 4),
        "delta": study.privacy.delta if ARMS[cell.arm].has_budget else None,
    }


def _cpu_seconds() -> float:
    """Of this process and of the children that it waited for: peers are children."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def attempt(source: Source, cell: Cell, options: Options) -> dict[str, Any] | Failure:
    """As `measure`, with the reason in place of an exception."""
    try:
        return measure(source, cell, options)
    except PeerFailed as problem:
        return Failure(cell, str(problem), is_excused=True)
    except FedSynthError as problem:
        return Failure(cell, str(problem), is_excused=False)
    except Exception as problem:  # its text might quote a cell
        return Failure(cell, type(problem).__name__, is_excused=False)


def run(
    sources: Iterable[Source],
    cells: Sequence[Cell],
    out: Path,
    options: Options,
    *,
    progress: Callable[[int, int, str], None] = lambda done, total, last: None,
) -> list[Failure]:
    """Run the cells that `out` has no row for; each is kept when it is finished.

    Args:
        progress: called with how many of the cells are done, how many there are, and the last one.

    Returns:
        the cells that gave no row.

    Raises:
        StudyError: the folder is in use, cannot be written, or holds something else.
    """
    by_name = {source.name: source for source in sources}
    try:
        out.mkdir(parents=True, exist_ok=True)
        with locked(out / "lock"):
            return _run(by_name, cells, Results(out / RESULTS), options, progress)
    except HeldError as holder:
        raise StudyError(f"'{out}' is in use by process {holder}; wait for it, or choose another --out") from None
    except OSError as problem:
        raise StudyError(f"cannot write to '{out}' ({type(problem).__name__}); choose another --out") from None


def _run(
    sources: Mapping[str, Source],
    cells: Sequence[Cell],
    results: Results,
    options: Options,
    progress: Callable[[int, int, str], None],
) -> list[Failure]:
    todo = absent(cells, results)
    done = len(cells) - len(todo)
    progress(done, len(cells), "")
    failures: list[Failure] = []
    if not todo:
        return failures
    # A fresh interpreter each: a forked one would share the threads' locks of torch, gRPC and Arrow.
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(options.processes, len(todo)), mp_context=fresh) as pool:
        running: dict[Future[dict[str, Any] | Failure], Cell] = {
            pool.submit(attempt, sources[cell.table], cell, options): cell for cell in todo
        }
        try:
            for future in as_completed(running):
                cell = running[future]
                found = future.result()
                if isinstance(found, Failure):
                    failures.append(found)
                else:
                    results.keep(cell, found)
                done += 1
                progress(done, len(cells), str(cell))
        except BrokenProcessPool:
            raise StudyError(
                "a worker was ended from outside, perhaps for want of memory; run again with fewer --processes"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return failures


def default_processes() -> int:
    """One per processor."""
    return os.cpu_count() or 1
