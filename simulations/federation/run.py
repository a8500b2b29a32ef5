"""A whole federation on one machine: check the tables, run the real apps on the local grid, measure, report."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from client.agent.transport import Transport
from client.hospital import Hospital
from common.errors import FedSynthError, StudyError
from common.planning.plan import Plan
from common.planning.planner import make_plan
from common.run_events.events import Emit, RunFailed, to_all
from common.run_events.file import EVENTS, JsonLines
from common.study.study import Study
from common.system.files import writing
from common.system.folder import RunFolder
from common.system.logs import log_to
from server.run.checkpoints import run_in
from server.run.config import RunConfig
from server.run.observers import write_log
from simulations.federation.endings import PhaseWatch, ending, release_is_whole, words
from simulations.federation.federate import federate, simulated_run
from simulations.federation.output import check_output
from simulations.federation.prepare import Prepared
from simulations.federation.report import FinishedRun, Result, complete
from simulations.federation.resuming import check_command, interrupted_run, note_command
from simulations.federation.sites import open_hospitals, open_shards

Engine = Literal["local", "ray"]


@dataclass(frozen=True, slots=True)
class Options:
    """How to simulate.

    Args:
        sites: keeps the hospitals' ledgers, `<sites>/<hospital>/ledger.sqlite`, and the coordinator's receipts for
            them, `<sites>/receipts.json`; inside the output folder by default.
        max_epsilon: cap on what every hospital's ledger may ever hold, at the study's delta.
        rows: synthetic rows; 0 for as many as were declared for training.
        force: empty an output folder that an earlier simulation wrote.
        resume: continue the simulation that was interrupted in the output folder.
        engine: what delivers the messages; `wrap` and `workers` are the local grid's.
        wrap: puts something between the relay and each hospital, for fault injection.
        workers: hospitals that compute at once; one per processor by default.
        with_report: evaluate the synthetic table and write a report.
    """

    sites: Path | None = None
    max_epsilon: float = math.inf
    rows: int = 0
    force: bool = False
    resume: bool = False
    engine: Engine = "local"
    wrap: Callable[[Hospital], Transport] = lambda hospital: hospital
    workers: int | None = None
    with_report: bool = True


def simulate(
    prepared: Prepared, out: Path, options: Options | None = None, *, observers: Sequence[Emit] = ()
) -> Result:
    """Run the study over simulated hospitals and write everything that a reader of the output folder expects.

    Args:
        prepared: the study and the tables of its hospitals.
        out: created; must be empty unless `options.force`, or hold an interrupted run if `options.resume`.
        options: how to simulate.
        observers: take the events of the run and of its evaluation.

    Raises:
        StudyError: the output folder cannot be used, the run in it is another, or the engine is not installed.
        PolicyRefusal: too few hospitals are left after refusals; no record was opened.
        LedgerError: a ledger in `sites` is in use, altered, or of another delta.
        FederationError: too few hospitals were left; run.json says `"status": "failed"`.
    """
    options, study = options or Options(), prepared.study
    _check_engine(study, options.engine)
    plan = make_plan(study)  # a study that cannot be planned fails before anything is written
    abandoned = run_in(out) if options.force else None
    run_id = interrupted_run(out) if options.resume else None
    run_folder = _open_folder(out, prepared, options)
    started = time.monotonic()
    torch.set_num_threads(1)  # results do not depend on the machine's processors; hospitals run side by side
    phase = PhaseWatch()
    observers = (*observers, phase)
    emit = to_all(JsonLines(out / EVENTS), write_log, *observers)
    config = simulated_run(study, out, options.sites or out / "sites", rows=options.rows, run_id=run_id)
    with ExitStack() as stack:
        stack.enter_context(log_to(out / "run.log", "client", "server", "simulations", "common"))
        shards = open_shards(prepared)
        hospitals: dict[str, Hospital] = {}
        try:
            if options.engine == "ray":
                _federate_on_ray(prepared, config, options, observers, plan)
            hospitals = open_hospitals(study, shards, config.receipts.parent, stack, max_epsilon=options.max_epsilon)
            _close(hospitals.values(), abandoned)
            with _closing_runs(hospitals.values(), config.run_id):
                if options.engine == "local":
                    _federate_locally(config, hospitals, options, observers, plan)
        except (FedSynthError, OSError, KeyboardInterrupt) as problem:
            ended = ending(problem, phase.name, [site.ledger for site in hospitals.values()], options.max_epsilon)
            _record_failure(study, words(ended), run_folder, emit)
            raise ended from None
        ledgers = {name: hospital.ledger for name, hospital in hospitals.items()}
        finished = FinishedRun(study, plan, shards, ledgers, run_folder, prepared.called)
        with release_is_whole(out):
            return complete(finished, started=started, with_report=options.with_report, emit=emit)


def _check_engine(study: Study, engine: Engine) -> None:
    if study.has_visits and engine == "ray":
        raise StudyError(
            "--engine ray reads tables in parts, and a patient's visits may be in any of them; leave it out"
        )


def _federate_on_ray(
    prepared: Prepared, config: RunConfig, options: Options, observers: Sequence[Emit], plan: Plan
) -> None:
    from simulations.federation.ray_grid import federate_on_ray

    federate_on_ray(prepared, config, max_epsilon=options.max_epsilon, observers=observers, plan=plan)


def _federate_locally(
    config: RunConfig, hospitals: Mapping[str, Hospital], options: Options, observers: Sequence[Emit], plan: Plan
) -> None:
    transports = {name: options.wrap(hospital) for name, hospital in hospitals.items()}
    federate(config, transports, workers=options.workers, observers=observers, plan=plan)


@contextmanager
def _closing_runs(hospitals: Iterable[Hospital], run_id: str) -> Iterator[None]:
    """Free at the end what the run reserved and did not use, for late hospitals too, unless it can be resumed."""
    try:
        yield
    except (OSError, KeyboardInterrupt):
        raise
    except BaseException:
        _close(hospitals, run_id)
        raise
    _close(hospitals, run_id)


def _close(hospitals: Iterable[Hospital], run_id: str | None) -> None:
    """Free what a run reserved at hospitals and did not use; None is no run."""
    for hospital in hospitals:
        if run_id in hospital.ledger.open_runs():
            hospital.ledger.close_run(str(run_id))


def _record_failure(study: Study, reason: str, run_folder: RunFolder, emit: Emit) -> None:
    """Say in the events and in run.json why the run ended, unless a full disk is what ended it."""
    with suppress(OSError):
        emit(RunFailed(reason=reason))
        failed = {"status": "failed", "simulation": True, "study": study.name, "reason": reason}
        run_folder.write_json("run.json", failed)


def _open_folder(out: Path, prepared: Prepared, options: Options) -> RunFolder:
    """Return the output folder: as it is for a run that is resumed, emptied for a new one."""
    with writing(out):
        if options.resume:
            check_command(RunFolder(out), prepared, options.sites)
            return RunFolder(out)
        for name in check_output(out, force=options.force):
            path = out / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        run_folder = RunFolder(out)
        note_command(run_folder, prepared, options.sites)
        return run_folder
