"""Run the cases of a benchmark: list them, run one, run many at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.errors import FedSynthError, StudyError
from common.run_events.events import Emit, Progressed, ignore
from common.system.files import HeldError, locked, writing
from common.system.processes import end_with_parent
from simulations.benchmark.arms import ARMS, GROUPS, BenchmarkArm, resolve
from simulations.benchmark.peers import PeerFailed
from simulations.benchmark.questions import QUALITY, CaseOptions, Question
from simulations.benchmark.results import Case, CaseFailure, ResultsFile, absent
from simulations.benchmark.tables import TableSource

Answer = dict[str, Any] | CaseFailure
"""Columns of a finished case that are not keys, or why there are none."""


def _do_nothing() -> None:
    """Prepare nothing."""


def cases_of(
    sources: Sequence[TableSource],
    arms: Sequence[str],
    epsilons: Sequence[float],
    seeds: Sequence[int],
    *,
    among: Mapping[str, BenchmarkArm] = ARMS,
) -> list[Case]:
    """List every case once, the first seed of all tables first.

    Args:
        sources: the tables.
        arms: names in `among`, or words in `GROUPS` for those in `ARMS`.
        epsilons: values of epsilon for arms that have a budget; the others have one case per seed, at epsilon 0.
        seeds: seeds of the train-test splits.
        among: the arms that there are.

    Raises:
        StudyError: an arm is unknown.
    """
    words = GROUPS if among is ARMS else {}
    if unknown := [arm for arm in arms if arm not in among and arm not in words]:
        raise StudyError(f"unknown arm '{unknown[0]}'; choose from {', '.join([*words, *among])}")
    cases: dict[Case, None] = {}
    for seed in seeds:
        for source in sources:
            for word in arms:
                arm = resolve(word, has_sites=source.has_sites)
                if among[arm].needs_sites and not source.has_sites:
                    continue
                for epsilon in epsilons if among[arm].has_budget else (0.0,):
                    cases[Case(source.name, arm, float(epsilon), seed)] = None
    return list(cases)


def attempt(question: Question, source: TableSource, case: Case, options: CaseOptions) -> Answer:
    """Return the answer of one case, or the failure in place of an exception.

    Args:
        question: what to ask of the case.
        source: its table.
        case: the case.
        options: how to run it.
    """
    try:
        return question.answer(source, case, options)
    except PeerFailed as problem:
        return CaseFailure(case, str(problem), is_excused=True)
    except FedSynthError as problem:
        return CaseFailure(case, str(problem), is_excused=False)
    except Exception as problem:  # its text might quote a cell
        return CaseFailure(case, type(problem).__name__, is_excused=False)


@dataclass(frozen=True, slots=True)
class CaseWork:
    """What is asked of each case of a benchmark, and how.

    Attributes:
        question: what to ask; every question has its own file of results.
        options: how to run a case.
        prepare_worker: called first in every worker process; importable by name.
    """

    question: Question = QUALITY
    options: CaseOptions = field(default_factory=CaseOptions)
    prepare_worker: Callable[[], None] = _do_nothing


def run_cases(
    sources: Iterable[TableSource], cases: Sequence[Case], out: Path, work: CaseWork, *, emit: Emit = ignore
) -> list[CaseFailure]:
    """Run the cases that have no result in `out` yet; each result is saved as soon as its case is finished.

    Args:
        sources: the tables of the cases.
        cases: what to run.
        out: folder of the results.
        work: what to ask of each case, and how.
        emit: takes the progress after every case, with the case.

    Returns:
        the cases that gave no result.

    Raises:
        StudyError: the folder is in use, cannot be written, or holds something else.
    """
    by_name = {source.name: source for source in sources}
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        try:
            with locked(out / "lock"):
                results = ResultsFile(out / work.question.file, work.question.columns)
                todo = absent(cases, results)
                done = len(cases) - len(todo)
                emit(Progressed(task="cases", done=done, total=len(cases)))
                failures = []
                with closing(_answers(by_name, todo, work)) as answers:
                    for case, answer in answers:
                        if isinstance(answer, CaseFailure):
                            failures.append(answer)
                        else:
                            results.keep(case, answer)
                        done += 1
                        emit(Progressed(task="cases", done=done, total=len(cases), item=str(case)))
                return failures
        except HeldError as holder:
            raise StudyError(f"'{out}' is in use by process {holder}; wait for it, or choose another --out") from None


def _answers(
    sources: Mapping[str, TableSource], cases: Sequence[Case], work: CaseWork
) -> Generator[tuple[Case, Answer]]:
    """Run cases in worker processes and yield each with its answer as it finishes."""
    if not cases:
        return
    # Each worker is a new interpreter: a forked one would share the locks of the threads of torch, gRPC and Arrow.
    spawn = multiprocessing.get_context("spawn")
    workers = min(work.options.processes, len(cases))
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=_begin, initargs=(work.prepare_worker,)) as pool:
        running: dict[Future[Answer], Case] = {
            pool.submit(attempt, work.question, sources[case.table], case, work.options): case for case in cases
        }
        try:
            for future in as_completed(running):
                yield running[future], future.result()
        except BrokenProcessPool:
            raise StudyError(
                "a worker process was killed, perhaps because memory ran out; run again with fewer --processes"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin(prepare_worker: Callable[[], None]) -> None:
    """Prepare a worker, which ends when the command is killed."""
    prepare_worker()
    end_with_parent(signal.SIGTERM)


def default_processes() -> int:
    """Return one process per processor."""
    return os.cpu_count() or 1
