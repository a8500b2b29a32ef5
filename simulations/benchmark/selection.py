"""Which tables a benchmark runs on: a reader's own table, clinical tables of a folder, or the built-in one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from common.errors import StudyError
from simulations.benchmark.tables import (
    BUILT_IN,
    CLINICAL_TABLES,
    EVIDENCE,
    BuiltInTable,
    ClinicalTable,
    OwnTable,
    TableSource,
)


@dataclass(frozen=True, slots=True)
class TableSelection:
    """What the command line says about tables.

    Attributes:
        data: the reader's own table or folder of tables (with `study` or `target`), or the folder of clinical tables.
        names: clinical tables, or `built-in`; empty where none was named.
        study: study file of the reader's own table.
        target: column to predict, to draft a study from the reader's own table.
        patient_column, site_column: columns of the reader's own table.
        one_row_per_patient: the reader declares that every row of their table is another patient.
    """

    data: Path | None = None
    names: tuple[str, ...] = ()
    study: Path | None = None
    target: str | None = None
    patient_column: str | None = None
    site_column: str | None = None
    one_row_per_patient: bool = False

    def sources(self) -> list[TableSource]:
        """Return the selected tables, unread; only a study file is read.

        Raises:
            StudyError: the options contradict each other, a table is unknown, its folder is not named, or as
                `OwnTable.agreed` does.
        """
        if self.study is not None or self.target is not None:
            if self.data is None or self.names:
                raise StudyError("--study and --target describe your own table; give it as --data, without --tables")
            columns = (self.patient_column, self.site_column)
            own = OwnTable(self.data, self.study, self.target, *columns, self.one_row_per_patient)
            own.agreed()  # before the first case
            return [own]
        is_file = self.data is not None and self.data.is_file()
        if self.patient_column is not None or self.site_column is not None or self.one_row_per_patient or is_file:
            raise StudyError("your own table needs --study, or --target to draft one from it")
        return [self._named(name) for name in self.names or (EVIDENCE if self.data else (BUILT_IN,))]

    def _named(self, name: str) -> TableSource:
        if name == BUILT_IN:
            return BuiltInTable()
        if name not in CLINICAL_TABLES:
            raise StudyError(f"unknown table '{name}'; choose from {', '.join([BUILT_IN, *CLINICAL_TABLES])}")
        if self.data is None:
            raise StudyError(f"table '{name}' is not part of fedsynth; name its folder with --data or FEDSYNTH_DATA")
        return ClinicalTable(name, self.data)
