"""Where a changing request may come from: our own pages, exactly. Against forged requests from other sites.

Bearer APIs and signed webhooks carry their own proof and no cookie; they are excepted.
"""

from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.api import refusals
from shared.api.sites import Site
from shared.core import log
from shared.core.errors import Refused

READING = frozenset({"GET", "HEAD", "OPTIONS"})


def is_ours(headers: Mapping[str, str], origin: str) -> bool:
    """Exactly our origin. Where a browser sends none, its own word that the request stayed on this site."""
    given = headers.get("origin")
    return given == origin if given is not None else headers.get("sec-fetch-site") == "same-origin"


class SameOrigin:
    def __init__(self, app: ASGIApp, *, site: Site) -> None:
        self.app, self.site = app, site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self.lets_through(scope):
            await self.app(scope, receive, send)
            return
        log.get(__name__).warning(
            "foreign_origin", path=scope["path"], request_id=scope["state"]["request_id"]
        )
        refusal = Refused(
            "This request came from another site.",
            f"Open {self.site.origin} and do it there.",
            reason="foreign_origin",
        )
        await refusals.send(scope, receive, send, refusal)

    def lets_through(self, scope: Scope) -> bool:
        if scope["method"] in READING or scope["path"].startswith(self.site.programs):
            return True
        return is_ours(Headers(scope=scope), self.site.origin)
