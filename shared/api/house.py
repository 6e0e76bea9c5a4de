"""How the HTTP app of a site is put together. Order, from outside: edge, origin, guard, our routes, Reflex."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from shared.api import doors, refusals
from shared.api.edge import Edge
from shared.api.guard import Guard
from shared.api.origin import SameOrigin
from shared.api.sites import Site
from shared.core.errors import DomainError, NotFound


def build(site: Site, *routes: Route) -> Starlette:
    app = Starlette(
        routes=[
            *routes,
            *(Route(tree + "{rest:path}", nothing, methods=None) for tree in (*OURS, *site.programs)),
        ],
        middleware=[
            Middleware(Edge, site=site),
            Middleware(SameOrigin, site=site),
            Middleware(Guard, site=site),
        ],
        exception_handlers={DomainError: refusals.on_refusal, HTTPException: on_http},
    )
    app.router.redirect_slashes = False
    app.state.site = site
    return app


PAGE_OF = {
    "/account/": "/account",
    "/auth/forgot": "/forgot",
    "/auth/mfa": "/mfa",
    "/auth/reset": "/forgot",
    "/auth/resend": "/verify",
    "/auth/sign-in": "/sign-in",
    "/auth/sign-out": "/sign-in",
    "/auth/sign-up": "/sign-up",
    "/auth/verify": "/verify",
    "/onboarding/": "/onboarding",
}
OURS = ("/account/", "/auth/", "/onboarding/")  # and what programs call: Reflex answers nothing here


async def nothing(request: Request) -> Response:
    """Somebody who opens the address of a form, after reloading what it answered, goes to its page."""
    page = next((page for prefix, page in PAGE_OF.items() if request.url.path.startswith(prefix)), "")
    if page and request.method == "GET" and doors.wants_page(request.scope):
        return RedirectResponse(page, 303)
    raise NotFound(refusals.NOTHING, refusals.NOTHING_STEP)


async def on_http(request: Request, problem: Exception) -> Response:
    """What Starlette itself refuses: an unknown path, a wrong method."""
    assert isinstance(problem, HTTPException)
    if problem.status_code == 405:
        refusal: DomainError = WrongMethod(
            "This address does not take that kind of request.", "Open the page instead."
        )
    else:
        refusal = NotFound(refusals.NOTHING, refusals.NOTHING_STEP)
    return refusals.answer(request.scope, refusal)


class WrongMethod(DomainError):
    status = 405
    default_reason = "wrong_method"
