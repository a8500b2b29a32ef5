"""Files of tables and curves, and what stands above them."""

from __future__ import annotations

from pathlib import Path

from common.errors import StudyError
from common.model import MODEL, warnings_of
from common.planning.phases import PublicRun
from common.system.files import writing
from common.system.folder import RunFolder

RUN = "run.json"


def title_of(public: PublicRun) -> str:
    """Return the study, its hospitals and what protects its patients, in one line."""
    study = public.study
    promise = "no noise" if study.privacy.noise == "none" else f"epsilon {study.privacy.epsilon:g}"
    return f"study {study.name}, {len(study.hospitals)} hospitals, {promise}"


def warnings_in(run: Path, public: PublicRun) -> list[str]:
    """Return the warnings that every artifact of the run carries.

    Args:
        run: folder of the run, or its model folder.
        public: the run.
    """
    folder = run.parent if run.name == MODEL and not (run / RUN).exists() else run
    record = RunFolder(folder).read_json(RUN)
    is_simulation = isinstance(record, dict) and bool(record.get("simulation"))
    return warnings_of(public.study, is_simulation=is_simulation)


def write_pages(out: Path, name: str, table: str, html: str, *, force: bool) -> tuple[Path, ...]:
    """Write a CSV file and a page, and return their paths.

    Args:
        out: folder, created if it does not exist.
        name: of the files, without their ends.
        table: content of the CSV file.
        html: content of the page.
        force: replace earlier files.

    Raises:
        StudyError: a file is there already, or cannot be written.
    """
    taken = [out / (name + end) for end in (".csv", ".html") if (out / (name + end)).exists()]
    if taken and not force:
        raise StudyError(f"'{taken[0]}' exists; choose another --out or --force")
    with writing(out):
        folder = RunFolder(out)
        return folder.write(f"{name}.csv", table), folder.write(f"{name}.html", html)
