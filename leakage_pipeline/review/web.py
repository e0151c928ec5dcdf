"""The review page for finance: queue, one finding with its arithmetic, decisions, totals.

Starlette and Jinja, no build step, nothing loaded from elsewhere. Every page but the sign-in needs
a signed-in person; every change needs a role that allows it and the token of the page it came from.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from psycopg2.errors import UndefinedTable
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from leakage_pipeline.failures import PermanentFailure
from leakage_pipeline.publishing.csv_export import to_csv
from leakage_pipeline.review import decisions, pages, people
from leakage_pipeline.review.people import Person
from leakage_pipeline.review.queue import CSV_COLUMNS
from leakage_pipeline.review.sign_in import Attempts

Open = Callable[[], Connection]
SIGNED_IN_SECONDS = 12 * 3600
_HEADERS = {
    "Content-Security-Policy": (
        # Charts are drawings with styles of their own inside; scripts there are none.
        "default-src 'none'; style-src 'self' 'unsafe-inline'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_STYLE = Path(__file__).with_name("templates") / "review.css"


@dataclass(frozen=True)
class Site:
    """What the page needs to know.

    Attributes:
        open: Opens a warehouse connection; closed after each request.
        company: Whose findings they are.
        test_mode: Whether links lead to Stripe's test pages.
        secret: Signs the session cookie.
        https_only: Whether the cookie may travel over https alone.
        clock: Now, for decisions; people decide in real time.
    """

    open: Open
    company: str
    test_mode: bool
    secret: str
    https_only: bool = False
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))


def create_app(site: Site) -> Starlette:
    """The application of this site."""
    handlers = _Handlers(site)
    return Starlette(
        routes=[
            Route("/sign-in", handlers.sign_in, methods=["GET", "POST"]),
            Route("/sign-out", handlers.sign_out, methods=["POST"]),
            Route("/", handlers.queue),
            Route("/findings.csv", handlers.export),
            Route("/findings/{detection_id}", handlers.finding),
            Route("/findings/{detection_id}/{step}", handlers.decide, methods=["POST"]),
            Route("/decide/{step}", handlers.decide_several, methods=["POST"]),
            Route("/incidents", handlers.incidents),
            Route("/totals", handlers.totals),
            Route("/sample", handlers.sample),
            Route("/sample/{customer_id}", handlers.check, methods=["POST"]),
            Route("/review.css", handlers.style),
        ],
        middleware=[
            Middleware(BaseHTTPMiddleware, dispatch=_with_headers),
            Middleware(
                SessionMiddleware,
                secret_key=site.secret,
                session_cookie="leakage_review",
                max_age=SIGNED_IN_SECONDS,
                same_site="strict",
                https_only=site.https_only,
            ),
        ],
        exception_handlers={
            NotSignedInError: lambda *_: RedirectResponse("/sign-in", status_code=303),
            PermanentFailure: handlers.refused,
            UndefinedTable: handlers.nothing_yet,
        },
    )


class NotSignedInError(Exception):
    """Nobody is signed in on this browser, or they may sign in no more."""


async def _with_headers(request: Request, call_next: RequestResponseEndpoint) -> Response:
    response = await call_next(request)
    response.headers.update(_HEADERS)
    return response


class _Handlers:
    """One method per route. Synchronous ones run in Starlette's thread pool."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._attempts = Attempts(site.clock)
        self._templates = Environment(
            loader=PackageLoader("leakage_pipeline.review"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    @contextmanager
    def _warehouse(self) -> Iterator[Connection]:
        connection = self._site.open()
        try:
            yield connection
        finally:
            connection.close()

    def _page(
        self, request: Request, template: str, context: dict[str, Any], status: int = 200
    ) -> HTMLResponse:
        token = request.session.setdefault("token", secrets.token_urlsafe(32))
        shown = {"person": None, "company": self._site.company, "token": token, **context}
        html = self._templates.get_template(f"{template}.html.j2").render(shown)
        return HTMLResponse(html, status_code=status)

    def _person(self, request: Request, connection: Connection) -> Person:
        name = request.session.get("name")
        person = people.active(connection, name) if isinstance(name, str) else None
        if person is None:
            request.session.clear()
            raise NotSignedInError
        return person

    async def sign_in(self, request: Request) -> Response:
        """Ask for name and password, and check them."""
        if request.method == "GET":
            return self._page(request, "sign_in", {"problem": None})
        form = await request.form()
        _same_page(request, form.get("token"))
        name, password = str(form.get("name", "")).strip(), str(form.get("password", ""))
        if not self._attempts.allowed(name):
            problem = "Too many wrong passwords for this name; try again in a quarter of an hour."
            return self._page(request, "sign_in", {"problem": problem}, status=429)
        person = await run_in_threadpool(self._check, name, password)
        if person is None:
            self._attempts.failed(name)
            problem = "Name and password do not fit."
            return self._page(request, "sign_in", {"problem": problem}, status=401)
        self._attempts.forget(name)
        request.session.clear()  # a token from before the sign-in is worth nothing after it
        request.session["name"] = person.name
        return RedirectResponse("/", status_code=303)

    async def sign_out(self, request: Request) -> Response:
        """Forget who is signed in."""
        form = await request.form()
        _same_page(request, form.get("token"))
        request.session.clear()
        return RedirectResponse("/sign-in", status_code=303)

    def queue(self, request: Request) -> Response:
        """Findings by expected recovery, filtered."""
        with self._warehouse() as connection:
            person = self._person(request, connection)
            context = pages.queue_page(connection, request.query_params)
        return self._page(request, "queue", {**context, "person": person})

    def export(self, request: Request) -> Response:
        """The filtered findings as CSV that a spreadsheet cannot be attacked with."""
        with self._warehouse() as connection:
            self._person(request, connection)
            rows = pages.filtered(connection, request.query_params, limit=None)
        return Response(
            "\ufeff" + to_csv(CSV_COLUMNS, rows),
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="findings.csv"'},
        )

    def finding(self, request: Request) -> Response:
        """One finding in full."""
        with self._warehouse() as connection:
            person = self._person(request, connection)
            context = pages.finding_page(
                connection, request.path_params["detection_id"], test_mode=self._site.test_mode
            )
        return self._page(request, "finding", {**context, "person": person})

    def incidents(self, request: Request) -> Response:
        """Causes that several findings share."""
        with self._warehouse() as connection:
            person = self._person(request, connection)
            context = pages.incidents_page(connection)
        return self._page(request, "incidents", {**context, "person": person})

    def totals(self, request: Request) -> Response:
        """The bridge and the trend, as in the weekly report."""
        with self._warehouse() as connection:
            person = self._person(request, connection)
            context = pages.totals_page(connection)
        return self._page(request, "totals", {**context, "person": person})

    def sample(self, request: Request) -> Response:
        """The month's customers to check by hand."""
        with self._warehouse() as connection:
            person = self._person(request, connection)
            context = pages.sample_page(connection, test_mode=self._site.test_mode)
        return self._page(request, "sample", {**context, "person": person})

    async def check(self, request: Request) -> Response:
        """Write down what a check by hand has shown, when the person's role allows it."""
        form = await request.form()
        _same_page(request, form.get("token"))
        verdict, note = (str(form.get(name, "")).strip() for name in ("verdict", "note"))
        await run_in_threadpool(self._check_sample, request, verdict, note)
        return RedirectResponse("/sample", status_code=303)

    def _check_sample(self, request: Request, verdict: str, note: str) -> None:
        with self._warehouse() as connection:
            person = self._person(request, connection)
            if not person.may("check"):
                message = f"as {person.role} you cannot check the sample"
                raise decisions.Refused(message)
            customer_id, now = request.path_params["customer_id"], self._site.clock()
            pages.check(connection, customer_id, verdict, note, person.name, now)

    async def decide(self, request: Request) -> Response:
        """Take one step on a finding, when the person's role allows it."""
        form = await request.form()
        _same_page(request, form.get("token"))
        text = str(form.get("text", "")).strip()
        detection_id = request.path_params["detection_id"]
        releases = [str(value) for value in form.getlist("release")]
        await run_in_threadpool(self._decide, request, [detection_id], text, releases)
        shown = quote(detection_id, safe="")
        return RedirectResponse(f"/findings/{shown}", status_code=303)

    async def decide_several(self, request: Request) -> Response:
        """Take one step on every finding that is ticked in the queue, one after the other.

        The first that it does not fit ends it, and its page says why; those before it are done.
        """
        form = await request.form()
        _same_page(request, form.get("token"))
        ticked = [str(value) for value in form.getlist("detection_id")][: pages.PAGE_SIZE]
        if not ticked:
            message = "tick the findings that you decide about first"
            raise decisions.Refused(message)
        text = str(form.get("text", "")).strip()
        await run_in_threadpool(self._decide, request, ticked, text)
        # Back to the same filters. Made of parsed pairs, it cannot lead to another site.
        query = urlencode(parse_qsl(str(form.get("query", ""))))
        return RedirectResponse(f"/?{query}", status_code=303)

    def _decide(
        self,
        request: Request,
        detection_ids: Sequence[str],
        text: str,
        releases: Sequence[str] = (),
    ) -> None:
        step = request.path_params["step"]
        with self._warehouse() as connection:
            person = self._person(request, connection)
            if not person.may(step):
                message = f"as {person.role} you cannot {step} a finding"
                raise decisions.Refused(message)
            now = self._site.clock()
            for detection_id in detection_ids:
                pages.decide(connection, detection_id, step, text, person.name, now, releases)

    def _check(self, name: str, password: str) -> Person | None:
        with self._warehouse() as connection:
            return people.sign_in(connection, name, password)

    async def refused(self, request: Request, refused: Exception) -> Response:
        """Say why something cannot be done."""
        status = 403 if isinstance(refused, decisions.Refused) else 404
        return self._page(request, "refused", {"problem": str(refused)}, status=status)

    async def nothing_yet(self, request: Request, _: Exception) -> Response:
        """Say that there are no findings to show, before the first audit."""
        problem = "There is nothing to review: no audit has run yet. Run leakage audit first."
        return self._page(request, "refused", {"problem": problem}, status=404)

    def style(self, _: Request) -> Response:
        """The style sheet."""
        return Response(_STYLE.read_text(encoding="utf-8"), media_type="text/css")


def _same_page(request: Request, token: object) -> None:
    """Refuse a form that was not made by a page of this session."""
    known = request.session.get("token")
    given = token if isinstance(token, str) else ""
    if not known or not secrets.compare_digest(known.encode(), given.encode()):
        message = "this page is too old; open it again and repeat what you did"
        raise decisions.Refused(message)
