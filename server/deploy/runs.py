"""The runs of a coordinator: propose, submit, follow, describe and stop them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from common.errors import FederationError, StudyError
from common.planning.proposal import Proposal
from common.protocol.signing import Identity
from common.study.study import parse_study, read_study
from common.system.folder import RunFolder
from server.deploy.directory import CONNECTION, LOG, SUBMISSION, CoordinatorDirectory, new_run_id
from server.deploy.superlink import flwr, submit
from server.run.config import RunConfig

State = Literal["proposed", "running", "interrupted", "failed", "finished"]

CHECKPOINTS = "checkpoints"
"""Folder of the finished steps in a run's folder."""

LOOK_S = 0.5
"""Seconds between two reads of the log of a run that is being followed."""

ASK_FLOWER_S = 15.0
"""Seconds between two questions to Flower whether a run that is being followed still exists."""


@dataclass(frozen=True, slots=True)
class SubmittedRun:
    """A run that Flower accepted.

    Attributes:
        folder: the run's folder.
        flower: Flower's own id of the run.
        log_bytes: length of the log before this submission.
    """

    folder: RunFolder
    flower: str
    log_bytes: int


def propose_run(directory: CoordinatorDirectory, study: Path) -> tuple[Proposal, Path]:
    """Plan one run of a study, sign it, and write it to the run's folder.

    Returns:
        the proposal, and the file to send to the sites.

    Raises:
        StudyError: the study lists no hospitals, or its schema was drafted from records.
    """
    agreed = read_study(study)
    if not agreed.hospitals:
        raise StudyError(f"'{study}' lists no [[hospitals]]; list every site with its declared rows")
    if agreed.about.origin == "drafted":
        raise StudyError(
            f"'{study}' was drafted from records and sites will refuse it; write it from the data dictionary"
        )
    proposal = Proposal.make(new_run_id(agreed.name), agreed, Identity.load(directory.key))
    return proposal, directory.new_run(proposal)


def check_not_started(directory: CoordinatorDirectory, run_id: str) -> None:
    """Raise `StudyError` if the run has checkpoints already: it is to be resumed."""
    if (directory.run(run_id)[0].path / CHECKPOINTS).exists():
        raise StudyError(f"run '{run_id}' was started before; continue it with `fedsynth coordinator resume {run_id}`")


def submit_run(directory: CoordinatorDirectory, run_id: str) -> SubmittedRun:
    """Submit the ServerApp for a run.

    Raises:
        StudyError: a process is coordinating the run, or it is finished.
        FederationError: Flower does not accept it.
    """
    folder, proposal = directory.run(run_id)
    if (holder := folder.holder()) is not None:
        raise StudyError(f"run '{run_id}' is being coordinated by process {holder}; wait for it or stop it first")
    if final_status(folder) == "finished":
        raise StudyError(f"run '{run_id}' is finished; its results are in '{folder.path}'")
    log = folder.path / LOG
    log_bytes = log.stat().st_size if log.exists() else 0
    (folder.path / "run.json").unlink(missing_ok=True)
    study = parse_study(proposal.study)
    config = RunConfig(study, run_id, folder.path, directory.receipts, is_simulation=False, key=directory.key)
    flower = submit(directory, config.to_flower() | {"study": proposal.study})
    folder.write_json(SUBMISSION, {"flower": flower})
    return SubmittedRun(folder, flower, log_bytes)


def follow_run(directory: CoordinatorDirectory, run: SubmittedRun, *, show: Callable[[str], None]) -> Path:
    """Show a run's log until the run ends.

    Args:
        show: called with every new piece of the log.

    Returns:
        the folder of the results.

    Raises:
        FederationError: the run failed.
    """
    log, shown, next_question = run.folder.path / LOG, run.log_bytes, time.monotonic() + ASK_FLOWER_S
    while True:
        status = final_status(run.folder)
        if not status and time.monotonic() > next_question:
            next_question = time.monotonic() + ASK_FLOWER_S
            status = "failed" if run.folder.holder() is None and _has_ended(directory, run.flower) else ""
        if log.exists():
            with log.open("rb") as file:
                file.seek(shown)
                new = file.read()
            shown += len(new)
            show(new.decode("utf-8", "replace"))
        if status == "finished":
            return run.folder.path
        if status:
            record = run.folder.read_json("run.json") or {}
            reason = record.get("reason", "the ServerApp ended without a reason; see the output of `up`")
            raise FederationError(f"the run failed: {reason}")
        time.sleep(LOOK_S)


def stop_run(directory: CoordinatorDirectory, run_id: str) -> None:
    """Have Flower stop a run.

    Raises:
        StudyError: the run was never started.
        FederationError: Flower does not answer.
    """
    submission = directory.run(run_id)[0].read_json(SUBMISSION)
    if submission is None:
        raise StudyError(f"run '{run_id}' was not started; there is nothing to stop")
    flwr(directory, "stop", str(submission["flower"]), CONNECTION)


def state_of(folder: RunFolder) -> State:
    """Return the state of a run. Raises `StudyError` if its run.json is damaged."""
    if folder.holder() is not None:
        return "running"
    status = final_status(folder)
    if status:
        return "finished" if status == "finished" else "failed"
    return "interrupted" if (folder.path / CHECKPOINTS).exists() else "proposed"


def describe_state(folder: RunFolder) -> str:
    """Return one line on the state of a run."""
    steps = f"{len(list((folder.path / CHECKPOINTS).glob('*.safetensors')))} steps done"
    match state_of(folder):
        case "running":
            return f"running (process {folder.holder()}), {steps}"
        case "failed":
            return f"failed: {folder.read_json('run.json')['reason']}; {steps}, can be resumed"
        case "interrupted":
            return f"interrupted, {steps}, can be resumed"
        case state:
            return state


def _has_ended(directory: CoordinatorDirectory, flower: str) -> bool:
    """Return whether Flower reports the run as ended, or does not answer."""
    try:
        runs: list[dict[str, Any]] = flwr(directory, "list", CONNECTION, "--run-id", flower)["runs"]
    except FederationError:
        return True
    return str(runs[0]["status"]).startswith("finished")


def final_status(folder: RunFolder) -> str:
    """Return the status in run.json, "finished" or "failed", or "" while there is no run.json."""
    return str((folder.read_json("run.json") or {}).get("status", ""))
