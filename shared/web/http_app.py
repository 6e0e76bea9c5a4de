"""Build the HTTP app of a site. Order: request middleware, same-origin check, session guard, our routes, Reflex."""

import functools
from collections.abc import Awaitable, Callable, Sequence

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from shared.core import rate_limits, transaction_retries
from shared.core.errors import DomainError, NotFound
from shared.web import problem_responses, public_pages
from shared.web.app_sites import Site
from shared.web.literal_routes import LiteralFirst
from shared.web.request_middleware import RequestMiddleware
from shared.web.same_origin import SameOriginMiddleware
from shared.web.session_guard import SessionGuard


def build_app(site: Site, *routes: Route, api_routes: Sequence[BaseRoute] = ()) -> FastAPI:
    """`api_routes`: of `shared.web.rest`, which handle conflicts themselves."""
    app = FastAPI(
        docs_url=None,
        openapi_url=None,
        # Its own records have addresses with their tokens, and a trace that the client names. We trace in `RequestMiddleware`.
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
        redoc_url=None,
        routes=[
            *map(_repeat_on_conflict, routes),
            *api_routes,
            *(
                Route(tree + "{rest:path}", show_not_found, methods=None)
                for tree in (*FORM_PREFIXES, *site.api_prefixes, *site.signed_prefixes)
            ),
        ],
        middleware=[
            Middleware(RequestMiddleware, site=site),
            Middleware(SameOriginMiddleware, site=site),
            Middleware(SessionGuard, site=site),
        ],
        exception_handlers={DomainError: problem_responses.on_exception, HTTPException: on_http_error},
    )
    app.router.redirect_slashes = False
    app.state.site = site
    return app


def _repeat_on_conflict(route: Route) -> Route:
    """The route, whose requests are handled once more where their transaction met another one."""
    handle: Callable[[Request], Awaitable[Response]] = route.endpoint

    @functools.wraps(handle)
    async def run(request: Request) -> Response:
        async def attempt() -> Response:
            async with rate_limits.not_counted_in_an_outage():
                return await handle(request)

        return await transaction_retries.repeat_on_conflict(attempt)

    return LiteralFirst(
        route.path, run, methods=list(route.methods) if route.methods else None, name=route.name
    )


PAGE_BY_PREFIX = {
    "/account/": "/account",
    "/auth/factor-reset": "/sign-in",
    "/auth/forgot": "/forgot",
    "/auth/mfa": "/mfa",
    "/auth/reset": "/forgot",
    "/auth/resend": "/verify",
    "/auth/sign-in": "/sign-in",
    "/auth/sign-out": "/sign-in",
    "/auth/sign-up": "/sign-up",
    "/auth/support": "/sign-in",
    "/auth/verify": "/verify",
    "/onboarding/": "/onboarding",
}
FORM_PREFIXES = (
    "/account/",
    "/auth/",
    "/files/",
    "/onboarding/",
)  # like API prefixes, never answered by Reflex


async def show_not_found(request: Request) -> Response:
    """404. A browser that reloads the address of a form is redirected to the form's page."""
    page = next((page for prefix, page in PAGE_BY_PREFIX.items() if request.url.path.startswith(prefix)), "")
    if page and request.method == "GET" and public_pages.wants_html(request.scope):
        return RedirectResponse(page, 303)
    raise NotFound(problem_responses.NOT_FOUND, problem_responses.NOT_FOUND_STEP)


async def on_http_error(request: Request, problem: Exception) -> Response:
    """Render Starlette's own errors: an unknown path or a wrong method."""
    assert isinstance(problem, HTTPException)
    if problem.status_code == 405:
        refusal: DomainError = MethodNotAllowed()
        refusal.headers = {name.lower(): value for name, value in (problem.headers or {}).items()}
    else:
        refusal = NotFound(problem_responses.NOT_FOUND, problem_responses.NOT_FOUND_STEP)
    return problem_responses.to_response(request.scope, refusal)


class MethodNotAllowed(DomainError):
    status = 405
    default_reason = "wrong_method"

    def __init__(self, next_step: str = "Open the page instead.") -> None:
        super().__init__("This address doesn’t accept this kind of request.", next_step)
