"""Runs the cells of a benchmark: which there are, one, and many at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import FedSynthError, StudyError
from common.system.files import HeldError, locked
from common.system.processes import end_with_parent
from simulations.benchmark.baselines import ARMS, GROUPS, resolve
from simulations.benchmark.peers import PeerFailed
from simulations.benchmark.questions import QUALITY, Options, Question
from simulations.benchmark.results import Cell, Results, absent
from simulations.benchmark.tables import Source
from simulations.cli.console import quiet


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


def attempt(question: Question, source: Source, cell: Cell, options: Options) -> dict[str, Any] | Failure:
    """The answer, or the reason why there is none in place of an exception."""
    try:
        return question.answer(source, cell, options)
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
    question: Question = QUALITY,
    progress: Callable[[int, int, str], None] = lambda done, total, last: None,
) -> list[Failure]:
    """Run the cells that `out` has no row for; each is kept when it is finished.

    Args:
        question: what is asked of each; another question's answers are in another file of `out`.
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
            return _run(by_name, cells, out, options, question, progress)
    except HeldError as holder:
        raise StudyError(f"'{out}' is in use by process {holder}; wait for it, or choose another --out") from None
    except OSError as problem:
        raise StudyError(f"cannot write to '{out}' ({type(problem).__name__}); choose another --out") from None


def _run(
    sources: Mapping[str, Source],
    cells: Sequence[Cell],
    out: Path,
    options: Options,
    question: Question,
    progress: Callable[[int, int, str], None],
) -> list[Failure]:
    results = Results(out / question.file, question.columns)
    todo = absent(cells, results)
    done = len(cells) - len(todo)
    progress(done, len(cells), "")
    failures: list[Failure] = []
    if not todo:
        return failures
    # A fresh interpreter each: a forked one would share the threads' locks of torch, gRPC and Arrow.
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(options.processes, len(todo)), mp_context=fresh, initializer=_begin) as pool:
        running: dict[Future[dict[str, Any] | Failure], Cell] = {
            pool.submit(attempt, question, sources[cell.table], cell, options): cell for cell in todo
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


def _begin() -> None:
    """A worker is as quiet as the command, and does not work on when the command was killed."""
    quiet()
    end_with_parent(signal.SIGTERM)


def default_processes() -> int:
    """One per processor."""
    return os.cpu_count() or 1
