"""The coordinator's folder: keys, certificates, the SuperLink's state, and one folder for every run."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from common.errors import StudyError
from common.planning.proposal import RUN_ID, Proposal, read_proposal
from common.system.files import writing
from common.system.folder import RunFolder

CONNECTION = "coordinator"
"""The name under which `flwr` finds this coordinator's SuperLink in its configuration."""

PROPOSAL, SUBMISSION, LOG = "proposal.json", "submission.json", "run.log"


@dataclass(frozen=True, slots=True)
class CoordinatorDirectory:
    """Where the files of one coordinator are.

    Attributes:
        path: an absolute folder that its owner alone may enter.
    """

    path: Path

    @property
    def authority(self) -> tuple[Path, Path]:
        return self.path / "certs" / "ca.crt", self.path / "certs" / "ca.key"

    @property
    def server(self) -> tuple[Path, Path]:
        return self.path / "certs" / "server.crt", self.path / "certs" / "server.key"

    @property
    def key(self) -> Path:
        return self.path / "certs" / "coordinator.key"

    @property
    def receipts(self) -> Path:
        """How far every hospital's ledger had come when it was last heard of, over all runs."""
        return self.path / "receipts.json"

    @property
    def database(self) -> Path:
        return self.path / "superlink.sqlite"

    @property
    def flower(self) -> Path:
        """FLWR_HOME of every Flower program that the coordinator starts."""
        return self.path / "flower"

    def make(self) -> None:
        """The folder, entered by its owner alone. Raises `StudyError` where it cannot be made."""
        with writing(self.path, remedy="choose another --home"):
            for folder in (self.path, self.path / "certs", self.path / "runs", self.flower):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)

    def connect(self, port: int) -> None:
        """Tell `flwr` where the SuperLink is: on this machine, behind this coordinator's certificate."""
        settings = {"address": f"127.0.0.1:{port}", "root-certificates": str(self.authority[0])}
        RunFolder(self.flower).write(
            "config.toml", tomli_w.dumps({"superlink": {"default": CONNECTION, CONNECTION: settings}})
        )

    def new_run(self, proposal: Proposal) -> Path:
        """The proposal's file in the folder of its run."""
        return RunFolder(self.path / "runs" / proposal.run_id).write(PROPOSAL, proposal.to_json())

    def run(self, run_id: str) -> tuple[RunFolder, Proposal]:
        """A run's folder and what was proposed.

        Raises:
            StudyError: there is no such run.
        """
        folder = self.path / "runs" / run_id
        if not RUN_ID.fullmatch(run_id) or not (folder / PROPOSAL).is_file():
            raise StudyError(f"no run '{run_id}' in '{self.path}'; `fedsynth coordinator status` lists them")
        return RunFolder(folder), read_proposal(folder / PROPOSAL)

    def runs(self) -> tuple[str, ...]:
        """The ids of all runs, by name."""
        return tuple(sorted(path.parent.name for path in (self.path / "runs").glob(f"*/{PROPOSAL}")))


def new_run_id(study: str) -> str:
    """The study's name, cut where it is long, and 32 random bits: never used before at a site, which can take it."""
    return f"{study[:55].rstrip('-')}-{secrets.token_hex(4)}"
