"""The pages of a hospital's console, and its decisions: the same that the commands file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from client.consent.decisions import Person
from client.console.facts import SiteFacts
from client.site.approval import LEAST_TYPED, consider_run, decide, deny, withdraw
from client.site.records import check_data
from client.site.state import own_fingerprint
from common.errors import FedSynthError, SiteError
from common.study.description import describe_study
from common.web.live import LivePart, stream
from common.web.pages import Link, Pages, Serving

HERE = Path(__file__).parent / "page"

LINKS: tuple[Link, ...] = (("/", "Decisions"), ("/ledger", "Ledger"), ("/partners", "Partners"))
"""Pages that every page links to."""


class HospitalPages:
    """The pages of one hospital.

    Args:
        hospital: what its site's files say.
        serving: the server that the pages are on.
    """

    def __init__(self, hospital: SiteFacts, serving: Serving) -> None:
        self._hospital, self._serving = hospital, serving
        self._pages = Pages(HERE, hospital.site.name, serving, LINKS)
        self._overview = LivePart(lambda: hospital.version, self._render_overview)

    def application(self) -> ASGIApp:
        """Return the application, to be put behind a `Guard`."""
        return self._pages.application([
            Route("/", self.start),
            Route("/events", self.events),
            Route("/ledger", self.ledger),
            Route("/partners", self.partners),
            Route("/proposals", self.propose, methods=["POST"]),
            Route("/runs/{run_id}", self.show),
            Route("/runs/{run_id}/check", self.check),
            Route("/runs/{run_id}/{action}", self.decide, methods=["POST"]),
        ])  # fmt: skip

    async def start(self, request: Request) -> Response:
        """What waits for a decision, what is spent, and how the agent is."""
        return await self._start(request)

    async def events(self, request: Request) -> Response:
        return stream(self._overview, is_closing=self._serving.is_closing)

    async def propose(self, request: Request) -> Response:
        """Take the file that the coordinator sent."""
        try:
            run_id = await run_in_threadpool(self._hospital.inbox.add, request.state.form.get("proposal", ""))
        except FedSynthError as problem:
            return await self._start(request, status=400, problem=str(problem))
        return RedirectResponse(f"/runs/{run_id}", 303)

    async def show(self, request: Request) -> Response:
        """One proposed run: what a person reads before deciding, and the forms to decide with."""
        return await self._show(request)

    async def check(self, request: Request) -> Response:
        """What the imported table says about the study. Counts are exact, and for this hospital only."""
        run_id = self._run_id(request)

        def notices() -> list[str]:
            return check_data(self._hospital.site, self._hospital.inbox.proposed(run_id).study)

        return await self._page(request, "check.html.jinja", lambda: {"run_id": run_id, "notices": notices()})

    async def decide(self, request: Request) -> Response:
        """Approve, deny or withdraw, as the commands of these names do."""
        run_id, action, form = self._run_id(request), request.path_params["action"], request.state.form
        decisions: dict[str, Callable[[Person], bool]] = {
            "approve": lambda person: self._approve(run_id, person, form),
            "deny": lambda person: deny(self._hospital.site, self._hospital.inbox.proposed(run_id), person),
            "withdraw": lambda person: withdraw(self._hospital.site, run_id, person),
        }
        if action not in decisions:
            raise HTTPException(404)
        try:
            person = Person.named(*(form.get(name, "") for name in ("approver", "position", "reason")))
            await run_in_threadpool(decisions[action], person)
        except FedSynthError as problem:
            return await self._show(request, status=400, problem=str(problem))
        return RedirectResponse(f"/runs/{run_id}", 303)

    async def ledger(self, request: Request) -> Response:
        """Everything ever released about the cohort, once the chain of hashes is verified."""

        def facts() -> dict[str, Any]:
            site, history = self._hospital.site, self._hospital.history()  # raises where an entry was altered
            return {
                "timeline": self._hospital.timeline(history),
                "head": history.head,
                "budget": site.budget(history),
                "witness": site.witness,
            }

        return await self._page(request, "ledger.html.jinja", facts)

    async def partners(self, request: Request) -> Response:
        """The keys that people here compared by telephone, and the own fingerprint for reading aloud."""

        def facts() -> dict[str, Any]:
            site = self._hospital.site
            return {"pins": sorted(site.partners.pins().items()), "own": own_fingerprint(site), "name": site.name}

        return await self._page(request, "partners.html.jinja", facts)

    async def _start(self, request: Request, *, status: int = 200, problem: str = "") -> Response:
        part = await self._overview.current(is_fresh=True)
        return self._pages.page(request, "start.html.jinja", status=status, part=part, problem=problem)

    async def _show(self, request: Request, *, status: int = 200, problem: str = "") -> Response:
        run_id = self._run_id(request)

        def facts() -> dict[str, Any]:
            site, proposed = self._hospital.site, self._hospital.inbox.proposed(run_id)
            plan = proposed.plan
            hospital_plan = plan.of(site.name)
            more = () if hospital_plan is None else plan.events(hospital_plan)
            standing = self._hospital.standing(run_id)
            considered, refusal = None, ""
            if not any(decision.is_refusal for decision in standing.decisions):
                try:
                    considered = consider_run(site, proposed)
                except FedSynthError as reason:
                    refusal = str(reason)
            is_counted = run_id in (history := self._hospital.history()).runs()
            return {
                "run": standing,
                "study": proposed.study,
                "words": describe_study(proposed.study),
                "considered": considered,
                "refusal": refusal,
                "budget": site.budget(history, () if is_counted else more),
                "typed": LEAST_TYPED,
                "approvers": site.consent.approvers,
            }

        return await self._page(request, "decision.html.jinja", facts, status=status, problem=problem)

    def _approve(self, run_id: str, person: Person, form: Mapping[str, str]) -> bool:
        """File an approval, if the statement is the one that the page showed, and a person typed digits of it."""
        site = self._hospital.site
        considered = consider_run(site, self._hospital.inbox.proposed(run_id))
        approval = considered.approval(person)
        if form.get("shown", "") != considered.digest:  # of a prefix alone, two statements can be found that share it
            raise SiteError("the statement is not the one that was shown, or none was; load the page and read it again")
        considered.require_read(form.get("digits", ""), is_whole=False)
        check_data(site, considered.proposed.study)  # as the command does: raises where the table does not fit
        return decide(site, approval)

    async def _page(
        self,
        request: Request,
        template: str,
        facts: Callable[[], dict[str, Any]],
        *,
        status: int = 200,
        problem: str = "",
    ) -> Response:
        """Return a page of facts that are gathered outside the event loop."""
        values = await run_in_threadpool(facts)
        return self._pages.page(request, template, status=status, problem=problem, **values)

    def _run_id(self, request: Request) -> str:
        run_id = str(request.path_params["run_id"])
        if run_id not in self._hospital.inbox.runs():
            raise HTTPException(404)
        return run_id

    def _render_overview(self) -> str:
        hospital = self._hospital
        site, history = hospital.site, hospital.history()
        return self._pages.render(
            "overview.html.jinja",
            proposed=hospital.standings(),
            budget=site.budget(history),
            health=hospital.health,
            imported=hospital.imported(),
            site=site,
        )
