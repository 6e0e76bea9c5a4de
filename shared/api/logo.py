"""An organisation's logo: in by a plain form, out to its members only."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.api import doors, forms, visitors
from shared.api.sign_in import redirect
from shared.core.errors import DomainError, NotFound
from shared.tenancy import entry, logos


async def show(request: Request) -> Response:
    """The picture was drawn again by us, so it is a PNG and nothing else; the address changes with it."""
    async with entry.enter_tenant(visitors.cookie_header(request), request.path_params["slug"]) as ctx:
        picture = await logos.get(ctx)
    if not picture:
        raise NotFound(entry.NOTHING_HERE, entry.NOTHING_HERE_STEP)
    headers = {
        "cache-control": "private, max-age=86400" if request.query_params.get("v") else "no-store",
        "content-disposition": "inline; filename=logo.png",
        "content-security-policy": "default-src 'none'; sandbox",
        "vary": "Cookie",
    }
    return Response(picture, media_type="image/png", headers=headers)


async def store(request: Request) -> Response:
    slug = request.path_params["slug"]
    back = f"/t/{slug}/settings"
    try:
        _, picture = await forms.read_logo(request)
        cookies = visitors.cookie_header(request)
        async with entry.enter_tenant(cookies, slug) as ctx:
            await logos.admit(ctx)
        drawn = await logos.draw(picture)
        async with entry.enter_tenant(cookies, slug) as ctx:
            await logos.keep(ctx, drawn)
    except DomainError as problem:
        if not doors.wants_page(request.scope) or problem.reason in ("not_found", "not_signed_in"):
            raise
        return doors.refusal_page(request.scope, problem, {}, back)
    return redirect(back)


ROUTES = [
    Route("/t/{slug}/logo", show),
    Route("/t/{slug}/logo", store, methods=["POST"]),
]
