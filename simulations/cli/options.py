"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StudyArgument = Annotated[Path, typer.Argument(help="Study file (TOML).", show_default=False)]
StudyOrBuiltIn = Annotated[
    Path | None, typer.Option("--study", help="Study file (TOML). Default: the built-in heart disease study.")
]
PatientColumn = Annotated[
    str | None,
    typer.Option(
        "--patient-column",
        help="Column that identifies the patient; only the first row of each patient is used. "
        "Default: every row is a patient.",
    ),
]
