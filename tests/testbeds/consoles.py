"""Consoles that really listen on loopback, and a client that has their session."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from client.console.app import HospitalPages
from client.console.facts import SiteFacts
from common.planning.proposal import Proposal
from common.protocol.signing import Identity
from common.web.guard import FORM_TOKEN
from common.web.serve import Console, Listen
from server.console.app import CoordinatorPages
from server.console.runs import CoordinatorRuns, Runs
from server.deploy.directory import CoordinatorDirectory
from simulations.console.launching import LaunchedRuns, ManyRuns
from simulations.console.pages import coordinator_pages
from simulations.console.workspace import Workspace
from tests.testbeds.clinic import clinic_study
from tests.testbeds.site_folder import FACTS


@dataclass(frozen=True, slots=True)
class Visitor:
    """A browser's session without a browser."""

    web: httpx.Client
    origin: str
    base: str

    def get(self, path: str) -> httpx.Response:
        return self.web.get(f"{self.origin}{self.base}{path}")

    def token(self, page: str = "/") -> str:
        found = re.search(rf'name="{FORM_TOKEN}" value="([^"]+)"', self.get(page).text)
        assert found is not None, "a page with a form"
        return found[1]

    def post(self, path: str, page: str = "/", **fields: str) -> httpx.Response:
        """Send a form as the console's own page does; a redirect is not followed."""
        if FORM_TOKEN not in fields:
            hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]+)"', self.get(page).text))
            fields = hidden | fields
        return self.web.post(f"{self.origin}{self.base}{path}", data=fields, headers={"origin": self.origin})


@contextmanager
def visiting(console: Console) -> Iterator[Visitor]:
    """Serve a console and open its session."""
    with console.beside(), httpx.Client(trust_env=False, timeout=30) as web:
        opened = web.get(console.opening)
        assert opened.status_code == 303, opened.text
        yield Visitor(web, console.address.origin, opened.headers["location"].rstrip("/"))


def hospital_console(folder: Path, *, port: int = 0) -> Console:
    """The console of the site in a folder; no agent runs."""
    hospital = SiteFacts(folder, folder / "agent.sock")
    return Console(lambda serving: HospitalPages(hospital, serving).application(), Listen(port=port))


def coordinator_console(runs: Runs, *, is_read_only: bool = False) -> Console:
    """The console of these runs."""
    return Console(
        lambda serving: CoordinatorPages(runs, "Coordinator", serving).application(),
        Listen(is_read_only=is_read_only),
    )


def study_console(folder: Path, *, port: int = 0, is_read_only: bool = False) -> Console:
    """The console of the studies in a folder, without a coordinator."""
    workspace = Workspace(folder)
    launched = LaunchedRuns(workspace)
    return Console(
        lambda serving: coordinator_pages(ManyRuns([launched]), workspace, launched, serving),
        Listen(port=port, is_read_only=is_read_only),
    )


def proposal(folder: Path, run_id: str = "run-1", **sections: dict[str, object]) -> Proposal:
    """A signed proposal of the clinic's study; the coordinator's key is made once, in `folder`."""
    path = folder / "coordinator.key"
    key = Identity.load(path) if path.exists() else Identity.create(path)
    study = clinic_study(training={"rounds": 0}, federation={"coordinator": key.public}, **sections)
    return Proposal.make(run_id, study.with_hospitals(FACTS), key)


def coordinator_runs(folder: Path, *run_ids: str) -> CoordinatorRuns:
    """A coordinator's folder with proposed runs."""
    home = CoordinatorDirectory(folder / "coordinator")
    home.make()
    for run_id in run_ids:
        home.new_run(proposal(folder, run_id))
    return CoordinatorRuns(home)
