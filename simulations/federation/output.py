"""The output folder of a simulation: what it writes there, and whether it may. Imports nothing heavy: checked first."""

from __future__ import annotations

from pathlib import Path

from common.errors import StudyError
from common.system.files import writing

WRITTEN = (
    "synthetic.csv",
    "images",
    "visits.csv",
    "patients.csv",
    "model",
    "report.html",
    "report.json",
    "evaluation.md",
    "run.json",
    "run.log",
    "events.jsonl",
    "sites",
    "checkpoints",
    "omop",
    "fhir",
)
"""Everything a simulation or its export writes into the folder, and all that `force` may remove from it."""


EXPORTS, OF_EXPORT = ("omop", "fhir"), "export.json"
"""Folders that exports write by default, and a file that each of these holds: other folders have such names, too."""


def _is_export(folder: Path) -> bool:
    return (folder / OF_EXPORT).is_file()


def check_output(out: Path, *, force: bool, resume: bool = False) -> list[str]:
    """Return the names of the files and folders in the output folder, all of which a simulation may remove.

    Args:
        out: the output folder.
        force: the folder may hold an earlier simulation.
        resume: the folder holds an interrupted simulation, which is continued.

    Raises:
        StudyError: the folder is not empty and neither is given, or both are; it holds something that no simulation
            writes, or it cannot be read.
    """
    if force and resume:
        raise StudyError("--force empties the folder that --resume continues in; choose one of them")
    with writing(out):
        present = sorted(path.name for path in out.iterdir()) if out.exists() else []
    if present and not (force or resume):
        hint = ", or continue an interrupted simulation with --resume" if "checkpoints" in present else ""
        raise StudyError(
            f"output folder '{out}' is not empty; choose another with --out or empty it with --force{hint}"
        )
    foreign = [name for name in present if name not in WRITTEN or (name in EXPORTS and not _is_export(out / name))]
    if foreign:
        raise StudyError(
            f"output folder '{out}' holds '{foreign[0]}', which is not from a simulation; choose another with --out"
        )
    return present
