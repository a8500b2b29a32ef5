"""A simulation that was interrupted: which run its folder holds, and whether the same command asks for it again.

A resumed simulation takes the coordinator's path: the run keeps its id, finished steps come from its checkpoints, and
hospitals repeat from their ledgers what they released. So nothing is charged twice, and the result has the same bytes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd

from common.errors import StudyError
from common.system.folder import RunFolder
from server.run.checkpoints import FOLDER, run_in
from simulations.federation.prepare import Prepared

COMMAND = f"{FOLDER}/simulation.json"
"""What a resumed command must have in common with the first one, besides the plan."""


def interrupted_run(out: Path) -> str:
    """Return the id of the run that was interrupted in a folder.

    Raises:
        StudyError: the folder holds no interrupted run.
    """
    run_id = run_in(out)
    if run_id is None:
        raise StudyError(f"output folder '{out}' holds no interrupted simulation; leave --resume out")
    record = RunFolder(out).read_json("run.json")
    if isinstance(record, dict) and record.get("status") == "finished":
        raise StudyError(
            f"the release in '{out}' is whole, so there is nothing to resume; `fedsynth evaluate --run {out}` with the "
            "same --data makes the report"
        )
    return run_id


def note_command(run_folder: RunFolder, prepared: Prepared, sites: Path | None) -> None:
    """Store what a resumed command must have in common with this one.

    Args:
        run_folder: folder of the run.
        prepared: the tables of the hospitals.
        sites: folder of ledgers that outlast the simulation; None where they are in the output folder.
    """
    run_folder.write_json(COMMAND, _command(prepared, sites))


def check_command(run_folder: RunFolder, prepared: Prepared, sites: Path | None) -> None:
    """Raise `StudyError` unless tables, patient column and ledgers are those of the interrupted command.

    Args:
        run_folder: folder of the run.
        prepared: the tables of the hospitals.
        sites: folder of ledgers that outlast the simulation; None where they are in the output folder.
    """
    noted, now = run_folder.read_json(COMMAND), _command(prepared, sites)
    before = noted if isinstance(noted, dict) else {}
    if before.get("sites") != now["sites"]:
        raise StudyError("the interrupted simulation had another --sites, where its ledgers are; give the same one")
    if before.get("patient_column") != now["patient_column"]:
        raise StudyError(
            "the interrupted simulation had another --patient-column, so other rows were used; give the same one"
        )
    if before.get("tables") != now["tables"]:
        raise StudyError(
            f"the tables differ from those of the interrupted simulation in '{run_folder.path}'; give the same --data "
            "and the same options that split it, or start again with --force"
        )


def _command(prepared: Prepared, sites: Path | None) -> dict[str, Any]:
    return {
        "sites": None if sites is None else str(sites.resolve()),
        "patient_column": prepared.patient_column,
        "tables": {name: _digest(raw) for name, raw in prepared.tables.items()},
    }


def _digest(raw: pd.DataFrame) -> str:
    """Return the SHA-256 of a raw table: its column names and cells in their order."""
    digest = hashlib.sha256("\0".join(map(str, raw.columns)).encode())
    digest.update(pd.util.hash_pandas_object(raw, index=False).to_numpy().tobytes())
    return digest.hexdigest()
