"""Pages of a console: templates, in which every text is escaped, and the shared style and script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from common.errors import FedSynthError
from common.version import VERSION
from common.web.templates import environment

HERE = Path(__file__).parent / "page"

Link = tuple[str, str]
"""Path and name of a page in the head of each page."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What pages know of the server that they are on.

    Attributes:
        base: the path below which all pages are.
        is_closing: returns whether the server is stopping.
    """

    base: str
    is_closing: Callable[[], bool]


class Pages:
    """The templates of one console.

    Args:
        folder: its own templates, beside the shared ones.
        who: whose console it is, in the head of each page.
        serving: the server.
        links: pages that every page links to.
    """

    def __init__(self, folder: Path, who: str, serving: Serving, links: Sequence[Link] = ()) -> None:
        self._environment = environment(FileSystemLoader(folder), FileSystemLoader(HERE))
        self._environment.globals |= {"who": who, "version": VERSION, "base": serving.base, "links": links}

    def render(self, template: str, **values: Any) -> str:
        """Return a template as text, for a live part."""
        return self._environment.get_template(template).render(**values)

    def page(self, request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
        """Return a page as a response.

        Args:
            request: its state holds the token that forms carry.
            template: file name of the template.
            status: HTTP status.
            values: what the template shows.
        """
        state = request.state
        path = request.url.path.removeprefix(request.scope.get("root_path", ""))
        common_values = {
            "form_token": state.form_token,
            "is_read_only": state.is_read_only,
            "problem": "",
            "here": path,
        }
        return HTMLResponse(self.render(template, **common_values | values), status)

    def application(self, routes: list[BaseRoute]) -> Starlette:
        """Return the application: these routes, style and script. An expected error becomes a page that says it."""

        async def explain(request: Request, problem: Exception) -> Response:
            return self.page(request, "problem.html.jinja", status=400, problem=str(problem))

        async def missing(request: Request, problem: Exception) -> Response:
            assert isinstance(problem, HTTPException), "only that is caught"
            if not hasattr(request.state, "form_token"):
                return Response(status_code=problem.status_code)
            return self.page(
                request, "problem.html.jinja", status=problem.status_code, problem="There is no such page."
            )

        static = Mount("/static", StaticFiles(directory=HERE / "static"))
        return Starlette(routes=[*routes, static], exception_handlers={FedSynthError: explain, HTTPException: missing})
