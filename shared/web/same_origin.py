"""Accept changing requests only from our own origin (CSRF protection).

A code of the admin app comes from that app's origin only. APIs with bearer tokens, signed webhooks and signed links of mails are
exempt, because they use no cookie.
"""

from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.core import log
from shared.core.config import settings
from shared.core.errors import Refused
from shared.web import problem_responses
from shared.web.app_sites import Site

# The one form that the admin app posts here: the code of a support session.
SUPPORT_PATH = "/auth/support"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def has_same_origin(headers: Mapping[str, str], origin: str) -> bool:
    """Compare the Origin header. Without one, require the browser's `Sec-Fetch-Site: same-origin`."""
    request_origin = headers.get("origin")
    return (
        request_origin == origin
        if request_origin is not None
        else headers.get("sec-fetch-site") == "same-origin"
    )


class SameOriginMiddleware:
    def __init__(self, app: ASGIApp, *, site: Site) -> None:
        self.app, self.site = app, site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self.is_allowed(scope):
            await self.app(scope, receive, send)
            return
        log.get_tenant_logger(__name__).warning(
            "foreign_origin", path=scope["path"], request_id=scope["state"]["request_id"]
        )
        refusal = Refused(
            "This request came from another site.",
            f"Open {self.site.origin} and try again there.",
            reason="foreign_origin",
        )
        await problem_responses.send_refusal(scope, receive, send, refusal)

    def is_allowed(self, scope: Scope) -> bool:
        exempt_prefixes = (*self.site.api_prefixes, *self.site.signed_prefixes)
        if scope["method"] in SAFE_METHODS or scope["path"].startswith(exempt_prefixes):
            return True
        if scope["path"] == SUPPORT_PATH and not self.site.is_operator_app:
            return Headers(scope=scope).get("origin") == settings().admin_url
        return has_same_origin(Headers(scope=scope), self.site.origin)
