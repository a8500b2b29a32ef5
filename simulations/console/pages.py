"""The pages of studies: take a table, draft, change, save, simulate. Each action is the function of a command."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from common.columns.kinds import KINDS
from common.errors import FedSynthError, StudyError
from common.study.description import describe_study
from common.web.pages import Link, Pages, Serving
from server.console.app import CoordinatorPages
from server.console.runs import Runs, WatchedRun
from simulations.console.form import StudyForm, form_of, with_problem
from simulations.console.launching import HowToSimulate, LaunchedRuns
from simulations.console.uploads import MOST_TABLE_BYTES, decode_table
from simulations.console.workspace import SavedDraft, Workspace
from simulations.drafting import NamedColumns
from simulations.drafting_columns import ColumnRefused
from simulations.federation.prepare import SmallHospitals
from simulations.federation.tables import DEFAULT_HOSPITALS

HERE = Path(__file__).parent / "page"

LINKS: tuple[Link, ...] = (("/", "Runs"), ("/studies", "Studies"))
"""Pages that every page of a console with studies links to."""

COLUMNS = 100
"""Most columns that one page of a form shows: a browser takes seconds to draw a thousand."""

MOST_HOSPITALS = 1_000
"""Most hospitals into which a page splits a table."""


def coordinator_pages(runs: Runs, workspace: Workspace, launched: LaunchedRuns, serving: Serving) -> ASGIApp:
    """Return the application of a coordinator's console with studies.

    Args:
        runs: all runs, simulations among them.
        workspace: the studies.
        launched: their simulations.
        serving: the server that the pages are on.
    """
    studies = StudyPages(workspace, launched, "Coordinator", serving).routes()
    return CoordinatorPages(runs, "Coordinator", serving, links=LINKS, more=studies).application()


class StudyPages:
    """The pages of the studies in one workspace.

    Args:
        workspace: the studies.
        runs: their simulations.
        who: whose console it is.
        serving: the server that the pages are on.
    """

    def __init__(self, workspace: Workspace, runs: LaunchedRuns, who: str, serving: Serving) -> None:
        self._workspace, self._runs = workspace, runs
        self._pages = Pages(HERE, who, serving, LINKS)

    def routes(self) -> list[BaseRoute]:
        """Return the routes, for the application of the console."""
        return [
            Route("/studies", self.list),
            Route("/studies", self.add, methods=["POST"]),
            Route("/studies/{name}", self.show),
            Route("/studies/{name}/study.toml", self.download),
            Route("/studies/{name}/draft", self.draft, methods=["POST"]),
            Route("/studies/{name}/save", self.save, methods=["POST"]),
            Route("/studies/{name}/simulate", self.simulate, methods=["POST"]),
        ]

    async def list(self, request: Request) -> Response:
        """All studies, and the form that takes a table for a new one."""
        return await self._list(request)

    async def add(self, request: Request) -> Response:
        """Take a table."""
        form = request.state.form

        def take() -> str:
            content, path = form.get("content", ""), form.get("table_path", "").strip()
            reading = tuple(line.strip() for line in form.get("reading", "").splitlines() if line.strip())
            if bool(content) == bool(path):
                raise StudyError("choose a file, or give the path of one on this machine: one of the two")
            if form.get("public") != "yes":
                raise StudyError("tick the box: drafting reads the table, and nothing protects its records from that")
            table = Path(Path(form.get("file_name", "")).name) if content else _path(path)
            return self._workspace.add(
                form.get("name", "").strip(), table, decode_table(content) if content else None, reading
            )

        try:
            name = await run_in_threadpool(take)
        except FedSynthError as problem:
            return await self._list(request, status=400, problem=str(problem), given=form)
        return RedirectResponse(f"/studies/{name}", 303)

    async def show(self, request: Request) -> Response:
        """One study: which column is which, its form, its check, its simulations."""
        return await self._show(request)

    async def download(self, request: Request) -> Response:
        path = self._workspace.study_file(self._name(request))
        if path is None:
            raise HTTPException(404)
        return FileResponse(path, filename=f"{self._name(request)}.toml", media_type="application/toml")

    async def draft(self, request: Request) -> Response:
        """Draft the study from its table, as `study draft` does."""
        name, form = self._name(request), request.state.form
        if not form.get("draft_target"):
            return await self._show(request, status=400, at={"draft_target": "choose the column to predict"})
        most = form.get("draft_most_visits", "").strip()
        if most and not (most.isascii() and most.isdecimal() and len(most) <= 4):
            return await self._show(request, status=400, at={"draft_most_visits": "write a whole number, or nothing"})
        patient, site, time = (form.get(key) or None for key in ("patient_column", "site_column", "time_column"))
        named = NamedColumns(form["draft_target"], patient, site, time, int(most) if most else None)
        try:
            await run_in_threadpool(self._workspace.make_draft, name, named)
        except FedSynthError as problem:
            return await self._show(request, status=400, at={"draft_target": str(problem)})
        return RedirectResponse(f"/studies/{name}#form", 303)

    async def save(self, request: Request) -> Response:
        """Save the study as the form says it; a column of another kind is drafted again."""
        name, given = self._name(request), request.state.form
        draft = await run_in_threadpool(self._workspace.draft, name)
        if draft.document is None or given.get("shown") != draft.digest:
            problem = "the study was changed elsewhere after this page was loaded; load it again"
            return await self._show(request, status=400, problem=problem)
        shown = _shown(request, draft)
        form, at = await run_in_threadpool(form_of, draft.document, given, shown), dict[str, str]()
        if form.is_valid:
            try:
                await run_in_threadpool(self._workspace.save, name, form, _wanted(draft, given))
            except ColumnRefused as refused:
                form = with_problem(form, refused.column, str(refused))
                at = {refused.column: str(refused)}
            except FedSynthError as refused:
                return await self._show(request, status=400, form=form, problem=str(refused))
            else:
                return RedirectResponse(f"/studies/{name}?first={shown.start}#saved", 303)
        problem = "The study is not saved. Correct the fields that say what is wrong with them."
        return await self._show(request, status=400, form=form, problem=problem, at=at)

    async def simulate(self, request: Request) -> Response:
        """Start a simulation, as `simulate` does, and show its run."""
        name, form = self._name(request), request.state.form
        try:
            run_id = await run_in_threadpool(self._runs.start, name, _how(form))
        except FedSynthError as problem:
            return await self._show(request, status=400, at={"hospitals": str(problem)})
        return RedirectResponse(f"/runs/{run_id}", 303)

    async def _list(self, request: Request, *, status: int = 200, **values: Any) -> Response:
        def facts() -> dict[str, Any]:
            rows = [
                (name, "saved" if self._workspace.study_file(name) else "draft") for name in self._workspace.names()
            ]
            return {"rows": rows, "most": MOST_TABLE_BYTES, "given": {}}

        shown = await run_in_threadpool(facts)
        return self._pages.page(request, "studies.html.jinja", status=status, **{**shown, **values})

    async def _show(
        self,
        request: Request,
        *,
        status: int = 200,
        form: StudyForm | None = None,
        at: Mapping[str, str] = MappingProxyType({}),
        problem: str = "",
    ) -> Response:
        """Return the page of a study.

        Args:
            request: of the page.
            status: HTTP status.
            form: what a person filled in; None shows what was saved.
            at: what is wrong with fields, by their names, and with columns that were left out.
            problem: what is wrong with the whole page.
        """
        name = self._name(request)

        def facts() -> dict[str, Any]:
            draft = self._workspace.draft(name)
            study = draft.study
            runs = [self._runs.run(run_id) for run_id in self._runs.of(name)]
            saved = form_of(draft.document) if form is None and draft.document is not None else None
            return {
                "shown": _shown(request, draft),
                "at_once": COLUMNS,
                "name": name,
                "draft": draft,
                "form": form or saved,
                "kinds": list(KINDS),
                "study_file": self._workspace.study_file(name),
                "words": [] if study is None else describe_study(study),
                "runs": [(run.run_id, _line(run)) for run in runs],
                "hospitals": DEFAULT_HOSPITALS,
                "most_hospitals": MOST_HOSPITALS,
                "given": request.state.form,
                "at": at,
            }

        values = await run_in_threadpool(facts)
        return self._pages.page(request, "study.html.jinja", status=status, problem=problem, **values)

    def _name(self, request: Request) -> str:
        name = str(request.path_params["name"])
        if name not in self._workspace.names():
            raise HTTPException(404)
        return name


def _shown(request: Request, draft: SavedDraft) -> range:
    """Return the columns of the draft that a page shows: those that it asks for, or the first ones."""
    count = 0 if draft.document is None else len(draft.document["schema"]["columns"])
    text = request.state.form.get("first") or request.query_params.get("first", "")
    first = int(text) if text.isascii() and text.isdecimal() and len(text) <= 6 else 0
    first = min(first, max(count - 1, 0)) // COLUMNS * COLUMNS
    return range(first, min(first + COLUMNS, count))


def _path(text: str) -> Path:
    """Return a path that a person wrote. Raises `StudyError` where it begins with the name of no account."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise StudyError("the path begins with ~ and a name of no account; write it from / on") from None


def _wanted(draft: SavedDraft, given: dict[str, str]) -> dict[str, str]:
    """Return the columns that were left out and for which a person chose a kind."""
    kinds = {column: given.get(f"left_out.{column}", "") for column in draft.left_out}
    return {column: kind for column, kind in kinds.items() if kind}


def _how(form: dict[str, str]) -> HowToSimulate:
    text, small = form.get("hospitals", "").strip() or str(DEFAULT_HOSPITALS), form.get("small_hospitals", "")
    if not (text.isascii() and text.isdecimal() and len(text) <= 4 and 1 <= int(text) <= MOST_HOSPITALS):
        raise StudyError(f"the number of hospitals is a whole number from 1 to {MOST_HOSPITALS}")
    if small not in ("", "merge", "drop"):
        raise StudyError("hospitals that are too small are refused, merged or left out; choose one of these")
    return HowToSimulate(int(text), cast("SmallHospitals | None", small or None))


def _line(run: WatchedRun) -> str:
    try:
        return run.state
    except FedSynthError as problem:
        return f"damaged: {problem}"
