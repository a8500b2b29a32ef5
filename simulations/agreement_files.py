"""The files of an agreement: the page for the meeting, a first mapping of every hospital, and the study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.dictionary.agreed_study import study_text
from common.dictionary.agreement import Agreement
from common.dictionary.entry import parse_entry
from common.errors import StudyError, UndecidedError
from common.study.study import Study, parse_study
from common.system.files import write_synced, writing
from simulations.agreed_mapping import mapping_text
from simulations.agreement_page import agreement_page
from simulations.federation.hospitals import slugify


def file_names(hospitals: Sequence[str]) -> dict[str, str]:
    """Return a file name for every hospital: its slug, with its number where that is empty or not its own."""
    slugs = [slugify(hospital) for hospital in hospitals]
    return {
        hospital: slug if slug and slugs.count(slug) == 1 else f"{slug or 'hospital'}-{number}"
        for number, (hospital, slug) in enumerate(zip(hospitals, slugs, strict=True), start=1)
    }


@dataclass(frozen=True, slots=True)
class AgreementFiles:
    """Where an agreement is written; nothing is written over.

    Attributes:
        study: file of the study.
        page: HTML page; None for none.
        mappings: new folder of the mappings; None for none.
    """

    study: Path
    page: Path | None = None
    mappings: Path | None = None

    def __post_init__(self) -> None:
        for path in (self.study, self.page, self.mappings):
            if path is not None and path.exists():
                raise StudyError(f"'{path}' exists; choose another or remove it")

    def write_aids(self, agreement: Agreement, title: str) -> None:
        """Write the page and the mappings, as far as they are asked for.

        Args:
            agreement: the compared dictionaries.
            title: title of the page.
        """
        if self.page is not None:
            with writing(self.page, remedy="choose another --page"):
                write_synced(self.page, agreement_page(agreement, title=title).encode())
        if self.mappings is None:
            return
        with writing(self.mappings, remedy="choose another --mappings"):
            self.mappings.mkdir()
            for hospital, name in file_names(agreement.hospitals).items():
                write_synced(self.mappings / f"{name}.toml", mapping_text(agreement, hospital).encode())

    def write_study(self, agreement: Agreement, *, name: str, target: str | None, strict: bool) -> Study:
        """Write the study with the proposals, and return it.

        Args:
            agreement: the compared dictionaries.
            name: name of the study, a slug.
            target: column to predict; None to propose one.
            strict: write nothing while anything is open.

        Raises:
            UndecidedError: something is open in strict mode, or fewer than two columns are ready.
        """
        if strict and not agreement.is_settled:
            raise UndecidedError(f"open differences: {agreement.open_findings}; no study was written (--strict)")
        ready = [parse_entry(column.settings).column for column in agreement.columns if column.is_ready]
        if sum(len(column.modeled) for column in ready) < 2:
            raise UndecidedError(
                "fewer than 2 columns that are read from records are ready, so no study was written; decide on the open"
                " ones"
            )
        text = study_text(agreement, name=name, target=target)
        with writing(self.study):
            write_synced(self.study, text.encode())
        return parse_study(text)
