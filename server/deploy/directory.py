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
        """The file with the last receipt of every hospital's ledger, over all runs."""
        return self.path / "receipts.json"

    @property
    def database(self) -> Path:
        return self.path / "superlink.sqlite"

    @property
    def flower(self) -> Path:
        """FLWR_HOME of every Flower program that the coordinator starts."""
        return self.path / "flower"

    def make(self) -> None:
        """Create the folder, open to its owner only. Raises `StudyError` if it cannot be created."""
        with writing(self.path, remedy="choose another --home"):
            for folder in (self.path, self.path / "certs", self.path / "runs", self.flower):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)

    def connect(self, port: int) -> None:
        """Write `flwr`'s configuration: the SuperLink's port on this machine, and this coordinator's certificate."""
        settings = {"address": f"127.0.0.1:{port}", "root-certificates": str(self.authority[0])}
        RunFolder(self.flower).write(
            "config.toml", tomli_w.dumps({"superlink": {"default": CONNECTION, CONNECTION: settings}})
        )

    def new_run(self, proposal: Proposal) -> Path:
        """Write a proposal to the folder of its run and return the file."""
        return RunFolder(self.path / "runs" / proposal.run_id).write(PROPOSAL, proposal.to_json())

    def run(self, run_id: str) -> tuple[RunFolder, Proposal]:
        """Return a run's folder and its proposal.

        Raises:
            StudyError: there is no such run.
        """
        folder = self.path / "runs" / run_id
        if not RUN_ID.fullmatch(run_id) or not (folder / PROPOSAL).is_file():
            raise StudyError(f"no run '{run_id}' in '{self.path}'; `fedsynth coordinator status` lists them")
        return RunFolder(folder), read_proposal(folder / PROPOSAL)

    def runs(self) -> tuple[str, ...]:
        """Return the ids of all runs, sorted."""
        return tuple(sorted(path.parent.name for path in (self.path / "runs").glob(f"*/{PROPOSAL}")))


def new_run_id(study: str) -> str:
    """Return a fresh run id: the study's name, shortened if it is long, and 32 random bits."""
    return f"{study[:55].rstrip('-')}-{secrets.token_hex(4)}"
