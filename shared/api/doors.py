"""Pages before and around a session: server-rendered, no script, no socket, the look of the apps.

Their policy allows nothing but our own sheet, font and pictures; what a person typed is escaped by the templates.
"""

from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.types import Scope

from shared.api.sites import Site
from shared.core.errors import DomainError

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; font-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)

SECRET = frozenset({"code", "current", "password"})
NOTICES = {
    "again": "Your sign-in took too long or used too many codes. Start again with your password.",
    "changed": "Your password is changed. Your other devices are signed out.",
    "joined": "Welcome. Sign in to open your organisation.",
    "reset": "Your password is changed. Sign in with the new one.",
    "sent": "If this address needs a mail from us, it is on its way.",
    "signed-out": "You are signed out.",
    "verified": "Your address is verified. Sign in to go on.",
}


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "door"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page(scope: Scope | Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """`wrong`: field -> what is wrong with it, "" for the whole form. `typed`: what to keep in the fields."""
    scope = scope.scope if isinstance(scope, Request) else scope
    site: Site = scope["state"]["site"]
    given: dict[str, Any] = {"wrong": {}, "typed": {}, "notice": "", **values}
    text = _templates().get_template(template).render(site=site, **given)
    return HTMLResponse(text, status, {"cache-control": "no-store", "content-security-policy": POLICY})


def again(
    scope: Scope | Request, template: str, problem: DomainError, typed: dict[str, str], **values: Any
) -> HTMLResponse:
    """The form again, with what is wrong. What was typed stays, secrets do not."""
    fields = dict(getattr(problem, "fields", {}))
    if not fields:
        fields[""] = f"{problem.detail} {problem.next_step}".strip()
    kept = {name: value for name, value in typed.items() if name not in SECRET}
    answer = page(scope, template, problem.http_status, wrong=fields, typed=kept, **values)
    if retry_after := getattr(problem, "retry_after", 0):
        answer.headers["retry-after"] = str(retry_after)
    return answer


def notice(request: Request) -> str:
    """A sentence of ours, named in the address; nobody else's words."""
    return NOTICES.get(request.query_params.get("notice", ""), "")


def refusal_page(scope: Scope, refusal: DomainError, headers: dict[str, str], back: str = "") -> HTMLResponse:
    """`back`: where the person came from, if trying again there makes sense."""
    answer = page(
        scope,
        "refused.html",
        refusal.http_status,
        refusal=refusal,
        back=back,
        request_id=scope["state"]["request_id"] if refusal.http_status >= 500 else "",
    )
    answer.headers.update(headers)
    return answer


def local_path(target: str) -> str:
    """`next` as given by a browser: a path of ours, or the start page."""
    bad = not target.startswith("/") or target.startswith("//") or "\\" in target or not target.isprintable()
    return "/" if bad or len(target) > 1_000 or "/auth/" in target else target


def sign_in_address(scope: Scope) -> str:
    """Back to where somebody without a session wanted to go."""
    target = scope["path"]
    if query := scope.get("query_string", b"").decode("latin-1"):
        target += "?" + query
    if scope.get("method") not in ("GET", "HEAD") or target == "/" or local_path(target) != target:
        return "/sign-in"
    return "/sign-in?next=" + quote(target, safe="/")
