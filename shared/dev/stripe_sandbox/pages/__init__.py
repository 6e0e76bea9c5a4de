"""The stand-in's own pages: server-rendered, no script, no outside address; templates escape what they are given."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

from shared.dev.stripe_sandbox import words

HERE = Path(__file__).parent
FONT = HERE.parents[3] / "assets" / "fonts" / "inter.woff2"
# No form-action: after a form the browser goes to the address that the merchant asked for, and this would forbid it.
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; font-src 'self'; base-uri 'none';"
    " frame-ancestors 'none'"
)


def show(request: Request, page: str, status: int = 200, /, **shown: Any) -> Response:
    """A page whose links begin where this request's application is mounted."""
    root = request.scope.get("root_path", "").rstrip("/")
    html = _templates().get_template(f"{page}.html").render(root=root, **shown)
    return HTMLResponse(html, status, {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"})


async def sheet(request: Request) -> Response:  # noqa: ARG001
    return FileResponse(HERE / "look.css", media_type="text/css")


async def font(request: Request) -> Response:  # noqa: ARG001
    return FileResponse(FONT, media_type="font/woff2")


ROUTES = [Route("/_look.css", sheet), Route("/_font.woff2", font)]


@cache
def _templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for filter_ in (words.card, words.day, words.each, words.expiry, words.moment, words.money, words.unit):
        made.filters[filter_.__name__] = filter_
    made.filters["link"] = words.link
    made.tests["metered"] = words.metered
    return made
