"""Begin and end a support session: the cookie of an operator who acts for a member.

The admin app's page posts the code, once and within a minute. The cookie of the person's own session stays as it is.
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.core.db import now
from shared.identity import cookies
from shared.tenancy import impersonation_entry, impersonation_sessions
from shared.web import forms, request_identity
from shared.web.same_origin import SUPPORT_PATH
from shared.web.sign_in import redirect_to


async def begin_support_session(request: Request) -> Response:
    """303 to the tenant, with the cookie. Raises Refused (code_invalid)."""
    fields = await forms.read(request)
    await impersonation_entry.end(request_identity.get_cookie_header(request))
    started = await impersonation_entry.accept_code(fields.get("code", ""))
    response = redirect_to(f"/t/{started.slug}/home")
    cookies.put(response, impersonation_sessions.COOKIE, started.cookie, started.expires_at - now())
    return response


async def end_support_session(request: Request) -> Response:
    """May be called twice."""
    await forms.read(request)
    await impersonation_entry.end(request_identity.get_cookie_header(request))
    response = redirect_to("/sign-in?notice=support-ended")
    cookies.clear(response, impersonation_sessions.COOKIE)
    return response


ROUTES = [
    Route(SUPPORT_PATH, begin_support_session, methods=["POST"]),
    Route("/auth/support/end", end_support_session, methods=["POST"]),
]
