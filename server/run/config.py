"""The configuration of one run of the ServerApp, as a value and in Flower's form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from common.study.study import Study, parse_study

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class RunConfig:
    """One run of the ServerApp.

    Args:
        study: study of the run.
        run_id: never used before at any hospital, or that of the run to resume.
        out: folder of the run.
        receipts: file of the hospitals' receipts, kept across runs.
        is_simulation: whether the hospitals are simulated.
        rows: synthetic rows to draw; 0 for as many as were declared.
        key: file of the coordinator's signing key; None in a simulation.
    """

    study: Study
    run_id: str
    out: Path
    receipts: Path
    is_simulation: bool
    rows: int = 0
    key: Path | None = None

    def to_flower(self) -> dict[str, Scalar]:
        """Return the run configuration that `of` reads."""
        return {
            "study": self.study.to_toml(),
            "run-id": self.run_id,
            "out": str(self.out),
            "receipts": str(self.receipts),
            "simulation": self.is_simulation,
            "rows": self.rows,
            "key": "" if self.key is None else str(self.key),
        }

    @classmethod
    def of(cls, config: Mapping[str, object]) -> RunConfig:
        """Return the value of a run configuration.

        Raises:
            StudyError: the study cannot be used.
        """
        key = str(config["key"])
        return cls(
            study=parse_study(str(config["study"])),
            run_id=str(config["run-id"]),
            out=Path(str(config["out"])),
            receipts=Path(str(config["receipts"])),
            is_simulation=bool(config["simulation"]),
            rows=int(str(config["rows"])),
            key=Path(key) if key else None,
        )
