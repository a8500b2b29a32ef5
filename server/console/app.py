"""The pages of the coordinator's console, and its actions."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import IO

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from common.errors import FedSynthError
from common.planning.phases import PHASES
from common.study.description import describe_study
from common.web.guard import REPORT_POLICY
from common.web.live import LivePart, stream
from common.web.pages import Link, Pages, Serving
from server.console.progress import ENROLLMENT
from server.console.runs import REPORT, ZIP, Runs, WatchedRun

HERE = Path(__file__).parent / "page"

CHUNK = 1 << 16
"""Bytes of a file that are sent at once."""


class CoordinatorPages:
    """The pages of the runs in one place.

    Args:
        runs: what to show.
        who: whose console it is.
        serving: the server that the pages are on.
        links: pages that every page links to.
        more: further pages of the same console.
    """

    def __init__(
        self,
        runs: Runs,
        who: str,
        serving: Serving,
        *,
        links: Sequence[Link] = (),
        more: Sequence[BaseRoute] = (),
    ) -> None:
        self._runs, self._serving, self._more = runs, serving, more
        self._pages = Pages(HERE, who, serving, links)
        self._live: dict[str, LivePart] = {}

    def application(self) -> ASGIApp:
        """Return the application, to be put behind a `Guard`."""
        return self._pages.application([
            Route("/", self.list),
            Route("/events", self.list_events),
            Route("/runs/{run_id}", self.show),
            Route("/runs/{run_id}/events", self.events),
            Route("/runs/{run_id}/report", self.report),
            Route("/runs/{run_id}/files/{name}", self.download),
            Route("/runs/{run_id}/{action}", self.act, methods=["POST"]),
            *self._more,
        ])  # fmt: skip

    async def list(self, request: Request) -> Response:
        """All runs, each with its state; where there is one only, its own page."""
        if self._runs.is_single:
            return RedirectResponse(f"/runs/{self._runs.ids()[0]}", 303)
        return self._pages.page(request, "runs.html.jinja", part=await self._overview().current(is_fresh=True))

    async def list_events(self, request: Request) -> Response:
        return stream(self._overview(), is_closing=self._serving.is_closing)

    async def show(self, request: Request) -> Response:
        """One run: its study, what it costs, and, live, where each hospital is."""
        run = await self._find(request)
        (study, plan), costs, reasons = await run_in_threadpool(lambda: (run.agreed, run.costs, run.reasons))
        return self._pages.page(
            request,
            "run.html.jinja",
            run=run,
            study=study,
            plan=plan,
            costs=costs,
            reasons=reasons,
            words=describe_study(study),
            part=await self._part(run).current(is_fresh=True),
        )

    async def events(self, request: Request) -> Response:
        return stream(self._part(await self._find(request)), is_closing=self._serving.is_closing)

    async def report(self, request: Request) -> Response:
        """The report, in an origin of its own: its script can reach nothing of this console."""
        run = await self._find(request)
        if not run.has_report:
            raise HTTPException(404)
        return FileResponse(
            run.folder.path / REPORT, media_type="text/html", headers={"content-security-policy": REPORT_POLICY}
        )

    async def download(self, request: Request) -> Response:
        run, name = await self._find(request), request.path_params["name"]
        if name not in run.downloads:
            raise HTTPException(404)
        given = f"{run.run_id}-{name}"
        if name.endswith(ZIP):
            archive = await run_in_threadpool(run.zipped, name.removesuffix(ZIP))
            sent = {"content-disposition": f'attachment; filename="{given}"'}
            return StreamingResponse(_chunks(archive), media_type="application/zip", headers=sent)
        return FileResponse(run.folder.path / name, filename=given, media_type="application/octet-stream")

    async def act(self, request: Request) -> Response:
        """Run, resume, stop or write the dossier, once the person has confirmed it."""
        run, action = await self._find(request), request.path_params["action"]
        if action not in run.actions:
            raise HTTPException(404)
        if request.state.form.get("confirmed") != "yes":
            problem = "Tick the box to confirm."
        else:
            try:
                await run_in_threadpool(self._runs.act, run.run_id, action)
            except FedSynthError as refused:
                problem = str(refused)
            else:
                return RedirectResponse(f"/runs/{run.run_id}", 303)
        return self._pages.page(request, "acted.html.jinja", status=400, run=run, problem=problem)

    async def _find(self, request: Request) -> WatchedRun:
        run_id = request.path_params["run_id"]
        if run_id not in self._runs.ids():
            raise HTTPException(404)
        return await run_in_threadpool(self._runs.run, run_id)

    def _part(self, run: WatchedRun) -> LivePart:
        def render() -> str:
            return self._pages.render(
                "progress.html.jinja",
                run=run,
                progress=run.progress,
                titles={ENROLLMENT: "enrollment"} | {name: phase.title for name, phase in PHASES.items()},
            )

        return self._live.setdefault(run.run_id, LivePart(lambda: run.version, render))

    def _overview(self) -> LivePart:
        def version() -> tuple[Hashable, ...]:
            return tuple(_version(self._runs, run_id) for run_id in self._runs.ids())

        def render() -> str:
            return self._pages.render("list.html.jinja", rows=[_row(self._runs, run_id) for run_id in self._runs.ids()])

        return self._live.setdefault("", LivePart(version, render))


def _chunks(archive: IO[bytes]) -> Iterator[bytes]:
    with archive:
        while chunk := archive.read(CHUNK):
            yield chunk


def _version(runs: Runs, run_id: str) -> Hashable:
    try:
        return runs.run(run_id).version
    except FedSynthError as problem:
        return run_id, str(problem)


def _row(runs: Runs, run_id: str) -> tuple[str, str, str]:
    """Return id, state and one line of a run; of a damaged folder, what is wrong with it."""
    try:
        run = runs.run(run_id)
        return run_id, run.state, run.line
    except FedSynthError as problem:
        return run_id, "damaged", str(problem)
