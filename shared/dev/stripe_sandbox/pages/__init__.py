"""The stand-in's own pages: server-rendered, no script, no outside address; templates escape what they are given."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

from shared.dev.stripe_sandbox import formatting

PAGES_DIR = Path(__file__).parent
FONT_FILE = PAGES_DIR.parents[3] / "assets" / "fonts" / "inter.woff2"
# No form-action: after a form the browser goes to the address that the merchant asked for, and this would forbid it.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; font-src 'self'; base-uri 'none';"
    " frame-ancestors 'none'"
)


def render_page(request: Request, page: str, status: int = 200, /, **context: Any) -> Response:
    """A page whose links begin where this request's application is mounted."""
    root = request.scope.get("root_path", "").rstrip("/")
    html = _load_templates().get_template(f"{page}.html").render(root=root, **context)
    return HTMLResponse(
        html, status, {"Content-Security-Policy": CONTENT_SECURITY_POLICY, "Referrer-Policy": "no-referrer"}
    )


async def serve_stylesheet(request: Request) -> Response:  # noqa: ARG001
    return FileResponse(PAGES_DIR / "look.css", media_type="text/css")


async def serve_font(request: Request) -> Response:  # noqa: ARG001
    return FileResponse(FONT_FILE, media_type="font/woff2")


ASSET_ROUTES = [Route("/_look.css", serve_stylesheet), Route("/_font.woff2", serve_font)]


@cache
def _load_templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(PAGES_DIR),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for filter_ in (
        formatting.format_card,
        formatting.format_day,
        formatting.format_interval,
        formatting.format_card_expiry,
        formatting.format_time,
        formatting.format_money,
        formatting.format_unit_price,
    ):
        environment.filters[filter_.__name__] = filter_
    environment.filters["link"] = formatting.allow_web_url
    environment.tests["metered"] = formatting.is_metered_price
    return environment
